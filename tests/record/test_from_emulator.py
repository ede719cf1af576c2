"""A small kernel whose counts are known beforehand, recorded; and the identities that every recording has."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from sparse_mla.gfx950.timing import CAUSES, Timing, device, simulate
from sparse_mla.record import store
from sparse_mla.record.counters import COUNTERS
from sparse_mla.record.from_emulator import from_timing
from sparse_mla.record.schema import Recording
from tests.gfx950.test_launch import PROLOGUE
from tests.gfx950.test_trace import traced

GROUPS, TURNS = 3, 5
# Two waves a workgroup. Each lane loads its dword (a wave: two lines), and in every turn writes it to an LDS column of its own
# 128 bytes apart (32 lanes of a phase on one bank: 64 passes instead of 2) and multiplies.
BODY = (
    PROLOGUE
    + f"""global_load_dword v2, v1, s[6:7]
v_and_b32_e32 v3, 63, v0
v_lshlrev_b32_e32 v3, 7, v3
s_mov_b32 s8, {TURNS}
s_waitcnt vmcnt(0)
again:
ds_write_b32 v3, v2
v_mfma_f32_16x16x32_bf16 v[4:7], v[8:11], v[12:15], 0
s_sub_u32 s8, s8, 1
s_cmp_lg_u32 s8, 0
s_cbranch_scc1 again
s_waitcnt lgkmcnt(0)
s_barrier
global_store_dword v1, v2, s[6:7]"""
)


@cache
def timing(launches: int = 1) -> Timing:
    done = [traced(BODY, np.arange(128, dtype=np.uint32), grid=GROUPS, block=128, lds=8192) for _ in range(launches)]
    return simulate(done, device("mi355x"))


@cache
def recording(launches: int = 1) -> Recording:
    return from_timing(timing(launches), kernel="hand", case={"rows": 1}, result={"split_k": 1})


def counter(name: str) -> tuple[float, str]:
    (row,) = recording()["counters"].query(f"name == '{name}'").itertuples()
    return row.value, row.kind


def test_counts_are_those_of_the_program() -> None:
    waves = 2 * GROUPS
    expected = {
        "SQ_WAVES": 1, "SQ_INSTS": 3 + 5 + 5 * TURNS + 3 + 1, "SQ_INSTS_VALU": 3 + TURNS, "SQ_INSTS_MFMA": TURNS,
        "SQ_INSTS_VALU_MFMA_MOPS_BF16": TURNS * 32, "SQ_INSTS_SALU": 1 + 2 * TURNS, "SQ_INSTS_BRANCH": TURNS, "SQ_INSTS_SMEM": 1,
        "SQ_INSTS_LDS_STORE": TURNS, "SQ_INSTS_LDS_LOAD": 0, "SQ_INSTS_FLAT": 2, "SQ_INSTS_VMEM_WR": 1,
    }  # fmt: skip
    assert {name: counter(name) for name in expected} == {name: (waves * each, "emulated") for name, each in expected.items()}
    assert counter("GRBM_GUI_ACTIVE")[1] == "modelled"
    executed = recording()["instructions"].set_index("text").executed
    assert executed["ds_write_b32 v3, v2"] == waves * TURNS
    assert executed["s_barrier"] == waves


def test_every_counter_has_a_meaning_and_the_model_times_every_wave() -> None:
    for one in timing(2).kernels:
        assert set(one.counters) <= set(COUNTERS)
        assert one.counters["SQ_WAVES"] == math.prod(one.launched.grid) * len(one.launched.counts)


def test_memory_is_summed_by_instruction() -> None:
    frame = recording()["memory"].set_index("pc")
    texts = recording()["instructions"].set_index("text").pc
    load, write, scalar = (frame.loc[texts[text]] for text in (
        "global_load_dword v2, v1, s[6:7]", "ds_write_b32 v3, v2", "s_load_dwordx2 s[6:7], s[0:1], 0x0"))  # fmt: skip
    waves = 2 * GROUPS
    assert (load.space, load.kind, scalar.space, write.space) == ("global", "load", "scalar", "lds")
    assert (load.accesses, load.lanes, load.bytes) == (waves, 64 * waves, 256 * waves)
    lines = sum(len({(first + 4 * i) // 128 for i in range(64)}) for first in _firsts())
    assert (load.lines, load.distinct) == (
        GROUPS * lines,
        len({(first + 4 * i) // 128 for first in _firsts() for i in range(64)}),
    )
    assert (write.accesses, write.phases, write.conflicts) == (waves * TURNS, 64 * waves * TURNS, 62 * waves * TURNS)
    assert scalar.bytes == 8 * waves


def _firsts() -> list[int]:
    """Where the two waves' dwords begin, in bytes from a line of the buffer."""
    (trace,) = [one.launched.trace for one in timing().kernels]
    assert trace is not None
    base = next(address for _, address, size in trace.buffers if size == 512)
    return [base % 128, base % 128 + 256]


def test_every_wave_and_cycle_is_accounted_for() -> None:
    for dispatch in (1, 2):
        tables = {name: f[f.dispatch == dispatch] for name, f in recording(2).tables.items() if "dispatch" in f}
        waves, instructions = tables["waves"], tables["instructions"]
        assert len(waves) == 2 * GROUPS
        assert list(waves.workgroup) == [0, 0, 1, 1, 2, 2]
        assert list(waves.part) == [0, 1] * 3
        assert list(waves.se) == [0, 0, 4, 4, 8, 8], "a workgroup a die, in turn, each of which has four shader engines"
        assert (waves[list(CAUSES)].sum(axis=1) == waves.end - waves.begin).all()
        assert instructions[list(CAUSES)].to_numpy().sum() == (waves.end - waves.begin).sum()
        assert len(tables["occupancy"]) == 2 * len(waves)
        assert tables["occupancy"].groupby("se").time.apply(lambda t: t.is_monotonic_increasing).all()
        (row,) = tables["dispatches"].itertuples()
        assert row.begin_cycle <= waves.begin.min() <= waves.end.max() <= row.end_cycle
        assert (row.end - row.start) == pytest.approx(
            (row.end_cycle - row.begin_cycle) * 1000 / recording().manifest.device["mhz"], abs=1
        )
        assert (row.grid_x, row.workgroup_x, row.lds) == (GROUPS * 128, 128, 8192)
    first, second = recording(2)["dispatches"].itertuples()
    assert first.end < second.start
    assert "low" not in recording(2)["dispatches"]
    assert recording()["dispatches"].low[0] < recording()["dispatches"].high[0]


def test_traced_waves_have_their_instructions() -> None:
    events, traced_waves = recording()["events"], recording().traced
    per_wave = 3 + 5 + 5 * TURNS + 3 + 1
    assert (events.groupby("wave").size() == per_wave).all()
    assert len(events) == per_wave * len(traced_waves)
    assert recording().kind("instructions", "hit") == "emulated"
    hits = recording()["instructions"].set_index("text").hit
    assert hits["s_sub_u32 s8, s8, 1"] == TURNS * len(traced_waves)
    assert set(events.cause) <= set(CAUSES)


def test_a_fixed_date_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    saved = []
    for i in range(2):
        one = from_timing(timing(), kernel="hand", case={}, result={})
        folder = store.save(one, tmp_path / str(i))
        saved.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert saved[0] == saved[1]
    assert one.manifest.date == "2023-11-14T22:13:20+00:00"
