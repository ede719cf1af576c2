"""How good the split planner is: its choice against the best of all splits, by modelled time, over a grid of decodes.

profiles/modelled/splits.csv holds the time of every kernel, case and split of the grid (kind: modelled). `python -m
sparse_mla.analyse.regret` prints what follows from it: the planner's constants, its regret, product against base. With `--time`
it first models what the file lacks (all of it, where there is no file: about an hour on two cores).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from sparse_mla.execute.timing import time_kernel
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.split_k import COMPUTE_UNITS, Costs, plan_split, tiles_of, work

KERNELS = ("product", "few", "base")
LAYERS = {"Flash CSA": (128, 512), "Pro CSA": (128, 1024), "HCA": (128, 7812), "SWA": (128, 0)}  # tokens: main, extra
ROWS, HEADS = (1, 4, 16, 64, 256), (16, 64, 128)
# What is left out: cases of more heads than 16 and more tiles than these (the emulator walks each); and more than 4 parts where
# whole rows are more workgroups than compute units, which time shows to get worse with every part.
MOST_TILES = {"product": 4_600, "few": 4_600, "base": 16_500}
_CELL = ["kernel", "layer", "rows", "heads"]
FILE = "modelled/splits.csv"
_HEAD = """# Microseconds of a decode on an MI355X by kernel, layer, rows, heads and split; each row has slots of its own.
# kind: modelled (docs/timing.md). Made by: python -m sparse_mla.analyse.regret --time
"""


def cells() -> list[tuple[str, str, int, int, int]]:
    """What the file holds: kernel, layer, rows, heads, split; least work first."""
    found = []
    for kernel in KERNELS:
        spec = kernel_named(kernel)
        for layer, (main, extra) in LAYERS.items():
            for rows in ROWS:
                for heads in HEADS:
                    groups = rows * -(-heads // spec.head_block)
                    size = groups * tiles_of(spec, [main], [extra])[0]
                    if size <= MOST_TILES[kernel] or heads == 16:
                        splits = [s for s in spec.splits if s <= 4 or groups <= COMPUTE_UNITS]
                        if spec.shares > 1:  # is for launches that fit the chip at once; some more, to know what they cost
                            fit_at_once = [s for s in spec.splits if groups * spec.shares * s <= COMPUTE_UNITS]
                            splits = fit_at_once or [1] * (4 * size <= MOST_TILES[kernel])
                        found += [(size, kernel, layer, rows, heads, s) for s in splits]
    return [cell[1:] for cell in sorted(found)]


def time_missing(path: Path) -> None:
    """Models every cell that the file lacks, and adds it at once: can be stopped and started again."""
    if not path.is_file():
        path.write_text(_HEAD + ",".join([*_CELL, "split_k", "microseconds"]) + "\n")
    done = set(times(path)[[*_CELL, "split_k"]].itertuples(index=False, name=None))
    for cell in cells():
        if cell not in done:
            kernel, layer, rows, heads, split_k = cell
            case = Case.make(heads, rows, *LAYERS[layer])
            us = time_kernel(kernel, case, split_k=split_k, band=False).microseconds
            with path.open("a") as file:
                file.write(",".join(map(str, cell)) + f",{us:.2f}\n")
            print(*cell, f"{us:.2f}", file=sys.stderr, flush=True)


def times(path: Path | None = None) -> pd.DataFrame:
    """The file: columns kernel, layer, rows, heads, split_k, microseconds."""
    return pd.read_csv(path or folder("profiles") / FILE, comment="#")


def fit(frame: pd.DataFrame, kernel: str) -> Costs:
    """The costs that explain a kernel's times best: least squares of relative errors, where splits far from the best of their
    case count less. A cost that no time depends on, or that would be negative, is 0."""
    spec = kernel_named(kernel)
    mine = frame[frame.kernel == kernel]
    us = mine.microseconds.to_numpy()
    best = mine.groupby(_CELL[1:]).microseconds.transform("min").to_numpy()
    rows = [work(spec, tiles_of(spec, *_lens(x)), x.heads, x.split_k) for x in mine.itertuples()]
    counted = np.array(rows, float) * (best**2 / us**3)[:, None]
    wanted = best**2 / us**2
    used = np.flatnonzero(counted.any(axis=0))
    while True:
        found = np.linalg.lstsq(counted[:, used], wanted, rcond=None)[0]
        if (found >= 0).all():
            break
        used = np.delete(used, found.argmin())
    costs = np.zeros(counted.shape[1])
    costs[used] = found
    return Costs(*(round(float(x), 2) for x in costs))


def _lens(x: object) -> tuple[list[int], list[int]]:
    main, extra = LAYERS[x.layer]  # type: ignore[attr-defined]
    return [main] * x.rows, [extra] * x.rows  # type: ignore[attr-defined]


def regret(frame: pd.DataFrame) -> pd.DataFrame:
    """The planner beside the best split of each case. Columns: kernel, layer, rows, heads, planned, best (splits), planned_us,
    best_us, regret (percent: how much longer the planned one takes). NaN where the planned split was not timed."""
    found = []
    for key, mine in frame.groupby(_CELL, sort=False):
        us = mine.set_index("split_k").microseconds
        first = next(mine.itertuples())
        planned = plan_split(*_lens(first), first.heads, first.kernel)
        best = int(us.idxmin())
        found.append((*key, planned, best, us.get(planned, np.nan), us[best]))
    table = pd.DataFrame(found, columns=[*_CELL, "planned", "best", "planned_us", "best_us"])
    return table.assign(regret=100 * (table.planned_us / table.best_us - 1))


def mean_regret(table: pd.DataFrame) -> float:
    """The geometric mean, in percent."""
    return 100 * float(np.expm1(np.log(table.planned_us / table.best_us).mean()))


def against(frame: pd.DataFrame, kernel: str = "product", other: str = "base") -> pd.DataFrame:
    """Two kernels, each at its best split, where both were timed. Columns: layer, rows, heads, the kernels' microseconds and
    splits, ratio (of `other` to `kernel`: how many times faster `kernel` is)."""
    best = frame.loc[frame.groupby(_CELL).microseconds.idxmin()]
    one, two = (best[best.kernel == name].drop(columns="kernel") for name in (kernel, other))
    both = one.merge(two, on=_CELL[1:], suffixes=(f"_{kernel}", f"_{other}"))
    return both.assign(ratio=both[f"microseconds_{other}"] / both[f"microseconds_{kernel}"])


def regret_table(frame: pd.DataFrame) -> str:
    """`regret` as docs/planner.md has it: by kernel and layer, cases, splits planned, geometric mean and worst regret."""
    table = regret(frame)
    lines = ["| kernel | layer | cases | splits planned | mean regret | worst | in |", "|---|---|---|---|---|---|---|"]
    parts = [(key, mine) for key, mine in table.groupby(["kernel", "layer"], sort=False)]
    for (kernel, layer), mine in [*parts, *(((name, "all"), mine) for name, mine in table.groupby("kernel", sort=False))]:
        worst = mine.loc[mine.regret.idxmax()]
        where = f"{worst.layer}, {worst.rows} x {worst.heads}: {worst.planned} for {worst.best}" if worst.regret > 0.05 else ""
        splits = " ".join(map(str, sorted(mine.planned.unique())))
        means = f"{mean_regret(mine):.1f} % | {worst.regret:.1f} %"
        lines.append(f"| {kernel} | {layer} | {len(mine)} | {splits} | {means} | {where} |")
    return "\n".join(lines)


def against_table(frame: pd.DataFrame) -> str:
    """`against` as docs/planner.md has it, with the geometric mean for each number of heads."""
    both = against(frame)
    lines = ["| layer | rows | heads | product, us (split) | base, us (split) | times faster |", "|---|---|---|---|---|---|"]
    for x in both.itertuples():
        ours, other = f"{x.microseconds_product:.1f} ({x.split_k_product})", f"{x.microseconds_base:.1f} ({x.split_k_base})"
        lines.append(f"| {x.layer} | {x.rows} | {x.heads} | {ours} | {other} | {x.ratio:.2f} |")
    for heads, mine in both.groupby("heads"):
        mean = float(np.exp(np.log(mine.ratio).mean()))
        lines.append(f"| geometric mean | {len(mine)} cases | {heads} | | | {mean:.2f} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Prints what docs/planner.md and split_k.py hold."""
    path = folder("profiles") / FILE
    if arguments == ["--time"]:
        time_missing(path)
    frame = times(path)
    for kernel in sorted(KERNELS):
        print(f'    "{kernel}": {fit(frame, kernel)},')
    print(regret_table(frame), against_table(frame), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
