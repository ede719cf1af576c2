import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla.cache import CacheLayout, PagedCache, dequantise, quantise
from sparse_mla.errors import InputError
from tests.helpers import HUGE_STRIDE, sparse_cache


def tokens(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 512, generator=torch.Generator().manual_seed(seed))


@given(block_size=st.integers(1, 70), blocks=st.integers(1, 4), padding=st.integers(0, 40), seed=st.integers(0, 99))
def test_tokens_come_back_and_touch_nothing_else(block_size: int, blocks: int, padding: int, seed: int) -> None:
    cache = PagedCache.empty(blocks, block_size, block_size * 584 + 8 * padding)
    assert cache.num_slots == blocks * block_size
    order = torch.randperm(cache.num_slots, generator=torch.Generator().manual_seed(seed))
    written, left = order[::2], order[1::2]
    kv = tokens(len(written), seed)
    cache.write(written, kv)
    data, scale = quantise(kv)
    assert torch.equal(cache.read(written), dequantise(data, scale))
    assert cache.read(left).isnan().all()

    # The same bytes, found by the layout's offsets in flat memory; everything else is as it was.
    flat = cache.storage.as_strided((cache.storage.untyped_storage().nbytes(),), (1,)).clone()
    for i, slot in enumerate(written.tolist()):
        for offset, record in ((cache.layout.data_offset(slot), data[i]), (cache.layout.scale_offset(slot), scale[i])):
            assert torch.equal(flat[offset : offset + len(record)], record)
            flat[offset : offset + len(record)] = 0xFF
    assert (flat == 0xFF).all()


def test_rows_beyond_2_and_4_gib() -> None:
    cache = sparse_cache(4, 64, HUGE_STRIDE)
    assert cache.layout.data_offset(128) > 2**32
    kv = tokens(256)
    cache.write(range(256), kv)
    assert torch.equal(cache.read(range(256)), dequantise(*quantise(kv)))  # nothing wrapped onto another row
    flat = cache.storage.as_strided((3 * HUGE_STRIDE + 64 * 584,), (1,))
    for slot in (63, 64, 130, 255):
        offset = cache.layout.data_offset(slot)
        assert torch.equal(flat[offset : offset + 576], quantise(kv[slot])[0])


def test_a_production_stride_without_its_memory() -> None:
    storage = torch.empty_strided((47_233, 64, 584), (1_435_968, 584, 1), dtype=torch.uint8, device="meta")
    cache = PagedCache(storage)
    assert cache.layout == CacheLayout(64, 1_435_968)
    assert cache.num_slots == 47_233 * 64
    assert cache.layout.data_offset(cache.num_slots - 1) == 47_232 * 1_435_968 + 63 * 576


def test_a_view_into_larger_storage_begins_where_the_view_does() -> None:
    whole = PagedCache.empty(5, 8, 5000)
    kv = tokens(40)
    whole.write(range(40), kv)
    part = PagedCache(whole.storage[2:])
    assert torch.equal(part.read([0, 23]), whole.read([16, 39]))
    lone = PagedCache(whole.storage[4:])
    assert torch.equal(lone.read([7]), whole.read([39]))


def test_a_lone_blocks_stride_does_not_matter() -> None:
    storage = torch.zeros(64 * 584, dtype=torch.uint8).as_strided((1, 64, 584), (1, 584, 1))
    assert PagedCache(storage).layout == CacheLayout(64)


@pytest.mark.parametrize(
    "storage, says",
    [
        (torch.zeros(2, 4, 584), "float32"),
        (torch.zeros(2, 4, 583, dtype=torch.uint8), "583"),
        (torch.zeros(8, 584, dtype=torch.uint8), r"\[8, 584\]"),
        (torch.zeros(2, 4, 1168, dtype=torch.uint8)[:, :, ::2], "only the block stride is free"),
        (torch.zeros(2, 8, 584, dtype=torch.uint8)[:, ::2], "only the block stride is free"),
        (torch.zeros(1, 4, 584, dtype=torch.uint8).expand(2, 4, 584), "block_stride is 0"),
        (torch.empty_strided((2**26, 64, 584), (2**16, 584, 1), dtype=torch.uint8, device="meta"), "int32"),
    ],
)
def test_other_storage_is_refused(storage: torch.Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        PagedCache(storage)


@pytest.mark.parametrize("slot", [-1, 12, 2**31 - 1])
def test_slots_outside_are_refused(slot: int) -> None:
    cache = PagedCache.empty(3, 4)
    with pytest.raises(InputError, match=f"slot {slot} is outside.*0 to 11"):
        cache.read([0, slot])
    with pytest.raises(InputError, match=f"slot {slot} is outside"):
        cache.write([slot], tokens(1))
