"""How a decode is cut into parts, from numbers that the host has, and the scratch memory that this takes.

A `Plan` decides how fast a decode is, and in which order sums are rounded; whatever the plan, the result is right for the lists
that the device then reads. So one that was made for other lengths may be replayed with a graph.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch

from sparse_mla.errors import InputError
from sparse_mla.execute.backends import BACKENDS, Cut, Scratch, arch, choose, scratch_sizes
from sparse_mla.files import folder
from sparse_mla.kernels import hopper
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.kernels.split_k import Lens, host_lens, plan_kernel

INVARIANT_TOKENS = 512  # of a part, at most while the kernel has splits for it, in a batch-invariant plan


def allowed_splits(backend: str) -> Sequence[int]:
    """Split counts that a backend's kernel has."""
    spec = BACKENDS[backend].spec()
    return spec.splits if spec else tuple(hopper.SPLITS) if backend == "hopper" else (1,)


@dataclass(frozen=True)
class Plan:
    """The backend that a decode runs on, and how its rows are cut. Two rows that are cut alike by the same backend get the same
    bits wherever they stand."""

    backend: str
    cuts: tuple[Cut, ...]

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"plan has backend {self.backend!r}; it may be {', '.join(BACKENDS)}")
        ends = [0, *(cut.last for cut in self.cuts)]
        if [cut.first for cut in self.cuts] != ends[:-1] or ends != sorted(ends):
            raise InputError(f"plan has cuts {self.cuts}; each begins at the row where the one before ends, the first at 0")
        if any(cut.shares != 1 and BACKENDS[self.backend].spec(cut.shares) is None for cut in self.cuts):
            raise InputError(f"plan has cuts {self.cuts}; {self.backend} has no kernel with that many shares")
        allowed = allowed_splits(self.backend)
        if any(cut.splits not in allowed for cut in self.cuts):
            raise InputError(f"plan has cuts {self.cuts}; {self.backend} splits a row into {', '.join(map(str, allowed))}")

    @property
    def rows(self) -> int:
        return self.cuts[-1].last if self.cuts else 0

    @property
    def kernels(self) -> tuple[str, ...]:
        """Of each cut: the kernel of the catalogue, or the backend's name where it has others."""
        specs = (BACKENDS[self.backend].spec(cut.shares) for cut in self.cuts)
        return tuple(self.backend if spec is None else spec.name for spec in specs)

    def sizes(self, heads: int) -> tuple[int, int, int]:
        """Elements of the tensors of a `Scratch`. Cuts run one after another, so they share it."""
        each = [scratch_sizes(self.backend, cut, heads) for cut in self.cuts]
        return tuple(max(column) for column in zip((0, 0, 0), *each, strict=True))


@lru_cache(maxsize=8)
def tuned(name: str) -> tuple[tuple[tuple[float, ...], Cut], ...]:
    """What was tuned for an architecture, of profiles/tuned/triton.csv: (log2 of heads, rows, tokens a row) and a cut."""
    with (folder("profiles") / "tuned/triton.csv").open() as file:
        lines = [line for line in csv.DictReader(x for x in file if not x.startswith("#")) if line["arch"] == name]
    return tuple(
        (
            tuple(math.log2(int(line[key])) for key in ("heads", "rows", "tokens")),
            Cut(0, 0, int(line["splits"]), 16, int(line["tile"]), int(line["warps"])),
        )
        for line in lines
    )


def _invariant(backend: str, tokens: int, heads: int) -> Cut:
    """The cut of a row, from its own length and the number of heads alone."""
    wanted, allowed = -(-tokens // INVARIANT_TOKENS), allowed_splits(backend)
    block = max(block for block in hopper.SHAPES if block == 16 or block < 2 * heads) if backend == "hopper" else 16
    return Cut(0, 0, min((count for count in allowed if count >= wanted), default=allowed[-1]), block)


def _fastest(backend: str, main: list[int], extra: list[int], heads: int, device: torch.device) -> Cut:
    """The cut of all rows that should take least time."""
    if backend == "hopper":
        real = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
        best = hopper.plan(main, extra, heads, real.multi_processor_count if real else hopper.MULTIPROCESSORS)
        return Cut(0, 0, best.splits, best.head_block)
    name = arch(device)
    if backend == "triton" and tuned(name):
        tokens = max(1, sum(main + extra) / len(main))
        at = [math.log2(size) for size in (heads, len(main), tokens)]
        return min(tuned(name), key=lambda entry: math.dist(at, entry[0]))[1]
    kernels = BACKENDS[backend].kernels
    if not kernels:
        return Cut(0, 0, 1)
    kernel, splits = plan_kernel(main, extra, heads, kernels)
    return Cut(0, 0, splits, shares=CATALOGUE[kernel].shares)


def plan_decode(
    main_lens: Lens,
    extra_lens: Lens | None,
    heads: int,
    *,
    device: torch.device | str | None = None,
    backend: str = "auto",
    batch_invariant: bool = False,
) -> Plan:
    """A plan for rows of these lengths, which the host has: a list, or a CPU tensor. No device memory is read.

    `device` is the decode's (default: the current GPU, or the CPU where there is none). `batch_invariant` chooses each row's
    splits from its own length alone, with as many launches as there are runs of rows that are cut alike; the lengths may be
    capacities, where a graph will be replayed with others. Raises InputError, and BackendError where the backend does not decode
    on `device`.
    """
    device = torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
    name = choose(backend, device)
    main, extra = host_lens(main_lens, extra_lens, heads)
    if not main:
        return Plan(name, ())
    if not batch_invariant:
        return Plan(name, (_fastest(name, main, extra, heads, device)._replace(last=len(main)),))
    each = [_invariant(name, m + e, heads) for m, e in zip(main, extra, strict=True)]

    def runs() -> Iterator[Cut]:
        at = 0
        for cut, alike in groupby(each):
            yield cut._replace(first=at, last=(at := at + sum(1 for _ in alike)))

    return Plan(name, tuple(runs()))


class Workspace:
    """Scratch memory that decodes of one stream share, one after another: made once, then reused by any plan that it fits.

    A decode needs its counters to be zero and leaves them so. After one that did not end, `reset` makes them zero; where a launch
    fails, `decode` does. What lies in the rest of it never matters.
    """

    def __init__(self, device: torch.device | str, plan: Plan | None = None, heads: int = 0) -> None:
        """For `plan` and this many heads, or empty."""
        self.device = torch.device(device)
        self._kept: list[Scratch] = []  # a captured graph goes on using what it was captured with
        self.scratch = self._make(plan.sizes(heads) if plan else (0, 0, 0))

    def _make(self, sizes: tuple[int, ...]) -> Scratch:
        partial, partial_ml, words = sizes
        return Scratch(
            torch.empty(partial, dtype=torch.float32, device=self.device),
            torch.empty(partial_ml, dtype=torch.float32, device=self.device),
            torch.zeros(words, dtype=torch.int32, device=self.device),
        )

    def fit(self, plan: Plan, heads: int) -> Scratch:
        """The tensors, made larger first where `plan` needs it. Raises InputError if that happens while a graph is captured."""
        needed, have = plan.sizes(heads), [tensor.numel() for tensor in self.scratch]
        if any(want > size for want, size in zip(needed, have, strict=True)):
            if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
                raise InputError(
                    f"workspace has {have} elements and the plan needs {list(needed)}: fit(plan, heads) before capture"
                )
            self._kept.append(self.scratch)
            # At least twice as large, so that what is kept is never more than what is used.
            self.scratch = self._make(tuple(max(w, 2 * h) if w > h else h for w, h in zip(needed, have, strict=True)))
        return self.scratch

    def reset(self) -> None:
        """Counters to zero."""
        self.scratch.words.zero_()
