"""Pictures of the cache: a block's bytes, the quantiser's error, who reads which slot, how many tokens a row reads."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from sparse_mla.analyse.cache_bytes import FIELDS, block_bytes, quantisation_errors, row_cost
from sparse_mla.cache.layout import DATA_BYTES, TOKEN_BYTES
from sparse_mla.cache.paging import PagedCache
from sparse_mla.kernels.case import COMPRESSION, Segment
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import CARD, INK, SERIES, canvas, note, plain_numbers

FIELD_COLOURS = ("#b9bcc2", SERIES[0], SERIES[1], SERIES[2])
LAYER_LOOK = {"swa": (SERIES[2], ":"), "csa": (SERIES[0], "-"), "hca": (SERIES[1], "--")}


def block_figure(cache: PagedCache, block: int = 0) -> Figure:
    """A block's bytes in memory order, 576 a line: hue says which field, darkness the byte's value."""
    raw, field = block_bytes(cache, block)
    lines = -(-len(raw) // DATA_BYTES)
    hue = np.array([to_rgb(colour) for colour in FIELD_COLOURS])[field]
    weight = 0.18 + 0.82 * raw[:, None] / 255
    picture = np.tile(to_rgb(CARD), (lines * DATA_BYTES, 1))
    picture[: len(raw)] = hue * weight + np.array(to_rgb(CARD)) * (1 - weight)
    with canvas(7.8, 0.24 * lines + 1.3) as (fig, axis):
        axis.imshow(picture.reshape(lines, DATA_BYTES, 3), aspect="auto", interpolation="none")
        axis.set(xlabel="byte within the line", ylabel="offset of the line, bytes", xticks=range(0, DATA_BYTES + 1, 64))
        axis.set_yticks(range(lines), [f"{DATA_BYTES * line:,}" for line in range(lines)], fontsize=8)
        axis.grid(False)
        handles = [Patch(color=FIELD_COLOURS[code], label=FIELDS[code]) for code in (1, 2, 3, 0)]
        fig.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=8.5, handlelength=1.2)
    layout, runs = cache.layout, np.flatnonzero(np.diff(field, prepend=255))
    table = pd.DataFrame({"from": runs, "bytes": np.diff(runs, append=len(raw)), "field": [FIELDS[code] for code in field[runs]]})
    finding = (
        f"{layout.block_size} data records of {DATA_BYTES} bytes come first, then the scale records together, then "
        f"{int((field == 0).sum())} bytes of padding up to the block stride of {layout.block_stride}."
    )
    return Figure(fig, f"The bytes of block {block}", finding, "measured", "bytes of a PagedCache on this machine", table)


def quantisation_figure(kv: torch.Tensor) -> Figure:
    """Relative error of each element against its magnitude, for the fp8 and the bf16 part of latents kv [n, 512]."""
    errors = quantisation_errors(kv)
    errors = errors[errors.magnitude > 0]
    with canvas(7.4, 3.3) as (fig, axis):
        for (part, colour, marker), label in zip(
            (("NoPE", SERIES[0], "o"), ("RoPE", SERIES[1], "^")),
            ("NoPE: e4m3fn, |x| in units of its group's scale", "RoPE: bf16, |x| itself"),
            strict=True,
        ):
            chosen = errors[errors.part == part].iloc[:3000]
            axis.plot(chosen.magnitude, chosen.relative.clip(1e-6), marker, color=colour, ms=2, alpha=0.45, label=label, lw=0)
        label_box = {"facecolor": CARD, "edgecolor": "none", "alpha": 0.8, "pad": 1}
        for height, text in ((2**-4, "2⁻⁴: half a step of 3 mantissa bits"), (2**-8, "2⁻⁸: half a step of 7 mantissa bits")):
            axis.axhline(height, color=INK, linewidth=0.8, linestyle="--")
            note(axis, text, (1.2e-4, height), 0, 3, va="baseline", fontsize=8, bbox=label_box)
        axis.set(xscale="log", yscale="log", xlim=(1e-4, 1e3), ylim=(1e-5, 2))
        axis.set(xlabel="magnitude before writing", ylabel="relative error")
        plain_numbers(axis.xaxis, axis.yaxis)
        fig.legend(loc="outside upper left", ncols=2, markerscale=3, fontsize=8.5)
    normal = errors[(errors.part == "NoPE") & (errors.magnitude >= 2**-6)].relative
    small = errors[(errors.part == "NoPE") & (errors.magnitude < 2**-6)].relative
    rope = errors[errors.part == "RoPE"].relative
    rows = [("NoPE, at least 2^-6 of the scale", normal), ("NoPE, smaller (subnormal)", small), ("RoPE", rope)]
    table = pd.DataFrame(
        [(name, len(part), part.median(), part.max()) for name, part in rows if len(part)],
        columns=["elements", "number", "median relative error", "largest"],
    )
    finding = (
        f"An fp8 element loses at most {normal.max():.1%} of its size (median {normal.median():.1%}) while it is at least 2⁻⁶ of "
        f"its group's scale; below, the error no longer shrinks with it, and {len(small) / (len(small) + len(normal)):.1%} "
        f"of the elements are there. RoPE loses at most {rope.max():.2%}."
    )
    return Figure(fig, "What the cache's quantiser loses", finding, "measured", "quantise and dequantise on this machine", table)


def slots_figure(segment: Segment, name: str) -> Figure:
    """Which of the first six rows reads which slot of a segment: blocks down, places in a block across."""
    cache, rows = segment.cache, min(len(segment.lens), 6)
    grid = np.full(cache.num_slots, -1)
    table = []
    for row in range(rows):
        slots = segment.row(row).numpy()
        valid = slots[(slots >= 0) & (slots < cache.num_slots)]
        grid[valid] = np.where((grid[valid] == -1) | (grid[valid] == row), row, rows)
        table.append((row, len(slots), len(valid), len(slots) - len(valid), " ".join(map(str, slots[:6])) + " ..."))
    blocks = cache.num_slots // cache.layout.block_size
    colours = np.array([to_rgb(c) for c in [*SERIES[:rows], INK, "#e9e6de"]])  # several rows; then -1: nobody
    with canvas(7.6, 0.3 * blocks + 1.3) as (fig, axis):
        axis.imshow(colours[grid.reshape(blocks, -1)], aspect="auto", interpolation="none")
        axis.set(xlabel="place in the block", ylabel="block", yticks=range(blocks))
        axis.grid(False)
        labels = [*(f"row {row}" for row in range(rows)), "several rows", "none of them"]
        handles = [Patch(color=colour, label=label) for colour, label in zip(colours, labels, strict=True)]
        fig.legend(handles=handles, loc="outside upper left", ncols=len(handles), fontsize=8.5, handlelength=1.2)
    frame = pd.DataFrame(table, columns=["row", "entries", "valid", "invalid", "first slots"])
    finding = f"{int((grid >= 0).sum())} of {cache.num_slots} slots are read, scattered over {blocks} blocks; the rest holds NaN."
    return Figure(fig, f"Slots of the {name} segment", finding, "measured", "index lists of this case", frame)


def attended_figure(position: int, model: str = "pro") -> Figure:
    """Tokens that a row reads against its position in the context, by kind of layer, with `position` marked."""
    ends = np.unique(np.geomspace(1, 2**20, 160).astype(int))
    curves = pd.concat([row_cost(int(end) - 1).assign(length=end) for end in ends])
    here = row_cost(position)
    here = here[here.model == model].reset_index(drop=True)
    with canvas(7.2, 3.2) as (fig, axis):
        for layer in COMPRESSION:
            curve, (colour, dash) = curves[(curves.model == model) & (curves.layer == layer)], LAYER_LOOK[layer]
            axis.plot(curve.length, curve.tokens, color=colour, linestyle=dash, linewidth=1.8, label=layer.upper())
            axis.plot(position + 1, here[here.layer == layer].tokens, "o", color=colour)
        axis.axvline(position + 1, color=INK, linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="context length, tokens", ylabel="tokens that a row reads", xlim=(1, 2**20))
        plain_numbers(axis.xaxis, axis.yaxis, form="{x:,.0f}")
        axis.legend()
    told = ", ".join(f"{row.layer.upper()} {row.tokens:,} tokens ({row.bytes / 1024:,.0f} KiB)" for row in here.itertuples())
    finding = f"With {position + 1:,} tokens of context a row of V4-{model.capitalize()} reads: {told}."
    return Figure(
        fig,
        f"What a row attends to, V4-{model.capitalize()}",
        finding,
        "modelled",
        f"DeepSeek-V4's visibility rules; {TOKEN_BYTES} bytes a token",
        here,
    )
