"""The lane map in both modes: a figure with a text twin, and a widget with the measured map."""

import json

import pytest

from sparse_mla.analyse.mfma import SHAPES, lane_map
from sparse_mla.errors import InputError
from sparse_mla.plot.figure import Figure
from sparse_mla.widgets import lane_map as module
from sparse_mla.widgets.lane_map import lane_explorer


def test_the_twin_says_what_the_picture_shows() -> None:
    figure = lane_explorer("16x16x32", "A", 5, 17, static=True)
    assert isinstance(figure, Figure)
    assert figure.kind == "emulated"
    assert "A[5][17] is in lane 37, v0 high half; it is multiplied by row 17 of B" in figure.alt
    assert "lane 47, v0 high half" in figure.text  # B[17][15]


@pytest.mark.parametrize("operand, row, column", [("B", 31, 15), ("D", 15, 0)])
def test_every_operand_can_be_chosen(operand: str, row: int, column: int) -> None:
    assert f"{operand}[{row}][{column}]" in lane_explorer("16x16x32", operand, row, column, static=True).alt


def test_the_widget_carries_the_measured_maps_and_local_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last", {})
    widget = lane_explorer("32x32x16", "D", 9, 30, static=False)
    assert widget.chosen == {"shape": "32x32x16", "operand": "D", "row": 9, "column": 30}
    for name, shape in SHAPES.items():
        assert json.loads(json.dumps(widget.maps[name]))["D"] == lane_map(shape).d.tolist()
    assert "http" not in str(widget._esm) + str(widget._css)


def test_running_the_cell_again_keeps_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last", {})
    lane_explorer(static=False).chosen = {"shape": "16x16x32", "operand": "B", "row": 1, "column": 2}
    assert lane_explorer(static=False).chosen == {"shape": "16x16x32", "operand": "B", "row": 1, "column": 2}


def test_an_element_outside_the_matrix_is_refused() -> None:
    for static in (True, False):
        with pytest.raises(InputError, match=r"D\[16\]\[0\] is outside"):
            lane_explorer("16x16x32", "D", 16, 0, static=static)
