"""HIP kernels of ours, of the classic kinds, compiled against our headers and run on the emulator, against NumPy and PyTorch."""

from __future__ import annotations

import math
import re
import struct
from functools import reduce
from operator import and_, or_, xor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparse_mla
from sparse_mla import hip
from sparse_mla.build.disassemble import find_objdump
from sparse_mla.errors import AssemblyError, CompileError, InputError, KernelFault, ToolchainError

HEAD = "#include <hip/hip_runtime.h>\n"
rng = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def test_reduction() -> None:
    """A sum of each wave by shuffles, of the workgroup in LDS, of the grid by an atomic."""
    k = hip(
        HEAD
        + """
__global__ __launch_bounds__(256) void sum(const float* __restrict__ x, float* total, int n) {
  __shared__ float parts[4];
  float mine = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    mine += x[i];
  for (int offset = warpSize / 2; offset > 0; offset /= 2)
    mine += __shfl_down(mine, offset);
  if (threadIdx.x % warpSize == 0)
    parts[threadIdx.x / warpSize] = mine;
  __syncthreads();
  if (threadIdx.x == 0)
    atomicAdd(total, parts[0] + parts[1] + parts[2] + parts[3]);
}"""
    )
    x, total = floats(5000), np.zeros(1, np.float32)
    done = k[3, 256](x, total, 5000)
    assert total[0] == pytest.approx(x.sum(), rel=1e-4)
    assert (done.grid, done.block) == ((3, 1, 1), (256, 1, 1))


def test_scan_in_dynamic_lds() -> None:
    k = hip(
        HEAD
        + """
__global__ void scan(const int* x, int* out) {
  extern __shared__ int shared[];
  const int i = threadIdx.x, n = blockDim.x;
  int from = 0;
  shared[i] = x[blockIdx.x * n + i];
  __syncthreads();
  for (int step = 1; step < n; step *= 2) {
    const int to = n - from;
    shared[to + i] = shared[from + i] + (i >= step ? shared[from + i - step] : 0);
    from = to;
    __syncthreads();
  }
  out[blockIdx.x * n + i] = shared[from + i];
}"""
    )
    x = rng.integers(-100, 100, (3, 200), np.int32)
    out = np.zeros_like(x)
    k[3, 200](x, out, dynamic_lds=2 * 200 * 4)
    np.testing.assert_array_equal(out, x.cumsum(1))


def test_transpose() -> None:
    k = hip(
        HEAD
        + """
__global__ void transpose(const float* in, float* out, int width, int height) {
  __shared__ float tile[32][33];
  int x = blockIdx.x * 32 + threadIdx.x, y = blockIdx.y * 32 + threadIdx.y;
  for (int j = 0; j < 32; j += blockDim.y)
    if (x < width && y + j < height)
      tile[threadIdx.y + j][threadIdx.x] = in[(y + j) * width + x];
  __syncthreads();
  x = blockIdx.y * 32 + threadIdx.x, y = blockIdx.x * 32 + threadIdx.y;
  for (int j = 0; j < 32; j += blockDim.y)
    if (x < height && y + j < width)
      out[(y + j) * height + x] = tile[threadIdx.x][threadIdx.y + j];
}"""
    )
    x = torch.from_numpy(floats(50, 70))
    out = torch.zeros(70, 50)
    k[(3, 2), (32, 8)](x, out, 70, 50)
    assert torch.equal(out, x.T)


def test_histogram() -> None:
    k = hip(
        HEAD
        + """
__global__ void histogram(const unsigned char* x, unsigned* bins, int n) {
  __shared__ unsigned mine[256];
  mine[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    atomicAdd(&mine[x[i]], 1u);
  __syncthreads();
  if (mine[threadIdx.x])
    atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
}"""
    )
    x, bins = rng.integers(0, 256, 3000).astype(np.uint8), np.zeros(256, np.uint32)
    k[2, 256](x, bins, 3000)
    np.testing.assert_array_equal(bins, np.bincount(x, minlength=256))


def test_stencil() -> None:
    k = hip(
        HEAD
        + """
#define RADIUS 3
__constant__ float weight[2 * RADIUS + 1] = {0.1f, 0.2f, 0.3f, 0.4f, 0.3f, 0.2f, 0.1f};
__global__ void stencil(const float* in, float* out, int n) {
  __shared__ float tile[128 + 2 * RADIUS];
  const int at = blockIdx.x * blockDim.x + threadIdx.x, local = threadIdx.x + RADIUS;
  tile[local] = at < n ? in[at] : 0;
  if (threadIdx.x < RADIUS) {
    tile[local - RADIUS] = at >= RADIUS ? in[at - RADIUS] : 0;
    tile[local + 128] = at + 128 < n ? in[at + 128] : 0;
  }
  __syncthreads();
  float sum = 0;
  for (int i = -RADIUS; i <= RADIUS; ++i)
    sum += weight[i + RADIUS] * tile[local + i];
  if (at < n)
    out[at] = sum;
}"""
    )
    x, out = floats(500), np.zeros(500, np.float32)
    weight = np.array([0.1, 0.2, 0.3, 0.4, 0.3, 0.2, 0.1], np.float32)
    k[4, 128](x, out, 500)
    np.testing.assert_allclose(out, np.convolve(x, weight, "same"), rtol=1e-5, atol=1e-6)
    k.variable("weight").view(np.float32)[:] = [0, 0, 0, 2, 0, 0, 0]  # what hipMemcpyToSymbol would do
    k[4, 128](x, out, 500)
    np.testing.assert_array_equal(out, 2 * x)


def test_bitonic_sort() -> None:
    k = hip(
        HEAD
        + """
__global__ void sort(float* x) {
  __shared__ float s[512];
  const unsigned i = threadIdx.x;
  s[i] = x[i];
  for (unsigned size = 2; size <= blockDim.x; size *= 2)
    for (unsigned stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      const unsigned other = i ^ stride;
      const float a = s[i], b = s[other];
      __syncthreads();
      s[i] = ((i & size) == 0) == (i < other) ? fminf(a, b) : fmaxf(a, b);
    }
  __syncthreads();
  x[i] = s[i];
}"""
    )
    x = floats(512)
    expected = np.sort(x)
    k[1, 512](x)
    np.testing.assert_array_equal(x, expected)


def test_matmul_in_lds() -> None:
    k = hip(
        HEAD
        + """
constexpr int TILE = 16;
__global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float as[TILE][TILE], bs[TILE][TILE + 1];
  const int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
  float sum = 0;
  for (int start = 0; start < k; start += TILE) {
    const int x = start + threadIdx.x, y = start + threadIdx.y;
    as[threadIdx.y][threadIdx.x] = row < m && x < k ? a[row * k + x] : 0;
    bs[threadIdx.y][threadIdx.x] = y < k && column < n ? b[y * n + column] : 0;
    __syncthreads();
    for (int i = 0; i < TILE; ++i)
      sum += as[threadIdx.y][i] * bs[i][threadIdx.x];
    __syncthreads();
  }
  if (row < m && column < n)
    c[row * n + column] = sum;
}"""
    )
    a, b, c = floats(40, 50), floats(50, 30), np.zeros((40, 30), np.float32)
    k[(2, 3), (16, 16)](a, b, c, 40, 30, 50)
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


def test_atomics() -> None:
    k = hip(
        HEAD
        + """
template <typename T> __global__ void all(T* x, const T* v) {
  const T mine = v[threadIdx.x];
  atomicAdd(&x[0], mine), atomicSub(&x[1], mine), atomicMin(&x[2], mine), atomicMax(&x[3], mine);
  atomicAnd(&x[4], mine), atomicOr(&x[5], mine), atomicXor(&x[6], mine);
  if (threadIdx.x == 5)
    x[7] = atomicExch(&x[8], mine);
}
template __global__ void all<int>(int*, const int*);
template __global__ void all<unsigned>(unsigned*, const unsigned*);
template __global__ void all<unsigned long long>(unsigned long long*, const unsigned long long*);
__global__ void wrapping(unsigned* x) {
  __shared__ unsigned local;
  if (threadIdx.x == 0)
    local = 0;
  __syncthreads();
  atomicInc(&x[0], 9u), atomicDec(&x[1], 9u), atomicInc(&local, 6u);
  __syncthreads();
  x[2] = local;
}
__global__ void add(float* f, double* d) {
  atomicAdd(f, 0.5f), atomicAdd(d, 0.25), unsafeAtomicAdd(f + 1, 1.0f), atomicAdd_block(d + 1, 1.0);
}
__global__ void by_cas(int* x) {
  for (int old = x[0], seen; (seen = atomicCAS(x, old, old * 3 % 1000003 + 1)) != old; old = seen) {
  }
}"""
    )
    for kernel, dtype in ((k.all_int, np.int32), (k.all_unsigned_int, np.uint32), (k.all_unsigned_long_long, np.uint64)):
        v = rng.integers(-(1 << 29) if dtype == np.int32 else 0, 1 << 29, 64).astype(dtype)
        x = np.array([5, 5, 1 << 30, 0, -1 if dtype == np.int32 else 2**31 - 1, 1, 7, 0, 77]).astype(dtype)
        first = x.copy()
        kernel[1, 64](x, v)
        total, modulus = sum(v.tolist()), 2 ** (8 * v.itemsize)
        expected = [5 + total, 5 - total, min(v.tolist()), max(0, *v.tolist())]
        expected += [reduce(op, v.tolist(), int(start)) for op, start in zip((and_, or_, xor), first[4:7], strict=True)]
        assert [value % modulus for value in x.tolist()] == [value % modulus for value in (*expected, 77, int(v[5]))]
    wrapped = np.zeros(3, np.uint32)
    k.wrapping[1, 64](wrapped)
    assert wrapped.tolist() == [64 % 10, (0 - 64) % 10, 64 % 7]
    f, d = np.zeros(2, np.float32), np.zeros(2)
    k.add[2, 100](f, d)
    assert (f.tolist(), d.tolist()) == ([100.0, 200.0], [50.0, 200.0])
    x, value = np.array([1], np.int32), 1
    k.by_cas[2, 70](x)
    for _ in range(140):
        value = value * 3 % 1000003 + 1
    assert x[0] == value


def test_lanes() -> None:
    k = hip(
        HEAD
        + """
template <typename T> __global__ void shuffles(const T* x, T* out, int width) {
  const int i = threadIdx.x;
  out[i] = __shfl(x[i], 3, width), out[64 + i] = __shfl_up(x[i], 2u, width);
  out[128 + i] = __shfl_down(x[i], 5u, width), out[192 + i] = __shfl_xor_sync(~0ull, x[i], 6, width);
}
template __global__ void shuffles<float>(const float*, float*, int);
template __global__ void shuffles<double>(const double*, double*, int);
template __global__ void shuffles<short>(const short*, short*, int);
__global__ void votes(const int* x, unsigned long long* out) {
  const int i = threadIdx.x;
  out[i] = __ballot(x[i] > 0);
  out[64 + i] = __any(x[i] > 2) + 10 * __all(x[i] > -9) + 100 * __all(x[i]) + 1000 * __lane_id();
  if (i % 3 == 0)
    out[128 + i] = __activemask() + __popcll(__ballot(1));
}"""
    )
    lane = np.arange(64)
    for kernel, dtype in ((k.shuffles_float, np.float32), (k.shuffles_double, np.float64), (k.shuffles_short, np.int16)):
        for width in (64, 16, 8):
            x, out = rng.integers(-999, 999, 64).astype(dtype), np.zeros((4, 64), dtype)
            kernel[1, 64](x, out, width)
            start, end = lane // width * width, lane // width * width + width
            np.testing.assert_array_equal(out[0], x[start + 3])
            np.testing.assert_array_equal(out[1], x[np.where(lane - 2 < start, lane, lane - 2)])
            np.testing.assert_array_equal(out[2], x[np.where(lane + 5 >= end, lane, (lane + 5) % 64)])
            np.testing.assert_array_equal(out[3], x[lane ^ 6])
    sign: np.ndarray[Any, Any] = rng.integers(-3, 3, 64, np.int32)
    out = np.zeros((3, 64), np.uint64)
    k.votes[1, 64](sign, out)
    assert (out[0] == sum(1 << i for i in range(64) if sign[i] > 0)).all()
    np.testing.assert_array_equal(out[1], int((sign > 2).any()) + 10 + 100 * int((sign != 0).all()) + 1000 * lane)
    assert (out[2][::3] == sum(1 << i for i in range(0, 64, 3)) + 22).all()


def test_templates_and_types() -> None:
    k = hip(
        """
#include <hip/hip_bf16.h>
#include <hip/hip_fp16.h>
template <typename T, int TIMES> __global__ void axpy(T a, const T* x, T* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    for (int t = 0; t < TIMES; ++t)
      y[i] = a * x[i] + y[i];
}
template __global__ void axpy<float, 1>(float, const float*, float*, int);
template __global__ void axpy<double, 1>(double, const double*, double*, int);
template __global__ void axpy<int, 2>(int, const int*, int*, int);
template __global__ void axpy<__half, 1>(__half, const __half*, __half*, int);
template __global__ void axpy<__hip_bfloat16, 1>(__hip_bfloat16, const __hip_bfloat16*, __hip_bfloat16*, int);
"""
    )
    assert list(k.kernels) == ["axpy_float_1", "axpy_double_1", "axpy_int_2", "axpy__Float16_1", "axpy___bf16_1"]
    for name, dtype, tolerance in (
        ("float_1", torch.float32, 1e-6),
        ("double_1", torch.float64, 1e-15),
        ("int_2", torch.int32, 0),
        ("_Float16_1", torch.float16, 1e-3),
        ("__bf16_1", torch.bfloat16, 1e-2),
    ):
        x, y = (torch.from_numpy(4 * floats(100)).to(dtype) for _ in range(2))
        expected = (x.double() * (1 + int(name[-1] == "2")) * 3 + y.double()).to(dtype)
        k.kernels[f"axpy_{name}"][2, 64](3, x, y, 100)
        torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)


def test_small_floats() -> None:
    k = hip(
        """
#include <hip/hip_fp8.h>
__global__ void convert(const float* x, __hip_bfloat16* b, __half* h, __hip_fp8_e4m3* e4, __hip_fp8_e5m2* e5, float* back) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  b[i] = __float2bfloat16(x[i]), h[i] = __float2half(x[i]);
  e4[i] = __hip_fp8_e4m3(x[i]), e5[i] = __hip_fp8_e5m2(x[i]);
  back[4 * i] = __bfloat162float(b[i]), back[4 * i + 1] = __half2float(h[i]);
  back[4 * i + 2] = float(e4[i]), back[4 * i + 3] = float(e5[i]);
}
__global__ void packed(const float4* x, __hip_fp8x4_e4m3* out, float4* back, __half2* h) {
  const int i = threadIdx.x;
  out[i] = __hip_fp8x4_e4m3(x[i]);
  back[i] = float4(out[i]);
  h[i] = __hfma2(__floats2half2_rn(x[i].x, x[i].y), __half2half2(__half(2)), __half2{1, 2});
}"""
    )
    x = torch.from_numpy(np.concatenate([floats(250) * 100, [0, -0.0, 1e-9, 3e38, -500, 70000]]).astype(np.float32))
    b, h = torch.zeros(256, dtype=torch.bfloat16), torch.zeros(256, dtype=torch.float16)
    e4, e5 = torch.zeros(256, dtype=torch.float8_e4m3fn), torch.zeros(256, dtype=torch.float8_e5m2)
    back = torch.zeros(256, 4)
    k.convert[4, 64](x, b, h, e4, e5, back)
    expected = x.bfloat16(), x.half(), x.clamp(-448, 448).to(e4.dtype), x.clamp(-57344, 57344).to(e5.dtype)
    for i, (actual, wanted) in enumerate(zip((b, h, e4, e5), expected, strict=True)):
        assert torch.equal(actual.float(), wanted.float())
        assert torch.equal(back[:, i], wanted.float())
    quads, packed, halves = x.view(64, 4), torch.zeros(64, 4, dtype=torch.float8_e4m3fn), torch.zeros(64, 2, dtype=torch.float16)
    again = torch.zeros(64, 4)
    k.packed[1, 64](quads, packed.view(torch.uint8), again, halves)
    assert torch.equal(packed.float(), quads.clamp(-448, 448).to(packed.dtype).float())
    assert torch.equal(again, packed.float())
    pairs = quads[:, :2].half().double() * 2 + torch.tensor([1.0, 2.0])
    torch.testing.assert_close(halves.double(), pairs.half().double(), rtol=1e-3, atol=1e-3)


# name: what NumPy or Python calls it, values from, to
ANY, UNIT, POSITIVE = (-20.0, 20.0), (-1.0, 1.0), (1e-3, 50.0)
FUNCTIONS: dict[str, tuple[Any, tuple[float, float]]] = {
    "exp": (np.exp, ANY), "exp2": (np.exp2, ANY), "exp10": (lambda x: 10.0**x, ANY), "expm1": (np.expm1, UNIT),
    "log": (np.log, POSITIVE), "log2": (np.log2, POSITIVE), "log10": (np.log10, POSITIVE), "log1p": (np.log1p, POSITIVE),
    "sqrt": (np.sqrt, POSITIVE), "rsqrt": (lambda x: 1 / np.sqrt(x), POSITIVE), "cbrt": (np.cbrt, ANY),
    "sin": (np.sin, ANY), "cos": (np.cos, ANY), "tan": (np.tan, UNIT), "sinh": (np.sinh, ANY), "cosh": (np.cosh, ANY),
    "tanh": (np.tanh, ANY), "asin": (np.arcsin, UNIT), "acos": (np.arccos, UNIT), "atan": (np.arctan, ANY),
    "erf": (np.vectorize(math.erf), (-5.0, 5.0)), "erfc": (np.vectorize(math.erfc), (-5.0, 5.0)),
    "floor": (np.floor, ANY), "ceil": (np.ceil, ANY), "trunc": (np.trunc, ANY), "rint": (np.rint, ANY), "fabs": (np.abs, ANY),
}  # fmt: skip
TWO = {"pow": np.float_power, "atan2": np.arctan2, "fmod": np.fmod, "hypot": np.hypot, "fmax": np.fmax, "fmin": np.fmin}


@pytest.mark.parametrize("precision, suffix", [("float", "f"), ("double", "")])
def test_mathematics(precision: str, suffix: str) -> None:
    body = "\n".join(f"  out[{i} * n + i] = {name}{suffix}(x[{i} * n + i]);" for i, name in enumerate(FUNCTIONS))
    two = "\n".join(f"  out[{i} * n + i] = {name}{suffix}(x[i], x[n + i]);" for i, name in enumerate(TWO))
    source = f"__global__ void one(const {precision}* x, {precision}* out, int n) {{ const int i = threadIdx.x;\n{body}\n}}\n"
    source += f"__global__ void two(const {precision}* x, {precision}* out, int n) {{ const int i = threadIdx.x;\n{two}\n}}\n"
    k = hip("#include <cmath>\n" + source.replace("* n + i]", "* n + threadIdx.x]"))
    dtype = np.dtype(f"f{8 if precision == 'double' else 4}")
    x = np.stack([rng.uniform(low, high, 128) for _, (low, high) in FUNCTIONS.values()]).astype(dtype)
    out = np.zeros_like(x)
    k.one[1, 128](x, out, 128)
    tolerance = 4e-7 if precision == "float" else 2e-12
    for (name, (function, _)), given, actual in zip(FUNCTIONS.items(), x, out, strict=True):
        expected = function(given.astype(np.float64))
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance / 8, err_msg=name)
    x, out = rng.uniform(0.1, 9, (2, 128)).astype(dtype), np.zeros((len(TWO), 128), dtype)
    k.two[1, 128](x, out, 128)
    for (name, function2), actual in zip(TWO.items(), out, strict=True):
        np.testing.assert_allclose(actual, function2(*x.astype(np.float64)), rtol=tolerance, atol=tolerance, err_msg=name)


def test_printf(capsys: pytest.CaptureFixture[str]) -> None:
    k = hip(
        HEAD
        + r"""
__global__ void tell(const float* x, int n) {
  if (threadIdx.x == 3)
    printf("%s %d of %u: %5.2f %x %c %llu %p 100%%\n", "lane", -n, blockDim.x, x[3], -1, 'z', 1ull << 40, x);
  if (threadIdx.x < 2)
    printf("%i\n", threadIdx.x);
}
__global__ void flood() { printf("%d\n", threadIdx.x); }"""
    )
    k.tell[1, 64](np.full(64, 1.5, np.float32), 7)
    said = capsys.readouterr().out
    assert "lane -7 of 64:  1.50 ffffffff z 1099511627776 0x" in said
    assert said.splitlines()[1:] == ["0", "1"]
    k.flood[100, 1024]()
    said = capsys.readouterr().out
    assert said.count("\n") == (1 << 20) // 24 + 1
    assert said.endswith("and 1,409,024 did not fit\n")


def test_bits_dimensions_and_variables() -> None:
    k = hip(
        HEAD
        + """
__device__ int calls;
__device__ const char* const names[2] = {"ab\\n\\"", "\\x01;"};
__device__ int* const pointer = &calls;
static __device__ const short table[4] = {3, -1, 4, -1};
struct Pair { int a; float b; };
__global__ void where(int* out) {
  const int i = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int group = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[group * blockDim.x * blockDim.y * blockDim.z + i] = group * 1000 + i;
  if (i == 0)
    atomicAdd(&calls, 1);
}
__global__ void text(int* out) { out[threadIdx.x] = names[threadIdx.x / 4][threadIdx.x % 4 % 3] + 256 * *pointer; }
__global__ void bits(const unsigned* x, int* out, Pair pair) {
  const unsigned v = x[threadIdx.x];
  int* const mine = out + 8 * threadIdx.x;
  mine[0] = __popc(v), mine[1] = __clz(v), mine[2] = __ffs(v), mine[3] = __brev(v);
  mine[4] = __umulhi(v, 0x12345678u), mine[5] = __mulhi(int(v), 0x12345678);
  mine[6] = table[v % 4], mine[7] = pair.a + int(pair.b);
}"""
    )
    out = np.zeros((2 * 3 * 2, 4 * 5 * 6), np.int32)
    for _ in range(2):
        k.where[(2, 3, 2), (4, 5, 6)](out)
    np.testing.assert_array_equal(out, np.arange(12)[:, None] * 1000 + np.arange(120))
    assert k.variable("calls").view(np.int32)[0] == 24
    said = np.zeros(8, np.int32)
    k.text[1, 8](said)
    assert said.tolist() == [24 * 256 + ord(c) for c in "ab\na\x01;\0\x01"]
    x, out = rng.integers(0, 1 << 32, 64, np.uint32), np.zeros((64, 8), np.int32)
    x[0] = 0
    k.bits[1, 64](x, out, struct.pack("<if", 40, 2.5))
    for v, row in zip(x.tolist(), out.tolist(), strict=True):
        signed = v - (v >> 31 << 32)
        reverse = int(f"{v:032b}"[::-1], 2)
        expected = [v.bit_count(), 32 - v.bit_length(), (v & -v).bit_length(), reverse - (reverse >> 31 << 32)]
        high = v * 0x12345678 >> 32
        assert row == [*expected, high - (high >> 31 << 32), signed * 0x12345678 >> 32, (3, -1, 4, -1)[v % 4], 42]


PLAIN = HEAD + 'extern "C" __global__ void scale(float* x, float by, int n) { if (threadIdx.x < n) x[threadIdx.x] *= by; }'


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((np.ones(4, np.float32), 2), r"scale takes 3 arguments \(float\* x, float by, int n\), not 2"),
        ((np.ones(4, np.int32), 2, 4), r"x of scale is `float\* x`: give a float32 array, not int32"),
        ((torch.ones(4, dtype=torch.float64), 2, 4), "give a float32 array, not float64"),
        ((3, 2, 4), "give an array, a CPU tensor or None, not int"),
        ((np.ones(4, np.float32), "2", 4), "by of scale is `float by`: give a number, not str"),
        ((np.ones(4, np.float32), 2, 4.5), "4.5 is no integer"),
        ((np.ones(4, np.float32), 2, 1 << 40), "does not fit int32"),
        ((np.broadcast_to(np.float32(1), 4), 2, 4), "read-only"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hip(PLAIN)[1, 64](*arguments)


def test_wrong_launches_are_named() -> None:
    k = hip(PLAIN + "\n__global__ void other() {}")
    assert repr(k).startswith("<kernel scale(float* x, float by, int n): ")
    with pytest.raises(InputError, match="which kernel"):
        k[1, 64]()
    with pytest.raises(InputError, match=r"give scale\[grid, block\]"):
        k.scale[1]
    with pytest.raises(InputError, match="needs its shape"):
        k.scale(np.ones(4, np.float32), 2, 4)
    with pytest.raises(AttributeError, match="no kernel skale: there is scale, other"):
        k.skale  # noqa: B018
    with pytest.raises(InputError, match="no variable x: there is"):
        k.variable("x")


def test_a_saved_assembly_runs(tmp_path: Path) -> None:
    path = tmp_path / "scale.s"
    path.write_text(hip(PLAIN).code.text)
    x = np.arange(64, dtype=np.float32)
    k = sparse_mla.load_kernels(path)
    k.scale[1, 64](x, 2.0, 60)  # types are gone with the source: 2.0, not 2
    assert x[[1, 59, 60]].tolist() == [2, 118, 60]
    assert k.code.resources["scale"].vgpr > 0
    with pytest.raises(InputError, match="no file"):
        sparse_mla.load_kernels(tmp_path / "other.s")


ILLEGAL = """v_mfma_scale_f32_16x16x128_f8f6f4 v[0:3], v[16:23], v[32:39], v[48:51], a64, v80
v_add_f64 v[1:2], v[4:5], v[6:7]
v_add_f32_e64 v0, s1, s2
v_add_f32_e32 v0, |v1|, v2
v_mul_f32_e64 v0, 0x12345678, v1
s_add_u32 s0, 0x12345, 0x54321
s_add_u32 s0, v1, s2
s_load_dwordx2 s[1:2], s[4:5], 0x0
global_load_dwordx4 v[1:4], v[6:7], off
global_load_dword v0, v[2:3], off offset:4096
ds_read_b32 v0, v1 offset:65536
ds_read2_b32 v[0:1], v2 offset0:256
v_mfma_f32_16x16x32_bf16 v[1:4], v[8:11], v[12:15], v[1:4]
v_mfma_f32_16x16x32_bf16 a[0:3], v[8:11], v[12:15], v[0:3]
flat_load_dword v0, v[2:3] offset:-4
v_accvgpr_write_b32 v0, v1
v_add_f32_e32 a0, v1, v2
v_lshlrev_b64 v[0:1], s0, s[2:3]
s_mov_b32 s103, 0
s_mov_b64 s[1:2], 0
s_movk_i32 s0, 0x12345
v_cmp_eq_u32 s[1:2], v0, v1
v_pk_fma_f32 v[1:2], v[4:5], v[6:7], v[8:9]"""


@pytest.mark.parametrize("line", ILLEGAL.splitlines())
def test_forms_that_the_processor_lacks_are_refused(line: str, tmp_path: Path) -> None:
    """Tuples at odd registers, AGPRs where none may stand, two literals or scalars, numbers that do not fit their field."""
    path, text = tmp_path / "scale.s", hip(PLAIN).code.text
    path.write_text(text.replace("\ts_endpgm", f"\t{line}\n\ts_endpgm", 1))
    with pytest.raises(AssemblyError, match=re.escape(f"`{line}`")):
        sparse_mla.load_kernels(path)


def test_a_code_object_runs(tmp_path: Path) -> None:
    path, table = tmp_path / "scale.co", tmp_path / "table.co"
    path.write_bytes(hip(PLAIN).code.elf())
    table.write_bytes(
        hip(HEAD + "__constant__ int t[3] = {7, 8, 9}; __global__ void k(int* x) { *x = t[threadIdx.x]; }").code.elf()
    )
    try:
        k = sparse_mla.load_kernels(path)
    except ToolchainError:
        pytest.skip("no llvm-objdump for gfx950 here")
    x, again = np.arange(64, dtype=np.float32), np.arange(64, dtype=np.float32)
    done, direct = k.scale[1, 64](x, 2.0, 60), hip(PLAIN).scale[1, 64](again, 2.0, 60)
    assert x.tolist() == again.tolist()
    assert done.counts.tolist() == direct.counts.tolist()
    numbers = np.zeros(1, np.int32)
    sparse_mla.load_kernels(table).k[1, 1](numbers)
    assert numbers[0] == 7


def test_without_a_disassembler_the_error_says_where_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "any.hsaco"
    path.write_bytes(b"\x7fELF")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    find_objdump.cache_clear()
    with pytest.raises(ToolchainError, match="llvm-objdump 20 or newer for AMDGPU: ROCm has one"):
        sparse_mla.load_kernels(path)
    find_objdump.cache_clear()


@pytest.mark.parametrize("opt", ["-O0", "-O1", "-O2"])
def test_less_optimised_code_runs(opt: str) -> None:
    x = np.arange(64, dtype=np.float32)
    hip(PLAIN, opt=opt)[1, 64](x, 2, 60)
    assert x[[1, 59, 60]].tolist() == [2, 118, 60]


def test_the_cell_magic() -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell()  # type: ignore[no-untyped-call]
    shell.run_cell("%load_ext sparse_mla").raise_error()
    shell.run_cell(f"%%hip\n{PLAIN}").raise_error()
    x = np.ones(8, np.float32)
    shell.push({"x": x})
    shell.run_cell("scale[1, 64](x, 3, 8)").raise_error()
    assert x.tolist() == [3.0] * 8
    failed = shell.run_cell("%%hip\n__global__ void broken() { nonsense; }").error_in_exec
    assert isinstance(failed, CompileError)
    shown = "\n".join(failed._render_traceback_())
    assert "source.hip:1" in shown
    assert "nonsense" in shown
    assert "Traceback" not in shown


def test_an_lds_address_wraps_around() -> None:
    """`s[63 - threadIdx.x]` is a negative address and an offset that leads back."""
    k = hip(
        HEAD
        + """
__global__ void reverse(float* x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = s[63 - threadIdx.x];
}"""
    )
    x = np.arange(64, dtype=np.float32)
    k[1, 64](x)
    assert x.tolist() == list(range(63, -1, -1))
    with pytest.raises(KernelFault, match="LDS access outside"):
        k[1, 128](np.zeros(128, np.float32))
