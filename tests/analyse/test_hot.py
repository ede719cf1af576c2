"""Sums by line, instruction and phase, against sums done by hand."""

import pytest

from sparse_mla.analyse.hot import hot_instructions, hot_lines, phase_split
from sparse_mla.analyse.instructions import instructions
from sparse_mla.errors import InputError
from sparse_mla.execute import run
from sparse_mla.kernels.case import Case
from sparse_mla.record.schema import CAUSES
from tests.analyse.samples import INSTRUCTIONS, recording

FRAME = instructions(recording())
ALL = 16 + 80 + 1900 + 100 + 16 + 8 + 32 + 600 + 8 + 80 + 4 + 20  # cycles of the sample, by cause


def test_lines_add_up_time_of_all_waves_by_cause() -> None:
    lines = hot_lines(FRAME, n=3)
    assert lines.line.tolist() == [3, 7, 10]
    assert lines.time.tolist() == [2096, 608, 80]
    assert lines.share.tolist() == [2096 / ALL, 608 / ALL, 80 / ALL]
    assert lines.main.tolist() == ["memory", "barrier", "launch"]
    assert lines.latency.tolist() == [1040, 300, 40]
    assert set(lines.kind) == {"modelled"}


def test_other_numbers_have_their_own_order_and_kind() -> None:
    assert hot_instructions(FRAME, "stall", 2).pc.tolist() == [1, 4]
    assert hot_instructions(FRAME, "mfma", 1).pc.tolist() == [3]
    hit = hot_lines(FRAME, "hit", 1)
    assert (hit.line[0], hit.hit[0], hit.share[0], hit.kind[0]) == (3, 4, 4 / 13, "emulated")


def test_without_causes_time_is_latency_and_idle_of_the_traced_waves() -> None:
    frame = instructions(recording(instructions=INSTRUCTIONS.drop(columns=[*CAUSES, "executed"])))
    rows = hot_instructions(frame, n=2)
    assert rows.time.tolist() == [1000, 304]
    assert rows.share[0] == 1000 / (40 + 8 + 1000 + 8 + 20 + 300 + 4 + 40 + 4 + 20)
    assert rows.main.tolist() == ["memory", "barrier"]
    assert rows.inferred.all()
    assert not hot_lines(FRAME).inferred.any()


def test_phases_come_in_their_order_with_units() -> None:
    split = phase_split(FRAME)
    assert split.phase.tolist() == ["gather", "QK", "barrier", "other"]
    assert split.time.tolist() == [2112, 40, 608, 104]
    assert split.MFMA.tolist() == [0, 1, 0, 0]
    assert split.BRANCH.tolist() == [0, 0, 0, 3]
    assert split.share.sum() == pytest.approx(1)
    assert set(split.counted) == {"emulated"}


def test_executed_counts_alone_have_no_times() -> None:
    result = run("base", Case.make(rows=1, main=64), split_k=1)
    frame = instructions(result)
    split = phase_split(frame, "hit")
    assert split.hit.sum() == result.wave_instructions
    assert set(split.kind) == {"emulated"}
    with pytest.raises(InputError, match=r"by 'time'; there is hit\. Times come with a recording"):
        hot_lines(frame)
    with pytest.raises(InputError, match=r"by 'cycles'.*latency.*mfma.*time"):
        hot_lines(FRAME, "cycles")


def test_a_run_without_machine_code_is_refused() -> None:
    with pytest.raises(InputError, match="use on='emulator'"):
        instructions(run("base", Case.make(rows=1, main=64), on="reference"))
