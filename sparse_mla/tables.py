"""The tables that both the command line and the tour print: lists of rows, each a dict of plain values."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from typing import Any

from sparse_mla.analyse.counts import by_unit, difference
from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.errors import InputError
from sparse_mla.execute import counts_frame, run
from sparse_mla.execute.triton_decode import compiled
from sparse_mla.files import PACKAGE, folder
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.decode import row_of
from sparse_mla.gfx950.isa import ROWS
from sparse_mla.kernels.case import CASES, Case, span
from sparse_mla.kernels.catalogue import CATALOGUE, kernel_named

Row = dict[str, Any]


def shown(value: Any) -> str:
    """One value for a reader: thousands apart, three digits of a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 100 and isinstance(value, float) else f"{value:,.0f}"


def text(rows: Sequence[Row]) -> str:
    """Rows of equal keys as aligned text, words to the left and numbers to the right."""
    columns = []
    for name in rows[0] if rows else ():
        cells = [name, *(shown(row[name]) for row in rows)]
        width, side = max(map(len, cells)), "<" if isinstance(rows[0][name], str) else ">"
        columns.append([f"{cell:{side}{width}}" for cell in cells])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def cases() -> list[Row]:
    """The named cases."""
    return [
        {
            "case": case.name,
            "heads": case.heads,
            "rows": case.rows,
            "main": span(case.main),
            "extra": span(case.extra or (0,)),
            "about": case.about,
        }
        for case in CASES.values()
    ]


def resources(kernel: str | None = None, compiler: str | None = None) -> list[Row]:
    """What each function of one kernel, or of all, takes of a compute unit. Compiles what is not compiled yet."""
    here = [spec for spec in CATALOGUE.values() if spec.sources or find_spec("triton")]
    specs = [kernel_named(kernel)] if kernel else here
    found = []
    for spec in specs:
        objects = (compile_hip(csrc_dir() / source, compiler=compiler).resources for source in spec.sources)
        functions = [*chain.from_iterable(x.items() for x in objects)]
        for symbol, need in functions or ((symbol, need) for symbol, _, need in compiled(spec)):
            found.append(
                {
                    "kernel": spec.name,
                    "function": symbol,
                    "VGPR": need.vgpr,
                    "AGPR": need.agpr,
                    "SGPR": need.sgpr,
                    "LDS bytes": need.lds,
                    "spilled VGPR": need.spill_vgpr,
                    "spilled SGPR": need.spill_sgpr,
                    "scratch bytes": need.scratch,
                    "waves/SIMD": need.waves_per_simd,
                    "workgroups/CU": need.workgroups_per_cu,
                }
            )
    return found


def assembly(kernel: str) -> str:
    """The gfx950 assembly of a kernel, all its sources one after the other; `.loc` lines name the source lines."""
    spec = kernel_named(kernel)
    return "\n".join(
        [compile_hip(csrc_dir() / source).text for source in spec.sources] or [text for _, text, _ in compiled(spec)]
    )


def instructions() -> list[Row]:
    """Every instruction that the emulator knows: how it is written, which unit executes it and what it does."""
    return [
        {
            "instruction": row.mnemonic,
            "unit": row.unit,
            "operands": " ".join(f"{operand.name}:{operand.type}" for operand in row.operands),
            "effect": row.effect,
        }
        for row in ROWS.values()
    ]


def coverage() -> list[Row]:
    """How many rows of the instruction set each kind of test runs and our kernels use, by unit and latency class.

    Raises InputError where the tests are not beside the package: an installed wheel has none.
    """
    root = str(PACKAGE.parent)
    if not (PACKAGE.parent / "tests/gfx950/coverage.py").is_file():
        raise InputError(f"no tests beside {PACKAGE}: coverage is derived from them, so run this in a checkout of the repository")
    sys.path[:0] = [root] * (root not in sys.path)
    try:
        tests: dict[str, set[str]] = import_module("tests.gfx950.coverage").TESTS
    except ImportError as missing:
        raise InputError(f"{missing}: coverage is derived from the tests; install what they need (CONTRIBUTING.md)") from None
    texts = (compile_hip(csrc_dir() / source).text for spec in CATALOGUE.values() for source in spec.sources)
    used = {ins.mnemonic for text in texts for kernel in parse(text).kernels.values() for ins in kernel.instructions}
    columns = tests | {"our kernels": {found[0].mnemonic for name in used if (found := row_of(name))}}
    families: dict[str, list[str]] = {}
    for row in ROWS.values():
        kind = re.sub(r"\d+", "", row.latency).removeprefix("lds_")
        families.setdefault(row.unit if kind == row.unit.lower() else f"{row.unit} {kind}", []).append(row.mnemonic)
    rows: list[Row] = []
    for family, names in families.items():
        counts = {column: len(members.intersection(names)) for column, members in columns.items()}
        untested = " ".join(sorted(set(names).difference(*tests.values())))
        rows.append({"family": family, "rows": len(names), **counts, "untested": untested})
    total = {key: sum(row[key] for row in rows) for key in ("rows", *columns)}
    return [*rows, {"family": "total", **total, "untested": " ".join(row["untested"] for row in rows).strip() or "none"}]


def published_counts() -> dict[str, int]:
    """Wave instructions per 32-token tile by unit, counted from a published source of the base design (kind: published)."""
    with (folder("profiles") / "published/base_design_counts.csv").open() as file:
        return {row["unit"]: int(row["count"]) for row in csv.DictReader(line for line in file if not line.startswith("#"))}


def tile_counts(kernel: str = "base") -> list[Row]:
    """Executed wave instructions of a kernel per tile of 32 tokens and 16 heads, by unit, beside the published counts.

    The difference of two runs whose rows differ by 8 tiles: what happens once a row cancels out. Kinds: emulated and published.
    """
    tiles = 8
    lengths = (256, 256 + tiles * kernel_named(kernel).tile)
    short, long = (counts_frame(run(kernel, Case.make(rows=1, extra=extra), split_k=1)) for extra in lengths)
    here = by_unit(difference(long, short)).sum() / tiles
    published = published_counts()
    rows = [{"unit": unit, "emulated": round(float(here[unit]), 2), "published": published.get(unit, 0)} for unit in here.index]
    return [*rows, {"unit": "total", "emulated": round(float(here.sum()), 2), "published": published["total"]}]


def runs(kernel: str = "base") -> Iterator[Row]:
    """A kernel on every named case against the float64 reference, rows whole and split as planned; kind: emulated."""
    for case in CASES.values():
        whole, planned = run(kernel, case, split_k=1), run(kernel, case)
        yield {
            "case": case.name,
            "rel_l2 whole": whole.comparison.rel_l2,
            "split_k": planned.split_k,
            "rel_l2 split": planned.comparison.rel_l2,
            "wave instructions": planned.wave_instructions,
            "host seconds": planned.seconds,
        }
