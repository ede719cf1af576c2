import math

import pytest
import torch

from sparse_mla.kernels.compare import compare

INF, NAN = math.inf, math.nan


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_worst_element_is_named() -> None:
    expected = random(3, 4, 5)
    actual = expected.clone()
    actual[1, 3, 2] += 0.5
    actual[2, 0, 0] -= 0.25
    result = compare(actual, expected)
    assert result.worst == (1, 3, 2)
    assert (result.worst_actual, result.worst_expected) == (float(actual[1, 3, 2]), float(expected[1, 3, 2]))
    assert result.max_abs == pytest.approx(0.5)
    assert result.rel_l2 == pytest.approx(math.hypot(0.5, 0.25) / float(expected.norm()))
    assert result.share == 58 / 60
    assert "[1, 3, 2]" in str(result)
    assert "\n" not in str(result)


@pytest.mark.parametrize(
    "actual, expected, rel_l2, cosine, share",
    [
        (random(50), random(50), 0, 1, 1),
        (2 * random(50), random(50), 1, 1, 0.02),  # one number is nearly 0
        (-random(50), random(50), 2, -1, 0),
        (torch.zeros(4), torch.zeros(4), 0, 1, 1),
        (torch.tensor([0, 0.25, 0]), torch.zeros(3), 0.25, NAN, 2 / 3),
        (torch.zeros(3), torch.ones(3), 1, NAN, 0),
        (torch.zeros(0, 5), torch.zeros(0, 5), 0, 1, 1),
        (torch.tensor([1.0, -INF, 2.5]), torch.tensor([1.0, -INF, 2.0]), 0.5 / math.sqrt(5), 6 / math.sqrt(7.25 * 5), 2 / 3),
        (torch.full((3,), -INF), torch.full((3,), -INF), 0, 1, 1),  # an expected infinity is met by itself
    ],
)
def test_distances(actual: torch.Tensor, expected: torch.Tensor, rel_l2: float, cosine: float, share: float) -> None:
    result = compare(actual, expected)
    assert result.finite
    assert (result.rel_l2, result.cosine, result.share) == pytest.approx((rel_l2, cosine, share), nan_ok=True)


@pytest.mark.parametrize(
    "actual, expected",
    [(NAN, 1.0), (INF, 1.0), (-INF, 1.0), (1.0, INF), (INF, -INF), (NAN, INF), (1.0, NAN), (NAN, NAN), (NAN, 0.0)],
)
def test_anything_unexpectedly_not_finite_fails_loudly(actual: float, expected: float) -> None:
    a, e = random(4, 6), random(4, 6)
    a[2, 5], e[2, 5] = actual, expected
    a[0, 0] += 100  # a larger error of the usual kind must not hide it
    result = compare(a, e)
    assert (result.finite, result.rel_l2, result.max_abs, result.worst) == (False, INF, INF, (2, 5))
    assert math.isnan(result.cosine)
    assert result.share < 1
    assert str(result).startswith("NOT FINITE")


def test_low_precision_is_compared_in_float64() -> None:
    expected = random(1000)
    result = compare(expected.to(torch.bfloat16), expected)
    assert 1e-3 < result.rel_l2 < 2e-3
    assert result.share == 1
