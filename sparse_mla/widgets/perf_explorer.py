"""The performance explorer: a decode's modelled time beside its bounds and others' figures; what a device's constants do.

`perf_explorer` answers from stored times. `device_explorer` times executed instructions again, with other constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pandas as pd

from sparse_mla.analyse.bounds import bounds, work
from sparse_mla.analyse.decode_us import decode_us
from sparse_mla.analyse.limits import roofs
from sparse_mla.analyse.regret import HEADS, LAYERS, ROWS, times
from sparse_mla.analyse.what_if import what_if
from sparse_mla.errors import InputError
from sparse_mla.execute.timing import own_slots, traced_launches
from sparse_mla.gfx950.timing import Timing, device, simulate
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.kernels.split_k import COMPUTE_UNITS, RESIDENCY, plan_split
from sparse_mla.plot.bounds import bounds_figure, knee_figure
from sparse_mla.plot.change import what_if_figure
from sparse_mla.plot.figure import Figure
from sparse_mla.widgets.headless import control

_stored, _others, _device = lru_cache(times), lru_cache(decode_us), lru_cache(device)
SPLITS = ("best", "planned", "1", "2", "3", "4", "6", "8", "12", "16")
# What `device_figure` changes: (constant of the device, its unit over the constant's, choices).
CONSTANTS = {
    "clock_GHz": ("clock", 1e9, (1.1, 1.6, 2.04, 2.2, 2.4, 4.4)),
    "memory_latency_cycles": ("mall_hit", 1, (260, 450, 520, 600, 1040)),
    "MALL_TBps": ("mall_bandwidth", 1e12, (1.75, 3.5, 7.0, 10.0, 14.0, 17.2)),
    "HBM_TBps": ("hbm_bandwidth", 1e12, (1.75, 3.5, 6.5, 7.0, 7.4)),
    "caches_warm": ("warm", 1, (0, 1, 2)),
    "translation_miss_cycles": ("tlb_miss", 1, (0, 350, 700, 1500)),
    "launch_start_cycles": ("launch_start", 1, (400, 1000, 4000)),
}


def decode_times(kernel: str, layer: str, heads: int, split: str = "best") -> pd.DataFrame:
    """Stored modelled times of a kernel by rows, at the best split of each, the planned one, or a number: rows, split, us, and
    flop, bytes of the decode. Raises InputError where nothing is stored."""
    if layer not in LAYERS or split not in SPLITS:
        raise InputError(f"layer {layer!r}, split {split!r}; there are {', '.join(LAYERS)}, and {', '.join(SPLITS)}")
    main, extra = LAYERS[layer]
    mine = _stored().query("kernel == @kernel and layer == @layer and heads == @heads")
    if split == "best":
        found = mine.loc[mine.groupby("rows").microseconds.idxmin()]
    elif split == "planned":
        planned = {n: plan_split([main] * n, [extra] * n, heads, kernel) for n in mine.rows.unique()}
        found = mine[mine.split_k == mine.rows.map(planned)]
    else:
        found = mine[mine.split_k == int(split)]
    if found.empty:
        raise InputError(f"{kernel}, {layer}, {heads} heads, split {split}: not among the stored times (docs/planner.md)")
    done = [work(n, heads, main + extra) for n in found.rows]
    flop, size = zip(*done, strict=True)
    return pd.DataFrame({"rows": found.rows, "split": found.split_k, "us": found.microseconds, "flop": flop, "bytes": size})


@lru_cache
def _roofs() -> pd.DataFrame:
    return roofs(_device("mi355x"))


@lru_cache
def _limits(heads: int, tokens: int) -> pd.DataFrame:
    """The bounds at every number of rows."""
    return pd.concat([bounds(n, heads, tokens, _device("mi355x")).assign(rows=n) for n in ROWS])


def perf_figure(kernel: str = "product", layer: str = "Pro CSA", rows: int = 4, heads: int = 16, split: str = "best") -> Figure:
    """A kernel's stored modelled times over rows, bounds, and published and measured times of the same heads and lengths."""
    main, extra = LAYERS.get(layer, (0, 0))
    ours = decode_times(kernel, layer, heads, split).sort_values("rows").assign(series=f"{kernel}, MI355X", kind="modelled")
    if rows not in set(ours.rows):
        raise InputError(f"{rows} rows of {heads} heads were not timed for {kernel} with split {split}; {[*ours.rows]} were")
    limits = _limits(heads, main + extra)
    limits = limits[limits.rows.isin(ours.rows)]
    peers = _others().query("heads == @heads and extra == @extra and series != 'reads alone'")
    short = peers.device.str.replace("NVIDIA (H100).*", r"\1", regex=True)
    peers = peers.assign(series=peers.series + ", " + short)[["series", "kind", "rows", "us"]]
    title = f"{kernel}, {layer}: {main} + {extra} tokens a row, {heads} heads"
    source = "MI355X model, profiles/; others as the legend says"
    return bounds_figure(
        pd.concat([ours, peers]), limits, _roofs(), rows, cached=_device("mi355x").value("mall_bytes"), title=title, source=source
    )


def perf_explorer(
    kernel: str = "product",
    layer: str = "Pro CSA",
    rows: int = 4,
    heads: int = 16,
    split: str = "best",
    *,
    static: bool | None = None,
) -> None:
    """Shows `perf_figure` with a control for each of its arguments; static, as a figure."""
    choices = {"layer": (layer, [*LAYERS]), "rows": (rows, ROWS), "heads": (heads, HEADS), "split": (split, SPLITS)}
    control(perf_figure, static, kernel=(kernel, sorted(set(_stored().kernel))), **choices)


def whole_rows(layers: Sequence[str] = ("Flash CSA", "SWA"), kernels: Sequence[str] = ("product", "base")) -> Figure:
    """Stored modelled times of whole rows over workgroups: flat until the chip has no room, then rising with them."""
    mine = _stored().query("split_k == 1 and kernel in @kernels and layer in @layers")
    blocks = mine.kernel.map(lambda kernel: kernel_named(kernel).head_block)
    groups = mine.assign(workgroups=mine.rows * mine.heads // blocks).sort_values(["kernel", "layer", "workgroups"])
    frame = groups.groupby(["kernel", "layer", "workgroups"], as_index=False).microseconds.min()
    places = {kernel: COMPUTE_UNITS * RESIDENCY[kernel] for kernel in kernels}
    return knee_figure(frame, places, title="Whole rows: where the chip is full", source="MI355X model, profiles/modelled")


@lru_cache(maxsize=4)
def _inputs(rows: int, extra: int) -> DecodeInputs:
    case = Case.make(16, rows, 128, extra)
    return own_slots(case.inputs(), case.rows_per_request)


@lru_cache(maxsize=16)
def timing_of(kernel: str, rows: int, extra: int, split: int) -> Timing:
    """A small decode of 16 heads and 128 + `extra` tokens, executed and timed; kept, so that only the timing is done again."""
    return simulate(traced_launches(kernel, _inputs(rows, extra), split), _device("mi355x"), band=False)


def device_figure(kernel: str = "product", rows: int = 4, extra: int = 512, split: int = 8, **constants: float) -> Figure:
    """The time of a small decode as the device is, and with other `constants` (names and units of CONSTANTS)."""
    if unknown := set(constants) - set(CONSTANTS):
        raise InputError(f"no constant {', '.join(sorted(unknown))}; there are {', '.join(CONSTANTS)}")
    on, changes = _device("mi355x"), {}
    for name, value in constants.items():
        of, unit, _ = CONSTANTS[name]
        if value * unit != on.value(of):
            changes[of] = value * unit
    found = what_if(timing_of(kernel, rows, extra, split), {"as set": changes} if changes else {})
    told = ", ".join(f"{name} {value:g} ({on.constants[name].certainty})" for name, value in changes.items())
    title = f"{kernel}: {rows} rows of 16 heads, 128 + {extra} tokens, {split} parts" + (f"; {told}" if told else "")
    return what_if_figure(found, title=title, source="MI355X model, instructions executed here")


def device_explorer(
    kernel: str = "product", rows: int = 4, extra: int = 512, split: int = 8, *, static: bool | None = None
) -> None:
    """Shows `device_figure` with a control for each of its arguments; static, as a figure."""
    sliders = {name: (_device("mi355x").value(of) / unit, values) for name, (of, unit, values) in CONSTANTS.items()}
    case = {"kernel": (kernel, sorted(set(_stored().kernel))), "rows": (rows, (1, 2, 4)), "extra": (extra, (0, 256, 512))}
    control(device_figure, static, **case, split=(split, (1, 2, 4, 8, 16)), **sliders)
