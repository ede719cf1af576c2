"""Pictures of where time goes say so in words, and keep kinds apart."""

import pytest

from sparse_mla.analyse.hot import hot_instructions, hot_lines, phase_split
from sparse_mla.analyse.instructions import instructions
from sparse_mla.plot.hot import hot_figure, phases_figure
from tests.analyse.samples import recording

FRAME = instructions(recording())


def test_hot_lines_by_cause() -> None:
    figure = hot_figure(hot_lines(FRAME, n=3), title="t", source="s")
    assert figure.kind == "modelled"
    assert figure.finding == "These 3 take 97%; k.hip:3 [gather] alone takes 73%, mostly memory."
    axis = figure.canvas.axes[0]
    assert axis.get_xlabel() == "all waves' time, % (modelled)"
    assert axis.get_yticklabels()[0].get_text().strip() == "k.hip:3 [gather]  return twice(*p);"
    bars = [bar.get_path().get_extents(bar.get_transform() - axis.transData) for bar in axis.patches]
    for row, time in enumerate((2096, 608, 80)):
        assert sum(bar.width for bar in bars if round((bar.y0 + bar.y1) / 2) == row) == pytest.approx(100 * time / 2864)
    assert figure.png.startswith(b"\x89PNG")


def test_counts_have_no_causes() -> None:
    figure = hot_figure(hot_instructions(FRAME, "hit", n=2), title="t", source="s")
    assert figure.kind == "emulated"
    assert figure.finding == "These 2 take 31%; k.hip:3 [gather] alone takes 15%."
    assert figure.canvas.axes[0].get_xlabel() == "executed wave instructions, % (emulated)"
    assert not figure.canvas.legends


def test_phases_by_cause_and_by_unit() -> None:
    figure = phases_figure(phase_split(FRAME), title="t", source="s")
    assert figure.finding == "gather takes most, 74%, mostly memory; then barrier 21%, other 4%, QK 1%."
    assert [axis.get_xlabel() for axis in figure.canvas.axes] == [
        "all waves' time, % (modelled)",
        "executed wave instructions, % (emulated)",
    ]
    assert [label.get_text() for label in figure.canvas.axes[0].get_yticklabels()] == ["gather", "QK", "barrier", "other"]
    assert "73.7 %" in figure.text


def test_phases_of_counts_have_one_panel() -> None:
    figure = phases_figure(phase_split(FRAME[["phase", "unit", "hit", "counted", "timed"]], "hit"), title="t", source="s")
    assert figure.kind == "emulated"
    assert len(figure.canvas.axes) == 1
