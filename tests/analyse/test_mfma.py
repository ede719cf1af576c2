"""The lane map: formulae against execution, and a measurement that notices a machine with another layout."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sparse_mla.analyse import mfma_probe
from sparse_mla.analyse.chain import chained_token, run_chain
from sparse_mla.analyse.mfma import NOBODY, SHAPES, Shape
from sparse_mla.analyse.mfma_probe import confirm, matmul, measure_meetings
from sparse_mla.errors import SparseMlaError

BOTH = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


@BOTH
def test_every_meeting_is_as_the_formulae_say(shape: Shape) -> None:
    np.testing.assert_array_equal(measure_meetings(shape), shape.predict_meetings())


@BOTH
def test_a_product_through_the_map_is_the_product(shape: Shape) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (shape.m, shape.k)), rng.integers(-9, 9, (shape.k, shape.m))
    np.testing.assert_array_equal(matmul(shape, a, b), a @ b)


def wrong_machine(text: str, vgpr: np.ndarray) -> Any:
    """An independent statement of both MFMAs in NumPy, with one published emulator's layout of D: rows 16 (lane / 32) + r."""
    m, k, d, a, b = map(int, re.match(r"\D+32_(\d+)x\d+x(\d+)_bf16 v\[(\d+):\d+\], v\[(\d+):\d+\], v\[(\d+):", text).groups())  # type: ignore[union-attr]
    halves = [vgpr[first : first + 4].view(np.uint16).reshape(4, 64, 2).astype(np.uint32) for first in (a, b)]
    lanes = [(half << 16).view(np.float32).transpose(1, 0, 2).reshape(64, 8) for half in halves]
    left, right = (x.reshape(64 // m, m, 8).transpose(1, 0, 2).reshape(m, k) for x in lanes)
    product = (left @ right.T).astype(np.float32)
    registers = m * m // 64
    state = vgpr.copy()
    for r in range(registers):
        rows = registers * (np.arange(64) // m) + r
        state[d + r] = product[rows, np.arange(64) % m].view(np.uint32)
    return SimpleNamespace(vgpr=state)


def test_the_measurement_tells_a_wrong_layout_from_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mfma_probe, "run_snippet", wrong_machine)
    monkeypatch.setattr(mfma_probe, "measure_meetings", measure := measure_meetings.__wrapped__)
    small, large = SHAPES.values()
    confirm(small)  # the two layouts differ for 32x32 only
    found = measure(large)
    assert (found != large.predict_meetings())[found != NOBODY].mean() == 0.75
    with pytest.raises(SparseMlaError, match="32x32x16_bf16: what was executed contradicts"):
        confirm(large)


@BOTH
def test_partners_are_the_terms_of_a_product(shape: Shape) -> None:
    of_d = shape.partners("D", 3, 5)
    assert set(of_d[of_d.role == "sums over"].itertuples(index=False, name=None)) == {
        *(("sums over", "A", 3, k, shape.place("A", 3, k)) for k in range(shape.k)),
        *(("sums over", "B", k, 5, shape.place("B", k, 5)) for k in range(shape.k)),
    }
    for chosen in (("A", 3, 2), ("B", 2, 5)):
        partners = shape.partners(*chosen).iloc[1:]
        assert len(partners) == 2 * shape.m
        for _, *partner, _ in partners.itertuples(index=False):  # who is a partner is one back
            assert chosen in shape.partners(*partner)[["operand", "row", "column"]].itertuples(index=False, name=None)


def test_chained_products_need_no_lane_exchange() -> None:
    rng = np.random.default_rng(1)
    q, k, v = rng.integers(-2, 3, (16, 32)), rng.integers(-2, 3, (32, 32)), rng.integers(-5, 6, (32, 16))
    np.testing.assert_array_equal(run_chain(q, k, v), (q @ k.T) @ v)
    assert not np.array_equal(run_chain(q, k, v, lambda g, t: 8 * g + t), (q @ k.T) @ v)
    assert sorted(chained_token(g, t) for g in range(4) for t in range(8)) == list(range(32))
