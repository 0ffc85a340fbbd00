"""Vectors of eight doubles, as in :mod:`gibbs_gmm.kernels.simd`, for rows with latent values."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gibbs_gmm.kernels._jit import JIT
from gibbs_gmm.kernels.simd import LANES

WIDE = 32
"""Rows that :func:`add_half_squares_wide` takes together."""

if JIT:
    from gibbs_gmm.kernels.simd import _FMA, _VECTOR, _broadcast, _everywhere, _load, _start, _store

    def _less_products(builder: Any, value: Any, a: Any, j: Any, b: Any, k: Any, stride: Any, count: Any) -> Any:
        """Value less the sum over r < count of a[j+r*stride : +8] b[k+r*stride : +8]; a and b are addresses."""
        total = cgutils.alloca_once_value(builder, value)
        with cgutils.for_range(builder, count) as loop:
            step = builder.mul(loop.index, stride)
            left, right = _load(builder, a, builder.add(j, step)), _load(builder, b, builder.add(k, step))
            less = builder.fmul(left, right, flags=_FMA)
            builder.store(builder.fsub(builder.load(total), less, flags=_FMA), total)
        return builder.load(total)

    @intrinsic
    def factor_below(
        typingctx: Any, L: Any, o: Any, V: Any, i: Any, q: Any, j: Any, k: Any, stride: Any, count: Any, d: Any
    ) -> Any:
        """Eight Cholesky factors below their diagonals: with lanes [x:x+8] of every place x,

        L[o] = (V[i] + q - sum over r < count of L[j+r*stride] L[k+r*stride]) L[d], L[d] the inverse of a pivot.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            L, o, V, i, q, j, k, stride, count, d = args
            L = _start(context, builder, sig.args[0], L)
            value = _load(builder, _start(context, builder, sig.args[2], V), i)
            value = builder.fadd(value, _everywhere(builder, q))
            value = _less_products(builder, value, L, j, L, k, stride, count)
            _store(builder, L, o, builder.fmul(value, _load(builder, L, d)))
            return context.get_dummy_value()

        return types.void(L, types.intp, V, types.intp, types.float64, *(types.intp,) * 5), codegen

    @intrinsic
    def factor_pivot(
        typingctx: Any, L: Any, o: Any, V: Any, i: Any, q: Any, j: Any, stride: Any, count: Any, share: Any
    ) -> Any:
        """Inverses of pivots of eight Cholesky factors: L[o] = 1 / sqrt(V[i] + q - sum over r < count of
        L[j+r*stride]^2), of which at least this share of V[i] + q is left.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            L, o, V, i, q, j, stride, count, share = args
            L = _start(context, builder, sig.args[0], L)
            whole = _load(builder, _start(context, builder, sig.args[2], V), i)
            whole = builder.fadd(whole, _everywhere(builder, q))
            value = _less_products(builder, whole, L, j, L, j, stride, count)
            least = builder.fmul(whole, _everywhere(builder, share))
            value = builder.select(builder.fcmp_ordered(">", value, least), value, least)
            sqrt = builder.module.declare_intrinsic("llvm.sqrt.v8f64", (), ir.FunctionType(_VECTOR, [_VECTOR]))
            ones = ir.Constant(_VECTOR, [1.0] * LANES)
            _store(builder, L, o, builder.fdiv(ones, builder.call(sqrt, [value])))
            return context.get_dummy_value()

        args = (L, types.intp, V, types.intp, types.float64, types.intp, types.intp, types.intp, types.float64)
        return types.void(*args), codegen

    @intrinsic
    def solve_row(
        typingctx: Any,
        u: Any,
        o: Any,
        V: Any,
        i: Any,
        x: Any,
        k: Any,
        D: Any,
        minus: Any,
        s: Any,
        L: Any,
        j: Any,
        first: Any,
        stride: Any,
        count: Any,
        d: Any,
    ) -> Any:
        """A row of eight systems L u = V x - minus: u[o] = (sum over r < D of V[i+r*stride] x[k+r] - minus[s] - sum
        over r < count of L[j+r*stride] u[first+r*stride]) L[d].
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            u, o, V, i, x, k, D, minus, s, L, j, first, stride, count, d = args
            u = _start(context, builder, sig.args[0], u)
            V = _start(context, builder, sig.args[2], V)
            x = _start(context, builder, sig.args[4], x)
            minus = _load(builder, _start(context, builder, sig.args[7], minus), s)
            L = _start(context, builder, sig.args[9], L)
            total = cgutils.alloca_once_value(builder, builder.fneg(minus))
            with cgutils.for_range(builder, D) as loop:
                row = _load(builder, V, builder.add(i, builder.mul(loop.index, stride)))
                more = builder.fmul(row, _broadcast(builder, x, builder.add(k, loop.index)), flags=_FMA)
                builder.store(builder.fadd(builder.load(total), more, flags=_FMA), total)
            value = _less_products(builder, builder.load(total), L, j, u, first, stride, count)
            _store(builder, u, o, builder.fmul(value, _load(builder, L, d)))
            return context.get_dummy_value()

        n = types.intp
        return types.void(u, n, V, n, x, n, n, minus, n, L, n, n, n, n, n), codegen

    @intrinsic
    def half_squares(typingctx: Any, out: Any, o: Any, u: Any, i: Any, stride: Any, count: Any, a: Any, j: Any) -> Any:
        """out[o:o+8] = a[j:j+8] + half of the sum over r < count of u[i+r*stride : i+r*stride+8]^2."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, o, u, i, stride, count, a, j = args
            u = _start(context, builder, sig.args[2], u)
            zero = ir.Constant(_VECTOR, [0.0] * LANES)
            squares = _less_products(builder, zero, u, i, u, i, stride, count)
            half = builder.fmul(squares, ir.Constant(_VECTOR, [0.5] * LANES), flags=_FMA)
            total = builder.fsub(_load(builder, _start(context, builder, sig.args[6], a), j), half, flags=_FMA)
            _store(builder, _start(context, builder, sig.args[0], out), o, total)
            return context.get_dummy_value()

        return types.void(out, types.intp, u, types.intp, types.intp, types.intp, a, types.intp), codegen

    def _add_half_squares(groups: int) -> Any:
        """:func:`add_half_squares` of ``groups`` vectors of rows, which share the loads of A."""

        def generate(
            typingctx: Any, out: Any, o: Any, A: Any, i: Any, m: Any, D: Any, X: Any, j: Any, stride: Any, c: Any
        ) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                out, o, A, i, m, D, X, j, stride, c = args
                out, A, X = (_start(context, builder, sig.args[n], args[n]) for n in (0, 2, 6))
                lanes = [ir.Constant(o.type, LANES * g) for g in range(groups)]
                zero = ir.Constant(_VECTOR, [0.0] * LANES)
                squares = [cgutils.alloca_once_value(builder, zero) for _ in lanes]
                totals = [cgutils.alloca_once_value(builder, zero) for _ in lanes]
                size = builder.add(D, ir.Constant(D.type, 1))
                with cgutils.for_range(builder, m) as rows:
                    first = builder.add(i, builder.mul(rows.index, size))
                    start = _broadcast(builder, A, first)
                    for total in totals:
                        builder.store(start, total)
                    first = builder.add(first, ir.Constant(D.type, 1))
                    with cgutils.for_range(builder, D) as loop:
                        factor = _broadcast(builder, A, builder.add(first, loop.index))
                        place = builder.add(j, builder.mul(loop.index, stride))
                        for total, lane in zip(totals, lanes, strict=True):
                            more = builder.fmul(factor, _load(builder, X, builder.add(place, lane)), flags=_FMA)
                            builder.store(builder.fadd(builder.load(total), more, flags=_FMA), total)
                    for total, square in zip(totals, squares, strict=True):
                        value = builder.load(total)
                        more = builder.fmul(value, value, flags=_FMA)
                        builder.store(builder.fadd(builder.load(square), more, flags=_FMA), square)
                half, constant = ir.Constant(_VECTOR, [0.5] * LANES), _broadcast(builder, A, c)
                for square, lane in zip(squares, lanes, strict=True):
                    place = builder.add(o, lane)
                    more = builder.fmul(builder.load(square), half, flags=_FMA)
                    more = builder.fadd(constant, more, flags=_FMA)
                    _store(builder, out, place, builder.fadd(_load(builder, out, place), more))
                return context.get_dummy_value()

            n = types.intp
            return types.void(out, n, A, n, n, n, X, n, n, n), codegen

        return generate

    add_half_squares = intrinsic(_add_half_squares(1))
    add_half_squares_wide = intrinsic(_add_half_squares(WIDE // LANES))

else:

    def _products(a: Any, j: Any, b: Any, k: Any, stride: Any, count: Any) -> Any:
        a, b = a.reshape(-1), b.reshape(-1)
        return sum((a[j + r * stride :][:LANES] * b[k + r * stride :][:LANES] for r in range(count)), np.zeros(LANES))

    def factor_below(L: Any, o: Any, V: Any, i: Any, q: Any, j: Any, k: Any, stride: Any, count: Any, d: Any) -> None:
        L[o : o + LANES] = (V[i : i + LANES] + q - _products(L, j, L, k, stride, count)) * L[d : d + LANES]

    def factor_pivot(L: Any, o: Any, V: Any, i: Any, q: Any, j: Any, stride: Any, count: Any, share: Any) -> None:
        whole = V[i : i + LANES] + q
        L[o : o + LANES] = 1.0 / np.sqrt(np.maximum(whole - _products(L, j, L, j, stride, count), share * whole))

    def solve_row(
        u: Any,
        o: Any,
        V: Any,
        i: Any,
        x: Any,
        k: Any,
        D: Any,
        minus: Any,
        s: Any,
        L: Any,
        j: Any,
        first: Any,
        stride: Any,
        count: Any,
        d: Any,
    ) -> None:
        total = -minus[s : s + LANES]
        for r in range(D):
            total = total + x.reshape(-1)[k + r] * V[i + r * stride :][:LANES]
        u[o : o + LANES] = (total - _products(L, j, u, first, stride, count)) * L[d : d + LANES]

    def half_squares(out: Any, o: Any, u: Any, i: Any, stride: Any, count: Any, a: Any, j: Any) -> None:
        out[o : o + LANES] = a[j : j + LANES] + 0.5 * _products(u, i, u, i, stride, count)

    def add_half_squares(
        out: Any, o: Any, A: Any, i: Any, m: Any, D: Any, X: Any, j: Any, stride: Any, c: Any, lanes: int = LANES
    ) -> None:
        """With rows of ``lanes`` numbers x_d = X[j+d*stride], out[o] += A[c] + the sum over r < m of (a_0 + sum over
        d < D of a_(1+d) x_d)^2 / 2, a = A[i+r*(D+1):]."""
        out, X = out.reshape(-1), X.reshape(-1)
        x = np.array([X[j + d * stride :][:lanes] for d in range(D)])
        own = A[i : i + m * (D + 1)].reshape(m, D + 1)
        out[o : o + lanes] += A[c] + 0.5 * np.square(own[:, :1] + own[:, 1:] @ x).sum(0)

    def add_half_squares_wide(*arguments: Any) -> None:
        add_half_squares(*arguments, WIDE)
