"""Host side of the decode on NVIDIA Hopper: what it needs, how rows are split, its workspace, the launch.

Nothing here reads device memory, and nothing is allocated where `out` and `workspace` are given, so a decode can be captured in a
graph. The kernel is in `gluon_hopper.py`, which only a launch imports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.errors import InputError
from sparse_mla.kernels.inputs import DecodeInputs, Segment, check_tensor

TILE = 64  # tokens taken at a time
MAX_SPLITS = 64
MULTIPROCESSORS = 132  # of an H100
POLLS = 64  # looks for the other splits of a row, each under a microsecond, before a program goes
# Fitted to times measured on one H100 (profiles/measured/h100), in microseconds; only their ratios matter.
MERGE_COST, MERGE_COST_PER_HEAD, MERGE_COST_PER_SPLIT = 1.5, 0.1, 0.04


@dataclass(frozen=True)
class Shape:
    """A program that takes `heads` heads: who does what in it."""

    heads: int
    warps: int  # that multiply
    producers: int  # groups of four warps that fetch and convert
    ring: int  # tiles in shared memory
    registers: int  # of a thread
    ahead: bool  # whether the next tile is on its way to registers while one is converted
    tile_cost: float  # microseconds
    item_cost: float  # of a row or part of one, beside its tiles


SHAPES = {
    shape.heads: shape
    for shape in (
        Shape(16, 4, 2, 3, 168, True, 2.1, 4.5),
        Shape(32, 8, 2, 2, 128, False, 2.9, 5.4),
        Shape(64, 8, 1, 2, 168, False, 5.0, 13.5),
    )
}
# A slower multiplier, for it reads each tile twice, whose eight warps merge faster.
SPLIT_ROWS = Shape(16, 8, 2, 3, 128, False, 2.4, 4.5)


@dataclass(frozen=True)
class Plan:
    """How a decode is cut: heads of a program (a key of SHAPES), and parts of every row."""

    head_block: int
    splits: int

    def __post_init__(self) -> None:
        if self.head_block not in SHAPES or not 1 <= self.splits <= MAX_SPLITS:
            raise InputError(
                f"plan has head_block {self.head_block} and {self.splits} splits; allowed: "
                f"{', '.join(map(str, SHAPES))} and 1 to {MAX_SPLITS}"
            )

    @property
    def shape(self) -> Shape:
        return SPLIT_ROWS if self.head_block == 16 and self.splits > 1 else SHAPES[self.head_block]

    def blocks(self, heads: int) -> int:
        """Programs that a row's heads take."""
        return -(-heads // self.head_block)


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
        rounds = -(-len(main_lens) * cut.blocks(heads) * cut.splits // multiprocessors)
        merge = MERGE_COST + MERGE_COST_PER_HEAD * cut.head_block + MERGE_COST_PER_SPLIT * cut.splits if cut.splits > 1 else 0.0
        return rounds * (-(-tiles // cut.splits) * cut.shape.tile_cost + cut.shape.item_cost) + merge

    splits = range(1, min(tiles, MAX_SPLITS) + 1)
    return min((Plan(block, count) for count in splits for block in SHAPES if block < 2 * heads or block == 16), key=cost)


@dataclass(frozen=True)
class Workspace:
    """Scratch of split rows. `words` are zero before a decode and after it; nothing else needs clearing, ever."""

    partial: torch.Tensor  # f32, at least [rows, blocks, splits, 512, heads of a block]
    partial_ml: torch.Tensor  # f32, at least [rows, blocks, splits, 2, heads of a block]: maximum (log2 domain) and sum
    words: torch.Tensor  # int32, at least [rows, blocks]

    @staticmethod
    def sizes(rows: int, heads: int, cut: Plan) -> tuple[int, int, int]:
        """Elements of the three for a decode; 0 for whole rows."""
        groups = rows * cut.blocks(heads) if cut.splits > 1 else 0
        parts = groups * cut.splits * cut.head_block
        return parts * HEAD_DIM, parts * 2, groups

    @classmethod
    def make(cls, rows: int, heads: int, cut: Plan, device: torch.device | str) -> Workspace:
        partial, partial_ml, words = cls.sizes(rows, heads, cut)
        return cls(
            torch.empty(partial, dtype=torch.float32, device=device),
            torch.empty(partial_ml, dtype=torch.float32, device=device),
            torch.zeros(words, dtype=torch.int32, device=device),
        )

    def check(self, rows: int, heads: int, cut: Plan) -> None:
        needed = self.sizes(rows, heads, cut)
        given = tuple(tensor.numel() for tensor in (self.partial, self.partial_ml, self.words))
        if any(have < want for have, want in zip(given, needed, strict=True)):
            raise InputError(
                f"workspace has {given} elements; {rows} rows of {heads} heads by {cut} need {needed}: Workspace.make"
            )


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


def decode(
    inputs: DecodeInputs,
    cut: Plan,
    *,
    out: torch.Tensor | None = None,
    lse: torch.Tensor | None = None,
    workspace: Workspace | None = None,
    polls: int = POLLS,
) -> torch.Tensor:
    """The decode of `inputs` on their Hopper GPU: bf16 `[rows, heads, 512]`; f32 `[rows, heads]` into `lse`, if given.

    By a `plan`; for a given one a row's bits are the same in any batch.
    """
    out = torch.empty(inputs.q.shape, dtype=torch.bfloat16, device=inputs.q.device) if out is None else out
    check(inputs, out, lse)
    device = inputs.q.device
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if capability is None or capability[0] != 9:
        raise InputError(f"the inputs are on {device} of compute capability {capability}; this kernel needs a Hopper GPU (9.0)")
    workspace = Workspace.make(inputs.rows, inputs.heads, cut, device) if workspace is None else workspace
    workspace.check(inputs.rows, inputs.heads, cut)
    launch(inputs, out, lse, workspace, cut, polls, torch.cuda.get_device_properties(device).multi_processor_count)
    return out


def launch(
    inputs: DecodeInputs,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    workspace: Workspace,
    cut: Plan,
    polls: int,
    multiprocessors: int,
) -> None:
    """Start the kernel on arguments that `decode` has checked."""
    from sparse_mla.kernels.gluon_hopper import LOG2_E, hopper_decode

    shape, splits, blocks = cut.shape, cut.splits, cut.blocks(inputs.heads)
    items = inputs.rows * blocks * splits
    power = 1 << (splits - 1).bit_length()
    extra: Segment = inputs.main if inputs.extra is None else inputs.extra
    main_at, extra_at = inputs.main.cache.layout, extra.cache.layout
    hopper_decode[(min(items, multiprocessors),)](
        inputs.q, out, lse, inputs.attn_sink,
        inputs.main.cache.storage, inputs.main.indices, inputs.main.indptr,
        extra.cache.storage, extra.indices, None if inputs.extra is None else extra.indptr,
        workspace.partial, workspace.partial_ml, workspace.words,
        inputs.q.stride(0), inputs.q.stride(1), out.stride(0), out.stride(1), inputs.main.cache.num_slots, extra.cache.num_slots,
        inputs.heads, inputs.scale * LOG2_E.value, items, splits, blocks, polls if items <= multiprocessors else 0,
        MAIN_BLOCK=main_at.block_size, MAIN_STRIDE=main_at.block_stride,
        EXTRA_BLOCK=extra_at.block_size, EXTRA_STRIDE=extra_at.block_stride,
        BH=shape.heads, WARPS=shape.warps, PRODUCERS=shape.producers,
        RING=shape.ring, AHEAD=shape.ahead, REGISTERS=shape.registers,
        SPLITS=power, SLICES=power if power == splits else max(1, power // 2), num_warps=shape.warps, maxnreg=shape.registers,
    )  # fmt: skip
