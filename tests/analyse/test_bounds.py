"""Bounds of a decode: amounts counted by hand, and no stored time below any of them."""

import pytest

from sparse_mla.analyse.bounds import bounds, work
from sparse_mla.analyse.regret import LAYERS, times
from sparse_mla.gfx950.timing import device


def test_work_of_one_head_and_one_token() -> None:
    assert work(rows=1, heads=1, tokens=1) == (2048, 584 + 2048)  # 512 multiply-adds twice; a record, Q and output in bf16
    assert work(rows=4, heads=16, tokens=1152) == (4 * 16 * 1152 * 2048, 4 * (1152 * 584 + 16 * 2048))


def test_bounds_follow_the_device() -> None:
    on = device("mi355x").changed(mall_bandwidth=1e12, clock=1e9, launch_start=5000)
    found = bounds(64, 16, 1152, on).set_index("bound").microseconds
    assert found["MALL"] == pytest.approx(64 * (1152 * 584 + 16 * 2048) / 1e6)
    assert found["chain"] == pytest.approx((5000 + 212 + 3 * 520 + 224 + 1000) / 1e3)
    assert (bounds(4, 16, 1152, device("mi355x")).eval("low <= microseconds <= high")).all()


def test_no_stored_time_is_below_a_bound_that_holds_for_it() -> None:
    on = device("mi355x")
    for (layer, rows, heads), us in times().groupby(["layer", "rows", "heads"]).microseconds.min().items():
        found = bounds(rows, heads, sum(LAYERS[layer]), on)
        assert us > found[found.bound != "HBM"].microseconds.max()  # the model's caches are warm
