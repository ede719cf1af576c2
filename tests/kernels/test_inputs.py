import torch

from sparse_mla.cache import PagedCache
from sparse_mla.kernels.inputs import Segment


def test_lengths_and_rows() -> None:
    indices, indptr = (torch.tensor(values, dtype=torch.int32) for values in ([9, 1, 2, 3, 0], [1, 3, 3, 4]))
    segment = Segment(PagedCache.empty(1, 4), indices, indptr)
    assert segment.lens == (2, 0, 1)
    assert [segment.row(row).tolist() for row in range(3)] == [[1, 2], [], [3]]
