"""Rows of X on their way into a tile, by rows and by columns, on vectors as in :mod:`gibbs_gmm.kernels.simd`."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gibbs_gmm.kernels._jit import JIT
from gibbs_gmm.kernels.simd import LANES

if JIT:
    from gibbs_gmm.kernels.simd import _I32, _UNDEFINED, _VECTOR, _load, _start, _store

    _BITS = ir.VectorType(ir.IntType(1), LANES)

    def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
        """Eight vectors as columns: off-diagonal blocks of 1, 2 and 4 lanes are exchanged in turn."""
        for half in (1, 2, 4):
            low = [lane + (LANES - half if lane & half else 0) for lane in range(LANES)]
            high = [lane + (LANES if lane & half else half) for lane in range(LANES)]
            before, rows = rows, list(rows)
            for r in range(LANES):
                lanes = ir.Constant(ir.VectorType(_I32, LANES), high if r & half else low)
                rows[r] = builder.shuffle_vector(before[r & ~half], before[r | half], lanes)
        return rows

    def _origin(builder: Any, loc: Any, d: Any, inside: list[Any]) -> tuple[Any, Any]:
        """loc[d:d+8], of which only those inside are read, and which those are."""
        origin, mask = _UNDEFINED, ir.Constant(_BITS, ir.Undefined)
        for lane in range(LANES):
            at = builder.select(inside[lane], builder.add(d, d.type(lane)), d)
            origin = builder.insert_element(origin, builder.load(builder.gep(loc, [at])), _I32(lane))
            mask = builder.insert_element(mask, inside[lane], _I32(lane))
        return origin, mask

    def _load_rows(kinds: Any, part: bool) -> Any:
        """:func:`load_block`, and :func:`load_part`."""
        t_rows, t_Xt, t_X, t_index, t_loc = kinds
        given, number = isinstance(t_index, types.Array), t_X.dtype

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            rows, Xt, b, d, X, index, loc = args
            zero, vector = b.type(0), ir.VectorType(context.get_value_type(number), LANES)

            def place(kind: Any, array: Any, i: Any, j: Any) -> Any:
                array = context.make_array(kind)(context, builder, array)
                return cgutils.get_item_pointer(context, builder, kind, array, [i, j], wraparound=False)

            columns, loc = [builder.add(d, d.type(lane)) for lane in range(LANES)], _start(context, builder, t_loc, loc)
            inside, mask = [], None
            if part:
                D = cgutils.unpack_tuple(builder, context.make_array(t_X)(context, builder, X).shape)[1]
                inside = [builder.icmp_signed("<", column, D) for column in columns]
                origin, mask = _origin(builder, loc, d, inside)
            else:
                origin = _load(builder, loc, d)
            loaded = []
            for r in range(LANES):
                row = builder.add(b, b.type(r))
                if given:
                    i = builder.load(builder.gep(_start(context, builder, t_index, index), [row]))
                else:
                    i = builder.add(index, row)
                start = builder.bitcast(place(t_X, X, i, d), vector.as_pointer())
                x = builder.load(start, align=number.bitwidth // 8)
                x = builder.fsub(x if number == types.float64 else builder.fpext(x, _VECTOR), origin)
                if part:
                    x = builder.select(mask, x, ir.Constant(_VECTOR, [0.0] * LANES))
                _store(builder, place(t_rows, rows, row, d), zero, x)
                loaded.append(x)
            for r, x in enumerate(_transposed(builder, loaded) if t_Xt != types.none else []):
                start = place(t_Xt, Xt, columns[r], b)
                if part:
                    with builder.if_then(inside[r]):
                        _store(builder, start, zero, x)
                else:
                    _store(builder, start, zero, x)
            return context.get_dummy_value()

        return types.void(t_rows, t_Xt, types.intp, types.intp, t_X, t_index if given else types.intp, t_loc), codegen

    @intrinsic
    def load_block(typingctx: Any, rows: Any, Xt: Any, b: Any, d: Any, X: Any, index: Any, loc: Any) -> Any:
        """rows[b+r, d:d+8] and Xt[d:d+8, b+r] <- X[i, d:d+8] - loc[d:d+8], r < 8.

        Row i is index[b+r], or index + b + r if ``index`` is an integer. Xt may be None. X is float64 or float32, in C
        order.
        """
        return _load_rows((rows, Xt, X, index, loc), part=False)

    @intrinsic
    def load_part(typingctx: Any, rows: Any, Xt: Any, b: Any, d: Any, X: Any, index: Any, loc: Any) -> Any:
        """:func:`load_block` of the columns from d on, fewer than eight, and zeros behind them in ``rows``.

        Eight values are read: i must not be among the last seven rows.
        """
        return _load_rows((rows, Xt, X, index, loc), part=True)

else:

    def load_block(rows: Any, Xt: Any, b: Any, d: Any, X: Any, index: Any, loc: Any) -> None:
        i = index[b : b + LANES] if isinstance(index, np.ndarray) else slice(index + b, index + b + LANES)
        x = X[i, d : d + LANES] - loc[d : d + LANES]
        rows[b : b + LANES, d : d + x.shape[1]] = x
        if Xt is not None:
            Xt[d : d + LANES, b : b + LANES] = x.T

    load_part = load_block
