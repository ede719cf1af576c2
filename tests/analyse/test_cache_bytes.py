"""The cache seen as bytes and numbers, against plain statements of both."""

import numpy as np
import pytest
import torch

from sparse_mla.analyse.cache_bytes import FIELDS, block_bytes, quantisation_errors, row_cost
from sparse_mla.cache.paging import PagedCache


def test_block_bytes_are_the_memory_and_their_fields() -> None:
    cache = PagedCache.empty(2, 3, 1800)
    cache.write(range(6), torch.randn(6, 512, generator=torch.Generator().manual_seed(0)))
    raw, field = block_bytes(cache, 1)
    data, scale = cache.read_records([3, 4, 5])
    assert raw[: 3 * 576].tobytes() == data.numpy().tobytes()
    assert raw[3 * 576 : 3 * 584].tobytes() == scale.numpy().tobytes()
    named = [FIELDS[code].split(",")[0] for code in field]
    assert named == 3 * (448 * ["NoPE"] + 128 * ["RoPE"]) + 24 * ["scales"] + 48 * ["padding"]


def test_quantisation_errors_are_within_half_a_step() -> None:
    kv = torch.randn(20, 512, generator=torch.Generator().manual_seed(0))
    errors = quantisation_errors(kv)
    assert len(errors) == kv.numel()
    nope, rope = errors[errors.part == "NoPE"], errors[errors.part == "RoPE"]
    assert nope.magnitude.max() <= 448
    assert 0.05 < nope[nope.magnitude >= 2**-6].relative.max() <= 2**-4
    assert 0.003 < rope.relative.max() <= 2**-8


@pytest.mark.parametrize("position, pro", [(0, [1, 1, 1]), (127, [128, 160, 129]), (99_999, [128, 1152, 909])])
def test_row_cost(position: int, pro: list[int]) -> None:
    cost = row_cost(position)
    assert cost[cost.model == "pro"].tokens.tolist() == pro
    np.testing.assert_array_equal(cost.bytes, cost.tokens * 584)
