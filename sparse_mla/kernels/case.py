"""Decode problems by name: DeepSeek-V4's shapes, and inputs made to break kernels.

A case is a few numbers; `inputs()` makes the same tensors from them every time. In every case, hostile or not, each slot that no
row may read holds NaN of some kind (slot 0 among them), as do the padding between blocks and around a strided q, and the index
buffers are longer than the lists in them: a kernel that reads what it should not shows it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Literal, get_args

import torch

from sparse_mla.cache.layout import (
    DATA_BYTES,
    GROUP_DIM,
    GROUPS,
    HEAD_DIM,
    NOPE_DIM,
    ROPE_OFFSET,
    SCALE_BIAS,
    SCALE_BYTES,
    padded_stride,
)
from sparse_mla.cache.paging import PagedCache
from sparse_mla.errors import InputError
from sparse_mla.kernels.inputs import DecodeInputs, Segment

__all__ = ["CASES", "Case", "DecodeInputs", "Segment", "attended"]

Slots = Literal["random", "duplicate", "mixed", "invalid", "invalid tiles"]
Sink = Literal["finite", "infinite", "none"]

WINDOW = 128  # tokens of the sliding window
COMPRESSION = {"swa": None, "csa": 4, "hca": 128}  # tokens that one extra entry stands for, by kind of layer
TOP_K = {"flash": 512, "pro": 1024}  # extra entries that a CSA layer's indexer selects
EXTRA_BLOCK = {"csa": 64, "hca": 2}  # a serving engine's block of 256 tokens, compressed
TILE = 32  # positions of an "invalid tiles" list that are valid or not together
OVERHANG = 40  # entries of an index buffer past the last list


def attended(model: str, layer: str, position: int) -> tuple[int, int]:
    """Main and extra entries that the query token at `position` (from 0) reads: completed groups only, top-k in a CSA layer."""
    ratio = COMPRESSION[layer]
    groups = 0 if ratio is None else (position + 1) // ratio
    return min(position + 1, WINDOW), min(groups, TOP_K[model]) if layer == "csa" else groups


def span(lens: Sequence[int]) -> str:
    """Lengths for a reader: `64`, or `1..129`."""
    return str(lens[0]) if len(set(lens)) == 1 else f"{min(lens)}..{max(lens)}"


@dataclass(frozen=True)
class Case:
    """A decode problem. Lengths count list entries, valid or not."""

    name: str
    heads: int
    main: tuple[int, ...]  # entries of each row
    extra: tuple[int, ...] | None = None  # the same, or None: no extra segment
    about: str = ""
    main_block: int = 64
    extra_block: int = 64
    padded: bool = False  # blocks padded to whole data records
    rows_per_request: int = 1  # rows of one request read overlapping lists, each one token further (MTP)
    slots: Slots = "random"
    sink: Sink = "finite"
    strided_q: bool = False
    dominating: bool = False  # ever larger tokens late in a list, for some heads; ever more negative ones for others
    scale: float = HEAD_DIM**-0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.heads < 1 or self.rows < 1 or min(self.main) < 0 or min(self.extra or (0,)) < 0:
            given = f"heads {self.heads}, main {self.main}, extra {self.extra}"
            raise InputError(f"case {self.name} has {given}; it needs at least 1 head and 1 row, and no negative length")
        if self.extra is not None and len(self.extra) != self.rows:
            raise InputError(f"case {self.name} has {self.rows} main lengths and {len(self.extra)} extra lengths; give one a row")
        if self.dominating and (self.slots != "random" or 0 in self.main + (self.extra or ())):
            raise InputError(f"case {self.name} is dominating; that needs slots='random' and no empty list")
        for field, given, allowed in (("slots", self.slots, get_args(Slots)), ("sink", self.sink, get_args(Sink))):
            if given not in allowed:
                raise InputError(f"case {self.name} has {field}={given!r}; allowed: {', '.join(allowed)}")

    def __str__(self) -> str:
        extra = "" if self.extra is None else f", extra {span(self.extra)}"
        return f"{self.name}: {self.rows} rows x {self.heads} heads, main {span(self.main)}{extra}"

    @property
    def rows(self) -> int:
        return len(self.main)

    @property
    def extra_lens(self) -> tuple[int, ...]:
        """Extra entries of each row, 0 where there is no extra segment."""
        return self.extra if self.extra is not None else (0,) * self.rows

    @classmethod
    def make(cls, heads: int = 16, rows: int = 4, main: int = 128, extra: int = 1024, seed: int = 0) -> Case:
        """A case of equal rows from plain numbers; `extra=0` means no extra segment."""
        extras = (extra,) * rows if extra else None
        return cls(f"h{heads}-r{rows}-m{main}-e{extra}-s{seed}", heads, (main,) * rows, extras, "made from numbers", seed=seed)

    @classmethod
    def named(cls, name: str) -> Case:
        """A case of CASES."""
        if name not in CASES:
            near = difflib.get_close_matches(name, CASES, n=3) or sorted(CASES)
            raise InputError(f"there is no case {name!r}; near it: {', '.join(near)}")
        return CASES[name]

    def inputs(self) -> DecodeInputs:
        """The tensors, on the CPU; equal on every call."""
        generator = torch.Generator().manual_seed(self.seed)
        peak = torch.randn(HEAD_DIM, generator=generator)
        q = 2 * torch.randn(self.rows, self.heads, HEAD_DIM, generator=generator)  # logits of deviation about 2
        if self.dominating:
            q += torch.linspace(-2, 2, self.heads)[:, None] * peak
        # A sink about as large as the lse of the longest row, which for normal logits is log(n) + variance / 2.
        lse = math.log(max(map(sum, zip(self.main, self.extra_lens, strict=True)), default=0) + 1) + 1350 * self.scale**2
        sink: torch.Tensor | None = lse + 2 * torch.randn(self.heads, generator=generator)
        if self.sink == "infinite" and sink is not None:
            sink[0::3], sink[1::3] = torch.inf, -torch.inf
        elif self.sink == "none":
            sink = None
        main = self._segment(self.main, self.main_block, peak, generator)
        extra = None if self.extra is None else self._segment(self.extra, self.extra_block, peak, generator)
        return DecodeInputs(self._query(q), main, extra, self.scale, sink)

    def _query(self, q: torch.Tensor) -> torch.Tensor:
        """q as bf16; strided: stored by heads first, 64 NaN between one vector and the next."""
        if not self.strided_q:
            return q.to(torch.bfloat16)
        memory = torch.full((self.heads, self.rows, HEAD_DIM + 64), torch.nan, dtype=torch.bfloat16)
        view = memory.transpose(0, 1)[:, :, 32 : 32 + HEAD_DIM]
        view.copy_(q)
        return view

    def _segment(self, lens: tuple[int, ...], block_size: int, peak: torch.Tensor, generator: torch.Generator) -> Segment:
        readable = max(lens) + max(lens) // 4 + self.rows_per_request  # distinct slots that the rows share
        blocks = -(-(readable + readable // 8 + 4) // block_size)
        cache = PagedCache.empty(blocks, block_size, padded_stride(block_size) if self.padded else None)
        # Slot 0 stays out: it is where a kernel that folds invalid slots to a safe address reads.
        slots = 1 + torch.randperm(cache.num_slots - 1, generator=generator)[:readable]
        lists = self._lists(lens, slots, cache.num_slots, generator)
        entries = torch.cat(lists)
        overhang = torch.zeros(OVERHANG, dtype=entries.dtype)  # slot 0 is poisoned
        indptr = torch.tensor([0, *accumulate(lens)], dtype=torch.int32)

        read = torch.zeros(cache.num_slots, dtype=torch.bool)
        read[entries[(entries >= 0) & (entries < cache.num_slots)]] = True
        kv = torch.randn(cache.num_slots, HEAD_DIM, generator=generator)
        # Scales that differ from group to group and token to token, so that a wrong one shows.
        exponent = torch.randint(-2, 2, (cache.num_slots, GROUPS), generator=generator)
        kv[:, :NOPE_DIM] *= exponent.exp2().repeat_interleave(GROUP_DIM, dim=1)
        if self.dominating:
            for slot_list, quarter in product(lists, (1, 2, 3)):
                kv[slot_list[quarter * len(slot_list) // 4]] = quarter * peak
        cache.write(read.nonzero()[:, 0], kv[read])
        _poison(cache, (~read).nonzero()[:, 0], generator)
        return Segment(cache, torch.cat([entries, overhang]).to(torch.int32), indptr)

    def _lists(
        self, lens: tuple[int, ...], slots: torch.Tensor, num_slots: int, generator: torch.Generator
    ) -> list[torch.Tensor]:
        """Each row's slot ids, int64, with what `self.slots` asks for."""
        invalid = torch.tensor([-1, num_slots, -(2**31), 2**31 - 1, -num_slots, num_slots + 1])
        lists = []
        for row, length in enumerate(lens):
            place = row % self.rows_per_request
            if place == 0:
                order = slots[torch.randperm(len(slots), generator=generator)]
            chosen = order[place : place + length].clone()
            position = torch.arange(length)
            if self.slots == "duplicate":
                chosen = order[torch.randint(0, length // 4 + 1, (length,), generator=generator)]
            replaced = {
                "mixed": torch.rand(length, generator=generator) < 0.4,
                "invalid": position >= 0,
                "invalid tiles": position // TILE % 2 == 0,
            }.get(self.slots, position < 0)
            lists.append(torch.where(replaced, invalid[position % len(invalid)], chosen))
        return lists


def _poison(cache: PagedCache, slots: torch.Tensor, generator: torch.Generator) -> None:
    """Write NaN of four kinds, in turn, into slots that nothing may read: everywhere, fp8 only, scale only, RoPE only."""
    data = torch.randint(0, 0x7F, (len(slots), DATA_BYTES), generator=generator, dtype=torch.uint8)  # finite in either format
    scale = torch.full((len(slots), SCALE_BYTES), SCALE_BIAS, dtype=torch.uint8)
    kind = torch.arange(len(slots)) % 4
    data[kind <= 1, :ROPE_OFFSET:2], data[kind <= 1, 1:ROPE_OFFSET:2] = 0x7F, 0xFF
    data[(kind == 0) | (kind == 3), ROPE_OFFSET:] = 0xFF
    scale[(kind == 0) | (kind == 2)] = 0xFF
    cache.write_records(slots, data, scale)


def _deepseek(name: str, about: str, heads: int, positions: Sequence[int], **more: object) -> Case:
    """A case named `model-layer-...` of query tokens at these positions of their contexts."""
    model, layer = name.split("-")[:2]
    lens = [attended(model, layer, position) for position in positions]
    extra = None if layer == "swa" else tuple(entries for _, entries in lens)
    more = {"extra_block": EXTRA_BLOCK.get(layer, 64)} | more
    return Case(name, heads, tuple(entries for entries, _ in lens), extra, about, **more)  # type: ignore[arg-type]


_LONG = (8191, 70_000, 4_500, 131_071)
_DEEPSEEK = [
    _deepseek("pro-swa-h16", "V4-Pro on 8 GPUs, sliding window only; two young contexts", 16, (200, 77, 31, 4095)),
    _deepseek("pro-csa-h16", "V4-Pro on 8 GPUs, window and top-1024", 16, _LONG),
    _deepseek("pro-csa-early-h16", "the same before 1024 groups are complete", 16, (3, 130, 700, 2047)),
    _deepseek(
        "pro-csa-mtp3-h16",
        "the same, 2 requests of 1 + 3 speculative tokens",
        16,
        (*range(9000, 9004), *range(650, 654)),
        rows_per_request=4,
    ),
    _deepseek("pro-csa-h32", "V4-Pro on 4 GPUs; padded blocks as in FlashMLA", 32, _LONG[:2], main_block=256, padded=True),
    _deepseek("pro-csa-h128", "V4-Pro on one GPU", 128, _LONG[:1]),
    _deepseek("pro-hca-h16", "V4-Pro on 8 GPUs, window and every group of 128", 16, (99_999, 511, 20_000, 4_095)),
    _deepseek("pro-hca-1m-h16", "the same at a million tokens: one long row", 16, (999_999,)),
    _deepseek("pro-hca-h128", "V4-Pro on one GPU; padded blocks", 128, (4_095,), main_block=256, padded=True),
    _deepseek("flash-swa-h8", "V4-Flash on 8 GPUs, sliding window only", 8, (500, 90, 64)),
    _deepseek("flash-csa-h8", "V4-Flash on 8 GPUs, window and top-512", 8, _LONG),
    _deepseek("flash-csa-h16", "V4-Flash on 4 GPUs", 16, (*_LONG, 1_000, 2_500, 50_000, 3_000), padded=True),
    _deepseek("flash-csa-h64", "V4-Flash on one GPU", 64, _LONG[:2], main_block=256),
    _deepseek(
        "flash-csa-mtp6-h16",
        "V4-Flash on 4 GPUs, one request of 1 + 6 speculative tokens",
        16,
        range(5000, 5007),
        rows_per_request=7,
    ),
    _deepseek("flash-hca-h8", "V4-Flash on 8 GPUs, window and every group of 128", 8, (99_999, 30_000)),
]
_RAGGED = (0, 1, 31, 32, 33, 129, 64, 95)
_HOSTILE = [
    Case("empty-rows", 16, (0, 40, 0, 17), (0, 0, 33, 0), "rows with nothing in one or both lists"),
    Case("all-invalid", 16, (64, 33), (70, 1), "every slot of every row is invalid", slots="invalid"),
    Case("all-invalid-no-sink", 16, (40,), None, "the same without sink or extra", slots="invalid", sink="none"),
    Case("mixed-invalid", 16, (128, 100, 5), (200, 64, 90), "-1, out of range and extreme slots among valid ones", slots="mixed"),
    Case(
        "invalid-tiles",
        16,
        (96, 100),
        (70, 33),
        "whole tiles without a valid slot, the first one included",
        slots="invalid tiles",
    ),
    Case("ragged", 16, _RAGGED, _RAGGED[::-1], "lengths around tile edges"),
    Case("ragged-invalid", 16, _RAGGED[::-1], (33, 0, 65, 1, 2, 31, 32, 127), "the same with invalid slots", slots="mixed"),
    Case("heads-5", 5, (128, 17), (90, 200), "fewer heads than a block"),
    Case("heads-17", 17, (70, 128), (33, 100), "one head in the second block"),
    Case("heads-1", 1, (50, 128), None, "a single head without sink", sink="none"),
    Case("strided-q", 16, (64, 128, 33), (40, 96, 1), "q stored by heads first, NaN between its vectors", strided_q=True),
    Case("strided-q-h20", 20, (64, 128), None, "the same with a part of a head block", strided_q=True),
    Case("duplicates", 16, (128, 64), (300, 40), "the same slot many times in a list", slots="duplicate"),
    Case(
        "odd-blocks",
        16,
        (128, 61),
        (200, 77),
        "blocks of 3 and 7 tokens: records aligned to 8 bytes only",
        main_block=3,
        extra_block=7,
    ),
    Case("block-1", 16, (64, 40), (100, 3), "blocks of one token, padded", main_block=1, extra_block=1, padded=True),
    Case("infinite-sink", 16, (128, 0), (64, 0), "sinks +inf, -inf and finite; one row is empty", sink="infinite"),
    Case("infinite-sink-invalid", 16, (64,), (64,), "the same where no slot is valid", sink="infinite", slots="invalid"),
    Case("no-sink", 16, (128, 30), (256, 10), "no sink", sink="none"),
    Case("extra-only", 16, (0, 0), (300, 45), "nothing in the window"),
    Case("empty-extra", 16, (128, 45), (0, 0), "an extra segment without entries"),
    Case("dominating", 16, (160,), (320,), "logits to +-140 that grow along the list", dominating=True),
    Case("other-scale", 16, (128, 60), (96, 33), "a softmax scale that is not 512**-0.5", scale=0.03),
]
CASES: dict[str, Case] = {case.name: case for case in (*_DEEPSEEK, *_HOSTILE)}
