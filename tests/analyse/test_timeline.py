"""Waves over time, against a wave written down cycle by cycle."""

import pandas as pd
import pytest

from sparse_mla.analyse.causes import likely_causes
from sparse_mla.analyse.timeline import coarse, spans, timeline, wave_split
from sparse_mla.errors import InputError
from sparse_mla.record.schema import CAUSES
from tests.analyse.samples import recording

WAVES = pd.DataFrame(
    [(0, 0, 5, 100, 160), (1, 3, 0, 96, 120)], columns=["wave", "simd", "slot", "begin", "end"]
).assign(dispatch=0, se=2, cu=1, id=0)  # fmt: skip
EVENTS = pd.DataFrame(  # wave, time, stall, duration, pc
    [(1, 96, 8, 12, 0), (1, 108, 12, 12, 1), (0, 100, 0, 4, 0), (0, 104, 32, 32, 1), (0, 140, 0, 4, 2), (0, 142, 6, 10, 4)],
    columns=["wave", "time", "stall", "duration", "pc"],
).assign(dispatch=0, category=0)
# What wave 0 does in each cycle from 100 on: a load issues, its data come, nothing, an addition that overlaps a barrier.
WAVE_0 = 4 * ["issue"] + 32 * ["memory"] + 4 * ["dependency"] + 2 * ["issue"] + 6 * ["barrier"] + 4 * ["issue"]


def test_events_know_place_source_and_likely_cause() -> None:
    frame = timeline(recording(waves=WAVES, events=EVENTS))
    first, wait = frame.iloc[0], frame.iloc[1]
    assert (first.wave, first.simd, first.slot, first.begin, first.phase) == (0, 0, 5, 100, "gather")
    assert (wait.cause, wait.text, wait.kind) == ("memory", "s_waitcnt vmcnt(0)", "measured")
    assert wait.source == "k.hip:3  return twice(*p);"
    assert first.cause == "issue"  # it did not stall
    assert frame[frame.wave == 1].cause.tolist() == ["bandwidth", "memory"]
    assert frame.inferred.all()


def test_a_recorded_cause_stays() -> None:
    events = EVENTS.assign(cause=["lds", "arbitration", "issue", "bandwidth", "issue", "barrier"])
    frame = timeline(recording(waves=WAVES, events=events))
    assert frame[frame.wave == 0].cause.tolist() == ["issue", "bandwidth", "issue", "barrier"]
    assert not frame.inferred.any()


def test_spans_say_what_happens_in_every_cycle() -> None:
    table = spans(timeline(recording(waves=WAVES, events=EVENTS)))
    mine = table[table.wave == 0]
    assert [cause for row in mine.itertuples() for cause in [row.cause] * (row.end - row.begin)] == WAVE_0
    assert (mine.begin.iloc[1:].to_numpy() == mine.end.iloc[:-1].to_numpy()).all()
    assert (mine.cause != mine.cause.shift()).all()


def test_the_split_of_a_wave_is_its_cycles_by_cause() -> None:
    split = wave_split(timeline(recording(waves=WAVES, events=EVENTS)))
    assert split.wave.tolist() == [0, 1]
    assert {cause: split[cause][0] for cause in CAUSES if split[cause][0]} == {c: WAVE_0.count(c) for c in set(WAVE_0)}
    assert (split.begin[1], split.end[1], split.simd[1], split.bandwidth[1], split.memory[1]) == (96, 120, 3, 8, 12)


@pytest.mark.parametrize(
    "text, unit, before, cause",
    [
        ("s_waitcnt vmcnt(0) lgkmcnt(0)", "WAIT", "LDS", "memory"),
        ("s_waitcnt lgkmcnt(0)", "WAIT", "LDS", "lds"),
        ("s_waitcnt lgkmcnt(1)", "WAIT", "SMEM", "memory"),
        ("s_nop 3", "WAIT", "LDS", "dependency"),
        ("v_mfma_f32_16x16x32_bf16 v[0:3], v[0:3], v[4:7], v[0:3]", "MFMA", "LDS", "mfma"),
        ("ds_read_b32 v0, v1", "LDS", "SMEM", "lds"),
        ("global_load_dword v0, v1, s[0:1]", "VMEM", "LDS", "bandwidth"),
        ("s_endpgm", "BRANCH", "LDS", "launch"),
    ],
)
def test_the_stalled_instruction_tells_the_likely_cause(text: str, unit: str, before: str, cause: str) -> None:
    rows = [("x", before), (text, unit)]
    frame = pd.DataFrame([{"dispatch": 0, "pc": i, "text": t, "unit": u} for i, (t, u) in enumerate(rows)])
    assert likely_causes(frame)[1] == cause


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="no events: record it with a thread trace"):
        timeline(recording())
    with pytest.raises(InputError, match="no events of dispatch 7; there are some of 0"):
        timeline(recording(waves=WAVES, events=EVENTS), 7)


def test_coarse_pieces_have_the_cause_that_most_of_them_has() -> None:
    table = spans(timeline(recording(waves=WAVES, events=EVENTS)))
    pieces = coarse(table, 16)  # of 3.5 cycles each, from 96 to 152
    mine = pieces[pieces.wave == 0]
    drawn = [cause for row in mine.itertuples() for cause in [row.cause] * round((row.end - row.begin) / 3.5)]
    cycles = [*4 * [""], *WAVE_0]  # from 96 on; pieces by hand
    by_hand = []
    for piece in range(16):
        part = [cycles[int(7 * piece + half) // 2] for half in range(7)]  # in half cycles
        by_hand.append(max(dict.fromkeys(part), key=part.count))
    assert drawn == by_hand[1:]
    whole = coarse(table, 10**6)
    assert (whole[["begin", "end"]] == table[["begin", "end"]]).all(axis=None)
