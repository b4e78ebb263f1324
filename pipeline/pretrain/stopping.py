"""How a driver asks ranks on its own machine to stop."""

from __future__ import annotations

import threading

ASKED = threading.Event()
"""Set by the driver's main thread; ranks without Ray look at it between steps. Cleared when a training begins."""
