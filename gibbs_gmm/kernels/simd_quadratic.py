"""Quadratic forms |W x + c|^2 of a tile's rows, W lower triangular, on vectors as in :mod:`gibbs_gmm.kernels.simd`.

Four rows of W meet eight rows of the tile at a time, four columns after four: sums stay in registers, and a number of W
is loaded once for eight rows. What is added to what is the same wherever a form is computed, in all or in part.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gibbs_gmm.kernels._jit import JIT
from gibbs_gmm.kernels.simd import LANES

TOGETHER = 4
"""Rows of W that are worked on together. Those beyond the last multiple of four go without blocks of columns."""

if JIT:
    from gibbs_gmm.kernels.simd import _FMA, _VECTOR, _broadcast, _everywhere, _load, _start, _store

    _BITS = ir.VectorType(ir.IntType(1), LANES)

    def _any(builder: Any, found: Any) -> Any:
        """Whether one of the bits is set."""
        byte = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(builder.load(found), byte), byte(0))

    def _add_products(builder: Any, total: Any, pairs: Any) -> Any:
        """total + a_0 x_0 + a_1 x_1 + .., from left to right; ``total`` may be None."""
        for a, x in pairs:
            product = builder.fmul(a, x, flags=_FMA)
            total = product if total is None else builder.fadd(total, product, flags=_FMA)
        return total

    def _add_squares(builder: Any, rows: int, first: bool, arrays: Any, sizes: Any, i: Any, test: Any) -> None:
        """:func:`add_squares` of so many rows, the first or not. ``test``, a function of b and q[b:b+8], is called for
        each eight."""
        (q, Xt, W, c), (D, width, n) = arrays, sizes
        step, number = (TOGETHER if rows == TOGETHER else 1), i.type
        sums = [cgutils.alloca_once(builder, _VECTOR) for _ in range(rows)]

        def columns(b: Any, j: Any, size: int) -> list[Any]:
            places = [builder.add(b, builder.mul(width, builder.add(j, number(e)))) for e in range(size)]
            return [_load(builder, Xt, place) for place in places]

        def products(r: int, j: Any, x: list[Any]) -> list[Any]:
            first = builder.add(builder.mul(D, builder.add(i, number(r))), j)
            return [(_broadcast(builder, W, builder.add(first, number(e))), value) for e, value in enumerate(x)]

        with cgutils.for_range_slice(builder, number(0), n, number(LANES), number) as (b, _):
            for r in range(rows):
                builder.store(_broadcast(builder, c, builder.add(i, number(r))), sums[r])
            if not first:
                x = columns(b, number(0), step)
                for r in range(rows):
                    total = _add_products(builder, builder.load(sums[r]), products(r, number(0), x))
                    builder.store(total, sums[r])
                with cgutils.for_range_slice(builder, number(step), i, number(step), number) as (j, _):
                    x = columns(b, j, step)
                    for r in range(rows):
                        total = builder.load(sums[r])
                        if step == 1:
                            total = _add_products(builder, total, products(r, j, x))
                        else:
                            total = builder.fadd(total, _add_products(builder, None, products(r, j, x)), flags=_FMA)
                        builder.store(total, sums[r])
            x = columns(b, i, rows)
            y = [_add_products(builder, builder.load(sums[r]), products(r, i, x[: r + 1])) for r in range(rows)]
            before = ir.Constant(_VECTOR, [0.0] * LANES) if first else _load(builder, q, b)
            if step == 1:
                value = _add_products(builder, before, zip(y, y, strict=True))
            else:
                value = _add_products(builder, None, zip(y, y, strict=True))
                value = value if first else builder.fadd(before, value, flags=_FMA)
            _store(builder, q, b, value)
            if test is not None:
                test(b, value)

    def _all_sizes(context: Any, builder: Any, kinds: Any, args: Any, test: Any) -> None:
        """As many rows as there are from row i on, four at most."""
        q, Xt, W, c, i, n = args[:6]
        arrays = [_start(context, builder, kind, array) for kind, array in zip(kinds, (q, Xt, W, c), strict=False)]
        D = cgutils.unpack_tuple(builder, context.make_array(kinds[2])(context, builder, W).shape)[1]
        width = cgutils.unpack_tuple(builder, context.make_array(kinds[1])(context, builder, Xt).shape)[1]
        left, sizes = builder.sub(D, i), (D, width, n)

        def add(first: bool) -> None:
            with builder.if_else(builder.icmp_signed(">=", left, left.type(TOGETHER))) as (four, fewer):
                with four:
                    _add_squares(builder, TOGETHER, first, arrays, sizes, i, test)
                with fewer:
                    for rows in range(1, TOGETHER):
                        with builder.if_then(builder.icmp_signed("==", left, left.type(rows))):
                            _add_squares(builder, rows, first, arrays, sizes, i, test)

        with builder.if_else(builder.icmp_signed("==", i, i.type(0))) as (begins, goes_on):
            with begins:
                add(True)
            with goes_on:
                add(False)

    @intrinsic
    def add_squares(typingctx: Any, q: Any, Xt: Any, W: Any, c: Any, i: Any, n: Any) -> Any:
        """q[b] += the sum over rows r = i .. i + 4 of W (D, D), or those there are, of (W_r x_b + c_r)^2, b < n.

        i = 0 begins. n and i are multiples of eight and four; x_b = Xt[:, b].
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _all_sizes(context, builder, sig.args, args, None)
            return context.get_dummy_value()

        return types.void(q, Xt, W, c, types.intp, types.intp), codegen

    @intrinsic
    def add_squares_near(
        typingctx: Any, q: Any, Xt: Any, W: Any, c: Any, i: Any, n: Any, log_c: Any, top: Any, least: Any
    ) -> Any:
        """:func:`add_squares`; whether log_c - q[b] / 2 - top[b] is then above ``least`` for some b < n, or NaN."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            *_, log_c, top, least = args
            log_c, least = _everywhere(builder, log_c), _everywhere(builder, least)
            top, half = _start(context, builder, sig.args[7], top), ir.Constant(_VECTOR, [0.5] * LANES)
            found = cgutils.alloca_once(builder, _BITS)
            builder.store(ir.Constant(_BITS, [0] * LANES), found)

            def test(b: Any, value: Any) -> None:
                value = builder.fsub(log_c, builder.fmul(half, value, flags=_FMA), flags=_FMA)
                value = builder.fsub(value, _load(builder, top, b))
                above = builder.fcmp_unordered(">", value, least)
                builder.store(builder.or_(builder.load(found), above), found)

            _all_sizes(context, builder, sig.args, args, test)
            return _any(builder, found)

        number = types.float64
        return types.boolean(q, Xt, W, c, types.intp, types.intp, number, top, number), codegen

    @intrinsic
    def reaches_along(typingctx: Any, Xt: Any, line: Any, n: Any, log_c: Any, share: Any, top: Any, least: Any) -> Any:
        """Whether log_c - share y_b^2 / 2 - top[b] is above ``least`` for some b < n, y = max(0, a + v'x_b).

        a, v = line[0], line[1:]. n is a multiple of eight. What is not a number is taken for y = 0.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            Xt, line, n, log_c, share, top, least = args
            D, width = cgutils.unpack_tuple(builder, context.make_array(sig.args[0])(context, builder, Xt).shape)
            Xt, line, top = (_start(context, builder, sig.args[at], args[at]) for at in (0, 1, 5))
            zero, number = ir.Constant(_VECTOR, [0.0] * LANES), n.type
            half = _everywhere(builder, builder.fmul(share, share.type(0.5)))
            log_c, least = _everywhere(builder, log_c), _everywhere(builder, least)
            total, found = cgutils.alloca_once(builder, _VECTOR), cgutils.alloca_once(builder, _BITS)
            builder.store(ir.Constant(_BITS, [0] * LANES), found)
            with cgutils.for_range_slice(builder, number(0), n, number(LANES), number) as (b, _):
                builder.store(_broadcast(builder, line, number(0)), total)
                with cgutils.for_range(builder, D) as loop:
                    v = _broadcast(builder, line, builder.add(loop.index, number(1)))
                    x = _load(builder, Xt, builder.add(b, builder.mul(width, loop.index)))
                    builder.store(_add_products(builder, builder.load(total), [(v, x)]), total)
                y = builder.load(total)
                y = builder.select(builder.fcmp_ordered(">", y, zero), y, zero)
                weight = builder.fsub(log_c, builder.fmul(builder.fmul(half, y), y, flags=_FMA), flags=_FMA)
                above = builder.fcmp_unordered(">", builder.fsub(weight, _load(builder, top, b)), least)
                builder.store(builder.or_(builder.load(found), above), found)
            return _any(builder, found)

        number = types.float64
        return types.boolean(Xt, line, types.intp, number, number, top, number), codegen

else:

    def add_squares(q: Any, Xt: Any, W: Any, c: Any, i: Any, n: Any) -> None:
        y = W[i : i + TOGETHER] @ Xt[:, :n] + c[i : i + TOGETHER, None]
        q[:n] = (q[:n] if i > 0 else 0.0) + (y * y).sum(0)

    def add_squares_near(q: Any, Xt: Any, W: Any, c: Any, i: Any, n: Any, log_c: Any, top: Any, least: Any) -> Any:
        add_squares(q, Xt, W, c, i, n)
        return not np.all(log_c - 0.5 * q[:n] - top[:n] <= least)

    def reaches_along(Xt: Any, line: Any, n: Any, log_c: Any, share: Any, top: Any, least: Any) -> Any:
        y = np.fmax(0.0, line[0] + line[1:] @ Xt[:, :n])
        return not np.all(log_c - 0.5 * share * y * y - top[:n] <= least)
