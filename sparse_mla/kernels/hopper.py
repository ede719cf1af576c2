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
TILE_COST, ITEM_COST, MERGE_COST, MERGE_COST_PER_SPLIT = 2.0, 4.0, 3.0, 0.1


@dataclass(frozen=True)
class Shape:
    """How heads are cut: a program takes `head_block` of them, `warps` of its twelve multiply."""

    head_block: int
    warps: int
    ring: int  # tiles in shared memory

    def blocks(self, heads: int) -> int:
        return -(-heads // self.head_block)


def shape_for(heads: int) -> Shape:
    """The smallest block that holds all heads, up to 64."""
    if heads < 1:
        raise InputError(f"heads is {heads}; it must be at least 1")
    if heads <= 16:
        return Shape(16, 4, 3)
    return Shape(32, 4, 2) if heads <= 32 else Shape(64, 8, 2)


def plan_splits(
    main_lens: Sequence[int], extra_lens: Sequence[int] | None, heads: int, multiprocessors: int = MULTIPROCESSORS
) -> int:
    """The split count of the lowest modelled time (the smallest, of equals) for rows of these lengths."""
    extra = [0] * len(main_lens) if extra_lens is None else extra_lens
    if not main_lens or len(main_lens) != len(extra):
        raise InputError(f"main_lens has {len(main_lens)} rows and extra_lens {len(extra)}; give one length a row, at least one")
    tiles = max(1, *(-(-m // TILE) + -(-e // TILE) for m, e in zip(main_lens, extra, strict=True)))
    items = len(main_lens) * shape_for(heads).blocks(heads)

    def cost(splits: int) -> float:
        rounds = -(-items * splits // multiprocessors)
        merge = MERGE_COST + MERGE_COST_PER_SPLIT * splits if splits > 1 else 0.0
        return rounds * (-(-tiles // splits) * TILE_COST + ITEM_COST) + merge

    return min(range(1, min(tiles, MAX_SPLITS) + 1), key=cost)


@dataclass(frozen=True)
class Workspace:
    """Scratch of split rows. `words` are zero before a decode and after it; nothing else needs clearing, ever."""

    partial: torch.Tensor  # f32, at least [rows, blocks, splits, 512, heads of a block]
    partial_ml: torch.Tensor  # f32, at least [rows, blocks, splits, 2, heads of a block]: maximum (log2 domain) and sum
    words: torch.Tensor  # int32, at least [rows, blocks]

    @staticmethod
    def sizes(rows: int, heads: int, splits: int) -> tuple[int, int, int]:
        """Elements of the three for a decode; 0 for whole rows."""
        shape = shape_for(heads)
        groups = rows * shape.blocks(heads) if splits > 1 else 0
        return groups * splits * HEAD_DIM * shape.head_block, groups * splits * 2 * shape.head_block, groups

    @classmethod
    def make(cls, rows: int, heads: int, splits: int, device: torch.device | str) -> Workspace:
        partial, partial_ml, words = cls.sizes(rows, heads, splits)
        return cls(
            torch.empty(partial, dtype=torch.float32, device=device),
            torch.empty(partial_ml, dtype=torch.float32, device=device),
            torch.zeros(words, dtype=torch.int32, device=device),
        )

    def check(self, rows: int, heads: int, splits: int) -> None:
        needed = self.sizes(rows, heads, splits)
        given = tuple(tensor.numel() for tensor in (self.partial, self.partial_ml, self.words))
        if any(have < want for have, want in zip(given, needed, strict=True)):
            raise InputError(
                f"workspace has {given} elements; {rows} rows of {heads} heads in {splits} splits need {needed}: Workspace.make"
            )


def check(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, splits: int) -> None:
    """Refuse what the kernel cannot do. Shapes and dtypes of the inputs are their own check."""
    if not 1 <= splits <= MAX_SPLITS:
        raise InputError(f"splits is {splits}; allowed: 1 to {MAX_SPLITS}")
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
            raise InputError(f"{name}.cache starts {segment.cache.storage.data_ptr() % 8} bytes past a multiple of 8; align it to 8")


def decode(
    inputs: DecodeInputs,
    *,
    splits: int,
    out: torch.Tensor | None = None,
    lse: torch.Tensor | None = None,
    workspace: Workspace | None = None,
    polls: int = POLLS,
) -> torch.Tensor:
    """The decode of `inputs` on their Hopper GPU: bf16 `[rows, heads, 512]`, and f32 `[rows, heads]` into `lse` where it is given.

    `splits` parts of every row (`plan_splits`); for a given count a row's bits are the same in any batch.
    """
    out = torch.empty(inputs.q.shape, dtype=torch.bfloat16, device=inputs.q.device) if out is None else out
    check(inputs, out, lse, splits)
    device = inputs.q.device
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if capability is None or capability[0] != 9:
        raise InputError(f"the inputs are on {device} of compute capability {capability}; this kernel needs a Hopper GPU (9.0)")
    workspace = Workspace.make(inputs.rows, inputs.heads, splits, device) if workspace is None else workspace
    workspace.check(inputs.rows, inputs.heads, splits)
    launch(inputs, out, lse, workspace, splits, polls, torch.cuda.get_device_properties(device).multi_processor_count)
    return out


def launch(
    inputs: DecodeInputs,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    workspace: Workspace,
    splits: int,
    polls: int,
    multiprocessors: int,
) -> None:
    """Start the kernel on arguments that `decode` has checked."""
    from sparse_mla.kernels.gluon_hopper import LOG2_E, hopper_decode

    shape = shape_for(inputs.heads)
    blocks = shape.blocks(inputs.heads)
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
        BH=shape.head_block, WARPS=shape.warps, RING=shape.ring,
        SPLITS=power, SLICES=power if power == splits else max(1, power // 2), AHEAD=shape.warps == 4,
        num_warps=shape.warps, maxnreg=168,
    )  # fmt: skip
