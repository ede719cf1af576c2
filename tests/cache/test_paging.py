from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla.cache import CacheLayout, PagedCache, dequantise, quantise

STRIDE = 2**31 + 64 * 584  # the second block of 64 begins beyond 2 GiB, the third beyond 4 GiB


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


def test_rows_beyond_2_and_4_gib(tmp_path: Path) -> None:
    # A sparse file: what nobody writes takes neither memory nor disk.
    flat = torch.from_file(str(tmp_path / "cache"), shared=True, size=4 * STRIDE, dtype=torch.uint8)
    cache = PagedCache(flat.as_strided((4, 64, 584), (STRIDE, 584, 1)))
    kv = tokens(256)
    cache.write(range(256), kv)
    assert torch.equal(cache.read(range(256)), dequantise(*quantise(kv)))  # nothing wrapped onto another row
    for slot in (63, 64, 130, 255):
        offset = cache.layout.data_offset(slot)
        assert torch.equal(flat[offset : offset + 576], quantise(kv[slot])[0])


def test_a_view_begins_where_it_does_and_the_stride_of_a_lone_block_means_nothing() -> None:
    whole = PagedCache.empty(5, 8, 5000)
    whole.write(range(40), tokens(40))
    assert torch.equal(PagedCache(whole.storage[2:]).read([0, 23]), whole.read([16, 39]))
    assert torch.equal(PagedCache(whole.storage[4:]).read([7]), whole.read([39]))
    lone = torch.zeros(64 * 584, dtype=torch.uint8).as_strided((1, 64, 584), (1, 584, 1))
    assert PagedCache(lone).layout == CacheLayout(64)
