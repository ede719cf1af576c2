"""The matrix cores against their statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.gfx950.harness import Words, compare, random_registers, span
from tests.gfx950.statements import MATRIX, matrix_product

MASK = 0x8000_0123_FFFF_00F1


def bf16_words(x: Any) -> Words:
    """float32 [8, 64], exact in bf16, to four registers: two a dword, low half first."""
    bits = x.view(np.uint32)
    return np.asarray(bits[0::2] >> 16 | bits[1::2] & 0xFFFF0000)


def random_bf16(rng: np.random.Generator, kind: str) -> Any:
    if kind == "integers":
        return rng.integers(-8, 9, (8, 64)).astype(np.float32)
    bits = rng.normal(size=(8, 64)).astype(np.float32).view(np.uint32) & 0xFFFF0000
    if kind == "any":  # every exponent, denormals, infinities and NaN
        bits = np.where(rng.random((8, 64)) < 0.1, rng.integers(0, 2**16, (8, 64), dtype=np.uint32) << 16, np.uint32(0x3F800000))
    return bits.view(np.float32)


@pytest.mark.parametrize("files", ["vvvv", "avva", "aaaa", "vav0", "vvv1", "vvv="])
@pytest.mark.parametrize("kind", ["integers", "normal", "any"])
@pytest.mark.parametrize("name", MATRIX)
def test_matrix(name: str, kind: str, files: str) -> None:
    """D, A, B and C in either register file, C a constant, or C in D's registers. EXEC does not matter."""
    (m, k), rng, count = MATRIX[name], np.random.default_rng(4), MATRIX[name][0] ** 2 // 64
    d, a, b, c = (files[i] for i in range(4))
    before = random_registers(rng, MASK, n=112)
    left, right = random_bf16(rng, kind), random_bf16(rng, kind)
    before.file(a)[64:68], before.file(b)[72:76] = bf16_words(left), bf16_words(right)
    start = np.full((count, 64), float(c) if c in "01" else 0, np.float32)
    if c not in "01":
        start += rng.integers(-9, 9, (count, 64)) if kind == "integers" else rng.normal(size=(count, 64))
        before.file(d if c == "=" else c)[16 if c == "=" else 80 :][:count] = start.view(np.uint32)
    text = {"0": "0", "1": "1.0", "=": span(d, 16, count)}.get(c, span(c, 80, count))
    line = f"{name} {span(d, 16, count)}, {span(a, 64, 4)}, {span(b, 72, 4)}, {text}"
    with np.errstate(all="ignore"):
        stepped, exact = matrix_product(left, right, start, m, k)
    got, after = before.run(line), before.copy()
    result = got.file(d)[16 : 16 + count].view(np.float32)
    either_nan = np.isnan(stepped) & np.isnan(result)
    after.file(d)[16 : 16 + count] = np.where(either_nan, result, stepped).view(np.uint32)
    compare(line, after, got)
    if kind != "any":
        np.testing.assert_allclose(result, exact, rtol=0, atol=0 if kind == "integers" else 2.0**-15)
