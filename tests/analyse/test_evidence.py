"""Evidence from recordings, against numbers of counters and waves that are written by hand or known of the stored ones."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sparse_mla.analyse.evidence import TOOLS, as_tool, by_mnemonic, lds_load, matrix_busy, moved_counters
from sparse_mla.errors import InputError
from sparse_mla.record.schema import Recording
from sparse_mla.record.store import kept
from sparse_mla.widgets.profile_view import VIEWS, profile_view, workgroup

CASE = "pro-csa-h16"


def with_counters(**values: float) -> Recording:
    """base's recording, its first launch alone, with other counters."""
    one = kept("base", CASE)
    rows = pd.DataFrame({"dispatch": 1, "name": list(values), "value": list(values.values()), "kind": "emulated"})
    waves = one["waves"][one["waves"].dispatch == 1].head(3).assign(cu=[4, 4, 5], se=[1, 2, 2], xcd=0)
    return replace(one, tables={**one.tables, "counters": rows, "waves": waves})


def test_pipes_are_busy_of_all_units_or_of_those_with_a_wave() -> None:
    # 8 dies of 1,000 cycles; 256 units of 4 pipes: 1,024,000 cycles of pipes; three units had a wave.
    (row,) = matrix_busy(with_counters(SQ_VALU_MFMA_BUSY_CYCLES=10_240, GRBM_GUI_ACTIVE=8000)).itertuples()
    assert (row.units, row.device, row.busy_units) == (3, pytest.approx(1.0), pytest.approx(256 / 3))
    with pytest.raises(InputError, match="not the counters SQ_VALU_MFMA"):
        matrix_busy(with_counters(SQ_WAVES=1))


def test_lds_is_busy_of_units_that_work_and_waves_wait_at_it_on_their_own_account() -> None:
    # Units worked for 4 x 1,000 cycles; LDS served 3,000, of these 2,400 for conflicts; waves lived 8,000 units of 4 cycles.
    made = {"SQ_BUSY_CU_CYCLES": 1000, "SQ_LDS_IDX_ACTIVE": 3000, "SQ_LDS_BANK_CONFLICT": 2400, "SQ_WAVE_CYCLES": 8000}
    (row,) = lds_load(with_counters(**made, SQ_WAIT_INST_LDS=2000, SQ_WAIT_ANY=800)).itertuples()
    assert (row.busy, row.conflicts, row.wait_lds, row.wait_any) == (75.0, 80.0, 25.0, 10.0)
    assert (row.conflict_cycles, row.waited_cycles) == (2400, 8000)
    assert lds_load(kept("suspect/1", CASE)).busy.max() > 80  # the one that LDS bounds
    with pytest.raises(InputError, match="lacks the counters SQ_LDS_BANK_CONFLICT, SQ_LDS_IDX_ACTIVE, SQ_WAIT_ANY, SQ_WAIT_INST"):
        lds_load(with_counters(SQ_WAVE_CYCLES=1, SQ_BUSY_CU_CYCLES=1))


def test_counters_that_moved_are_those_beyond_the_factor_either_way() -> None:
    before = with_counters(SQ_WAVES=100, SQ_INSTS=100, SQ_INSTS_LDS=100, SQ_IFETCH=0, SQ_WAIT_ANY=0)
    after = with_counters(SQ_WAVES=129, SQ_INSTS=131, SQ_INSTS_LDS=50, SQ_IFETCH=0, SQ_WAIT_ANY=7)
    moved = moved_counters(before, after)
    assert moved.name.tolist() == ["SQ_WAIT_ANY", "SQ_INSTS_LDS", "SQ_INSTS"]
    assert moved.ratio.tolist()[1:] == [0.5, 1.31]


def test_shares_by_mnemonic_are_those_of_the_table() -> None:
    table = kept("suspect/3", CASE)["instructions"]
    time = table.latency + table.idle  # of the traced waves; the case has rows of one length, so all are alike
    waits = time[table.text.str.startswith("s_waitcnt")].sum() / time.sum()
    first = by_mnemonic(kept("suspect/3", CASE), 1).iloc[0]
    assert (first.mnemonic, first.main) == ("s_waitcnt", "memory")
    assert first.share == pytest.approx(waits, abs=0.02)


def test_a_tool_keeps_what_its_format_has(tmp_path: Path) -> None:
    one = kept("base", CASE)
    counters, trace = (as_tool(one, tool) for tool in TOOLS)
    left, all_of_them = ({*zip(x["counters"].name, x["counters"].kind, strict=True)} for x in (counters, one))
    assert left <= all_of_them
    assert counters["events"].empty
    assert len(trace["events"]) == len(one["events"])
    assert "cause" not in trace["events"]
    with pytest.raises(InputError, match="it may be counters, thread trace"):
        as_tool(one, "ncu")


@pytest.mark.parametrize("question", VIEWS)
def test_every_question_has_a_figure_of_the_recording(question: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSE_MLA_HEADLESS", "1")
    figure = profile_view("suspect/2", question)
    assert figure.title == f"suspect/2: {question}"
    assert figure.kind == "modelled"
    assert (profile_view("suspect/2", question) is figure) == (question != "waves")
    assert profile_view("suspect/3", question).title == f"suspect/3: {question}"


def test_what_cannot_be_shown_is_refused_and_a_workgroup_is_one() -> None:
    with pytest.raises(InputError, match="question is 'why'; it may be phases, hot lines"):
        profile_view("suspect/1", "why")
    assert workgroup(kept("base", CASE)).wave.nunique() == 4
