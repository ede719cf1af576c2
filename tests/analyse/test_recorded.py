"""Everything on a recording of the base kernel, executed and modelled here: frames agree with each other and with the run."""

import numpy as np
import pytest

from sparse_mla.analyse.hot import hot_instructions, hot_lines, phase_split
from sparse_mla.analyse.instructions import instructions
from sparse_mla.analyse.limits import occupancy, roofline
from sparse_mla.analyse.timeline import spans, timeline, wave_split
from sparse_mla.analyse.traffic import levels, traffic
from sparse_mla.execute import run
from sparse_mla.kernels.case import Case
from sparse_mla.record.from_emulator import record
from sparse_mla.record.schema import CAUSES, Recording
from sparse_mla.widgets.timeline import pack

CASE = Case.make(rows=2, main=64, extra=128)
TILES = 2 * (64 + 128) // 32


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record("base", CASE, split_k=2)


def test_the_time_of_all_waves_is_that_of_all_instructions(recording: Recording) -> None:
    waves = recording["waves"][[*CAUSES]].sum()
    frame = instructions(recording)
    assert frame[[*CAUSES]].sum().tolist() == waves.tolist()
    assert not frame.inferred.any()
    for rows in (hot_lines(frame, n=10**6), hot_instructions(frame, n=10**6), phase_split(frame)):
        assert rows.time.sum() == waves.sum()
        assert rows.share.sum() == pytest.approx(1)
        assert set(rows.kind) == {"modelled"}
    lived = recording["waves"].end - recording["waves"].begin
    assert waves.sum() == pytest.approx(lived.sum(), rel=0.02)  # the causes cover the waves' lives


def test_phases_of_the_recording_are_those_of_the_run(recording: Recording) -> None:
    counts = phase_split(instructions(run("base", CASE, split_k=2)), "hit").set_index("phase")
    table = recording["instructions"].assign(phase=instructions(recording).phase)
    executed = table.groupby("phase").executed.sum()
    assert executed.to_dict() == counts.hit.to_dict()
    split = phase_split(instructions(recording)).set_index("phase")
    assert split.mfma.drop(["QK", "PV"]).sum() <= 0.5 * split.mfma.sum()
    assert split.barrier["barrier"] > 0.9 * split.barrier.sum()
    assert split.bandwidth[["gather", "load q", "merge", "store", "other", "dequantise"]].sum() == split.bandwidth.sum()


def test_waves_over_time_fill_their_lives(recording: Recording) -> None:
    frame = timeline(recording)
    split, there = wave_split(frame), recording["waves"]
    there = there[there.dispatch == 1].set_index("wave").loc[split.wave]
    assert (split.begin.to_numpy() >= there.begin.to_numpy()).all()
    assert (split.end.to_numpy() <= there.end.to_numpy()).all()
    assert (split[[*CAUSES]].sum(axis=1) == split.end - split.begin).all()
    assert set(frame.cause) <= set(CAUSES)
    starts = spans(frame).groupby("wave").begin.min()
    assert (starts.to_numpy() == split.begin.to_numpy()).all()
    columns, rows, _, _ = pack(frame)  # what the interactive view takes
    assert len(np.frombuffer(columns["begin"], "<u4")) == len(frame)
    assert len(rows) == len(split)


def test_traffic_and_roofs_count_the_same_work(recording: Recording) -> None:
    frame = traffic(recording)
    q = frame[(frame.phase == "load q") & (frame.moved > 0)]
    assert q.asked.sum() == 2 * 2 * 16 * 512 * 2  # every split of a row reads its 16 heads
    table = levels(recording).set_index(["dispatch", "level"]).bytes
    assert table[1, "LDS"] == frame[(frame.dispatch == 1) & (frame.phases > 0)].asked.sum()
    assert table[1, "lines"] >= table[1, "L2"] >= 0
    rows = roofline(recording)
    partial = rows[rows.dispatch == 1]
    assert set(partial.flop) == {64 * 2 * 16 * 16 * 32 * TILES}  # 64 matrix instructions a tile
    assert set(rows[rows.dispatch == 2].flop) == {0}
    assert (rows.share < 1).all()
    assert (partial.of_peak < 1).all()


def test_occupancy_is_what_the_model_reached(recording: Recording) -> None:
    frame = occupancy(recording)
    partial = frame[frame.dispatch == 1].set_index("resource")
    assert partial.workgroups["LDS"] == 3
    assert partial.limits["grid"]  # 4 workgroups
    assert 0 < partial.waves["reached"] < 4
