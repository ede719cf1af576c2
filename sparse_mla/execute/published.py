"""Modelled times of our kernels beside published ones of kernels of the same design: `sparse-mla time --published`.

The published kernels are Triton's. Ours, `base` in HIP and `triton`, are of the same plan (a workgroup a row, or rows split and
merged) but other code: trends can be compared, microseconds only loosely. No constant of the model was chosen by these figures.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import Any, Literal

from sparse_mla.errors import InputError
from sparse_mla.execute.timing import TimedResult, time_kernel
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case

# Kernel of ours: its splits, and the published series that stand beside them.
_WHOLE_AND_SPLIT: tuple[tuple[int | Literal["auto"], str], ...] = ((1, "triton-first"), ("auto", "triton-split"))
PAIRS = {"base": _WHOLE_AND_SPLIT, "triton": _WHOLE_AND_SPLIT}


def published(kernel: str) -> dict[int, float]:
    """Published microseconds of a series by rows."""
    with (folder("profiles") / "published/mi355x_decode_us.csv").open() as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return {int(x["rows"]): float(x["us"]) for x in lines if x["kernel"] == kernel}


def beside_published(
    kernel: str, rows: Sequence[int] | None = None, *, band: bool = True, timed: Callable[..., TimedResult] = time_kernel
) -> list[dict[str, Any]]:
    """One line for each published figure of these row counts (default: all): split, rows, modelled us with its band, published
    us, and the quotient of the two. Raises InputError for a kernel with nothing published beside it."""
    out: list[dict[str, Any]] = []
    if kernel not in PAIRS:
        raise InputError(f"nothing published stands beside kernel {kernel!r}; there is something for {', '.join(PAIRS)}")
    for split, series in PAIRS[kernel]:
        for n, us in published(series).items():
            if rows is not None and n not in rows:
                continue
            result = timed(kernel, Case.make(heads=16, rows=n), split_k=split, band=band)
            low, high = result.band
            out.append(
                {
                    "split_k": result.split_k,
                    "rows": n,
                    "modelled_us": round(result.microseconds, 1),
                    "low": round(low, 1),
                    "high": round(high, 1),
                    "published": series,
                    "published_us": us,
                    "modelled/published": round(result.microseconds / us, 2),
                    "mostly": max(result.timing.split, key=lambda cause: result.timing.split[cause]),
                }
            )
    return out
