"""Pictures of banks and traffic say in words what they show, and keep kinds apart."""

import pandas as pd
import pytest

from sparse_mla.analyse.banks import BANKS
from sparse_mla.plot.memory import banks_figure, buffers_figure, levels_figure

ROW = {"kernel": "k", "phase": "QK", "file": "a/k.hip", "line": 3, "source": "x", "does": "load", "kind": "emulated"}
LINES = pd.DataFrame(
    [
        ROW | {"mnemonic": "ds_read_b128", "accesses": 10, "phases": 32.0, "conflicts": 28.0} | {b: 8.0 * (b < 4) for b in BANKS},
        ROW | {"mnemonic": "ds_read_b32", "accesses": 80, "phases": 1.0, "conflicts": 0.0} | dict.fromkeys(BANKS, 0.0),
    ]
)
BUFFERS = pd.DataFrame(
    [("q", "load", 4096, 8, 4096, 4096, 1.0), ("cache", "load", 9000, 90, 12288, 4096, 3.0)],
    columns=["buffer", "does", "bytes", "accesses", "moved", "distinct", "reuse"],
).assign(kind="emulated")
LEVELS = pd.DataFrame(
    [(0, "k", "lanes", 1000.0, "emulated"), (0, "k", "L2", 2000.0, "modelled"), (0, "k", "fabric", 250.0, "modelled")],
    columns=["dispatch", "kernel", "level", "bytes", "kind"],
)


def test_banks_are_a_heat_map_with_what_they_cost() -> None:
    figure = banks_figure(LINES, title="t", source="s")
    heat, bars, _ = figure.canvas.axes
    drawn = heat.images[0].get_array()
    assert drawn is not None
    assert drawn[0][:5].tolist() == [8, 8, 8, 8, 0]
    assert figure.finding == (
        "70% of all 400 passes are due to conflicts; most by k.hip:3 (ds_read_b128: 32 passes in place of 4); "
        "busiest are banks 0, 1, 2, 3."
    )
    assert bars.get_xlabel() == "passes an access"
    drawn_bars = [bar.get_path().get_extents(bar.get_transform() - bars.transData) for bar in bars.patches]
    assert [(round(bar.x0), round(bar.x1)) for bar in drawn_bars] == [(0, 4), (0, 1), (4, 32), (1, 1)]
    assert figure.kind == "emulated"
    assert figure.table.worst_bank.tolist() == [0, 0]
    assert figure.table.of_it.tolist() == [8, 0]


def test_without_conflicts_nobody_is_blamed() -> None:
    assert banks_figure(LINES.iloc[1:], title="t", source="s").finding == "0% of all 80 passes are due to conflicts."


def test_traffic_by_buffer() -> None:
    figure = buffers_figure(BUFFERS, title="t", source="s")
    assert figure.finding == (
        "Instructions ask for 16,384 bytes of lines; 75% of them are of cache, each line 3 times. 8,192 bytes differ."
    )
    axis = figure.canvas.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cache (load)", "q (load)"]
    assert axis.get_xlabel() == "bytes (emulated)"
    assert "$" not in str(axis.get_xticklabels())


@pytest.mark.parametrize("rows, kind", [(LEVELS, "modelled"), (LEVELS.iloc[:1], "emulated")])
def test_levels_tell_their_kinds(rows: pd.DataFrame, kind: str) -> None:
    figure = levels_figure(rows, title="t", source="s")
    assert figure.kind == kind
    assert "$" not in str(figure.canvas.axes[0].get_xticklabels())
    assert [text.get_text() for text in figure.canvas.legends[0].get_texts()] == sorted(set(rows.kind))
    if kind == "modelled":
        assert figure.finding == "k: lanes ask for 1,000 bytes; compared with that, L2 200%, fabric 25%."
