"""Two recordings compared, against differences put there by hand."""

import pandas as pd
import pytest

from sparse_mla.analyse.compare import compare_counters, compare_launches, compare_time, paired
from sparse_mla.errors import InputError
from sparse_mla.record.schema import CAUSES, Recording
from tests.analyse.samples import INSTRUCTIONS, recording

DISPATCHES = pd.DataFrame({"dispatch": [0, 1], "kernel": ["k", "reduce"], "start": [0, 900], "end": [800, 1000]})


def launches(*kernels: str) -> Recording:
    table = INSTRUCTIONS[INSTRUCTIONS.dispatch == 0]
    every = pd.concat([table.assign(dispatch=i, kernel=kernel) for i, kernel in enumerate(kernels)])
    return recording(instructions=every)


@pytest.mark.parametrize(
    "before, after, pairs",
    [
        (("a", "b"), ("b", "a"), [("a", 0, 1), ("b", 1, 0)]),
        (("a", "a"), ("a", "a"), [("a", 0, 0), ("a", 1, 1)]),
        (("fused",), ("partial", "reduce"), [("fused → partial", 0, 0), ("reduce", -1, 1)]),
        (("partial", "reduce"), ("reduce",), [("partial", 0, -1), ("reduce", 1, 0)]),
    ],
)
def test_launches_are_paired_by_name_then_by_order(before, after, pairs) -> None:  # type: ignore[no-untyped-def]
    assert [tuple(row) for row in paired(launches(*before), launches(*after)).itertuples(index=False)] == pairs


def test_a_recording_is_like_itself() -> None:
    for by in ("phase", "line", "instruction"):
        frame = compare_time(recording(), recording(), by)
        assert (frame.difference == 0).all()
        assert frame.before.sum() == INSTRUCTIONS[[*CAUSES]].sum().sum()


def test_time_by_phase_line_and_instruction() -> None:
    """After: the wait takes 500 cycles less, the addition uses other registers, and stands two lines further down."""
    changed = INSTRUCTIONS.copy()
    changed.loc[1, "memory"] -= 500
    changed.loc[2, "text"] = "v_add_f32_e32 v7, v8, v9"
    changed["line"] += 2 * (changed.file == "k.hip")
    changed["inlined_at"] = changed.inlined_at.replace({"k.hip:9": "k.hip:11", "k.hip:3 -> k.hip:9": "k.hip:5 -> k.hip:11"})
    text = pd.DataFrame({"path": ["k.hip"], "text": ["\n\n" + recording()["sources"].text[0]]})
    after = recording(instructions=changed, sources=text)
    for by in ("phase", "line", "instruction"):
        frame = compare_time(recording(), after, by)
        assert frame.difference.tolist() == [-500] + [0] * (len(frame) - 1), by
        assert set(frame.unit) == {"cycles of all waves"}
    assert compare_time(recording(), after, "phase").phase[0] == "gather"
    line = compare_time(recording(), after, "line").iloc[0]
    assert (line.source, line.before, line.after, line.ratio) == ("return twice(*p);", 2096, 1596, 1596 / 2096)
    rows = compare_time(recording(), after, "instruction")
    assert rows.text[0] == "s_waitcnt vmcnt(0)"
    assert len(rows) == len(INSTRUCTIONS)


def test_what_only_one_has_counts_nothing_in_the_other() -> None:
    more = INSTRUCTIONS.iloc[[1]].assign(pc=9, text="s_sleep 1", memory=700, bandwidth=0)
    rows = compare_time(recording(), recording(instructions=pd.concat([INSTRUCTIONS, more])), "instruction")
    assert (rows.text[0], rows.before[0], rows.after[0]) == ("s_sleep 1", 0, 700)
    assert rows.difference.sum() == 700


def test_traced_waves_are_compared_wave_by_wave() -> None:
    """Without causes only the traced waves' time is known; here of two waves, there of one."""
    bare = INSTRUCTIONS.drop(columns=[*CAUSES, "executed"])
    waves = pd.DataFrame({"dispatch": 0, "wave": [0, 1], "se": 0, "cu": 0, "simd": 0, "slot": 0, "id": 0, "begin": 0, "end": 900})
    events = pd.DataFrame({"dispatch": 0, "wave": [0, 1], "time": 0, "category": 0, "stall": 0, "duration": 4, "pc": 0})
    two = recording(instructions=bare, waves=waves, events=events)
    one = recording(instructions=bare, waves=waves[:1], events=events[:1])
    frame = compare_time(two, one, "phase").set_index("phase")
    assert set(frame.unit) == {"cycles of a wave"}
    assert (frame.before["gather"], frame.after["gather"]) == (528, 1056)


def test_durations_and_counters() -> None:
    counters = pd.DataFrame(
        [(0, "SQ_WAVES", 8.0), (0, "SQ_INSTS", 100.0), (0, "TCC_HIT_sum", 0.0)], columns=["dispatch", "name", "value"]
    )
    before = recording(dispatches=DISPATCHES, counters=counters.assign(kind="emulated"))
    other = counters.assign(value=[4.0, 100.0, 5.0], kind="measured")
    after = recording(dispatches=DISPATCHES.assign(end=[400, 1000]), counters=other)
    times = compare_launches(before, after)
    assert times.difference.tolist() == [-400, 0]
    assert times.ratio.tolist() == [0.5, 1]
    frame = compare_counters(before, after)
    assert frame.name.tolist() == ["TCC_HIT_sum", "SQ_WAVES", "SQ_INSTS"]
    assert frame.unit.tolist() == ["requests", "waves", "instructions"]
    assert set(zip(frame.kind_before, frame.kind_after, strict=True)) == {("emulated", "measured")}
    with pytest.raises(InputError, match="no counter of a launch in common"):
        compare_counters(before, recording(dispatches=DISPATCHES))
    with pytest.raises(InputError, match="compared by phase, line, instruction"):
        compare_time(before, after, "file")
