"""Whatever a caller may get wrong is refused with words that name what was given or what is allowed."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sparse_mla.analyse.mfma import SHAPES, shape
from sparse_mla.analyse.mfma_probe import to_bf16
from sparse_mla.cache import CacheLayout, PagedCache, dequantise, quantise
from sparse_mla.errors import InputError
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.inputs import Segment
from sparse_mla.kernels.split_k import plan_split
from sparse_mla.widgets.course import check
from sparse_mla.widgets.headless import control
from sparse_mla.widgets.lane_map import lane_explorer

U8, META = torch.uint8, torch.device("meta")
CACHE, BASE, SMALL = PagedCache.empty(3, 4), kernel_named("base"), SHAPES["16x16x32"]
INPUTS = Case.make(heads=3, rows=2, main=4, extra=5).inputs()
KV = torch.zeros(1, 512)


def int32(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


REFUSED: list[tuple[Callable[[], object], str]] = [
    # the cache
    (lambda: CacheLayout(0), "at least 1"),
    (lambda: CacheLayout(64, 37_375), "37376"),
    (lambda: CacheLayout(2, 1_172), "multiple of 8"),
    (lambda: PagedCache(torch.zeros(2, 4, 584)), "float32"),
    (lambda: PagedCache(torch.zeros(2, 4, 583, dtype=U8)), "583"),
    (lambda: PagedCache(torch.zeros(8, 584, dtype=U8)), r"\[8, 584\]"),
    (lambda: PagedCache(torch.zeros(2, 4, 1168, dtype=U8)[:, :, ::2]), "only the block stride is free"),
    (lambda: PagedCache(torch.zeros(2, 8, 584, dtype=U8)[:, ::2]), "only the block stride is free"),
    (lambda: PagedCache(torch.zeros(1, 4, 584, dtype=U8).expand(2, 4, 584)), "block_stride is 0"),
    (lambda: PagedCache(torch.empty_strided((2**26, 64, 584), (2**16, 584, 1), dtype=U8, device=META)), "int32"),
    (lambda: CACHE.read([0, -1]), "slot -1 is outside this cache; it has slots 0 to 11"),
    (lambda: CACHE.read([12]), "slot 12 is outside"),
    (lambda: CACHE.write([2**31 - 1], KV), "slot 2147483647 is outside"),
    (lambda: quantise(KV + math.nan), "NaN or Inf"),
    (lambda: quantise(torch.zeros(3, 511)), r"\[3, 511\]"),
    (lambda: dequantise(torch.zeros(576, dtype=U8), torch.zeros(7, dtype=U8)), r"scale is torch.uint8 \[7\]"),
    # what a decode reads
    (lambda: Segment(CACHE, torch.tensor([1, 2]), int32(0, 2)), "indices is torch.int64"),
    (lambda: Segment(CACHE, int32(1, 2), int32(0, 3)), "at most the 2 indices"),
    (lambda: Segment(CACHE, int32(1, 2), int32(0, 2, 1)), "must rise"),
    (lambda: Segment(CACHE, int32(1, 2), int32(-1, 2)), "must rise"),
    (lambda: Segment(CACHE, int32(1, 2), int32()), "indptr is empty"),
    (lambda: Segment(CACHE, int32(1, 2, 3, 4)[::2], int32(0, 2)), "contiguous"),
    (lambda: Segment(CACHE, int32(1, 2)[None], int32(0, 2)), r"\[1, 2\]"),
    (lambda: replace(INPUTS, q=INPUTS.q.float()), r"float32 \[2, 3, 512\]; it must be torch.bfloat16 \[rows, heads, 512\]"),
    (lambda: replace(INPUTS, q=INPUTS.q[:, :, :511]), "511"),
    (lambda: replace(INPUTS, q=INPUTS.q.repeat(1, 1, 2)[:, :, ::2]), "it must be 1"),
    (lambda: replace(INPUTS, q=INPUTS.q[:1]), r"main.indptr is torch.int32 \[3\]; it must be torch.int32 \[2\]"),
    (lambda: replace(INPUTS, attn_sink=torch.zeros(4)), "attn_sink"),
    (lambda: replace(INPUTS, attn_sink=torch.zeros(6)[::2]), "contiguous"),
    (lambda: replace(INPUTS, q=INPUTS.q.to(META)), r"\['cpu', 'meta'\]"),
    # cases, kernels and splits
    (lambda: Case.named("pro-csa-h61"), "pro-csa-h16"),
    (lambda: Case.make(heads=0), "heads 0"),
    (lambda: Case.make(rows=0), "at least 1 head and 1 row"),
    (lambda: Case.make(main=-1), "no negative length"),
    (lambda: Case.make(extra=-2), "no negative length"),
    (lambda: Case("x", 1, (1, 2), (3,)), "2 main lengths and 1 extra"),
    (lambda: Case("x", 1, (1, 0), dominating=True), "no empty list"),
    (lambda: Case("x", 1, (1,), slots="wild"), "slots='wild'; allowed: random, duplicate"),  # type: ignore[arg-type]
    (lambda: Case("x", 1, (1,), sink="warm"), "sink='warm'; allowed: finite"),  # type: ignore[arg-type]
    (lambda: kernel_named("bass"), "there is no kernel 'bass'; there are: base"),
    (lambda: BASE.check(INPUTS, 3), "split_k is 3; allowed: 1, 2, 4, 8, 16"),
    (lambda: BASE.check(INPUTS, 2, "fp16"), "'fp16'; allowed: fp32, bf16"),
    (lambda: BASE.check(Case.make(heads=65_536, rows=1, main=1, extra=0).inputs()), "1 rows of 65536 heads.* 1 to 65535 heads"),
    (lambda: plan_split([1, 2], [1], 16, "base"), "2 rows and extra_lens 1"),
    (lambda: plan_split([1, -2], None, 16, "base"), "not negative"),
    (lambda: plan_split([1], None, 0, "base"), "heads is 0"),
    (lambda: plan_split(int32(3).to(META), None, 16, "base"), "main_lens is on meta"),
    (lambda: compare(torch.zeros(2, 3), torch.zeros(3, 2)), r"\[2, 3\].*\[3, 2\]"),
    # lane maps, exercises, controls
    (lambda: shape("8x8x8"), "16x16x32, 32x32x16"),
    (lambda: SMALL.place("A", 16, 0), r"A\[16\]\[0\] is outside A\[16\]\[32\]"),
    (lambda: SMALL.place("B", 0, 16), r"B\[0\]\[16\] is outside"),
    (lambda: SMALL.place("C", 0, 0), "an MFMA has A, B and D"),
    (lambda: to_bf16(257.0), "exactly"),
    (lambda: lane_explorer("16x16x32", "D", 16, 0, static=True), r"D\[16\]\[0\] is outside"),
    (lambda: lane_explorer("16x16x32", "D", 16, 0, static=False), r"D\[16\]\[0\] is outside"),
    (lambda: check("99.nothing", 1), r"02\.place_of_a"),
    (lambda: control(print, True, rows=(3, [1, 2])), r"rows: the default 3 is not among its choices \[1, 2\]"),
]


@pytest.mark.parametrize("ask, says", REFUSED, ids=[f"{n}-{says[:30]}" for n, (_, says) in enumerate(REFUSED)])
def test_refused(ask: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ask()
