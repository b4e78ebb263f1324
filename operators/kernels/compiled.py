"""Compiled kernels, cached on disk under a hash of all their sources."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import pkgutil
import platform
import re
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching, serialize

from pipeline.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])

_IMPORTED = re.compile(rb"^from operators\.kernels\.(\w+) import", re.MULTILINE)


def kernel(fn: F) -> F:
    """``@kernel``: compile to machine code that runs without the interpreter lock; used as a bare decorator.

    Division follows numpy (x / 0.0 is inf or nan, integer x // 0 is 0), nothing is reordered (no fastmath). Compiled at
    the first call for each set of argument types and kept in ``<cache root>/sluice-kernels/<hash>``, where the cache
    root is $SLUICE_CACHE_DIR or ~/.cache/sluice. The hash covers the function's own file and, transitively, what it
    imports by ``from operators.kernels.<module> import``, so an edited callee is never served stale; numba alone looks
    at the file of the outermost function only. Kernels may call kernels of their own file and of such modules (no
    others), and take arrays, numbers and named tuples.

    Raises:
        UserError: (at the first call) the cache folder cannot be written; set SLUICE_CACHE_DIR to one that can.
    """
    return _cached(numba.njit(nogil=True, error_model="numpy")(fn), fn)


def lean_kernel(fn: F) -> F:
    """``kernel`` for functions that allocate no array (views are fine) and call only such functions.

    It counts no references to the arrays it passes on: small functions called in a loop run two to three times as fast.
    """
    without_counts: Any = {"_nrt": False}
    return _cached(numba.njit(nogil=True, error_model="numpy", **without_counts)(fn), fn)


def _cached(dispatcher: Any, fn: Any) -> Any:
    dispatcher._cache = _SourceKeyedCache(fn)  # noqa: SLF001  # numba has no public way to choose the folder per function
    return dispatcher


def warm() -> list[str]:
    """Compile every kernel of this folder, so that no worker has to; returns the names of the modules warmed.

    Each module that holds kernels has a function ``warm()`` that calls them once with the types used in earnest.
    """
    package = importlib.import_module(__package__ or "operators.kernels")
    warmed = []
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        compile_all = getattr(importlib.import_module(module.name), "warm", None)
        if module.name != __name__ and compile_all is not None:
            compile_all()
            warmed.append(module.name)
    return warmed


def cache_root() -> Path:
    """Where compiled kernels are kept: $SLUICE_CACHE_DIR, else ~/.cache/sluice."""
    named = os.environ.get("SLUICE_CACHE_DIR")
    return Path(named) if named else Path.home() / ".cache" / "sluice"


@cache
def sources_hash(own: str) -> str:
    """First 16 hex digits of the sha256 over the file ``own``, the kernel sources it imports, and theirs in turn.

    numba's and Python's version are in it too. Other kernels of the folder are not: their edits leave this one alone.
    """
    folder = Path(__file__).parent
    waiting, sources = [Path(own)], dict[str, bytes]()
    while waiting:
        path = waiting.pop()
        if path.name in sources or not path.is_file():
            continue
        sources[path.name] = path.read_bytes()
        waiting.extend(folder / f"{name.decode()}.py" for name in _IMPORTED.findall(sources[path.name]))
    whole = hashlib.sha256(f"{numba.__version__} {platform.python_version()}".encode())
    for name, source in sorted(sources.items()):
        whole.update(f"\0{name}\0{len(source)}\0".encode() + source)
    return whole.hexdigest()[:16]


class _SourceKeyedCache(caching.FunctionCache):
    """One file per (function, argument types, CPU), written aside and renamed.

    numba's own cache numbers its files through an index that two compiling processes can overwrite for each other,
    after which one of them loads code of other argument types. Without an index there is nothing to race for.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:  # the parent's looks for a folder beside the source
        self._name = repr(fn)
        self._py_func = fn
        self._impl = object.__new__(caching.CompileResultCacheImpl)
        self._enabled = True

    @property
    def cache_path(self) -> str:
        return str(cache_root() / "sluice-kernels" / sources_hash(inspect.getfile(self._py_func)))

    def flush(self) -> None:
        """Nothing to forget: a file is right as long as its name is."""

    def _path(self, sig: Any, codegen: Any) -> Path:
        key = repr(self._index_key(sig, codegen))
        if " at 0x" in key:  # an address is no stable name
            msg = f"{self._name} got a function as an argument, which cannot be cached; call it by name instead"
            raise TypeError(msg)
        name = f"{self._py_func.__module__}.{self._py_func.__qualname__}"  # what is stored names its module
        return Path(self.cache_path) / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.bin"

    def _load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            stored = self._path(sig, target_context.codegen()).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._impl.rebuild(target_context, caching.pickle.loads(stored))

    def _save_overload(self, sig: Any, data: Any) -> None:
        path = self._path(sig, data.codegen)
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(serialize.dumps(self._impl.reduce(data)))
            aside.replace(path)
        except OSError as error:
            msg = f"cannot keep compiled kernels in {path.parent}: {error}; set SLUICE_CACHE_DIR to a folder that can be written"
            raise UserError(msg) from error
