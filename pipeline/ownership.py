"""The import names pipeline, operators and workflows are generic: make sure that the packages found are ours."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pipeline.errors import UserError

NAMES = ("pipeline", "operators", "workflows")


def package_root() -> Path:
    """The folder this installation's packages lie in."""
    return Path(__file__).resolve().parents[1]


def check_packages(driver_root: str | None = None) -> None:
    """Check that all three packages come from one folder.

    driver_root: the folder the driver uses, where this is a worker; only its contents' names are compared, since a
    worker on another machine may have them elsewhere.

    Raises:
        UserError: another package of that name comes first on the import path; names the folder that shadows ours.
    """
    ours = package_root()
    for name in NAMES:
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parents[1] if spec and spec.origin else None
        if found != ours:
            where = found or (next(iter(spec.submodule_search_locations or []), None) if spec else None)
            driver = f" (the driver's is {driver_root})" if driver_root else ""
            msg = (
                f"the package {name!r} found is not sluice's: {where} shadows {ours / name}{driver}; rename that "
                f"folder, or start from another directory"
            )
            raise UserError(msg)
