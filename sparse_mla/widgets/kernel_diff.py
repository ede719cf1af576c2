"""Two kernels side by side: what a tile executes, what a workgroup takes, how their sources differ; and the ladder's steps."""

from __future__ import annotations

import re
import textwrap
from contextlib import suppress

import pandas as pd

from sparse_mla.analyse.ladder import STEPS, about, stored_times
from sparse_mla.analyse.tile_code import BY, KERNELS, SPLIT, cost_table, source_diff, tile_code, tile_difference
from sparse_mla.errors import InputError, SparseMlaError
from sparse_mla.plot.change import compare_figure
from sparse_mla.widgets.headless import control, headless
from sparse_mla.widgets.page import Page

SOURCE = "a tile of 32 tokens and 16 heads, all waves, gfx950 emulator"


def kernel_diff(before: str = "base", after: str = "ladder/swizzle", by: str = "unit", phase: str = "") -> Page:
    """Executed instructions of a tile, after minus before, by unit, phase, mnemonic or line; costs; the source's diff."""
    if phase == "all":
        phase = ""
    rows = tile_difference(before, after, by, phase)
    where = f", {phase} only" if phase else ""
    figure = compare_figure(rows, title=f"{before} → {after}, by {by}{where}", source=SOURCE)
    if {before, after} & {*SPLIT}:
        return Page((figure, cost_table(before, after)))
    return Page(
        (figure, cost_table(before, after), f"Source: functions of the tile loop that differ\n{source_diff(before, after)}")
    )


def start_triton(static: bool | None) -> None:
    """Counts Triton's tile where somebody is there: Triton takes 2 s to start, which no menu should."""
    if not headless(static):
        with suppress(SparseMlaError):  # without Triton the menu says so
            tile_code("triton")


def kernel_explorer(
    before: str = "base", after: str = "ladder/swizzle", by: str = "unit", phase: str = "all", *, static: bool | None = None
) -> None:
    """Shows `kernel_diff` with a menu for each of its arguments; static, for these only."""
    start_triton(static)
    phases = ["all", "gather", "dequantise", "QK", "softmax", "PV", "barrier", "other"]
    kernels = {"before": (before, KERNELS), "after": (after, KERNELS)}
    control(kernel_diff, static, **kernels, by=(by, BY), phase=(phase, phases))


def rung(version: str) -> Page:
    """A step of the ladder: idea, price and gain in the words of its source; its costs beside the step before; the six mnemonics
    whose executions changed most; the source's diff."""
    if version not in STEPS:
        raise InputError(f"the ladder has no step {version!r}; it has {', '.join(STEPS)}")
    place = [*STEPS].index(version)
    kernel, before = STEPS[version], [*STEPS.values()][max(0, place - 1)]
    told = about(kernel)
    idea = " ".join(re.split(r"(?<=[.!?:]) (?=[A-Z])", told["idea"])[:3])
    said = [f"{name}: {text}" for name, text in (told | {"idea": idea}).items() if name != "layout"]
    words = "\n".join(textwrap.fill(one, 120, subsequent_indent="      ") for one in said)
    table = cost_table(*dict.fromkeys((before, kernel)))
    times = stored_times().query("rows == 1").set_index(["kernel", "split_k"]).microseconds
    us = pd.DataFrame({name: [f"{times[name, 1]:g}"] for name in table}, index=["us, one whole row (modelled, docs/ladder.md)"])
    page = Page((f"Step {place + 1}, {version} ({kernel}), says of itself:\n{words}", pd.concat([table, us])))
    if before == kernel:
        return page
    changes = tile_difference(before, kernel, "mnemonic").head(6).set_index("name")[["before", "after", "difference"]]
    diff = f"Source: functions of the tile loop that differ from {before}'s\n{source_diff(before, kernel)}"
    return Page((page, changes.rename_axis("wave instructions a tile"), diff))
