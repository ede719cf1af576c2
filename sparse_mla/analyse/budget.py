"""The performance budget: what each HIP decode kernel takes and costs, held against profiles/budget.json.

Registers, LDS and spills come from the compiler's metadata; wave instructions and LDS cycles of a 32-token tile are counted while
the machine code runs (kind: emulated); microseconds are the timing model's (kind: modelled). None needs a device. The file says
the compiler and, in percent, the slack of each figure.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from sparse_mla.analyse.ladder import per_tile
from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.build.toolchain import find_toolchain
from sparse_mla.execute.timing import time_kernel
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import CATALOGUE, kernel_named

KERNELS = ("base", "product", "few")
LADDER = tuple(name for name in CATALOGUE if name.startswith("ladder/"))  # the same but for times
SHAPES = {  # what is timed, and in how many parts
    "1 row, SWA": (Case.make(rows=1, extra=0), (1,)),
    "4 rows, 128 + 1024": (Case.make(rows=4), (1, 4, 16)),
    "64 rows, 128 + 512": (Case.make(rows=64, extra=512), (1, 4)),
    "1 row x 128 heads, 128 + 1024": (Case.make(heads=128, rows=1), (8,)),
}
SLACK = {  # percent, where a file says nothing yet
    "VGPR": 3.0, "AGPR": 3.0, "LDS bytes": 0.0, "spilled VGPR": 0.0, "spilled SGPR": 0.0, "scratch bytes": 0.0,
    "wave instructions": 0.5, "LDS cycles": 0.5, "LDS conflict cycles": 0.5, "microseconds": 2.0,
}  # fmt: skip
_KEY = ["kernel", "of", "figure"]

ACCEPT = "sparse-mla budget --accept"


def measure() -> pd.DataFrame:
    """Every figure as it is now, in some seconds. Columns: kernel, of (a function, `a tile`, or a shape and its split), figure,
    value, kind (`compiled`, `emulated` or `modelled`)."""
    rows: list[tuple[str, str, str, float, str]] = []
    for name in (*KERNELS, *LADDER):
        for source in [x for x in kernel_named(name).sources if name in KERNELS or x.startswith("ladder/")]:
            for symbol, need in compile_hip(csrc_dir() / source).resources.items():
                taken = (need.vgpr, need.agpr, need.lds, need.spill_vgpr, need.spill_sgpr, need.scratch)
                rows += [(name, symbol, figure, value, "compiled") for figure, value in zip(SLACK, taken, strict=False)]
        rows += [(name, "a tile", figure, value, "emulated") for figure, value in tile_costs(name).items()]
        for shape, (case, splits) in SHAPES.items() if name in KERNELS else ():
            for split_k in splits:
                us = time_kernel(name, case, split_k=split_k, band=False).microseconds
                rows.append((name, f"{shape}, split {split_k}", "microseconds", round(us, 2), "modelled"))
    return pd.DataFrame(rows, columns=[*_KEY, "value", "kind"])


def tile_costs(kernel: str) -> dict[str, float]:
    """What one more tile of 32 tokens and 16 heads costs: wave instructions, LDS cycles (passes over the banks, those that
    conflicts added included), and the latter alone. To a hundredth."""
    names = {"wave instructions": "instructions", "LDS cycles": "lds", "LDS conflict cycles": "conflicts"}
    return {ours: round(per_tile(kernel)[name], 2) for ours, name in names.items()}


def accepted() -> dict[str, Any]:
    """profiles/budget.json: `compiler`, `slack` (percent by figure), `figures` (kernel, of, figure)."""
    given: dict[str, Any] = json.loads((folder("profiles") / "budget.json").read_text())
    return given


def compare(now: pd.DataFrame, budget: dict[str, Any]) -> pd.DataFrame:
    """`now` beside the budget. Columns: kernel, of, figure, accepted, now, change (percent), verdict (`ok`, `better`: less by
    more than the slack, `worse`: more by more than that, `new`: not in the budget, `gone`: only there), kind."""
    old = [(kernel, of, figure, value) for kernel, part in budget["figures"].items() for of, x in part.items()
           for figure, value in x.items()]  # fmt: skip
    both = pd.DataFrame(old, columns=[*_KEY, "accepted"]).merge(now, on=_KEY, how="outer", validate="one_to_one")
    both = both.rename(columns={"value": "now"})
    by = both["now"] - both.accepted
    room = both.accepted * both.figure.map(budget["slack"]).fillna(0.0) / 100 + 1e-9
    both["change"] = (100 * by / both.accepted.where(both.accepted != 0)).round(1)
    both["verdict"] = "ok"
    both.loc[by > room, "verdict"] = "worse"
    both.loc[by < -room, "verdict"] = "better"
    both.loc[both.accepted.isna(), "verdict"] = "new"
    both.loc[both["now"].isna(), "verdict"] = "gone"
    return both[[*_KEY, "accepted", "now", "change", "verdict", "kind"]]


def failures(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that fail: worse, or in only one of the two, so that nothing leaves the budget unseen."""
    return table[table.verdict.isin(["worse", "new", "gone"])]


def accept(now: pd.DataFrame) -> None:
    """Makes these figures the budget; the slack stays as it is."""
    path = folder("profiles") / "budget.json"
    slack = accepted()["slack"] if path.is_file() else SLACK
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for row in now.to_dict("records"):
        value = float(row["value"])
        part = figures.setdefault(row["kernel"], {}).setdefault(row["of"], {})
        part[row["figure"]] = int(value) if value == int(value) else value
    written = {
        "about": f"What the HIP decode kernels may cost; written by `{ACCEPT}`. Slack in percent.",
        "kind": "compiled, emulated and modelled; nothing here was measured on a device",
        "compiler": find_toolchain().version,
        "slack": slack,
        "figures": figures,
    }
    path.write_text(json.dumps(written, indent=1) + "\n")


def report(table: pd.DataFrame, compiler: str, budget: dict[str, Any]) -> tuple[str, int]:
    """What `compare` found, in words, and the exit status: 1 where something fails under the budget's own compiler."""
    changed, failed = table[table.verdict != "ok"], failures(table)
    lines = [f"{len(table)} figures, {len(table) - len(changed)} within their slack; compiler: {compiler}"]
    if len(changed):
        shown = changed.drop(columns="kind").astype(object).where(changed.notna(), "-")
        lines.append(shown.to_string(index=False))
    better = (table.verdict == "better").sum()
    if better:
        lines.append(f"{better} better: keep it so with `{ACCEPT}`")
    if compiler != budget["compiler"]:
        lines.append(f"the budget is for {budget['compiler']}, another compiler: reported, not judged")
        return "\n".join(lines), 0
    if len(failed):
        lines.append(f"over budget: {len(failed)}. If that is meant: `{ACCEPT}`, and commit profiles/budget.json with the reason")
    return "\n".join(lines), int(bool(len(failed)))
