"""The cache seen as bytes and as numbers: what lies where in a block, what the quantiser loses, how much a row reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from sparse_mla.cache.layout import DATA_BYTES, GROUP_DIM, NOPE_DIM, ROPE_OFFSET, SCALE_BYTES, TOKEN_BYTES
from sparse_mla.cache.paging import PagedCache
from sparse_mla.cache.quantise import dequantise, quantise, scale_values
from sparse_mla.kernels.case import COMPRESSION, TOP_K, attended

FIELDS = ("padding", "NoPE, e4m3fn", "RoPE, bf16", "scales, UE8M0")  # the codes of `block_bytes`


def block_bytes(cache: PagedCache, block: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Every byte from one block's start to the next one's, and which of FIELDS each belongs to. uint8 [block_stride] twice."""
    layout, storage = cache.layout, cache.storage
    start = storage.storage_offset() + block * layout.block_stride
    raw = storage.as_strided((layout.block_stride,), (1,), start).numpy().copy()
    field = np.zeros(layout.block_stride, np.uint8)
    slots = np.arange(layout.block_size)
    for data, scale in zip(layout.data_offset(slots), layout.scale_offset(slots), strict=True):
        field[data : data + ROPE_OFFSET] = 1
        field[data + ROPE_OFFSET : data + DATA_BYTES] = 2
        field[scale : scale + SCALE_BYTES] = 3
    return raw, field


def quantisation_errors(kv: torch.Tensor) -> pd.DataFrame:
    """What writing latents [n, 512] to the cache and reading them back loses, one row an element.

    Columns: part (NoPE or RoPE), magnitude (|x|, for NoPE in units of its group's scale), relative (|error| / |x|).
    """
    data, scale = quantise(kv)
    error = (dequantise(data, scale) - kv).abs() / kv.abs()
    unit = scale_values(scale[..., : NOPE_DIM // GROUP_DIM]).repeat_interleave(GROUP_DIM, -1)
    nope = {"part": "NoPE", "magnitude": (kv[:, :NOPE_DIM].abs() / unit).flatten(), "relative": error[:, :NOPE_DIM].flatten()}
    rope = {"part": "RoPE", "magnitude": kv[:, NOPE_DIM:].abs().flatten(), "relative": error[:, NOPE_DIM:].flatten()}
    return pd.concat([pd.DataFrame(nope), pd.DataFrame(rope)], ignore_index=True)


def row_cost(position: int) -> pd.DataFrame:
    """What the query token at `position` (from 0) reads, for each model and kind of layer: tokens, and their bytes."""
    rows = []
    for model in TOP_K:
        for layer in COMPRESSION:
            main, extra = attended(model, layer, position)
            rows.append((model, layer, main, extra, main + extra, (main + extra) * TOKEN_BYTES))
    return pd.DataFrame(rows, columns=["model", "layer", "main", "extra", "tokens", "bytes"])
