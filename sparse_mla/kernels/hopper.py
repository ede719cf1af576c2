"""Host side of the decode on NVIDIA Hopper: what it needs, how rows are split, how it is compiled and launched.

The kernel is csrc/hopper/decode.cu, for 64 heads decode_wide.cu; execute/cuda_device.py compiles and starts it. Nothing here
reads device memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.errors import InputError
from sparse_mla.kernels.inputs import DecodeInputs, check_tensor

SYMBOL = "hopper_decode"
HEADERS = ("cache_layout.h", "decode_params.h", "hopper/ptx.cuh", "hopper/rows.cuh", "hopper/merge.cuh")
TILE = 64  # tokens taken at a time
SPLITS = {1: 132, 2: 66, 4: 30, 8: 15, 16: 7}  # programs of a row, a cluster: how many clusters an H100 runs at a time
MULTIPROCESSORS = 132  # of an H100


class Shape(NamedTuple):
    """What a program for so many heads costs, in microseconds; fitted to times measured on an H100 (profiles/measured/h100)."""

    tile: float
    item: float  # a row or part of one, beside its tiles
    merge: float  # for each program of a cluster


SHAPES = {16: Shape(2.0, 5.2, 0.15), 32: Shape(2.4, 6.3, 0.2), 64: Shape(2.75, 8.0, 0.35)}


@dataclass(frozen=True)
class Plan:
    """How a decode is cut: heads of a program (a key of SHAPES), and parts of every row (a key of SPLITS)."""

    head_block: int
    splits: int

    def __post_init__(self) -> None:
        if self.head_block not in SHAPES or self.splits not in SPLITS:
            raise InputError(
                f"plan has head_block {self.head_block} and {self.splits} splits; allowed: "
                f"{', '.join(map(str, SHAPES))} and {', '.join(map(str, SPLITS))}"
            )

    def blocks(self, heads: int) -> int:
        """Programs, or clusters of them, that a row's heads take."""
        return -(-heads // self.head_block)

    @property
    def source(self) -> str:
        """The file that the kernel is compiled from."""
        return "hopper/decode_wide.cu" if self.head_block == 64 else "hopper/decode.cu"

    @property
    def threads(self) -> int:
        """Of a program."""
        return 384 if self.head_block == 64 else 256

    def resident(self, multiprocessors: int = MULTIPROCESSORS) -> int:
        """Clusters that run at a time."""
        return max(1, SPLITS[self.splits] * multiprocessors // MULTIPROCESSORS)


def plan(main_lens: Sequence[int], extra_lens: Sequence[int] | None, heads: int, multiprocessors: int = MULTIPROCESSORS) -> Plan:
    """The plan of the lowest modelled time (of equals the one of fewest splits) for rows of these lengths, which the host has."""
    extra = [0] * len(main_lens) if extra_lens is None else extra_lens
    if not main_lens or len(main_lens) != len(extra):
        raise InputError(f"main_lens has {len(main_lens)} rows and extra_lens {len(extra)}; give one length a row, at least one")
    if heads < 1 or min(*main_lens, *extra, 0) < 0:
        raise InputError(
            f"heads is {heads}, the lengths are {list(main_lens)} and {list(extra)}; at least 1 head, no length below 0"
        )
    tiles = max(1, *(-(-m // TILE) + -(-e // TILE) for m, e in zip(main_lens, extra, strict=True)))

    def cost(cut: Plan) -> float:
        rounds = -(-len(main_lens) * cut.blocks(heads) // cut.resident(multiprocessors))
        shape = SHAPES[cut.head_block]
        return rounds * (-(-tiles // cut.splits) * shape.tile + shape.item + (cut.splits > 1) * cut.splits * shape.merge)

    splits = [count for count in SPLITS if count < 2 * tiles]
    return min((Plan(block, count) for count in splits for block in SHAPES if block < 2 * heads or block == 16), key=cost)


def check(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None) -> None:
    """Refuse what the kernel cannot do. Shapes and dtypes of the inputs are their own check."""
    if inputs.rows < 1 or inputs.heads < 1:
        raise InputError(f"q has {inputs.rows} rows of {inputs.heads} heads; it needs at least 1 of each")
    check_tensor("out", out, torch.bfloat16, (inputs.rows, inputs.heads, HEAD_DIM))
    if out.stride(2) != 1:
        raise InputError(f"out has strides {out.stride()}; only the last one is fixed: it must be 1")
    if lse is not None:
        check_tensor("lse", lse, torch.float32, (inputs.rows, inputs.heads))
        if not lse.is_contiguous():
            raise InputError(f"lse has strides {lse.stride()}; it must be contiguous")
    for name, segment in inputs.segments.items():
        if segment.cache.storage.data_ptr() % 8:
            raise InputError(f"{name}.cache starts at {segment.cache.storage.data_ptr():#x}; it must start at a multiple of 8")


def shared_bytes(head_block: int) -> int:
    """Shared memory of a program: what the sources lay out there, which assert this."""
    return 230448 if head_block == 64 else 173184 + 1436 * head_block


def defines(inputs: DecodeInputs, cut: Plan) -> dict[str, int]:
    """What the kernel is compiled for."""
    main, extra = inputs.main.cache, (inputs.extra or inputs.main).cache
    aligned = all(cache.storage.data_ptr() % 16 == 0 and cache.layout.block_stride % 16 == 0 for cache in (main, extra))
    return {
        "HEADS": cut.head_block, "SPLITS": cut.splits, "ALIGNED": int(aligned), "SHARED_BYTES": shared_bytes(cut.head_block),
        "MAIN_BLOCK": main.layout.block_size, "MAIN_STRIDE": main.layout.block_stride,
        "EXTRA_BLOCK": extra.layout.block_size, "EXTRA_STRIDE": extra.layout.block_stride,
    }  # fmt: skip
