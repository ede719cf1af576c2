import re
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla.cache import layout
from sparse_mla.cache.layout import CacheLayout, padded_stride

HEADER = Path(__file__).parents[2] / "csrc" / "include" / "cache_layout.h"


def test_the_format_is_the_published_one() -> None:
    assert (layout.HEAD_DIM, layout.NOPE_DIM, layout.ROPE_DIM, layout.GROUP_DIM, layout.GROUPS) == (512, 448, 64, 64, 7)
    assert (layout.DATA_BYTES, layout.SCALE_BYTES, layout.TOKEN_BYTES) == (576, 8, 584)


def test_the_c_header_has_the_same_numbers() -> None:
    constants = re.findall(r"^constexpr int (\w+) = (\d+);", HEADER.read_text(), re.MULTILINE)
    assert len(constants) == 10
    assert {name: int(number) for name, number in constants} == {name: getattr(layout, name) for name, _ in constants}


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


def test_int32_slots_give_64_bit_offsets() -> None:
    """A production cache: 47,233 blocks, 1,435,968 bytes apart, span 63.2 GiB. Data records come first, scale records after."""
    cache = CacheLayout(64, 1_435_968)
    slots = [1, 64 * 1495, 64 * 2991, 64 * 47_233 - 1]  # the second block begins just below 2 GiB, the third just below 4
    for offset, expected in (
        (cache.data_offset, [576, 1495 * 1_435_968, 2991 * 1_435_968, 47_232 * 1_435_968 + 63 * 576]),
        (cache.scale_offset, [36_872, 1495 * 1_435_968 + 36_864, 2991 * 1_435_968 + 36_864, 47_232 * 1_435_968 + 37_368]),
    ):
        assert [offset(slot) for slot in slots] == expected
        for many in (torch.tensor(slots, dtype=torch.int32), np.array(slots, dtype=np.int32)):
            found = offset(many)  # type: ignore[type-var]
            assert found.dtype in (torch.int64, np.dtype(np.int64))
            assert found.tolist() == expected


def test_strides_without_padding_and_of_flashmla() -> None:
    assert CacheLayout(7) == CacheLayout(7, 7 * 584)
    assert [padded_stride(block_size) for block_size in (64, 256, 2)] == [37_440, 149_760, 1_728]
