"""A picture of rounding errors."""

from __future__ import annotations

import pandas as pd

from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import SERIES, canvas

_LOOK = {  # what, partials (None: any): name, colour, marker
    ("only output", None): ("exact result rounded to bf16 (formula)", "#6d727b", "|"),
    ("product", None): ("product", SERIES[2], "D"),
    ("base", "fp32"): ("base, parts in fp32", SERIES[0], "o"),
    ("base", "bf16"): ("base, parts in bf16", SERIES[1], "s"),
}


def numerics_figure(errors: pd.DataFrame, *, title: str, source: str) -> Figure:
    """Relative error by kind of input, a mark for each split. `errors` is what analyse.numerics.measure or stored gives; its
    formulas other than `only output` are left out."""
    names = list(dict.fromkeys(errors.input))
    drawn = []
    with canvas(7.4, 0.55 * len(names) + 1.5) as (fig, axis):
        for i, ((what, partials), (label, colour, marker)) in enumerate(_LOOK.items()):
            mine = errors[(errors.what == what) & (errors.partials.isin(["-", partials]) | (partials is None))]
            mine = mine[(mine.split_k > 1) | (partials is None)]
            places = [names.index(name) + 0.18 * (i - 1.5) for name in mine.input]
            size = 160 if marker == "|" else 26
            axis.scatter(1e3 * mine.rel_l2, places, s=size, color=colour, marker=marker, alpha=0.75, label=label)
            drawn.append(mine.assign(shown=label))
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        axis.set_xlabel("relative error against float64, thousandths")
        fig.legend(loc="outside upper left", ncols=2, fontsize=8.5)
    table = pd.concat(drawn, ignore_index=True)
    mean = table.groupby("shown").rel_l2.mean()
    exact, product, fp32, bf16 = (1e3 * mean.get(label, float("nan")) for label, *_ in _LOOK.values())
    finding = (
        f"Mean relative error in thousandths: {exact:.2f} from rounding the exact result to bf16 alone, {fp32:.2f} with parts in "
        f"fp32, {product:.2f} by product, {bf16:.2f} with parts in bf16."
    )
    columns = ["input", "shown", "split_k", "rel_l2", "max_abs", "lse_abs", "kind"]
    return Figure(fig, title, finding, "emulated", source, table[columns])


def maxima_figure(frame: pd.DataFrame, *, title: str, source: str) -> Figure:
    """The running maximum over tiles, at once and deferred. `frame`: what analyse.numerics.maxima gives."""
    with canvas(7.4, 2.8) as (fig, axis):
        axis.plot(frame.tile, frame.tile_max, ".", color="#6d727b", label="largest score of the tile")
        axis.step(frame.tile, frame.maximum, where="post", color=SERIES[0], label="running maximum")
        axis.step(frame.tile, frame.held, where="post", color=SERIES[1], linestyle="--", label="maximum of a deferred rescale")
        axis.set(xlabel="tile of 32 tokens", ylabel="score, log2 domain")
        axis.legend(fontsize=8.5)
    finding = (
        f"Over {len(frame)} tiles the maximum rises {frame.rescaled.sum()} times, and accumulators are scaled each time; "
        f"deferred until a score is 2^8 too large, {frame.deferred.sum()} times."
    )
    return Figure(fig, title, finding, str(frame.kind.iloc[0]), source, frame.drop(columns="kind"))
