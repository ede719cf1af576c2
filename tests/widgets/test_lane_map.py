"""The lane map in both modes: a figure with a text twin, and a widget with the measured map."""

import json

import pytest

from sparse_mla.analyse.mfma import SHAPES
from sparse_mla.widgets import lane_map as module
from sparse_mla.widgets.lane_map import lane_explorer


@pytest.mark.parametrize(
    "operand, row, column, words",
    [
        ("A", 5, 17, "A[5][17] is in lane 37, v0 high half; it is multiplied by row 17 of B and adds to row 5 of D"),
        ("B", 31, 15, "B[31][15] is in lane 63, v3 high half; it is multiplied by column 31 of A"),
        ("D", 15, 0, "D[15][0] is in lane 48, v3; it sums 32 products of row 15 of A and column 0 of B"),
    ],
)
def test_the_twin_says_what_the_picture_shows(operand: str, row: int, column: int, words: str) -> None:
    figure = lane_explorer("16x16x32", operand, row, column, static=True)
    assert figure.kind == "emulated"
    assert words in figure.alt
    if operand == "A":
        assert "lane 47, v0 high half" in figure.text  # B[17][15]


def test_the_widget_carries_the_measured_maps_and_local_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last", {})
    widget = lane_explorer("32x32x16", "D", 9, 30, static=False)
    assert widget.chosen == {"shape": "32x32x16", "operand": "D", "row": 9, "column": 30}
    for name, shape in SHAPES.items():
        sent = json.loads(json.dumps(widget.maps[name]))
        assert all(sent[operand] == shape.places(operand).tolist() for operand in "ABD")
    assert "http" not in str(widget._esm) + str(widget._css)


def test_running_the_cell_again_keeps_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_last", {})
    chosen = {"shape": "16x16x32", "operand": "B", "row": 1, "column": 2}
    lane_explorer(static=False).chosen = chosen
    assert lane_explorer(static=False).chosen == chosen
