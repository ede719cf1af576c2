"""Traces against what hand-written kernels do: lines, LDS phases and conflicts, blocks in order, any number of host threads."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_mla.errors import InputError
from sparse_mla.gfx950 import accesses as at_once
from sparse_mla.gfx950 import trace as tracing
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import Launched, Memory, launch
from tests.gfx950.test_launch import PROLOGUE, kernel

LDS = 32_768
LANE = np.arange(64)


def traced(
    body: str, *arrays: NDArray[Any], arch: str = "gfx950", grid: int = 1, block: int = 64, lds: int = LDS, **options: Any
) -> Launched:
    """Pointers to the arrays are the arguments; s2 is the workgroup's number."""
    k = kernel(body, lds=lds, kernarg=8 * len(arrays), ids="x")
    k.arch = arch
    memory = Memory()
    pointers = [memory.map(x, "array") for x in arrays]
    return launch(decode(k, trace=True), (grid,), (block,), struct.pack(f"<{len(pointers)}Q", *pointers), memory, **options)


class Access(NamedTuple):
    """One executed memory instruction, as at_once.Accesses says of all."""

    pc: int
    phases: int
    extra: int
    lanes: int
    lines: NDArray[Any]


def accesses(done: Launched, workgroup: int = 0, wave: int = 0) -> list[Access]:
    """Those of one wave."""
    assert done.trace is not None
    every, waves = at_once.accesses(done.trace), done.trace.offsets.shape[1] - 1
    lines = np.split(every.lines, np.cumsum(every.count)[:-1])
    rows = zip(every.wave, zip(every.pc, every.phases, every.extra, every.lanes, lines, strict=True), strict=True)
    assert (np.diff(every.wave) >= 0).all()
    return [Access(*row) for number, row in rows if number == workgroup * waves + wave]


def on_lds(instruction: str, addresses: NDArray[Any], exec_mask: int = 2**64 - 1, **options: Any) -> Launched:
    """One LDS instruction whose address is v2, from a table of byte addresses."""
    body = PROLOGUE + "global_load_dword v2, v1, s[6:7]\ns_waitcnt vmcnt(0)\n"
    body += f"s_mov_b32 exec_lo, {exec_mask & 0xFFFFFFFF:#x}\ns_mov_b32 exec_hi, {exec_mask >> 32:#x}\n{instruction}\n"
    return traced(body, addresses.astype(np.uint32), **options)


# Lanes that share a phase of ds_read_b128 and of ds_read_b96, as published for the MI355X; the upper half of the wave likewise.
B128 = [[*range(4), *range(12, 16), *range(20, 28)], [*range(4, 12), *range(16, 20), *range(28, 32)]]
B96 = [
    [*range(4), *range(20, 24)],
    [*range(4, 8), *range(16, 20)],
    [*range(8, 12), *range(28, 32)],
    [*range(12, 16), *range(24, 28)],
]


def halves(phases: list[list[int]]) -> list[list[int]]:
    return [[lane + up for lane in phase] for up in (0, 32) for phase in phases]


def runs(n: int) -> list[list[int]]:
    return [list(range(first, first + n)) for first in range(0, 64, n)]


FORMS = {  # instruction, dwords a lane, banks, phases
    "ds_read_b32 v4, v2": (1, 64, runs(64)),
    "ds_read_b64 v[4:5], v2": (2, 64, runs(32)),
    "ds_read_b64_tr_b16 v[4:5], v2": (2, 64, runs(32)),
    "ds_read_b96 v[4:6], v2": (3, 32, halves(B96)),
    "ds_read_b128 v[4:7], v2": (4, 64, halves(B128)),
    "ds_write_b32 v2, v4": (1, 32, runs(32)),
    "ds_write_b64 v2, v[4:5]": (2, 32, runs(16)),
    "ds_write_b128 v2, v[4:7]": (4, 32, runs(8)),
}


def expected(addresses: NDArray[Any], form: tuple[int, int, list[list[int]]], exec_mask: int) -> tuple[int, int]:
    """Phases and those due to conflicts: a bank gives one dword a phase, to any number of lanes."""
    dwords, banks, phases = form
    extra = 0
    for phase in phases:
        wanted = {int(addresses[lane]) // 4 + k for lane in phase if exec_mask >> lane & 1 for k in range(dwords)}
        extra += max([sum(d % banks == bank for d in wanted) for bank in range(banks)] + [1]) - 1
    return len(phases) + extra, extra


@pytest.mark.parametrize("instruction", FORMS)
def test_lds_phases_follow_from_addresses_width_and_exec(instruction: str) -> None:
    form = FORMS[instruction]
    rng, size = np.random.default_rng(3), 4 * form[0]
    every, some = 2**64 - 1, int(rng.integers(0, 2**63))
    tables = {"consecutive": LANE * size, "one": LANE * 0, "column": LANE * 256, "random": rng.integers(0, LDS // 16, 64) * 16,
              "rows": LANE * 528 % LDS // 16 * 16}  # fmt: skip
    for name, addresses in tables.items():
        for mask in (every,) if "_tr_" in instruction else (every, some, 1 << 40, 0):
            *_, access = accesses(on_lds(instruction, addresses, mask))
            assert (access.phases, access.extra) == expected(addresses, form, mask), (name, mask)
            assert access.lanes == mask.bit_count()
            assert not len(access.lines)
    *_, plain = accesses(on_lds(instruction, tables["consecutive"]))
    assert plain.extra == (8 if "b96" in instruction else 0), "consecutive data conflict only in b96"


@pytest.mark.parametrize("ways", [1, 2, 4, 8, 16, 32, 64])
def test_a_ladder_of_conflicts(ways: int) -> None:
    """`ways` lanes at a time want different dwords of one bank."""
    *_, access = accesses(on_lds("ds_read_b32 v4, v2", (LANE // ways + LANE % ways * 64) * 4))
    assert (access.phases, access.extra) == (ways, ways - 1)
    done = on_lds("ds_read_b32 v4, v2", (LANE // ways + LANE % ways * 64) * 4, banks=True)
    assert done.trace is not None
    assert done.trace.bank_conflicts is not None
    assert done.trace.bank_conflicts[-2].tolist() == [ways - 1] * (64 // ways) + [0] * (64 - 64 // ways)


def test_one_instruction_with_other_addresses_and_lanes_each_time() -> None:
    """Strides of 1, 2, 4, 8 dwords with all lanes, then of 8 with eight lanes, shifted by a dword."""
    body = """v_lshlrev_b32_e32 v2, 2, v0
s_mov_b32 s4, 0
again:
ds_read_b32 v4, v2
v_lshlrev_b32_e32 v2, 1, v2
s_add_u32 s4, s4, 1
s_cmp_lt_u32 s4, 4
s_cbranch_scc1 again
s_cmp_gt_u32 s4, 4
s_cbranch_scc1 done
v_lshlrev_b32_e32 v2, 5, v0
v_add_u32_e32 v2, 4, v2
s_mov_b32 exec_lo, 0xff
s_mov_b32 exec_hi, 0
s_branch again
done:
"""
    assert [(x.phases, x.extra, x.lanes) for x in accesses(traced(body))] == [
        (1, 0, 64), (2, 1, 64), (4, 3, 64), (8, 7, 64), (1, 0, 8)
    ]  # fmt: skip


def test_two_addresses_atomics_and_the_crossbar() -> None:
    *_, access = accesses(on_lds("ds_read2_b32 v[4:5], v2 offset1:64", LANE * 4))
    assert (access.phases, access.extra) == (2, 0)
    *_, access = accesses(on_lds("ds_write2st64_b64 v2, v[4:5], v[6:7] offset1:2", LANE * 8))
    assert (access.phases, access.extra) == (8, 0)
    *_, access = accesses(on_lds("ds_add_u32 v2, v4", LANE * 0))
    assert (access.phases, access.extra) == (64, 62), "additions to one dword go one by one"
    *_, access = accesses(on_lds("ds_bpermute_b32 v4, v2, v1", LANE * 256))
    assert access.extra == 0


def test_gfx942_has_32_banks() -> None:
    *_, access = accesses(on_lds("ds_read_b32 v4, v2", LANE * 4, arch="gfx942"))
    assert (access.phases, access.extra) == (2, 0)
    *_, access = accesses(on_lds("ds_read_b64 v[4:5], v2", LANE * 8, arch="gfx942"))
    assert (access.phases, access.extra) == (4, 0)


def lines_of(body: str, *arrays: NDArray[Any]) -> list[list[int]]:
    """Lines of the accesses after the prologue's load, from the first line of the first array."""
    done = traced(PROLOGUE + body, *arrays)
    assert done.trace is not None
    zero = (Memory().map(np.zeros(1), "x") - done.trace.base) // 128
    assert [access.pc for access in accesses(done)] == np.flatnonzero(done.trace.accesses["space"]).tolist()
    return [[int(line) - zero for line in access.lines] for access in accesses(done)[1:]]


def test_lines_of_vector_accesses() -> None:
    data = np.zeros(1 << 16, np.uint32)
    body = """global_load_dword v2, v1, s[6:7]
v_lshlrev_b32_e32 v3, 2, v1
global_load_dwordx4 v[4:7], v3, s[6:7] offset:64
v_sub_u32_e32 v3, 252, v1
v_lshlrev_b32_e32 v3, 7, v3
global_store_dword v3, v2, s[6:7]
s_mov_b64 exec, 5
global_load_dwordx2 v[4:5], v1, s[6:7] offset:124
s_mov_b64 exec, 0
global_load_dword v2, v1, s[6:7]
"""
    assert lines_of(body, data) == [
        [0, 1],
        list(range(9)),  # 1,024 bytes that begin in the middle of a line
        [4 * lane for lane in range(63, -1, -1)],  # in the order of the lanes
        [0, 1],
        [],
    ]


def test_lines_of_scratch_are_the_waves_own_and_interleaved() -> None:
    body = "v_mov_b32 v2, 8\nscratch_store_dwordx2 v2, v[4:5], off\n"
    k = kernel(body, kernarg=0, ids="x")
    k.descriptor["private_segment_fixed_size"] = 64
    done = launch(decode(k, trace=True), (2,), (128,), b"", Memory())
    seen = {(g, w): accesses(done, g, w)[0].lines.tolist() for g in (0, 1) for w in (0, 1)}
    for lines in seen.values():
        assert sorted(lines) == list(range(lines[0], lines[0] + 4)), "2 dwords of 64 lanes: 512 bytes"
        assert lines[0] % 2 == 0
    assert len({line for lines in seen.values() for line in lines}) == 16


def test_lines_of_buffers_leave_out_what_the_range_check_refuses() -> None:
    body = """s_mov_b32 s4, s6
s_mov_b32 s5, s7
s_mov_b32 s6, 200
s_mov_b32 s7, 0x27000
s_mov_b32 s8, 0
s_mov_b32 m0, 0
buffer_load_dword v2, v1, s[4:7], s8 offen
v_lshlrev_b32_e32 v3, 2, v1
buffer_load_dwordx4 v[4:7], v3, s[4:7], s8 offen offset:64
buffer_load_dword v3, s[4:7], s8 offen lds
"""
    assert lines_of(body, np.zeros(1 << 12, np.uint32)) == [[0, 1], [0, 1], [0, 1]]


def test_lines_of_typed_buffers_and_of_clocks() -> None:
    body = """s_mov_b32 s4, s6
s_mov_b32 s5, s7
s_mov_b32 s6, 4096
s_mov_b32 s7, 0x27000
buffer_load_format_xy v[2:3], v1, s[4:7], 0 offen
s_memtime s[10:11]
tbuffer_load_format_x v2, v1, s[4:7], 0 format:[BUF_DATA_FORMAT_32,BUF_NUM_FORMAT_FLOAT] offen
"""
    assert lines_of(body, np.zeros(1 << 12, np.uint32)) == [[0, 1, 2], [0, 1]]


def test_lines_of_scalar_loads_have_64_bytes() -> None:
    done = traced(PROLOGUE + "s_load_dwordx16 s[16:31], s[6:7], 0x20\n", np.zeros(64, np.uint32))
    assert done.trace is not None
    *_, access = accesses(done)
    zero = (Memory().map(np.zeros(1), "x") - done.trace.base) // 64
    assert (access.lines - zero).tolist() == [0, 1]


LOOP = """v_readfirstlane_b32 s8, v0
s_lshr_b32 s8, s8, 6
s_add_u32 s8, s8, s2
again:
v_lshlrev_b32_e32 v2, 2, v0
ds_write_b32 v2, v0
s_barrier
s_sub_u32 s8, s8, 1
s_cmp_ge_i32 s8, 0
s_cbranch_scc1 again
s_endpgm
"""


def test_blocks_in_order_with_their_accesses_on_any_number_of_host_threads() -> None:
    """Wave w of workgroup g goes round 1 + g + w times."""
    once = traced(LOOP, grid=9, block=192, threads=1)
    assert once.trace is not None
    store, entered = 4, 0  # its number; a record of it: no lines, 2 phases, all 64 lanes
    for g in range(9):
        for w in range(3):
            first, last = once.trace.offsets[g, w : w + 2].tolist()
            assert once.trace.streams[first:last].tolist() == [0] + [1, 2 << 8 | 63 << 24, 2] * (1 + g + w) + [3]
            assert [x[:4] for x in accesses(once, g, w)] == [(store, 2, 0, 64)] * (1 + g + w)
            entered += 2 + 2 * (1 + g + w)
    assert entered == once.counts[:, [first for first, _ in once.trace.blocks]].sum()
    for threads in (2, 3):
        again = traced(LOOP, grid=9, block=192, threads=threads)
        assert again.trace is not None
        np.testing.assert_array_equal(again.trace.streams, once.trace.streams)
        np.testing.assert_array_equal(again.trace.offsets, once.trace.offsets)


def test_a_trace_over_its_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "LIMIT_BYTES", 1 << 18)
    body = "s_mov_b32 s8, 100000\nagain:\ns_sub_u32 s8, s8, 1\ns_cmp_lg_u32 s8, 0\ns_cbranch_scc1 again\n"
    with pytest.raises(InputError, match=r"more than 262,144 bytes; trace fewer workgroups"):
        traced(body, grid=4)


def test_untraced_launches_have_none_and_count_the_same() -> None:
    plain = launch(kernel(LOOP, lds=LDS, kernarg=0, ids="x"), (3,), (192,), b"", Memory())
    assert plain.trace is None
    np.testing.assert_array_equal(plain.counts, traced(LOOP, grid=3, block=192).counts)
