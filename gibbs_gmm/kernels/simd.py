"""The few operations that a compiler does not vectorise by itself, written on vectors of eight doubles.

LLVM cannot prove that two NumPy arrays do not overlap, so short loops that read one array and add to another stay
scalar. These intrinsics say "load eight, then store eight" and leave the choice of registers (AVX-512, AVX2, NEON, ...)
to LLVM. Offsets count doubles from the start of a C-contiguous array of any shape and are not checked. With the
compiler off the same operations run on NumPy slices.
"""

import struct
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from gibbs_gmm.kernels._jit import JIT

LANES = 8
HALF = 4

if JIT:
    _I32 = ir.IntType(32)
    _VECTOR = ir.VectorType(ir.DoubleType(), LANES)
    _UNDEFINED = ir.Constant(_VECTOR, ir.Undefined)
    _SMALL = ir.VectorType(ir.DoubleType(), HALF)
    _FIRST_LANE = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    _FMA = ("contract",)

    def _start(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
        return context.make_array(array_type)(context, builder, array).data

    def _address(builder: Any, start: Any, offset: Any) -> Any:
        return builder.bitcast(builder.gep(start, [offset]), _VECTOR.as_pointer())

    def _load(builder: Any, start: Any, offset: Any) -> Any:
        return builder.load(_address(builder, start, offset), align=8)

    def _store(builder: Any, start: Any, offset: Any, value: Any) -> None:
        builder.store(value, _address(builder, start, offset), align=8)

    def _load_half(builder: Any, start: Any, offset: Any) -> Any:
        return builder.load(builder.bitcast(builder.gep(start, [offset]), _SMALL.as_pointer()), align=8)

    def _store_half(builder: Any, start: Any, offset: Any, value: Any) -> None:
        builder.store(value, builder.bitcast(builder.gep(start, [offset]), _SMALL.as_pointer()), align=8)

    def _shuffle(builder: Any, vector: Any, lanes: list[int]) -> Any:
        return builder.shuffle_vector(vector, _UNDEFINED, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))

    def _broadcast(builder: Any, start: Any, offset: Any) -> Any:
        one = builder.load(builder.gep(start, [offset]))
        one = builder.insert_element(_UNDEFINED, one, _I32(0))
        return builder.shuffle_vector(one, _UNDEFINED, _FIRST_LANE)

    @intrinsic
    def wide_vectors(typingctx: Any) -> Any:
        """Use vectors as wide as the processor's in the kernel that calls this.

        LLVM prefers half of them on some processors with AVX-512, as old ones ran slower for having used all. A kernel
        that is copied into another takes the other's preference. It is an attribute of functions, and changes nothing
        where vectors are narrower.
        """

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            for attribute in ("prefer-vector-width", "min-legal-vector-width"):
                set.add(builder.function.attributes, f'"{attribute}"="512"')  # llvmlite knows no attributes with values
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def part_of_callers(typingctx: Any) -> Any:
        """Copy the kernel that calls this into those that call it: a workspace takes as long to hand over as a loop."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            builder.function.attributes.add("alwaysinline")
            return context.get_dummy_value()

        return types.void(), generate

    @intrinsic
    def fetch(typingctx: Any, X: Any, i: Any, d: Any) -> Any:
        """Have X[i, d] on its way into the second-level cache. Any indices will do."""

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            X, i, d = args
            array = context.make_array(sig.args[0])(context, builder, X)
            address = cgutils.get_item_pointer(context, builder, sig.args[0], array, [i, d], wraparound=False)
            kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(ir.IntType(8)), _I32, _I32, _I32])
            prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            address = builder.bitcast(address, ir.PointerType(ir.IntType(8)))
            builder.call(prefetch, [address, _I32(0), _I32(2), _I32(1)])
            return context.get_dummy_value()

        return types.void(X, types.intp, types.intp), generate

    @intrinsic
    def bits_to_float(typingctx: Any, bits: Any) -> Any:
        """The double whose bit pattern is this uint64."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.DoubleType())

        return types.float64(types.uint64), codegen

    @intrinsic
    def float_to_bits(typingctx: Any, value: Any) -> Any:
        """The bit pattern of a double, as uint64."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.IntType(64))

        return types.uint64(types.float64), codegen

    @intrinsic
    def subtract_row(typingctx: Any, out: Any, i: Any, a: Any, j: Any, b: Any, k: Any) -> Any:
        """out[i:i+8] = a[j:j+8] - b[k:k+8]."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, i, a, j, b, k = args
            t_out, _, t_a, _, t_b, _ = sig.args
            left = _load(builder, _start(context, builder, t_a, a), j)
            right = _load(builder, _start(context, builder, t_b, b), k)
            _store(builder, _start(context, builder, t_out, out), i, builder.fsub(left, right))
            return context.get_dummy_value()

        return types.void(out, types.intp, a, types.intp, b, types.intp), codegen

    @intrinsic
    def add_moments(typingctx: Any, out: Any, i: Any, stride: Any, a: Any, j: Any, b: Any, k: Any) -> Any:
        """With d = a[j:j+8] - b[k:k+8]: out[i:i+8] += d and out[i+stride:i+stride+8] += d^2."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, i, stride, a, j, b, k = args
            t_out, _, _, t_a, _, t_b, _ = sig.args
            out = _start(context, builder, t_out, out)
            left = _load(builder, _start(context, builder, t_a, a), j)
            d = builder.fsub(left, _load(builder, _start(context, builder, t_b, b), k))
            squares = builder.add(i, stride)
            total, total_squares = _load(builder, out, i), _load(builder, out, squares)
            _store(builder, out, i, builder.fadd(total, d))
            total_squares = builder.fadd(total_squares, builder.fmul(d, d, flags=_FMA), flags=_FMA)
            _store(builder, out, squares, total_squares)
            return context.get_dummy_value()

        args = (out, types.intp, types.intp, a, types.intp, b, types.intp)
        return types.void(*args), codegen

    @intrinsic
    def add_rows(typingctx: Any, out: Any, i: Any, V: Any, j: Any, stride: Any) -> Any:
        """out[i:i+8] += the sum over r < 8 of V[j+r*stride : j+r*stride+8]."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, i, V, j, stride = args
            out = _start(context, builder, sig.args[0], out)
            V = _start(context, builder, sig.args[2], V)
            total = _load(builder, V, j)
            for _ in range(1, LANES):
                j = builder.add(j, stride)
                total = builder.fadd(total, _load(builder, V, j))
            _store(builder, out, i, builder.fadd(_load(builder, out, i), total))
            return context.get_dummy_value()

        return types.void(out, types.intp, V, types.intp, types.intp), codegen

    @intrinsic
    def add_outer(typingctx: Any, S: Any, o: Any, V: Any, i: Any, j: Any, stride: Any) -> Any:
        """S[o+q*stride+l] += sum over r < 8 of V[i+q+r*stride] * V[j+l+r*stride], for q < 4 and l < 8."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            S, o, V, i, j, stride = args
            S = _start(context, builder, sig.args[0], S)
            V = _start(context, builder, sig.args[2], V)
            zero = ir.Constant(stride.type, 0)
            down = [zero]
            for _ in range(1, LANES):
                down.append(builder.add(down[-1], stride))
            rows = [_load(builder, V, builder.add(j, step)) for step in down]
            sums = []
            for q in range(4):
                total = _load(builder, S, builder.add(o, down[q]))
                iq = builder.add(i, ir.Constant(i.type, q))
                for r in range(LANES):
                    factor = _broadcast(builder, V, builder.add(iq, down[r]))
                    total = builder.fadd(total, builder.fmul(rows[r], factor, flags=_FMA), flags=_FMA)
                sums.append(total)
            for q in range(4):
                _store(builder, S, builder.add(o, down[q]), sums[q])
            return context.get_dummy_value()

        return types.void(S, types.intp, V, types.intp, types.intp, types.intp), codegen

    @intrinsic
    def subtract_half(typingctx: Any, out: Any, i: Any, a: Any, j: Any, b: Any, k: Any) -> Any:
        """out[i:i+4] = a[j:j+4] - b[k:k+4]."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, i, a, j, b, k = args
            t_out, _, t_a, _, t_b, _ = sig.args
            left = _load_half(builder, _start(context, builder, t_a, a), j)
            right = _load_half(builder, _start(context, builder, t_b, b), k)
            _store_half(builder, _start(context, builder, t_out, out), i, builder.fsub(left, right))
            return context.get_dummy_value()

        return types.void(out, types.intp, a, types.intp, b, types.intp), codegen

    @intrinsic
    def add_halves(typingctx: Any, S: Any, o: Any, s: Any, p: Any, V: Any, j: Any) -> Any:
        """For the eight rows x_r = V[j+4r : j+4r+4]: S[o+8q : o+8q+4] += sum_r x_rq x_r, q < 4; s[p:p+4] += sum_r x_r.

        Two rows share a vector.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            S, o, s, p, V, j = args
            S = _start(context, builder, sig.args[0], S)
            s = _start(context, builder, sig.args[2], s)
            V = _start(context, builder, sig.args[4], V)
            pairs = [_load(builder, V, builder.add(j, ir.Constant(j.type, LANES * r))) for r in range(HALF)]
            for q in range(HALF + 1):
                total = None
                for pair in pairs:
                    if q == HALF:
                        term = pair
                    else:
                        term = builder.fmul(pair, _shuffle(builder, pair, [q] * 4 + [q + 4] * 4), flags=_FMA)
                    total = term if total is None else builder.fadd(total, term, flags=_FMA)
                low, high = _shuffle(builder, total, [0, 1, 2, 3]), _shuffle(builder, total, [4, 5, 6, 7])
                start, at = (s, p) if q == HALF else (S, builder.add(o, ir.Constant(o.type, LANES * q)))
                _store_half(builder, start, at, builder.fadd(_load_half(builder, start, at), builder.fadd(low, high)))
            return context.get_dummy_value()

        return types.void(S, types.intp, s, types.intp, V, types.intp), codegen

    @intrinsic
    def add_four(typingctx: Any, out: Any, i: Any, V: Any, j0: Any, j1: Any, j2: Any, j3: Any) -> Any:
        """out[i:i+8] += the sum over the four offsets j of V[j:j+8]."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, i, V, *offsets = args
            out = _start(context, builder, sig.args[0], out)
            V = _start(context, builder, sig.args[2], V)
            a, b, c, d = (_load(builder, V, j) for j in offsets)
            total = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
            _store(builder, out, i, builder.fadd(_load(builder, out, i), total))
            return context.get_dummy_value()

        return types.void(out, types.intp, V, *(types.intp,) * 4), codegen

    @intrinsic
    def add_ratios(typingctx: Any, out: Any, i: Any, V: Any, j: Any, a: Any, k: Any, numbers: Any, o: Any) -> Any:
        """out[i:i+8] += p (q + V[j:j+8] - r a[k:k+8]) / (s + t a[k:k+8]), and p where both are below 1e-200.

        p, q, r, s, t = numbers[o:o+5].
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            out, i, V, j, a, k, numbers, o = args
            out = _start(context, builder, sig.args[0], out)
            numbers = _start(context, builder, sig.args[6], numbers)
            p, q, r, s, t = (_broadcast(builder, numbers, builder.add(o, ir.Constant(o.type, n))) for n in range(5))
            a = _load(builder, _start(context, builder, sig.args[4], a), k)
            least = ir.Constant(_VECTOR, [1e-200] * LANES)
            above = builder.fadd(q, _load(builder, _start(context, builder, sig.args[2], V), j))
            above = builder.fadd(builder.fsub(above, builder.fmul(r, a)), least)
            below = builder.fadd(builder.fadd(s, builder.fmul(t, a)), least)
            ratio = builder.fmul(p, builder.fdiv(above, below))
            _store(builder, out, i, builder.fadd(_load(builder, out, i), ratio))
            return context.get_dummy_value()

        args = (out, types.intp, V, types.intp, a, types.intp, numbers, types.intp)
        return types.void(*args), codegen

    def _everywhere(builder: Any, value: Any) -> Any:
        one = builder.insert_element(_UNDEFINED, value, _I32(0))
        return builder.shuffle_vector(one, _UNDEFINED, _FIRST_LANE)

    def _sum_weighted(builder: Any, w: Any, o: Any, n: Any, factors: Any) -> Any:
        """The sum over r < n, a multiple of eight, of w[o+r] times X[i+r] - a for each (X, i, a) of ``factors``."""
        total = cgutils.alloca_once_value(builder, ir.Constant(_VECTOR, [0.0] * LANES))
        factors = [(X, i, _everywhere(builder, a)) for X, i, a in factors]
        with cgutils.for_range_slice(builder, n.type(0), n, n.type(LANES), n.type) as (index, _):
            value = _load(builder, w, builder.add(o, index))
            for X, i, a in factors[:-1]:
                value = builder.fmul(value, builder.fsub(_load(builder, X, builder.add(i, index)), a))
            X, i, a = factors[-1]
            last = builder.fsub(_load(builder, X, builder.add(i, index)), a)
            more = builder.fmul(value, last, flags=_FMA)
            builder.store(builder.fadd(builder.load(total), more, flags=_FMA), total)
        sums = [builder.extract_element(builder.load(total), _I32(lane)) for lane in range(LANES)]
        while len(sums) > 1:
            sums = [builder.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        return sums[0]

    @intrinsic
    def sum_deviations(typingctx: Any, w: Any, o: Any, X: Any, i: Any, a: Any, n: Any) -> Any:
        """The sum over r < n, a multiple of eight, of w[o+r] (X[i+r] - a)."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            w, o, X, i, a, n = args
            w, X = _start(context, builder, sig.args[0], w), _start(context, builder, sig.args[2], X)
            return _sum_weighted(builder, w, o, n, [(X, i, a)])

        return types.float64(w, types.intp, X, types.intp, types.float64, types.intp), codegen

    @intrinsic
    def sum_products(typingctx: Any, w: Any, o: Any, X: Any, i: Any, a: Any, j: Any, b: Any, n: Any) -> Any:
        """The sum over r < n, a multiple of eight, of w[o+r] (X[i+r] - a) (X[j+r] - b)."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            w, o, X, i, a, j, b, n = args
            w, X = _start(context, builder, sig.args[0], w), _start(context, builder, sig.args[2], X)
            return _sum_weighted(builder, w, o, n, [(X, i, a), (X, j, b)])

        numbers = (types.intp, types.float64)
        return types.float64(w, types.intp, X, *numbers, *numbers, types.intp), codegen

else:

    def wide_vectors() -> None:
        pass

    def part_of_callers() -> None:
        pass

    def fetch(X: Any, i: Any, d: Any) -> None:
        pass

    def bits_to_float(bits: Any) -> Any:
        return struct.unpack("<d", struct.pack("<Q", int(bits)))[0]

    def float_to_bits(value: Any) -> Any:
        return np.uint64(struct.unpack("<Q", struct.pack("<d", float(value)))[0])

    def subtract_row(out: Any, i: Any, a: Any, j: Any, b: Any, k: Any) -> None:
        out.reshape(-1)[i : i + LANES] = a.reshape(-1)[j : j + LANES] - b.reshape(-1)[k : k + LANES]

    def add_moments(out: Any, i: Any, stride: Any, a: Any, j: Any, b: Any, k: Any) -> None:
        d = a.reshape(-1)[j : j + LANES] - b.reshape(-1)[k : k + LANES]
        out.reshape(-1)[i : i + LANES] += d
        out.reshape(-1)[i + stride : i + stride + LANES] += d * d

    def add_rows(out: Any, i: Any, V: Any, j: Any, stride: Any) -> None:
        for r in range(LANES):
            out.reshape(-1)[i : i + LANES] += V.reshape(-1)[j + r * stride :][:LANES]

    def add_outer(S: Any, o: Any, V: Any, i: Any, j: Any, stride: Any) -> None:
        S, V = S.reshape(-1), V.reshape(-1)
        for q in range(4):
            for r in range(LANES):
                S[o + q * stride :][:LANES] += V[i + q + r * stride] * V[j + r * stride :][:LANES]

    def subtract_half(out: Any, i: Any, a: Any, j: Any, b: Any, k: Any) -> None:
        out.reshape(-1)[i : i + HALF] = a.reshape(-1)[j : j + HALF] - b.reshape(-1)[k : k + HALF]

    def add_halves(S: Any, o: Any, s: Any, p: Any, V: Any, j: Any) -> None:
        rows = V.reshape(-1)[j : j + LANES * HALF].reshape(LANES, HALF)
        for q in range(HALF):
            S.reshape(-1)[o + LANES * q :][:HALF] += rows[:, q] @ rows
        s.reshape(-1)[p : p + HALF] += rows.sum(0)

    def add_four(out: Any, i: Any, V: Any, j0: Any, j1: Any, j2: Any, j3: Any) -> None:
        a, b, c, d = (V.reshape(-1)[j : j + LANES] for j in (j0, j1, j2, j3))
        out.reshape(-1)[i : i + LANES] += (a + b) + (c + d)

    def add_ratios(out: Any, i: Any, V: Any, j: Any, a: Any, k: Any, numbers: Any, o: Any) -> None:
        p, q, r, s, t = numbers.reshape(-1)[o : o + 5]
        above = q + V.reshape(-1)[j : j + LANES] - r * a.reshape(-1)[k : k + LANES]
        ratio = (above + 1e-200) / (s + t * a.reshape(-1)[k : k + LANES] + 1e-200)
        out.reshape(-1)[i : i + LANES] += p * ratio

    def sum_deviations(w: Any, o: Any, X: Any, i: Any, a: Any, n: Any) -> Any:
        return w.reshape(-1)[o : o + n] @ (X.reshape(-1)[i : i + n] - a)

    def sum_products(w: Any, o: Any, X: Any, i: Any, a: Any, j: Any, b: Any, n: Any) -> Any:
        X = X.reshape(-1)
        return w.reshape(-1)[o : o + n] @ ((X[i : i + n] - a) * (X[j : j + n] - b))
