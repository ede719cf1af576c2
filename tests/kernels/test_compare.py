import math

import pytest
import torch

from sparse_mla.errors import InputError
from sparse_mla.kernels.compare import compare

INF, NAN = math.inf, math.nan


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_equal_tensors() -> None:
    result = compare(random(3, 4, 5), random(3, 4, 5))
    assert (result.rel_l2, result.max_abs, result.share, result.finite) == (0, 0, 1, True)
    assert result.cosine == pytest.approx(1)


def test_the_worst_element_is_named() -> None:
    expected = random(3, 4, 5)
    actual = expected.clone()
    actual[1, 3, 2] += 0.5
    actual[2, 0, 0] -= 0.25
    result = compare(actual, expected)
    assert result.worst == (1, 3, 2)
    assert result.worst_actual == float(actual[1, 3, 2])
    assert result.worst_expected == float(expected[1, 3, 2])
    assert result.max_abs == pytest.approx(0.5)
    assert result.rel_l2 == pytest.approx(math.hypot(0.5, 0.25) / float(expected.norm()))
    assert result.share == 58 / 60
    assert "[1, 3, 2]" in str(result)
    assert "\n" not in str(result)


def test_cosine_sees_direction_not_size() -> None:
    assert compare(2 * random(50), random(50)).cosine == pytest.approx(1)
    assert compare(-random(50), random(50)).cosine == pytest.approx(-1)
    assert compare(2 * random(50), random(50)).rel_l2 == pytest.approx(1)


@pytest.mark.parametrize(
    "actual, expected",
    [(NAN, 1.0), (INF, 1.0), (-INF, 1.0), (1.0, INF), (INF, -INF), (NAN, INF), (1.0, NAN), (NAN, NAN), (NAN, 0.0)],
)
def test_anything_unexpectedly_not_finite_fails_loudly(actual: float, expected: float) -> None:
    a, e = random(4, 6), random(4, 6)
    a[2, 5], e[2, 5] = actual, expected
    a[0, 0] += 100  # a larger error of the usual kind must not hide it
    result = compare(a, e)
    assert not result.finite
    assert result.rel_l2 == INF
    assert result.max_abs == INF
    assert math.isnan(result.cosine)
    assert result.worst == (2, 5)
    assert result.share < 1
    assert str(result).startswith("NOT FINITE")


def test_all_nan_and_all_zero() -> None:
    assert compare(torch.full((4,), NAN), torch.zeros(4)).rel_l2 == INF
    zero = compare(torch.zeros(4), torch.zeros(4))
    assert (zero.rel_l2, zero.cosine, zero.share, zero.finite) == (0, 1, 1, True)
    assert compare(torch.tensor([0, 0.25, 0]), torch.zeros(3)).rel_l2 == 0.25
    assert math.isnan(compare(torch.zeros(3), torch.ones(3)).cosine)


def test_an_expected_infinity_is_met_by_itself() -> None:
    expected = torch.tensor([1.0, -INF, 2.0])
    result = compare(torch.tensor([1.0, -INF, 2.5]), expected)
    assert result.finite
    assert result.worst == (2,)
    assert result.rel_l2 == pytest.approx(0.5 / math.sqrt(5))
    assert compare(torch.full((3,), -INF), torch.full((3,), -INF)).rel_l2 == 0


def test_low_precision_is_compared_in_float64() -> None:
    expected = random(1000)
    result = compare(expected.to(torch.bfloat16), expected)
    assert 1e-3 < result.rel_l2 < 2e-3
    assert result.share == 1


def test_no_elements_and_other_shapes() -> None:
    assert compare(torch.zeros(0, 5), torch.zeros(0, 5)).rel_l2 == 0
    with pytest.raises(InputError, match=r"\[2, 3\].*\[3, 2\]"):
        compare(torch.zeros(2, 3), torch.zeros(3, 2))
