import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.kernels.catalogue import CATALOGUE, kernel_named
from sparse_mla.kernels.split_k import COMPUTE_UNITS, COSTS, RESIDENCY, modelled_cost, plan_split, workspace_shape

SPLIT = sorted(COSTS)  # kernels that split


@pytest.mark.parametrize(
    "rows, main, extra, heads, base, product",
    [
        (1, 128, 7812, 16, 16, 16),  # a lonely long row
        (4, 128, 1024, 16, 16, 12),  # nine tiles
        (16, 128, 7812, 16, 16, 16),  # 16 x 16 workgroups: one for each CU
        (64, 128, 7812, 16, 8, 4),  # base: three of its workgroups share a CU
        (256, 128, 1024, 16, 2, 1),
        (32, 128, 1024, 128, 2, 1),  # 8 head blocks a row fill the chip as well
        (64, 128, 0, 16, 4, 1),  # one tile of product: nothing to split
        (1, 20, 0, 16, 1, 1),  # a single tile
        (0, 0, 0, 16, 1, 1),
    ],
)
def test_equal_rows(rows: int, main: int, extra: int, heads: int, base: int, product: int) -> None:
    assert plan_split([main] * rows, [extra] * rows, heads, "base") == base
    assert plan_split([main] * rows, [extra] * rows, heads, "product") == product


def test_a_kernel_that_does_not_split_has_whole_rows() -> None:
    assert [plan_split([128], [8192], 16, name) for name, spec in CATALOGUE.items() if spec.splits == (1,)]
    assert {plan_split([128], [8192], 16, name) for name, spec in CATALOGUE.items() if spec.splits == (1,)} == {1}
    assert set(COSTS) == set(RESIDENCY)


def test_a_kernel_without_costs_of_its_own_is_planned_as_base() -> None:
    others = [name for name, spec in CATALOGUE.items() if name not in COSTS and spec.splits == CATALOGUE["base"].splits]
    assert others
    for rows in (1, 64, 512):
        assert {plan_split([128] * rows, [1024] * rows, 16, name) for name in [*others, "base"]} == {modelled_best(rows, "base")}


def modelled_best(rows: int, kernel: str) -> int:
    return min(kernel_named(kernel).splits, key=lambda split_k: modelled_cost(kernel, [36] * rows, 16, split_k))


@pytest.mark.parametrize("kernel", SPLIT)
def test_one_long_row_among_many_short_ones_is_split(kernel: str) -> None:
    assert plan_split([32] * 256, None, 16, kernel) == 1
    assert plan_split([32] * 256, [0] * 255 + [8192], 16, kernel) > 1


lens = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9000)), max_size=40)


@given(rows=lens, heads=st.sampled_from([1, 8, 16, 17, 64, 128]), kernel=st.sampled_from(SPLIT))
def test_the_plan_is_the_cheapest_and_ignores_the_order_of_rows(rows: list[tuple[int, int]], heads: int, kernel: str) -> None:
    main, extra = [m for m, _ in rows], [e for _, e in rows]
    split = plan_split(main, extra, heads, kernel)
    size = {"product": 128, "few": 128}.get(kernel, 32)
    tiles = [-(-m // size) + -(-e // size) for m, e in rows]
    assert split == min(kernel_named(kernel).splits, key=lambda s: modelled_cost(kernel, tiles, heads, s))
    reverse = [torch.tensor(x[::-1], dtype=torch.int32) for x in (main, extra)]
    assert plan_split(reverse[0], reverse[1], heads, kernel) == split


@given(rows=lens, heads=st.sampled_from([1, 16, 40]), kernel=st.sampled_from(SPLIT), at=st.integers(0, 4))
def test_the_cost_is_that_of_dealing_workgroups_to_compute_units(
    rows: list[tuple[int, int]], heads: int, kernel: str, at: int
) -> None:
    """The busiest compute unit, found by dealing out every workgroup one by one."""
    costs, resident = COSTS[kernel], RESIDENCY[kernel]
    spec = kernel_named(kernel)
    split = spec.splits[at]
    tiles = [-(-m // 32) + -(-e // 32) for m, e in rows]
    most = split
    parts = [-(-row // split) for row in tiles]
    if kernel == "few":  # cuts the longest row into no more parts than it has tiles
        parts = [max(1, next(n for n in range(999) if n * split >= row)) for row in tiles]
        most = max((max(1, -(-row // part)) for row, part in zip(tiles, parts, strict=True)), default=1)
    workgroups = sorted((part for part in parts for _ in range(-(-heads // 16) * spec.shares * most)), reverse=True)
    expected = costs.whole if most == 1 else costs.last if split <= spec.one_launch else costs.second
    for turn, part in enumerate(workgroups[::COMPUTE_UNITS]):
        first = turn % resident == 0
        expected += costs.workgroup + costs.step * part if first else costs.beside + costs.step_beside * part
    if most > 1:
        expected += costs.part * (most if kernel == "few" else len(rows) * heads * split / 1000)
    assert modelled_cost(kernel, tiles, heads, split) == pytest.approx(expected)


@pytest.mark.parametrize("kernel", ["base", "product", "few"])
def test_residency_is_what_the_compiled_kernel_allows(kernel: str) -> None:
    for symbol, source in (CATALOGUE[kernel].fused, CATALOGUE[kernel].partial["fp32"]):
        assert compile_hip(csrc_dir() / source).resources[symbol].workgroups_per_cu == RESIDENCY[kernel]


def test_workspace() -> None:
    assert workspace_shape(rows=3, heads=17, split_k=4) == ((3, 4, 17, 512), (3, 4, 17, 2))
    assert workspace_shape(rows=3, heads=17, split_k=1) == ((3, 0, 17, 512), (3, 0, 17, 2))
