"""The paged latent cache: its bytes (`layout`), the numbers they stand for (`quantise`), and slots in blocks (`paging`)."""

from sparse_mla.cache.layout import CacheLayout
from sparse_mla.cache.paging import PagedCache
from sparse_mla.cache.quantise import dequantise, quantise

__all__ = ["CacheLayout", "PagedCache", "dequantise", "quantise"]
