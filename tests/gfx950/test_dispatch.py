"""What the host hands to a kernel: packed arguments, hidden ones, the dispatch packet, scratch."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import torch

from sparse_mla.build import compile_hip
from sparse_mla.errors import InputError, KernelFault
from sparse_mla.gfx950.assembly import Kernel, parse
from sparse_mla.gfx950.dispatch import fill_hidden, pack_arguments
from sparse_mla.gfx950.machine import Memory, launch

MANY = """(const int* in, float s, char c, Pair p, double d, float* none, bool f, unsigned short h, long n) {
  const int quarter = __builtin_bit_cast(long, d) == 0x4002000000000000;  // 2.25
  if (threadIdx.x == 0) *p.a = s + (in[0] + c + p.b + quarter + f + h + (int)n + (none == nullptr));
}"""


def kernel(source: str) -> Kernel:
    """Kernel k of a parameter list and a body."""
    head = '#include "gfx950.h"\nstruct Pair { float* a; int b; };\nextern "C" __global__ void k'
    return parse(compile_hip(head + source).text)["k"]


def run(source: str, *values: Any, grid: tuple[int, ...] = (1,), block: tuple[int, ...] = (64,), **options: Any) -> None:
    code, memory = kernel(source), Memory()
    launch(code, grid, block, pack_arguments(code, values, memory), memory, **options)


def test_arguments_are_read_from_the_metadata() -> None:
    explicit = kernel(MANY).explicit_arguments
    places = [(0, 8), (8, 4), (12, 1), (16, 16), (32, 8), (40, 8), (48, 1), (50, 2), (56, 8)]
    assert [(a.offset, a.size) for a in explicit] == places
    assert [a.value_kind for a in explicit] == ["global_buffer"] + 4 * ["by_value"] + ["global_buffer"] + 3 * ["by_value"]


@pytest.mark.parametrize("numbers", [
    (0.5, -3, 2.25, True, 60000, 1 << 20),
    (np.float32(0.5), np.int8(-3), np.float64(2.25), np.bool_(True), np.uint16(60000), np.int32(1 << 20)),
])  # fmt: skip
def test_arguments_of_every_kind(numbers: tuple[Any, ...]) -> None:
    s, c, d, f, h, n = numbers
    out, memory, code = torch.zeros(1), Memory(), kernel(MANY)
    pair = struct.pack("<Qi4x", memory.map(out, "out"), 7)
    values = [np.array([40], np.int32), s, c, pair, d, None, f, h, n]
    launch(code, (1,), (64,), pack_arguments(code, values, memory), memory)
    assert out.item() == 0.5 + 40 - 3 + 7 + 1 + 1 + 60000 + (1 << 20) + 1


@pytest.mark.parametrize("at, value, words", [
    (0, 1.5, "an array, a tensor or None"), (1, "x", "a float"), (2, 300, "does not fit"), (3, b"short", "has 16 bytes, not 5"),
    (4, np.zeros(1), "by_value"), (7, -40000, "does not fit"), (1, None, "by_value"),
])  # fmt: skip
def test_arguments_that_do_not_fit(at: int, value: Any, words: str) -> None:
    values: list[Any] = [None, 1.0, 1, bytes(16), 1.0, None, 1, 1, 1]
    values[at] = value
    with pytest.raises(InputError, match=words):
        pack_arguments(kernel(MANY), values, Memory())
    with pytest.raises(InputError, match="takes 9 arguments, not 2"):
        pack_arguments(kernel(MANY), [1, 2], Memory())


def test_hidden_arguments_by_their_names() -> None:
    code = kernel("(int* out) { if (out) out[0] = __builtin_amdgcn_workgroup_size_x(); }")
    segment = fill_hidden(code, bytes(8), (5, 6, 1), (32, 4, 1), 96)
    got = {a.value_kind: int.from_bytes(segment[a.offset :][: a.size], "little") for a in code.arguments if a.hidden}
    wanted = {"block_count_x": 5, "block_count_y": 6, "block_count_z": 1,
              "group_size_x": 32, "group_size_y": 4, "group_size_z": 1,
              "remainder_x": 0, "remainder_y": 0, "remainder_z": 0, "grid_dims": 2, "global_offset_x": 0}  # fmt: skip
    assert {name: got[f"hidden_{name}"] for name in wanted} == wanted
    with pytest.raises(InputError, match="takes 8 to 264 bytes of arguments, not 7"):
        fill_hidden(code, bytes(7), (1, 1, 1), (1, 1, 1), 0)


def test_ordinary_hip_code_asks_for_its_shape() -> None:
    """blockDim and gridDim from hidden arguments, the grid's size in work-items from the dispatch packet, dynamic LDS."""
    out = np.zeros((3 * 2 * 32 * 3, 8), np.int32)
    source = """(int* out) {
      extern __shared__ int dynamic[];
      const int t = threadIdx.x + blockDim.x * threadIdx.y, n = blockDim.x * blockDim.y;
      dynamic[t] = 100 * t;
      __syncthreads();
      int* row = out + 8 * (n * (blockIdx.x + gridDim.x * blockIdx.y) + t);
      row[0] = blockDim.x; row[1] = blockDim.y; row[2] = blockDim.z; row[3] = gridDim.x; row[4] = gridDim.y;
      row[5] = __builtin_amdgcn_grid_size_x(); row[6] = __builtin_amdgcn_grid_size_y(); row[7] = dynamic[n - 1 - t];
    }"""
    run(source, out, grid=(3, 2), block=(32, 3), dynamic_lds=96 * 4)
    assert (out[:, :7] == (32, 3, 1, 3, 2, 96, 6)).all()
    np.testing.assert_array_equal(out[:, 7].reshape(6, 96), np.broadcast_to(100 * np.arange(95, -1, -1), (6, 96)))


PRIVATE = """(const int* in, int* out, int n, int rounds) {
  extern __shared__ int shared[];
  int mine[32];
  for (int i = 0; i < 32; ++i) mine[i] = in[i] * (threadIdx.x + 1);
  shared[threadIdx.x] = 7 * threadIdx.x;
  __syncthreads();
  int* where[3] = {mine, shared, out + 1024};
  int* p = where[(threadIdx.x + n) % 3];          // LDS, scratch and a buffer in one instruction
  p[threadIdx.x & 31] += 1;
  for (int i = 0; i < rounds; ++i) mine[(n + i) & 31] ^= i;
  __syncthreads();
  out[threadIdx.x + blockDim.x * blockIdx.x] = p[threadIdx.x & 31] + mine[n & 31];
}"""


def test_scratch_and_flat_addresses() -> None:
    """A private array, and pointers of which each lane's leads to another kind of memory."""
    given, out, n = np.arange(32, dtype=np.int32) * 3 + 1, np.zeros(2048, np.int32), 5
    code = kernel(PRIVATE)
    assert code.descriptor["private_segment_fixed_size"] >= 128
    assert {ins.mnemonic.split("_")[0] for ins in code.instructions} >= {"scratch", "flat"}
    run(PRIVATE, given, out, n, 0, grid=(1,), block=(96,), dynamic_lds=96 * 4)
    t = np.arange(96)
    private, shared, buffer = given[None] * (t[:, None] + 1), 7 * t, np.zeros(32, int)
    for lane in t:
        kind, at = (lane + n) % 3, lane & 31
        (private[lane], shared, buffer)[kind][at] += 1
    expected = [(private[lane], shared, buffer)[(lane + n) % 3][lane & 31] + private[lane, n] for lane in t]
    # Lanes that share an element of LDS or of the buffer race; those that have theirs alone must be right.
    sharing = [sum((o + n) % 3 == (lane + n) % 3 and o & 31 == lane & 31 for o in t) for lane in t]
    alone = [(lane + n) % 3 == 0 or sharing[lane] == 1 for lane in t]
    np.testing.assert_array_equal(out[:96][alone], np.array(expected)[alone])


def test_scratch_ends() -> None:
    words = r"scratch access outside the lane's private memory: 4 bytes at byte \d+ of \d+"
    source = "(int* out, int n) { int x[64]; for (int i = 0; i < 64; ++i) x[i] = out[i]; out[0] = x[n] + x[n / 2]; }"
    with pytest.raises(KernelFault, match=words):
        run(source, np.zeros(64, np.int32), 100_000)


def test_a_dynamic_stack_has_its_room() -> None:
    """Bytes below what the compiler knows of: there where it says that it does not know."""
    code = parse("""
\t.type k,@function
k:
\ts_mov_b32 s4, 16380
\tscratch_load_dword v1, off, s4
\ts_endpgm
\t.amdhsa_kernel k
\t.amdhsa_private_segment_fixed_size 64
\t.amdhsa_uses_dynamic_stack 1
\t.end_amdhsa_kernel""")["k"]
    launch(code, (1,), (64,), b"", Memory())
    code.descriptor["uses_dynamic_stack"] = 0
    with pytest.raises(KernelFault, match="4 bytes at byte 16380 of 64"):
        launch(code, (1,), (64,), b"", Memory())
