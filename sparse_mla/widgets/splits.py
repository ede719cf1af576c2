"""The split-K explorer: rows, heads and layer on sliders; time over the number of parts, and the planner's choice."""

from __future__ import annotations

from functools import lru_cache

from sparse_mla.analyse.regret import HEADS, LAYERS, ROWS, times
from sparse_mla.errors import InputError
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.split_k import plan_split
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.splits import splits_figure
from sparse_mla.widgets.headless import control

_stored = lru_cache(times)  # so that a slider answers at once


def split_figure(kernel: str = "base", layer: str = "Pro CSA", rows: int = 4, heads: int = 16) -> Figure:
    """Stored modelled times of one case (profiles/modelled/splits.csv) by the number of parts."""
    if layer not in LAYERS:
        raise InputError(f"layer {layer!r} is not stored; there are {', '.join(LAYERS)}")
    main, extra = LAYERS[layer]
    mine = _stored().query("kernel == @kernel and layer == @layer and rows == @rows and heads == @heads")
    planned = plan_split([main] * rows, [extra] * rows, heads, kernel)
    title = f"{kernel}: {rows} rows of {heads} heads, {layer} ({main} + {extra} tokens)"
    groups = rows * -(-heads // kernel_named(kernel).head_block)
    return splits_figure(mine, planned, groups, title=title, source="MI355X model, profiles/modelled/splits.csv")


def split_explorer(
    kernel: str = "base", layer: str = "Pro CSA", rows: int = 4, heads: int = 16, *, static: bool | None = None
) -> None:
    """Shows `split_figure` with a control for each of its arguments; static, as a figure."""
    kernels = sorted(set(_stored().kernel))
    control(split_figure, static, kernel=(kernel, kernels), layer=(layer, [*LAYERS]), rows=(rows, ROWS), heads=(heads, HEADS))
