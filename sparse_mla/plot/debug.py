"""Heat maps of a stopped workgroup: a wave's registers by lane, the LDS by bank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from numpy.typing import NDArray

from sparse_mla.gfx950.stopped import Stopped
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.style import MAGNITUDE, canvas

BANKS = 64  # dwords that LDS serves in a cycle
GREY = "#c9c6be"  # what is not a number: in registers and LDS that nobody wrote, among others


def registers_figure(stopped: Stopped, first: int = 0, count: int = 32, kind: str = "f32", file: str = "v") -> Figure:
    """`count` vector registers (or accumulation registers, `file` "a") of the wave as numbers of a type; lanes that are
    switched off are shaded. Halves of a register stand side by side."""
    values = np.asarray(stopped.read(f"{file}{first}:{first + count}/{kind}")).reshape(count, -1)
    names = [f"{file}{first + i}" for i in range(count)]
    table = _table("register", names, values)
    on = [stopped.exec >> lane & 1 for lane in range(64)]
    with canvas(7.8, max(1.7, 1.2 + 0.16 * count)) as (fig, axis):
        _paint(fig, axis, values, (-0.5, 63.5, count - 0.5, -0.5))
        for lane in (lane for lane in range(64) if not on[lane]):
            axis.axvspan(lane - 0.5, lane + 0.5, color="white", alpha=0.55, linewidth=0)
        axis.set(xlabel="lane", xticks=range(0, 64, 8))
        step = max(1, count // 16)
        axis.set_yticks(range(0, count, step), names[::step])
    alike = int((table.distinct == 1).sum())
    finding = f"{alike} of {count} hold one value in all lanes; {_odd(values)}; {sum(on)} of 64 lanes are active."
    return Figure(fig, f"Registers of wave {stopped.wave} as {kind}", finding, "emulated", _where(stopped), table)


def lds_figure(stopped: Stopped, first: int = 0, last: int | None = None, kind: str = "f32") -> Figure:
    """Bytes `first` to `last` (default: all) of LDS as numbers of a type, a line of the picture 64 banks."""
    line = 4 * BANKS
    last = len(stopped.lds) if last is None else last
    read = np.asarray(stopped.read(f"lds:{first}:{last}/{kind}"), np.float64)
    across = line * len(read) // max(1, last - first)
    values = np.full((-(-len(read) // across), across), np.nan)
    values.flat[: len(read)] = read
    table = _table("from byte", [str(first + line * i) for i in range(len(values))], values)
    with canvas(7.8, min(9.0, 1.7 + 0.03 * len(values))) as (fig, axis):
        _paint(fig, axis, values, (-0.5, BANKS - 0.5, (first + line * len(values)) / 1024, first / 1024))
        axis.set(xlabel="bank", ylabel="KiB", xticks=range(0, BANKS, 8))
    return Figure(fig, f"LDS as {kind}", f"{last - first:,} bytes; {_odd(read)}.", "emulated", _where(stopped), table)


def _where(stopped: Stopped) -> str:
    ins = stopped.instruction
    return f"{stopped.kernel.name}, workgroup {stopped.workgroup}, before `{ins.text}` ({ins.source_line})"


def _odd(values: NDArray[Any]) -> str:
    return f"{1 - np.isfinite(values).mean():.0%} of the values are NaN or infinite"


def _paint(fig: Any, axis: Any, values: NDArray[Any], extent: tuple[float, ...]) -> None:
    """The values in the middle 96% on a linear scale, what is beyond at its ends."""
    finite = np.isfinite(values)
    fine = values[finite].astype(np.float64)
    low, high = np.percentile(fine, (2, 98)) if fine.size else (0.0, 1.0)
    shown = np.ma.array(np.where(finite, values, 0).astype(np.float64), mask=~finite)  # no infinity below the mask
    image = axis.imshow(shown, cmap=colormaps[MAGNITUDE].with_extremes(bad=GREY), vmin=low, vmax=high, aspect="auto",
                        extent=extent, interpolation="none")  # fmt: skip
    axis.grid(False)
    fig.colorbar(image, ax=axis, label="value (grey:\nNaN or infinite)", extend="both")


def _table(name: str, names: list[str], values: NDArray[Any]) -> pd.DataFrame:
    """One line a register or line of LDS."""
    frame, there = pd.DataFrame(values), np.isfinite(values)
    fine = frame.where(there)
    columns = {"min": fine.min(axis=1), "max": fine.max(axis=1), "distinct": frame.nunique(axis=1, dropna=False)}
    return pd.DataFrame({name: names} | columns | {"not finite": (~there).sum(axis=1)})
