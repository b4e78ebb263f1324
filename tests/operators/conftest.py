"""Settings of the property tests: no deadline, since the first call of a kernel compiles or loads it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("kernels", deadline=None)
settings.load_profile("kernels")
