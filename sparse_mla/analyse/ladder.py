"""The ladder of csrc/ladder: what each version executes for a tile of 32 tokens, what it takes of a compute unit, and how long
it is modelled to take.

`python -m sparse_mla.analyse.ladder docs/ladder.md` runs them all and writes the tables into that page; with `counts` or `times`
behind it, that table only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from sparse_mla.analyse.traffic import traffic
from sparse_mla.build import csrc_dir
from sparse_mla.errors import InputError
from sparse_mla.execute.timing import time_kernel, traced_launches
from sparse_mla.files import folder
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing import device
from sparse_mla.gfx950.timing.model import limits
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.inputs import DecodeInputs

STEPS = {
    "scalar": "ladder/scalar",
    "MFMA": "ladder/mfma",
    "LDS": "ladder/lds",
    "four waves": "base",
    "no bank conflicts": "ladder/swizzle",
    "packed conversion": "ladder/packed",
    "transposed reads": "ladder/transposed",
    "direct K": "ladder/direct",
    "private tiles": "ladder/private",
    "prefetch": "ladder/prefetch",
    "split-K": "ladder/split",
    "product": "product",
}  # in order; the kernel of each
HEADS, MAIN = 16, 128
EXTRA = (512, 1536)  # what a tile takes is the difference of two runs, whose lists are so many entries apart
ROWS = (1, 64)
TOLD_IN = {"base": "decode/base_tile.h", "product": "decode/shared_tile.h"}  # where the design is told; others: their source


@lru_cache(maxsize=4)
def _inputs(extra: int, heads: int) -> DecodeInputs:
    return Case.make(heads=heads, rows=1, main=MAIN, extra=extra).inputs()


@lru_cache(maxsize=32)
def traced(kernel: str, extra: int, split_k: int = 1, heads: int = HEADS) -> Launched:
    """The (first) launch of a decode of one row of MAIN + `extra` tokens, executed and traced; one of EXTRA for differences."""
    return traced_launches(kernel, _inputs(extra, heads), split_k)[0]


@lru_cache(maxsize=32)
def per_tile(kernel: str, split_k: int = 1, heads: int = HEADS) -> dict[str, float]:
    """What a kernel of the catalogue executes for 32 tokens and `heads` heads, all waves together: `instructions` (of waves),
    `barriers` (of a workgroup), `lds` (service phases of LDS, exchanges between lanes and conflicts included), `conflicts`
    (those of them that conflicts added). The difference of two runs, by their tiles: exact where all cost alike; in `product` it
    depends on the scores how often a wave raises its maximum."""
    return tile_between(*(traced(kernel, extra, split_k, heads) for extra in EXTRA))


def tile_between(short: Launched, long: Launched) -> dict[str, float]:
    """What `per_tile` gives, of two traced launches whose lists are as far apart as those of EXTRA."""
    ends = []
    for one in (short, long):
        barriers = [ins.mnemonic == "s_barrier" for ins in one.kernel.instructions]
        moved = traffic(one)
        ends.append(
            (one.wave_instructions, one.counts.sum(axis=0)[barriers].sum() / len(one.counts), moved.phases.sum(),
             moved.conflicts.sum())
        )  # fmt: skip
    per = (np.array(ends[1]) - ends[0]) / ((EXTRA[1] - EXTRA[0]) // 32)
    return dict(zip(("instructions", "barriers", "lds", "conflicts"), per.tolist(), strict=True))


def costs(kernel: str, split_k: int = 1) -> dict[str, object]:
    """What `per_tile` gives, then what `taken` does."""
    return per_tile(kernel, split_k) | taken(traced(kernel, EXTRA[0], split_k))


def taken(one: Launched) -> dict[str, object]:
    """What a launch takes: vgprs (of a lane, both files), lds_bytes and waves (of a workgroup), workgroups (that fit a CU) and
    limiter (what is scarcest)."""
    vgprs, waves = one.kernel.descriptor["next_free_vgpr"], len(one.counts)
    room = limits(vgprs, waves, one.lds_bytes, device("mi355x"))
    least = min(room.values())
    scarce = ", ".join(name for name, groups in room.items() if groups == least)
    return {"vgprs": vgprs, "lds_bytes": one.lds_bytes, "waves": waves, "workgroups": least, "limiter": scarce}


def counts(versions: Sequence[str] = tuple(STEPS)) -> pd.DataFrame:
    """One row a version, of STEPS. Columns: step (from 1), version, kernel, those of `costs`, kind."""
    named = [(step, version, kernel) for step, (version, kernel) in enumerate(STEPS.items(), 1) if version in versions]
    rows = [{"step": step, "version": version, "kernel": kernel} | costs(kernel) for step, version, kernel in named]
    return pd.DataFrame(rows).assign(kind="emulated")


def about(kernel: str) -> dict[str, str]:
    """What the head of a kernel's source says of it, by heading: idea, layout, price and, of most, gain."""
    path = csrc_dir() / TOLD_IN.get(kernel, kernel_named(kernel).sources[0] if kernel.startswith("ladder/") else "")
    if not path.is_file():
        raise InputError(f"the source of {kernel!r} tells no step of the ladder; those of {', '.join(STEPS.values())} do")
    head = " ".join(line.removeprefix("//").strip() for line in re.split(r"^#", path.read_text(), flags=re.M)[0].splitlines())
    parts = re.split(r"\bThe (idea|layout|price|gain)\. ", head)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def stored_times() -> pd.DataFrame:
    """The modelled times of docs/ladder.md: columns kernel, rows, split_k, microseconds, low, high (the band), kind."""
    text = (folder("docs") / "ladder.md").read_text("utf-8").split("<!-- times -->")[1].split("<!-- end of times -->")[0]
    found = []
    for line in text.strip().splitlines()[2:]:
        _, version, *cells = (cell.strip() for cell in line.strip("| ").split(" | "))
        for rows, cell in zip(np.repeat(ROWS, 2).tolist(), cells, strict=True):
            if m := re.match(r"(\S+) \((\S+) to (\S+)\)(?:, (\d+) parts)?", cell):
                us, low, high = (float(x.replace(",", "")) for x in m.groups()[:3])
                found.append((STEPS[version], rows, int(m[4] or 1), us, low, high, "modelled"))
    return pd.DataFrame(found, columns=["kernel", "rows", "split_k", "microseconds", "low", "high", "kind"])


def times(kernels: Sequence[str] = tuple(STEPS.values()), rows: Sequence[int] = ROWS) -> pd.DataFrame:
    """Modelled times of 16 heads and 128 + 1024 tokens a row, each row with slots of its own: whole rows and, where a kernel can
    split them, those in as many parts as are fastest.

    Columns: kernel, rows, split_k, microseconds, low, high (the band), kind. Minutes for all steps."""
    found = []
    for kernel in kernels:
        for count in rows:
            case = Case.make(heads=HEADS, rows=count, main=MAIN, extra=1024)
            tried = {
                split: time_kernel(kernel, case, split_k=split, band=False).microseconds
                for split in kernel_named(kernel).splits
                if split > 1
            }
            for split in (1, *sorted(tried, key=lambda x: tried[x])[:1]):
                timed = time_kernel(kernel, case, split_k=split)
                found.append((kernel, count, split, timed.microseconds, *timed.band, timed.kind))
    return pd.DataFrame(found, columns=["kernel", "rows", "split_k", "microseconds", "low", "high", "kind"])


def counts_table() -> str:
    """`counts` in Markdown."""
    columns = {
        "step": "{0.step}",
        "version": "{0.version}",
        "instructions": "{0.instructions:,.0f}",
        "LDS phases": "{0.lds:,.0f}",
        "of conflicts": "{0.conflicts:,.0f}",
        "barriers": "{0.barriers:.2g}",
        "VGPRs": "{0.vgprs}",
        "LDS bytes": "{0.lds_bytes:,}",
        "waves": "{0.waves}",
        "workgroups a CU": "{0.workgroups} ({0.limiter})",
    }
    lines = [[*columns], ["---"] * len(columns)]
    lines += [[cell.format(row) for cell in columns.values()] for row in counts().itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def times_table() -> str:
    """`times` in Markdown."""
    frame = times()

    def cell(kernel: str, rows: int, split: bool) -> str:
        for one in frame[(frame.kernel == kernel) & (frame.rows == rows) & ((frame.split_k > 1) == split)].itertuples():
            return f"{_us(one.microseconds)} ({_us(one.low)} to {_us(one.high)})" + (f", {one.split_k} parts" if split else "")
        return "-"

    lines = ["| step | version | 1 row | 1 row, split | 64 rows | 64 rows, split |", "|---|---|---|---|---|---|"]
    for step, (version, kernel) in enumerate(STEPS.items(), 1):
        cells = [cell(kernel, rows, split) for rows in ROWS for split in (False, True)]
        lines.append(f"| {step} | {version} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _us(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}"


TABLES = {"counts": counts_table, "times": times_table}


def renew(text: str, name: str, table: str) -> str:
    """A page with one of its tables replaced: what stands between the comments `name` and `end of name`."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise InputError(f"the page lacks a place for the table: one line {begin.strip()!r} and one {end.strip()!r}")
    head, rest = text.split(begin)
    return head + begin + table + end + rest.split(end)[1]


def main(page: str, *names: str) -> None:
    """Writes the named tables, all by default, into a page."""
    path = Path(page)
    for name in names or TABLES:
        path.write_text(renew(path.read_text("utf-8"), name, TABLES[name]()), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
