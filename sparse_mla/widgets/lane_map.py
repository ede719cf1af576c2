"""The MFMA lane map to touch: an anywidget in a live session, a figure and its text twin everywhere else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from sparse_mla.analyse.mfma import OPERAND_REGISTERS, SHAPES, Shape
from sparse_mla.analyse.mfma import shape as shape_named
from sparse_mla.analyse.mfma_probe import confirm
from sparse_mla.plot.lanes import lane_figure
from sparse_mla.widgets.headless import headless

HERE = Path(__file__).parent
SOURCE = "one-hot matrices through the gfx950 emulator"

# What was chosen last in each cell (known by what it asked for), so that running the cell again does not lose it.
_last: dict[tuple[Any, ...], dict[str, Any]] = {}


def lane_explorer(
    shape: str = "16x16x32", operand: str = "A", row: int = 5, column: int = 9, *, static: bool | None = None
) -> Any:
    """Point at an element of A, B or D: see its lane, register, half and partners. `static=True` gives the figure."""
    size = shape_named(shape)
    size.place(operand, row, column)  # an element outside the matrix is an error in both modes
    if headless(static):
        confirm(size)
        return lane_figure(size, operand, row, column, source=SOURCE)
    chosen = {"shape": shape, "operand": operand, "row": row, "column": column}
    asked = tuple(chosen.values())
    widget = _widget_class()(maps={name: _plain(size) for name, size in SHAPES.items()}, chosen=_last.get(asked, chosen))
    widget.observe(lambda change: _last.update({asked: change["new"]}), "chosen")
    return widget


def _plain(shape: Shape) -> dict[str, Any]:
    """The measured map as JSON: nested lists [row][column] of [lane, register, half], without half for D."""
    confirm(shape)
    registers = {"operandRegisters": OPERAND_REGISTERS, "resultRegisters": shape.result_registers}
    return {"m": shape.m, "k": shape.k, **registers, **{name: shape.places(name).tolist() for name in "ABD"}}


@lru_cache
def _widget_class() -> Any:
    """The widget; made on first use, so that headless runs load no widget library."""
    import anywidget
    import traitlets

    class LaneExplorer(anywidget.AnyWidget):
        """Front end in lane_map.js; `chosen` is shared both ways: shape, operand, row, column."""

        _esm = HERE / "lane_map.js"
        _css = HERE / "lane_map.css"
        maps = traitlets.Dict().tag(sync=True)
        chosen = traitlets.Dict().tag(sync=True)

    return LaneExplorer
