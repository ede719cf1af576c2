"""Into how many parts to split each row's tokens, decided on the host from the rows' lengths, and the workspace this needs.

A row that stays whole is walked by one workgroup per head block. With few rows most of the chip then idles while the longest row
decides the time, so rows are split and the parts merged by a second launch; with many rows splitting only adds that launch.

The model below weighs the two. Its constants are modelled, in microseconds on an MI355X, and only their ratios matter:

* A tile costs about 3: 4,067 modelled LDS cycles of the base design at 2.4 GHz are 1.7, and between its barriers nothing hides
  the latency of a tile's gather, about 1 more.
* A workgroup costs one tile more to start, stage q and write its result.
* Published traces of such a second launch show 5.2 to 5.4, hardly depending on the shape; each part to read adds a little.
* Two workgroups of one CU share the LDS that bounds both, so they count as one after the other.

For 16 heads and 1,152 tokens a published kernel of this shape took 277, 285 and 860 for 4, 64 and 512 whole rows, and 35, 65 and
432 once it split them. The model says 111, 111 and 222 for whole rows, 19, 37 and 222 at its best split: everything about half as
long, the ratios that decide alike, except that it sees nothing to gain at 512 rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.errors import InputError
from sparse_mla.kernels.catalogue import CATALOGUE

COMPUTE_UNITS = 256  # of an MI355X
TILE_COST = 3.0
WORKGROUP_COST = 3.0
REDUCE_COST = 5.3
REDUCE_COST_PER_SPLIT = 0.1  # for each round of row x head workgroups

Lens = Sequence[int] | torch.Tensor


def _host_lens(name: str, lens: Lens) -> list[int]:
    if isinstance(lens, torch.Tensor):
        if not lens.is_cpu:
            raise InputError(f"{name} is on {lens.device}; the planner takes lengths the host already has (a list or CPU tensor)")
        lens = lens.tolist()
    if any(length < 0 for length in lens):
        raise InputError(f"{name} is {list(lens)}; lengths are not negative")
    return list(lens)


def modelled_cost(tiles: Sequence[int], heads: int, split_k: int) -> float:
    """Modelled microseconds of a decode whose rows have these numbers of tiles, each row split into `split_k` parts."""
    spec = CATALOGUE["base"]
    # Workgroups start longest first and a round lasts as long as its longest: exact for equal rows, an upper bound for others.
    longest_first = sorted((-(-row // split_k) * TILE_COST + WORKGROUP_COST for row in tiles), reverse=True)
    copies = -(-heads // spec.head_block) * split_k
    cost = sum(longest_first[first // copies] for first in range(0, len(tiles) * copies, COMPUTE_UNITS))
    if split_k > 1:
        reduce_rounds = -(-len(tiles) * heads // COMPUTE_UNITS)
        cost += REDUCE_COST + REDUCE_COST_PER_SPLIT * split_k * reduce_rounds
    return cost


def plan_split(main_lens: Lens, extra_lens: Lens | None, heads: int) -> int:
    """The split of the lowest modelled cost (the smallest, of equals) for rows of these lengths. Reads no device memory."""
    main = _host_lens("main_lens", main_lens)
    extra = [0] * len(main) if extra_lens is None else _host_lens("extra_lens", extra_lens)
    if len(main) != len(extra):
        raise InputError(f"main_lens has {len(main)} rows and extra_lens {len(extra)}; give one length a row")
    if heads < 1:
        raise InputError(f"heads is {heads}; it must be at least 1")
    spec = CATALOGUE["base"]
    tiles = [-(-m // spec.tile) + -(-e // spec.tile) for m, e in zip(main, extra, strict=True)]
    return min(spec.splits, key=lambda split_k: modelled_cost(tiles, heads, split_k))


def workspace_shape(rows: int, heads: int, split_k: int) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Shapes of the partial sums (fp32 or bf16) and of their fp32 (maximum in the log2 domain, sum); no elements when unsplit."""
    parts = split_k if split_k > 1 else 0
    return (rows, parts, heads, HEAD_DIM), (rows, parts, heads, 2)
