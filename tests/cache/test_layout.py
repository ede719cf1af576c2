from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla.cache import layout
from sparse_mla.cache.c_header import render_c_header
from sparse_mla.cache.layout import CacheLayout, padded_stride
from sparse_mla.errors import InputError

HEADER = Path(__file__).parents[2] / "csrc" / "include" / "cache_layout.h"


def test_the_format_is_the_published_one() -> None:
    assert (layout.HEAD_DIM, layout.NOPE_DIM, layout.ROPE_DIM, layout.GROUP_DIM, layout.GROUPS) == (512, 448, 64, 64, 7)
    assert (layout.DATA_BYTES, layout.SCALE_BYTES, layout.TOKEN_BYTES) == (576, 8, 584)


@given(block_size=st.integers(1, 9), blocks=st.integers(1, 4), padding=st.integers(0, 5))
def test_records_fill_each_block_without_overlap(block_size: int, blocks: int, padding: int) -> None:
    stride = block_size * 584 + 8 * padding
    cache = CacheLayout(block_size, stride)
    owners = np.zeros(blocks * stride, dtype=int)
    for slot in range(blocks * block_size):
        owners[cache.data_offset(slot) : cache.data_offset(slot) + 576] += 1
        owners[cache.scale_offset(slot) : cache.scale_offset(slot) + 8] += 1
    expected = np.tile(np.r_[np.ones(block_size * 584, dtype=int), np.zeros(8 * padding, dtype=int)], blocks)
    assert (owners == expected).all()


def test_data_records_of_a_block_come_before_its_scale_records() -> None:
    cache = CacheLayout(64, 40_000)
    assert [cache.data_offset(slot) for slot in (0, 1, 63, 64)] == [0, 576, 63 * 576, 40_000]
    assert [cache.scale_offset(slot) for slot in (0, 1, 63, 64)] == [36_864, 36_872, 37_368, 76_864]


def test_int32_slots_give_64_bit_offsets() -> None:
    """A production cache: 47,233 blocks, 1,435,968 bytes apart, span 63.2 GiB."""
    cache = CacheLayout(64, 1_435_968)
    slots = [0, 64 * 1495, 64 * 2991, 64 * 47_233 - 1]  # the second block begins just below 2 GiB, the third just below 4
    for offset, expected in (
        (cache.data_offset, [0, 1495 * 1_435_968, 2991 * 1_435_968, 47_232 * 1_435_968 + 63 * 576]),
        (cache.scale_offset, [36_864, 1495 * 1_435_968 + 36_864, 2991 * 1_435_968 + 36_864, 47_232 * 1_435_968 + 37_368]),
    ):
        assert [offset(slot) for slot in slots] == expected
        tensor = offset(torch.tensor(slots, dtype=torch.int32))
        assert tensor.dtype == torch.int64
        assert tensor.tolist() == expected
        array = offset(np.array(slots, dtype=np.int32))  # type: ignore[type-var]
        assert array.dtype == np.int64
        assert array.tolist() == expected
    assert expected[-1] > 63 * 2**30


def test_default_stride_has_no_padding() -> None:
    assert CacheLayout(7) == CacheLayout(7, 7 * 584)


@pytest.mark.parametrize("block_size, stride", [(64, 37_440), (256, 149_760), (2, 1_728)])
def test_padded_blocks_are_flashmlas(block_size: int, stride: int) -> None:
    assert padded_stride(block_size) == stride


@pytest.mark.parametrize(
    "block_size, stride, says", [(0, None, "at least 1"), (64, 37_375, "37376"), (2, 1_172, "multiple of 8")]
)
def test_impossible_layouts_are_refused(block_size: int, stride: int | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        CacheLayout(block_size, stride)


def test_the_c_header_is_current() -> None:
    assert HEADER.read_text() == render_c_header(), "run: python -m sparse_mla.cache.c_header > csrc/include/cache_layout.h"
