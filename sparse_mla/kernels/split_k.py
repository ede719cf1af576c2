"""Into how many parts to split each row's tokens, decided on the host from the rows' lengths, and the workspace this needs.

A row that stays whole is walked by one workgroup per head block. With few rows most of the chip then idles while the longest
row decides the time, so rows are split and the parts merged: by whoever comes last, or by a second launch. With many rows
splitting only adds that work. The cost below weighs the two, for each kernel with its own constants; docs/planner.md: how well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.errors import InputError
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import KernelSpec, kernel_named

COMPUTE_UNITS = 256  # of an MI355X

Lens = Sequence[int] | torch.Tensor


class Costs(NamedTuple):
    """Microseconds on an MI355X, modelled: `python -m sparse_mla.analyse.regret` fits them to profiles/modelled/splits.csv."""

    whole: float  # a decode of whole rows, before any work
    last: float  # one whose parts are merged by the workgroup that comes last
    second: float  # one with a second launch
    workgroup: float  # each workgroup that a compute unit begins with nothing else on it
    step: float  # each of its tiles
    beside: float  # each further workgroup resident at the same time
    step_beside: float  # each of its steps
    part: float  # each thousand heads of parts to be written and read; of a kernel with shares, each part of the longest row


# Workgroups that one compute unit holds at a time. Kernels that are not named here are of base's design, and planned as base.
RESIDENCY = {"base": 3, "product": 1, "few": 1, "triton": 1}
COSTS = {
    "base": Costs(whole=5.8, last=0.0, second=9.13, workgroup=0.3, step=4.34, beside=0.0, step_beside=2.09, part=0.0),
    "product": Costs(whole=1.54, last=4.34, second=4.88, workgroup=2.78, step=1.46, beside=0.0, step_beside=0.0, part=0.01),
    "few": Costs(whole=1.2, last=2.22, second=0.0, workgroup=2.1, step=0.95, beside=0.0, step_beside=0.0, part=0.06),
    # Not fitted: a tile's LDS cycles and latency on an otherwise idle compute unit, and a published second launch of 5.3.
    "triton": Costs(whole=0.0, last=0.0, second=5.3, workgroup=3.0, step=3.0, beside=0.0, step_beside=0.0, part=0.39),
}


def work(spec: KernelSpec, tiles: Sequence[int], heads: int, split_k: int) -> Costs:
    """How often each of the costs occurs in a decode whose rows have these numbers of tiles, each row in `split_k` parts, or of
    a kernel with shares in as few as are no longer.

    Compute units take workgroups longest first, and as many as fit at a time: exact for equal rows, an upper bound for others.
    """
    resident, chooses = RESIDENCY.get(spec.name, RESIDENCY["base"]), spec.shares > 1
    parts = sorted((max(int(chooses), -(-row // split_k)) for row in tiles), reverse=True)
    most = split_k
    if chooses:
        most = max((-(-max(row, 1) // part) for row, part in zip(sorted(tiles, reverse=True), parts, strict=True)), default=1)
    copies = -(-heads // spec.head_block) * spec.shares * most
    busiest = [parts[first // copies] for first in range(0, len(parts) * copies, COMPUTE_UNITS)]
    alone = busiest[::resident]
    merged = 1 < most <= spec.one_launch
    return Costs(
        whole=most == 1,
        last=merged,
        second=most > 1 and not merged,
        workgroup=len(alone),
        step=sum(alone),
        beside=len(busiest) - len(alone),
        step_beside=sum(busiest) - sum(alone),
        part=0 if most == 1 else most if chooses else len(tiles) * heads * split_k / 1000,
    )


def modelled_cost(kernel: str, tiles: Sequence[int], heads: int, split_k: int) -> float:
    """Modelled microseconds of a decode whose rows have these numbers of tiles, each row split into `split_k` parts."""
    times = work(kernel_named(kernel), tiles, heads, split_k)
    return sum(n * cost for n, cost in zip(times, COSTS.get(kernel, COSTS["base"]), strict=True))


def tiles_of(spec: KernelSpec, main_lens: Sequence[int], extra_lens: Sequence[int]) -> list[int]:
    """Tiles of each row: a tile does not reach from one list into the other."""
    return [-(-m // spec.tile) + -(-e // spec.tile) for m, e in zip(main_lens, extra_lens, strict=True)]


def _on_host(name: str, lens: Lens) -> list[int]:
    if isinstance(lens, torch.Tensor):
        if not lens.is_cpu:
            raise InputError(f"{name} is on {lens.device}; the planner takes lengths the host already has (a list or CPU tensor)")
        lens = lens.tolist()
    if any(length < 0 for length in lens):
        raise InputError(f"{name} is {list(lens)}; lengths are not negative")
    return list(lens)


def host_lens(main_lens: Lens, extra_lens: Lens | None, heads: int) -> tuple[list[int], list[int]]:
    """The rows' lengths as lists of one size. Reads no device memory. Raises InputError for what cannot be planned for."""
    main = _on_host("main_lens", main_lens)
    extra = [0] * len(main) if extra_lens is None else _on_host("extra_lens", extra_lens)
    if len(main) != len(extra):
        raise InputError(f"main_lens has {len(main)} rows and extra_lens {len(extra)}; give one length a row")
    if heads < 1:
        raise InputError(f"heads is {heads}; it must be at least 1")
    return main, extra


def plan_kernel(main_lens: Lens, extra_lens: Lens | None, heads: int, kernels: Sequence[str]) -> tuple[str, int]:
    """Of these kernels and their splits those of the lowest modelled cost for rows of these lengths; of equals the first kernel
    and the smallest split. Reads no device memory."""
    main, extra = host_lens(main_lens, extra_lens, heads)
    tiles = {name: tiles_of(kernel_named(name), main, extra) for name in kernels}
    plans = [(name, split_k) for name in kernels for split_k in kernel_named(name).splits]
    return min(plans, key=lambda plan: modelled_cost(plan[0], tiles[plan[0]], heads, plan[1]))


def plan_split(main_lens: Lens, extra_lens: Lens | None, heads: int, kernel: str) -> int:
    """The split of one kernel, by the same rule."""
    return plan_kernel(main_lens, extra_lens, heads, [kernel])[1]


def split_of(case: Case, kernel: str, split_k: int | Literal["auto"]) -> int:
    """`split_k`, or where it is "auto" the planned split of a case's rows."""
    if split_k != "auto":
        return split_k
    return plan_split(case.main, None if case.extra is None else case.extra_lens, case.heads, kernel)


def workspace_shape(
    rows: int, heads: int, split_k: int, shares: int = 1
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Shapes of the partial sums (fp32 or bf16) and of their fp32 (maximum in the log2 domain, sum); no elements when unsplit.
    Every one of a kernel's `shares` has its own of the latter."""
    parts = split_k if split_k > 1 else 0
    return (rows, parts, heads, HEAD_DIM), (shares * rows, parts, heads, 2)
