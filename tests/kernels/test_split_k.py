import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla.kernels.split_k import (
    COMPUTE_UNITS,
    REDUCE_COST,
    TILE_COST,
    WORKGROUP_COST,
    modelled_cost,
    plan_split,
    workspace_shape,
)

SPLITS = (1, 2, 4, 8, 16)


@pytest.mark.parametrize(
    "rows, main, extra, heads, split",
    [
        (1, 128, 8192, 16, 16),  # a lonely long row
        (4, 128, 1024, 16, 16),
        (64, 128, 1024, 16, 4),  # 64 x 4 workgroups: one for each CU
        (512, 128, 7812, 16, 1),
        (512, 128, 1024, 16, 1),
        (256, 128, 1024, 16, 1),
        (32, 128, 1024, 128, 1),  # 8 head blocks a row fill the chip as well
        (1, 20, 0, 16, 1),  # one tile: nothing to split
        (1, 40, 0, 16, 1),  # two tiles: not worth a second launch
        (0, 0, 0, 16, 1),
    ],
)
def test_equal_rows(rows: int, main: int, extra: int, heads: int, split: int) -> None:
    assert plan_split([main] * rows, [extra] * rows, heads) == split


def test_one_long_row_among_many_short_ones_is_split() -> None:
    assert plan_split([128] * 256, None, 16) == 1
    assert plan_split([128] * 256, [0] * 255 + [8192], 16) > 1


lens = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9000)), max_size=40)


@given(rows=lens, heads=st.sampled_from([1, 8, 16, 17, 64, 128]))
def test_the_plan_is_the_cheapest_and_ignores_the_order_of_rows(rows: list[tuple[int, int]], heads: int) -> None:
    main, extra = [m for m, _ in rows], [e for _, e in rows]
    split = plan_split(main, extra, heads)
    tiles = [-(-m // 32) + -(-e // 32) for m, e in rows]
    assert split == min(SPLITS, key=lambda s: modelled_cost(tiles, heads, s))
    assert plan_split(torch.tensor(main[::-1], dtype=torch.int32), torch.tensor(extra[::-1], dtype=torch.int32), heads) == split


@given(rows=lens, heads=st.sampled_from([1, 16, 40]), split=st.sampled_from(SPLITS))
def test_the_cost_is_that_of_dealing_workgroups_to_compute_units(rows: list[tuple[int, int]], heads: int, split: int) -> None:
    tiles = [-(-m // 32) + -(-e // 32) for m, e in rows]
    workgroups = [-(-row // split) * TILE_COST + WORKGROUP_COST for row in tiles for _ in range(-(-heads // 16) * split)]
    expected = sum(sorted(workgroups, reverse=True)[::COMPUTE_UNITS])
    extra = modelled_cost(tiles, heads, split) - expected
    assert extra == pytest.approx(0) if split == 1 else extra >= REDUCE_COST - 1e-9


def test_workspace() -> None:
    assert workspace_shape(rows=3, heads=17, split_k=4) == ((3, 4, 17, 512), (3, 4, 17, 2))
    assert workspace_shape(rows=3, heads=17, split_k=1) == ((3, 0, 17, 512), (3, 0, 17, 2))
