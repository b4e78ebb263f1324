"""Numbers that differ from process to process, for hashes that nobody can craft words against.

With a hash that everyone can compute, a page of 1 MB whose words all fall into one slot of a table takes seconds, a
thousand times as long as another. What is computed with these numbers may decide where something lies in a table and
whether bytes are compared at all; it may never reach a result, a file or another process.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import types
from numba.extending import intrinsic

_NAME = "sluice_hash_secrets"
_SECRETS = np.frombuffer(os.urandom(16), np.int64).copy()
# Compiled code, which is kept on disk, names the symbol; each process says where its own numbers lie.
binding.add_symbol(_NAME, _SECRETS.ctypes.data)


def _load(_context: Any, number: Any) -> Any:
    del number  # a type here; its value is args[0]

    def load(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        module, kind = builder.module, ir.ArrayType(ir.IntType(64), _SECRETS.size)
        there = module.globals.get(_NAME)
        if there is None:
            there = ir.GlobalVariable(module, kind, _NAME)
            there.linkage = "external"
        found = builder.load(builder.gep(there, [ir.Constant(ir.IntType(64), 0), args[0]], inbounds=True))
        found.set_metadata("invariant.load", module.add_metadata([]))  # so that loops read it once
        return found

    return types.int64(types.int64), load


def _multiply(_context: Any, left: Any, right: Any) -> Any:
    del left, right

    def multiply(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), ir.IntType(64))

    return types.int64(types.int64, types.int64), multiply


secret: Any = intrinsic(_load)
"""``secret(k)``, k = 0 or 1: an int64."""
fold: Any = intrinsic(_multiply)
"""``fold(a, b)``: both halves of the 128-bit product, xor-ed. With a secret in both factors no difference between two
inputs leads to a known difference of the results, as it does where a product is cut to 64 bits."""
