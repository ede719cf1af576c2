"""The quantiser against ml_dtypes and plain arithmetic, without torch."""

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparse_mla.cache.quantise import dequantise, quantise

Floats = NDArray[np.floating[Any]]
VALUES = np.arange(256, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float64)
POSITIVE = VALUES[:0x7F]  # 0 to 448, rising with the code


def bf16_codes(x: Floats) -> NDArray[np.uint16]:
    return x.astype(ml_dtypes.bfloat16).view(np.uint16)


def scale_byte(group: Floats) -> int:
    """127 + e for the smallest 2**e that is at least max(amax / 448, 1e-4), all in float32."""
    wanted = max(np.float32(np.abs(group).max()) / np.float32(448), np.float32(1e-4))
    return 127 + next(e for e in range(-20, 128) if 2.0**e >= float(wanted))


def check(kv: Floats) -> None:
    """One token, float32 [512]."""
    data, scale = (part.numpy() for part in quantise(torch.from_numpy(kv.astype(np.float32))))
    for group in range(7):
        dims = slice(64 * group, 64 * group + 64)
        byte = scale_byte(kv[dims])
        assert scale[group] == byte
        divided = kv[dims].astype(np.float64) / 2.0 ** (byte - 127)
        np.testing.assert_array_equal(data[dims], divided.astype(ml_dtypes.float8_e4m3fn).view(np.uint8))
    assert scale[7] == 0
    np.testing.assert_array_equal(data[448:].view(np.uint16), bf16_codes(kv[448:]))


@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-20, 30), spread=st.integers(0, 20))
def test_random_tokens(seed: int, exponent: int, spread: int) -> None:
    random = np.random.default_rng(seed)
    check((random.standard_normal(512) * np.exp2(exponent + random.integers(-spread, 1, 512))).astype(np.float32))


@pytest.mark.parametrize("exponent", [-13, -3, 0, 1, 100])
@pytest.mark.parametrize(
    "largest", [448.0, np.nextafter(np.float32(448), np.float32(0)), np.nextafter(np.float32(448), np.float32(1e9))]
)
def test_scales_at_the_edge_of_a_power_of_two(largest: float, exponent: int) -> None:
    kv = np.linspace(-100, 100, 512, dtype=np.float32)
    kv[::64] = largest
    check((kv * np.float32(2.0**exponent)).astype(np.float32))


def test_every_tie_and_every_code_rounds_to_nearest_even() -> None:
    halves = (POSITIVE[1:] + POSITIVE[:-1]) / 2
    near = [np.nextafter(halves.astype(np.float32), end) for end in (0, 500)]
    points = np.concatenate([POSITIVE, halves, *near])
    groups = np.full((-(-2 * len(points) // 63), 64), 448.0)  # one 448 in each, so that its scale is 1
    groups[:, :63] = np.resize(np.r_[points, -points], (len(groups), 63))
    for nope in np.resize(groups, (-(-len(groups) // 7), 448)):
        check(np.r_[nope, np.zeros(64)])


@pytest.mark.parametrize("tiny", [0.0, -0.0, 1e-38, 1e-6, 448 * 1e-4])
def test_small_groups_take_the_smallest_scale(tiny: float) -> None:
    kv = np.full(512, tiny, dtype=np.float32)
    check(kv)
    assert quantise(torch.from_numpy(kv))[1][0] == 127 - 13


def test_rope_keeps_every_bf16_and_rounds_the_rest_to_nearest_even() -> None:
    codes = np.arange(65536, dtype=np.uint32)
    finite = codes[(codes >> 7 & 0xFF) != 0xFF]
    # A bf16 exactly, just under half a step above it, half a step, and just over; the last ones of all would round to infinity.
    bits = (finite[None, :] << 16) + np.array([0, 0x7FFF, 0x8000, 0x8001], dtype=np.uint32)[:, None]
    bits = bits[bits & 0x7FFFFFFF < 0x7F7F8000]
    bits = np.resize(bits, -(-bits.size // 64) * 64).reshape(-1, 64)
    kv = np.zeros((len(bits), 512), dtype=np.float32)
    kv[:, 448:] = bits.view(np.float32)
    data, scale = quantise(torch.from_numpy(kv))
    np.testing.assert_array_equal(data[:, 448:].numpy().view(np.uint16), bf16_codes(kv[:, 448:]))
    again = dequantise(data, scale).numpy()[:, 448:]
    np.testing.assert_array_equal(again.view(np.uint32) >> 16, bf16_codes(kv[:, 448:]))


def test_every_code_with_every_scale_byte_decodes() -> None:
    """Each group of a token has another scale."""
    data, scale = np.zeros((256, 576), dtype=np.uint8), np.zeros((256, 8), dtype=np.uint8)
    data[:, :448] = np.arange(448) % 256
    scale[:] = np.arange(256)[:, None] + np.arange(8)
    factor = np.array([2.0 ** (byte - 127) for byte in range(255)] + [math.nan])[scale[:, :7]]
    with np.errstate(over="ignore"):
        expected = (VALUES[data[:, :448]] * factor.repeat(64, axis=1)).astype(np.float32)  # exact, or beyond float32: infinite
    np.testing.assert_array_equal(dequantise(torch.from_numpy(data), torch.from_numpy(scale)).numpy()[:, :448], expected)


def test_any_leading_shape_float_dtype_and_stride() -> None:
    kv = torch.randn(4, 3, 512, generator=torch.Generator().manual_seed(0)).transpose(0, 1)
    data, scale = quantise(kv)
    assert data.shape == (3, 4, 576)
    assert scale.shape == (3, 4, 8)
    assert torch.equal(data[2, 1], quantise(kv[2, 1])[0])
    assert torch.equal(dequantise(data, scale)[2, 1], dequantise(data[2, 1], scale[2, 1]))
    half = kv.to(torch.bfloat16)
    assert torch.equal(quantise(half)[0], quantise(half.float())[0])
    assert dequantise(*quantise(torch.empty(0, 512))).shape == (0, 512)
