"""Whole kernels: control flow, barriers, grids, host threads, counts, faults, and engines built for other processors."""

from __future__ import annotations

import platform
import struct
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparse_mla.build import compile_hip
from sparse_mla.errors import InputError, KernelFault
from sparse_mla.gfx950 import machine, native
from sparse_mla.gfx950.assembly import Kernel, parse
from sparse_mla.gfx950.isa import ROWS
from sparse_mla.gfx950.machine import Launched, Memory, launch
from tests.gfx950 import test_matrix, test_rows
from tests.gfx950.harness import FULL, KINDS, Written, compare, halves, random_registers, random_words
from tests.gfx950.statements import TAKEN
from tests.gfx950.statements_formats import NO_EFFECT, SALU, VALU

Ints = NDArray[np.int32]


def kernel(body: str, lds: int = 0, kernarg: int = 8, ids: str = "", end: str = "s_endpgm") -> Kernel:
    """A kernel k of hand-written lines, which stand at lines 1, 2, ... of hand.s. s[0:1] points at the arguments."""
    head = [".type k,@function", '.file 0 "." "hand.s"', "k:"]
    lines = [part for n, line in enumerate(body.splitlines(), 1) for part in (f".loc 0 {n} 1", line)]
    descriptor = ["user_sgpr_kernarg_segment_ptr 1", f"kernarg_size {kernarg}", f"group_segment_fixed_size {lds}"]
    descriptor += [f"system_sgpr_workgroup_id_{d} 1" for d in ids]
    tail = [end, ".amdhsa_kernel k", *(f".amdhsa_{x}" for x in descriptor), ".end_amdhsa_kernel"]
    return parse("\n".join(head + lines + tail))["k"]


# s[6:7] points at the output, v1 is 4 * the work-item's number. The workgroup's number is in s2 and up, if asked for.
PROLOGUE = """s_load_dwordx2 s[6:7], s[0:1], 0x0
v_lshlrev_b32_e32 v1, 2, v0
s_waitcnt lgkmcnt(0)
"""


def run(k: Kernel, out: Any, grid: tuple[int, ...] = (1,), block: tuple[int, ...] = (64,), **options: Any) -> Launched:
    memory = Memory()
    return launch(k, grid, block, struct.pack("<Q", memory.map(out, "out")), memory, **options)


@pytest.mark.parametrize("name", [name for name in NO_EFFECT if name != "s_endpgm"])
def test_waits_and_hints_change_nothing(name: str) -> None:
    before = random_registers(np.random.default_rng(1), 0x1234)
    compare(name, before, before.run(f"{name} {NO_EFFECT[name]}"))


def test_endpgm_ends() -> None:
    before = random_registers(np.random.default_rng(1))
    compare("s_endpgm", before, before.run("s_endpgm\nv_mov_b32 v0, 0\ns_mov_b32 s0, 0"))


@pytest.mark.parametrize("name", TAKEN)
def test_branches(name: str) -> None:
    for scc, vcc, exec_mask in ((0, 0, FULL), (1, 1 << 63, FULL), (0, 1, 0), (1, 0, 1 << 32)):
        out = np.zeros(1, np.int32)
        low_high = zip(("vcc_lo", "vcc_hi", "exec_lo", "exec_hi"), (*halves(vcc), *halves(exec_mask)), strict=True)
        masks = "\n".join(f"s_mov_b32 {register}, {x:#x}" for register, x in low_high)
        code = kernel(
            PROLOGUE
            + f"""{masks}
s_mov_b32 s4, 1
s_cmp_eq_u32 s4, {scc}
{name} taken
s_mov_b32 s4, 2
taken:
s_mov_b64 exec, 1
v_mov_b32_e32 v1, 0
v_mov_b32_e32 v2, s4
global_store_dword v1, v2, s[6:7]"""
        )
        run(code, out)
        assert out[0] == (1 if TAKEN[name](scc, vcc, exec_mask) else 2), (scc, vcc, exec_mask)


LOOP = (
    PROLOGUE
    + """v_readfirstlane_b32 s4, v0
s_lshr_b32 s4, s4, 6
s_add_u32 s4, s4, s2
s_add_u32 s4, s4, 1
v_mov_b32_e32 v2, 0
again:
v_add_u32_e32 v2, 3, v2
s_sub_u32 s4, s4, 1
s_cmp_lg_u32 s4, 0
s_cbranch_scc1 again
global_store_dword v1, v2, s[6:7]"""
)


def test_counts_are_exact() -> None:
    """Each wave goes round 1 + its number + the workgroup's times: a hand count of every instruction."""
    code, out = kernel(LOOP, ids="x"), np.zeros(192, np.int32)
    rounds = np.array([sum(1 + wave + group for group in range(5)) for wave in range(3)])
    expected = np.array([[5] * 8 + [rounds[wave]] * 4 + [5] * 2 for wave in range(3)])
    for threads in (1, 2, 3):
        done = run(code, out, (5,), (192,), threads=threads)
        np.testing.assert_array_equal(done.counts, expected)
        assert done.wave_instructions == 3 * 10 * 5 + 4 * rounds.sum()


MIX = """#include "gfx950.h"
extern "C" __global__ __launch_bounds__(256, 1) void mix(const int* in, int* out, int n) {
  __shared__ int tile[256];
  const int t = threadIdx.x, group = blockIdx.x + 3 * (blockIdx.y + 2 * blockIdx.z);
  tile[t] = in[256 * group + t];
  __syncthreads();
  const int other = tile[255 - t];
  int sum = 0;
  if (other & 1)
    for (int i = 0; i < (other & 15); ++i) sum += tile[(t + 7 * i) & 255];
  else
    sum = -other * t;
  if (t < n) out[256 * group + t] = sum;
}
"""


def mix_expected(given: Ints, n: int) -> Ints:
    out = np.full_like(given, -1)
    for group, row in enumerate(given):
        for t in range(n):
            other = int(row[255 - t])
            out[group, t] = sum(int(row[(t + 7 * i) & 255]) for i in range(other & 15)) if other & 1 else -other * t
    return out


def run_mix(threads: int, n: int = 200, rows: int = 12) -> tuple[Ints, Ints, Launched]:
    """The compiled kernel on a grid of 3 x 2 x 2: a barrier, waves that diverge, lanes that leave early."""
    given = np.random.default_rng(2).integers(-1000, 1000, (12, 256), dtype=np.int32)
    out, memory = np.full_like(given, -1)[:rows], Memory()
    kernarg = struct.pack("<QQi", memory.map(given, "in"), memory.map(out, "out"), n)
    done = launch(parse(compile_hip(MIX).text)["mix"], (3, 2, 2), (256,), kernarg, memory, threads=threads)
    return given, out, done


def test_compiled_kernel_on_any_number_of_host_threads() -> None:
    given, one, first = run_mix(1)
    np.testing.assert_array_equal(one, mix_expected(given, 200))
    for threads in (2, 5):
        _, out, done = run_mix(threads)
        np.testing.assert_array_equal(out, one)
        np.testing.assert_array_equal(done.counts, first.counts)
    barrier = [i for i, x in enumerate(first.kernel.instructions) if x.mnemonic == "s_barrier"]
    np.testing.assert_array_equal(first.counts[:, barrier], 12)
    with pytest.raises(KernelFault, match="past the end of out") as caught:  # the last workgroup has nowhere to store
        run_mix(1, rows=11)
    line = 1 + MIX.splitlines().index("  if (t < n) out[256 * group + t] = sum;")
    assert (caught.value.workgroup, caught.value.source_line) == ((2, 1, 1), f"source.hip:{line}")


def test_work_item_numbers_and_a_wave_that_is_not_full() -> None:
    """v0 packs x, y, z in ten bits each; lanes beyond the workgroup are inactive."""
    out = np.full(128, -1, np.int32)
    code = kernel(
        PROLOGUE
        + """v_mbcnt_lo_u32_b32 v2, -1, 0
v_mbcnt_hi_u32_b32 v2, -1, v2
v_and_b32 v3, 0x3ff, v0
v_bfe_u32 v4, v0, 10, 10
v_bfe_u32 v5, v0, 20, 10
v_mad_u32_u24 v4, v4, 7, v3
v_mad_u32_u24 v4, v5, 35, v4
v_lshlrev_b32 v4, 2, v4
global_store_dword v4, v0, s[6:7]"""
    )
    run(code, out, (1,), (7, 5, 3))
    z, y, x = np.unravel_index(np.arange(105), (3, 5, 7))
    np.testing.assert_array_equal(out[:105], x | y << 10 | z << 20)
    np.testing.assert_array_equal(out[105:], -1)


TICKETS = """
#include "gfx950.h"
extern "C" __global__ void tickets(int* groups, int* waves, int* next) {
  __shared__ int lds[2];
  const bool leads = threadIdx.x % 64 == 0;
  if (threadIdx.x == 0)
    groups[atomicAdd(next, 1)] = blockIdx.x + gridDim.x * blockIdx.y;
  if (threadIdx.x < 2)
    lds[threadIdx.x] = 0;
  for (int round = 0; round < 2; ++round) {
    __syncthreads();
    if (leads)
      waves[((blockIdx.x + gridDim.x * blockIdx.y) * 2 + round) * 4 + atomicAdd(&lds[round], 1)] = threadIdx.x / 64;
  }
}
"""


def test_a_seed_shuffles_workgroups_and_waves() -> None:
    """Each takes a ticket when it runs. Every one runs once, in an order that the seed decides."""
    code = parse(compile_hip(TICKETS).text)["tickets"]
    seen: dict[int | None, bytes] = {}
    for seed in (None, 0, 1, 2, 0):
        groups, waves, following = np.full(35, -1, np.int32), np.full((35, 2, 4), -1, np.int32), np.zeros(1, np.int32)
        memory = Memory()
        kernarg = struct.pack("<QQQ", *(memory.map(x, "out") for x in (groups, waves, following)))
        launch(code, (7, 5), (256,), kernarg, memory, threads=1, seed=seed)
        np.testing.assert_array_equal(np.sort(groups), np.arange(35))
        np.testing.assert_array_equal(np.sort(waves), np.broadcast_to(np.arange(4), waves.shape))
        order = groups.tobytes() + waves.tobytes()
        assert seen.setdefault(seed, order) == order
        orders = {tuple(x) for x in waves.reshape(-1, 4)}
        assert len(orders) == 1 if seed is None else len(orders) > 15  # of 24
    assert len(set(seen.values())) == len(seen)
    np.testing.assert_array_equal(np.frombuffer(seen[None], np.int32)[:35], np.arange(35))


def test_barrier_counts_only_waves_that_live() -> None:
    """Wave 0 ends at once; the others pass two barriers, and see what was written before them."""
    code = kernel(
        PROLOGUE
        + """v_readfirstlane_b32 s4, v0
s_cmp_eq_u32 s4, 0
s_cbranch_scc1 end
ds_write_b32 v1, v0
s_barrier
v_xor_b32 v3, 0xc0, v0
v_lshlrev_b32 v3, 2, v3
ds_read_b32 v2, v3
s_barrier
s_waitcnt lgkmcnt(0)
global_store_dword v1, v2, s[6:7]
end:
s_nop 0""",
        lds=1024,
    )
    out = np.full(256, -7, np.int32)
    run(code, out, block=(256,))
    np.testing.assert_array_equal(out[:64], -7)
    np.testing.assert_array_equal(out[64:192], np.arange(64, 192) ^ 0xC0)


def test_writes_go_to_the_callers_arrays() -> None:
    code = kernel(PROLOGUE + "v_mov_b32_e32 v2, 5\nglobal_store_dword v1, v2, s[6:7]")
    whole = np.zeros(128, np.int32)
    run(code, whole[32:])
    assert whole.tolist() == [0] * 32 + [5] * 64 + [0] * 32
    tensor = torch.zeros(64, dtype=torch.int32)
    run(code, tensor)
    assert tensor.eq(5).all()
    with pytest.raises(InputError, match="meta"):
        run(code, torch.zeros(64, device="meta"))
    strided = np.zeros(128, np.int32)  # mapped from its first to its last byte, gaps included
    run(code, strided[::2])
    np.testing.assert_array_equal(strided, np.repeat([5, 0], 64))


FAULTY = (
    PROLOGUE
    + """global_load_dword v2, v1, s[6:7]
v_readfirstlane_b32 s5, v0
s_cmp_lt_u32 s5, 128
s_cbranch_scc1 end
s_movk_i32 s8, 131
v_cmp_eq_u32 vcc, s8, v0
s_and_saveexec_b64 s[10:11], vcc
INSTRUCTION
end:
s_nop 0"""
)


@pytest.mark.parametrize("instruction, words, offset", [
    ("global_load_dword v2, v1, s[6:7] offset:4095", "3619 bytes past the end of out (1000 bytes)", 131 * 4 + 4095),
    ("global_store_dwordx4 v1, v[4:7], s[6:7] offset:468", "16 bytes", 131 * 4 + 468),  # its last bytes only
    ("global_load_dword v2, v1, s[6:7] offset:-4096", "past the end of before (80 bytes)", 131 * 4 - 4096),
    ("global_load_ushort v2, v1, s[6:7] offset:475", "2 bytes", 131 * 4 + 475),
    ("s_load_dword s9, s[6:7], 0x1000", "3096 bytes past the end of out", 0x1000),
    ("ds_read_b32 v2, v1", "4 bytes at byte 524 of 512", 131 * 4),
    ("ds_write_b64 v1, v[4:5] offset:9", "8 bytes at byte 533 of 512", 131 * 4 + 9),
])  # fmt: skip
def test_faults_say_where(instruction: str, words: str, offset: int) -> None:
    """Lane 3 of the third wave touches what it may not, after an access that was fine."""
    code = kernel(FAULTY.replace("INSTRUCTION", instruction), lds=512, ids="xyz")
    out, memory = np.zeros(250, np.int32), Memory()
    memory.map(np.zeros(10), "before")
    base = memory.map(out, "out")
    memory.map(np.zeros(10), "behind")
    with pytest.raises(KernelFault) as caught:
        launch(code, (2, 2, 3), (192,), struct.pack("<Q", base), memory, threads=1)
    fault, lane = caught.value, 0 if instruction.startswith("s_") else 3
    assert (fault.kernel, fault.source_line, fault.instruction) == ("k", "hand.s:11", instruction)
    assert (fault.workgroup, fault.wave, fault.lane) == ((0, 0, 0), 2, lane)
    assert fault.address == offset + (0 if instruction.startswith("ds") else base)
    assert words in fault.reason
    for part in ("k: ", "hand.s:11", instruction, "(0, 0, 0)", fault.reason):
        assert part in str(fault)


def test_fault_in_a_later_workgroup() -> None:
    body = PROLOGUE + "s_lshl_b32 s8, s4, 8\nv_add_u32 v1, s8, v1\nglobal_store_dword v1, v0, s[6:7]"
    with pytest.raises(KernelFault) as caught:
        run(kernel(body, ids="xyz"), np.zeros(128, np.int32), (2, 2, 3), threads=2)
    assert caught.value.workgroup is not None
    assert caught.value.workgroup[2] == 2
    assert (caught.value.wave, caught.value.lane) == (0, 0)


def test_a_kernel_without_an_end() -> None:
    with pytest.raises(KernelFault, match="ran past the last instruction") as caught:
        run(kernel(PROLOGUE + "s_branch over\ns_endpgm\nover:\ns_nop 0", end=""), np.zeros(1, np.int32), threads=1)
    assert caught.value.source_line == "hand.s:7"


def test_a_wave_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "BUDGET", 1000)
    with pytest.raises(KernelFault, match="budget") as caught:
        run(kernel(PROLOGUE + "round:\ns_nop 0\ns_branch round"), np.zeros(1, np.int32), threads=1)
    assert caught.value.source_line in ("hand.s:5", "hand.s:6")
    assert (caught.value.workgroup, caught.value.wave, caught.value.lane) == ((0, 0, 0), 0, None)


@pytest.mark.parametrize("options, words", [
    ({"block": (1025,)}, "1025 work-items"), ({"block": (32, 32, 2)}, "2048 work-items"), ({"block": (0,)}, "block"),
    ({"grid": (1, 2, 3, 4)}, "grid"), ({"grid": (0, 1)}, "grid"), ({"dynamic_lds": 163_841}, "LDS"),
])  # fmt: skip
def test_launches_that_no_device_takes(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(kernel(PROLOGUE), np.zeros(1, np.int32), **options)
    with pytest.raises(InputError, match="takes 16 bytes of arguments, not 8"):
        run(kernel(PROLOGUE, kernarg=16), np.zeros(1, np.int32))


def sweep() -> list[NDArray[Any]]:
    """What every computing row makes of random registers, bit by bit, and a compiled kernel's output."""
    rng, results = np.random.default_rng(9), []
    for name in [*SALU, *VALU]:
        row, before = ROWS[name], random_registers(rng)
        text, at = Written(modifiers="bitop3:0x1d" if "bitop3" in name else "").place(row)
        for x in row.operands:
            (letter, first), words = at[x.name], random_words(rng, x)
            if x.value in KINDS:
                words &= np.uint32(0xBFFFBFFF)  # no NaN: which of two comes out depends on the host
            before.file(letter)[first : first + len(words)] = words[:, 0] if letter == "s" else words
        after = before.run(text)
        results.append(np.concatenate([after.vgpr.ravel(), after.agpr.ravel(), after.sgpr, [after.scc]]))
    return [*results, run_mix(2)[1]]


def host_has(flag: str) -> bool:
    return platform.machine() in ("x86_64", "AMD64") and flag in native.host_cpu().split()


@pytest.mark.parametrize("target, flag", [("-march=x86-64-v3", "avx2"), ("-march=x86-64", "sse2")])
def test_engines_for_other_processors_agree(target: str, flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not host_has(flag):
        pytest.skip(f"this host has no {flag}")
    here = sweep()
    other = native.Engine(native.build_engine((target,)))
    monkeypatch.setattr(native, "engine", lambda: other)
    for name, mine, theirs in zip([*SALU, *VALU, "mix"], here, sweep(), strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
    for name in [name for name in VALU if name.endswith("f32") and "cmp" not in name]:  # not every host has fma
        test_rows.test_vector(name)
    for name in test_matrix.DENSE:  # which NaN comes out depends on the host, and on nothing else
        test_matrix.test_matrix(name, "any")


def test_engine_compiles_without_warnings_for_arm() -> None:
    """-Werror is among the flags."""
    assert native.build_engine(("--target=aarch64-linux-gnu",)).is_file()
