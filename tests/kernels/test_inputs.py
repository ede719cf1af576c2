from dataclasses import replace
from typing import Any

import pytest
import torch

from sparse_mla.cache import PagedCache
from sparse_mla.errors import InputError
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.inputs import Segment

INPUTS = Case.make(heads=3, rows=2, main=4, extra=5).inputs()


def int32(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_lengths_and_rows() -> None:
    segment = Segment(PagedCache.empty(1, 4), int32(9, 1, 2, 3, 0), int32(1, 3, 3, 4))
    assert segment.lens == (2, 0, 1)
    assert [segment.row(row).tolist() for row in range(3)] == [[1, 2], [], [3]]
    assert (INPUTS.rows, INPUTS.heads) == (2, 3)


@pytest.mark.parametrize(
    "indices, indptr, says",
    [
        (torch.tensor([1, 2]), int32(0, 2), "indices is torch.int64"),
        (int32(1, 2), int32(0, 3), "at most the 2 indices"),
        (int32(1, 2), int32(0, 2, 1), "must rise"),
        (int32(1, 2), int32(-1, 2), "must rise"),
        (int32(1, 2), int32(), "indptr is empty"),
        (int32(1, 2, 3, 4)[::2], int32(0, 2), "contiguous"),
        (int32(1, 2)[None], int32(0, 2), r"\[1, 2\]"),
    ],
)
def test_impossible_lists_are_refused(indices: torch.Tensor, indptr: torch.Tensor, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Segment(PagedCache.empty(1, 4), indices, indptr)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"q": INPUTS.q.float()}, r"q is torch.float32 \[2, 3, 512\]; it must be torch.bfloat16 \[rows, heads, 512\]"),
        ({"q": INPUTS.q[:, :, :511]}, "511"),
        ({"q": INPUTS.q.repeat(1, 1, 2)[:, :, ::2]}, "it must be 1"),
        ({"q": INPUTS.q[:1]}, r"main.indptr is torch.int32 \[3\]; it must be torch.int32 \[2\]"),
        ({"attn_sink": torch.zeros(4)}, "attn_sink"),
        ({"attn_sink": torch.zeros(6)[::2]}, "contiguous"),
        ({"q": INPUTS.q.to("meta")}, r"\['cpu', 'meta'\]"),
    ],
)
def test_impossible_inputs_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        replace(INPUTS, **change)
