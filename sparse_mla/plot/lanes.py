"""Pictures of an MFMA's lane map: who holds what, and who takes part with whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle

from sparse_mla.analyse.mfma import LANES, OPERAND_REGISTERS, Shape
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, INK, MAGNITUDE, SERIES, canvas

CHOSEN, PARTNER = SERIES[1], SERIES[4]


def lane_figure(shape: Shape, operand: str = "A", row: int = 5, column: int = 9, *, source: str) -> Figure:
    """A x B = D coloured by lane with one element and its partners marked; below, the registers that hold those.

    `source` says how the map was obtained, as for every figure.
    """
    partners = shape.partners(operand, row, column)
    axes_names = {"A": ("depth k", "row i"), "B": ("column j", "depth k"), "D": ("column j", "row i")}
    widths = {"A": shape.k, "B": shape.m, "D": shape.m}
    layout = [[*"ABD"], [*"RRR"]]
    with canvas(7.8, 6.2, layout=layout, width_ratios=[*widths.values()], height_ratios=[3, 2.4]) as (fig, axes):
        for name, (across, down) in axes_names.items():
            held, axis = shape.places(name), axes[name]
            image = axis.imshow(held[..., 0], cmap=MAGNITUDE, vmin=0, vmax=LANES - 1, interpolation="none")
            sign = {"A": "", "B": "×  ", "D": "=  "}[name]
            axis.set(title=f"{sign}{name} [{held.shape[0]}×{held.shape[1]}]", xlabel=across, ylabel=down)
            axis.set(xticks=range(0, held.shape[1], 8), yticks=range(0, held.shape[0], 8))
            axis.grid(False)
        for name, box in partners[partners.role != "chosen"].groupby("operand"):
            top, left, bottom, right = box.row.min(), box.column.min(), box.row.max() + 1, box.column.max() + 1
            _mark(axes[str(name)], left, top, right - left, bottom - top, "none", PARTNER)
        _mark(axes[operand], column, row, 1, 1, CHOSEN, INK)
        fig.colorbar(image, ax=[axes[name] for name in "ABD"], label="lane", ticks=range(0, 65, 16), shrink=0.7, pad=0.02)
        _registers(axes["R"], shape, partners)
    where = shape.place(operand, row, column)
    finding = f"{operand}[{row}][{column}] is in {where}; {_summary(shape, operand, row, column)}."
    return Figure(fig, f"Lane map of {shape.mnemonic}", finding, "emulated", source, partners)


def _mark(axis: Any, left: float, top: float, width: float, height: float, face: str, edge: str) -> None:
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, facecolor=face, edgecolor=edge, linewidth=1.8, zorder=3))


def _registers(axis: Any, shape: Shape, partners: pd.DataFrame) -> None:
    """Which lane's registers hold the chosen element and its partners: lanes across, register halves down."""
    operand_rows = 2 * OPERAND_REGISTERS
    first = {"A": 0, "B": operand_rows, "D": 2 * operand_rows}
    rows = first["D"] + shape.result_registers
    state = np.zeros((rows, LANES), int)
    for role, name, i, j, _ in partners.itertuples(index=False):
        lane, register, *half = shape.places(name)[i, j]
        state[first[name] + (2 * register + half[0] if half else register), lane] = 2 if role == "chosen" else 1
    axis.pcolormesh(state, cmap=ListedColormap(["#e9e6de", PARTNER, CHOSEN]), vmin=0, vmax=2, edgecolor=CARD, linewidth=0.5)
    for start in (first["B"], first["D"]):
        axis.axhline(start, color=INK, linewidth=0.9)
    axis.set_ylim(rows, 0)
    axis.set_xlim(0, LANES)
    axis.grid(False)
    ticks: dict[float, str] = {}
    for name in "AB":
        ticks |= {first[name] + 2 * r + 1: f"v{r}" if r else f"{name} v0" for r in range(OPERAND_REGISTERS)}
    step = shape.result_registers // 4
    ticks |= {r + 0.5 + first["D"]: f"v{r}" if r else "D v0" for r in range(0, shape.result_registers, step)}
    axis.set_yticks([*ticks], [*ticks.values()], fontsize=7.5)
    axis.set_xticks(np.arange(0, LANES + 1, 8), np.arange(0, LANES + 1, 8))
    axis.set(xlabel="lane", title="Registers, low half above high half: the chosen element (orange) and all that meet it (blue)")


def _summary(shape: Shape, operand: str, row: int, column: int) -> str:
    """The partners in one sentence."""
    m, k = shape.m, shape.k
    if operand == "A":
        return f"it is multiplied by row {column} of B and adds to row {row} of D, {m} elements each"
    if operand == "B":
        return f"it is multiplied by column {row} of A and adds to column {column} of D, {m} elements each"
    return f"it sums {k} products of row {row} of A and column {column} of B"
