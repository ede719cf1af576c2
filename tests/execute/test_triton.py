"""Triton kernels on the emulator: the machine code that Triton makes for gfx950, against PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sparse_mla import triton_on_gfx950
from sparse_mla.errors import InputError

triton = pytest.importorskip("triton", reason="Triton is for Linux")
from tests.execute import triton_kernels as kernels  # noqa: E402

FLOATS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
EPSILON = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def close(actual: torch.Tensor, expected: torch.Tensor, like: torch.dtype | None = None) -> None:
    tolerance = EPSILON[like or actual.dtype]
    torch.testing.assert_close(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize("warps", [1, 4, 16])
def test_add(dtype: torch.dtype, warps: int) -> None:
    x, y, out = random(1000, dtype=dtype), random(1000, dtype=dtype, seed=1), torch.zeros(1000, dtype=dtype)
    done = triton_on_gfx950(kernels.add)[lambda meta: (triton.cdiv(1000, meta["BLOCK"]),)](
        x, y, out, 1000, BLOCK=256, num_warps=warps
    )
    assert torch.equal(out, x + y)
    assert (done.grid, done.block) == ((4, 1, 1), (64 * warps, 1, 1))
    assert done.wave_instructions > 0


@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize("warps, stages", [(1, 1), (4, 2), (8, 4)])
def test_softmax(dtype: torch.dtype, warps: int, stages: int) -> None:
    x, out = random(7, 200, dtype=dtype), torch.zeros(7, 200, dtype=dtype)
    triton_on_gfx950(kernels.softmax)[(3,)](
        x, out, 200, 200, 7, 200, BLOCK=256, STAGES=stages, num_warps=warps, num_stages=stages
    )
    close(out, torch.softmax(x.float(), 1))


@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize(
    "m, n, k, leaky, warps, stages",
    [(64, 64, 64, False, 4, 2), (50, 70, 100, True, 4, 2), (33, 20, 40, False, 2, 1), (64, 96, 64, True, 8, 3)],
)
def test_matmul(dtype: torch.dtype, m: int, n: int, k: int, leaky: bool, warps: int, stages: int) -> None:
    a, b, c = random(m, k, dtype=dtype), random(k, n, dtype=dtype, seed=1), torch.zeros(m, n, dtype=dtype)
    options: dict[str, Any] = {"BM": 32, "BN": 32, "BK": 32, "GROUP": 2, "LEAKY": leaky, "num_warps": warps, "num_stages": stages}
    grid = (triton.cdiv(m, 32) * triton.cdiv(n, 32),)
    triton_on_gfx950(kernels.matmul)[grid](a, b, c, m, n, k, *a.stride(), *b.stride(), *c.stride(), **options)
    product = a.double() @ b.double()
    close(c / 10, (torch.nn.functional.leaky_relu(product) if leaky else product) / 10)


def test_dropout() -> None:
    x, out, again = torch.ones(1000), torch.zeros(1000), torch.zeros(1000)
    for target in (out, again):
        triton_on_gfx950(kernels.dropout)[(2,)](x, target, 1000, 0.25, 123, BLOCK=512)
    assert torch.equal(out, again)
    assert set(out.tolist()) == {0.0, float(torch.tensor(1.0) / torch.tensor(0.75))}
    assert 0.65 < (out > 0).float().mean() < 0.85


@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
def test_layer_norm_forward_and_backward(dtype: torch.dtype) -> None:
    rows, columns, groups = 9, 200, 4
    x, grad = random(rows, columns, dtype=dtype), random(rows, columns, dtype=dtype, seed=1)
    weight, bias = random(columns, dtype=dtype, seed=2), random(columns, dtype=dtype, seed=3)
    out, dx = torch.zeros_like(x), torch.zeros_like(x)
    mean, inverse = torch.zeros(rows), torch.zeros(rows)
    triton_on_gfx950(kernels.layer_norm)[(rows,)](
        x, out, weight, bias, mean, inverse, columns, columns, 1e-5, BLOCK=128, num_warps=2
    )
    exact = [t.double().requires_grad_() for t in (x, weight, bias)]
    expected = torch.nn.functional.layer_norm(exact[0], (columns,), exact[1], exact[2], 1e-5)
    close(out, expected.detach())
    torch.autograd.backward(expected, grad.double())
    parts, lock = torch.full((2, groups, columns), torch.nan), torch.zeros(2 * groups, dtype=torch.int32)
    triton_on_gfx950(kernels.layer_norm_backward)[(rows,)](
        dx, grad, parts[0], parts[1], x, weight, mean, inverse, lock, columns, columns, GROUPS=groups, BLOCK=256, num_warps=4
    )
    sums = torch.zeros(2, columns)
    for part, total in zip(parts, sums, strict=True):
        triton_on_gfx950(kernels.column_sums)[(2,)](part, total, groups, columns, BM=32, BN=128)
    for actual, leaf in zip((dx, *sums), exact, strict=True):
        assert leaf.grad is not None
        close(actual, leaf.grad, dtype)


@pytest.mark.parametrize("dtype", FLOATS.values(), ids=FLOATS)
@pytest.mark.parametrize(
    "causal, tokens, warps, stages", [(False, 64, 4, 1), (True, 64, 4, 2), (True, 50, 2, 1), (False, 90, 4, 2)]
)
def test_attention(dtype: torch.dtype, causal: bool, tokens: int, warps: int, stages: int) -> None:
    heads, size = 2, 32
    q, k, v = (random(heads, tokens, size, dtype=dtype, seed=i) for i in range(3))
    out, lse = torch.zeros_like(q), torch.zeros(heads, tokens)
    options: dict[str, Any] = {"HEAD": size, "BM": 32, "BN": 32, "CAUSAL": causal, "num_warps": warps, "num_stages": stages}
    grid = (triton.cdiv(tokens, 32), heads)
    triton_on_gfx950(kernels.attention)[grid](q, k, v, out, lse, size**-0.5, tokens * size, tokens, **options)
    scores = q.double() @ k.double().mT * size**-0.5
    if causal:
        scores = scores.masked_fill(~torch.ones(tokens, tokens).tril().bool(), -torch.inf)
    close(out, scores.softmax(-1) @ v.double())
    close(lse, scores.logsumexp(-1), dtype)


def test_what_was_compiled_is_kept_and_specialised() -> None:
    x, y, out = torch.ones(64), torch.ones(64), torch.zeros(64)
    launcher = triton_on_gfx950(kernels.add)
    first = launcher.compile(x, y, out, 64, BLOCK=64)
    assert launcher.compile(x, y, out, 128, BLOCK=64) is first  # also a multiple of 16
    assert launcher.compile(x, y, out, 63, BLOCK=64) is not first
    launcher[(1,)](x[1:], y[:-1], out[1:], 63, BLOCK=64)  # not at a multiple of 16 bytes
    assert out.tolist() == [0.0] + [2.0] * 63


def test_wrong_arguments_are_named() -> None:
    x = torch.ones(64)
    tuned = triton.autotune([triton.Config({"BLOCK": 64})], key=["n"])(kernels.add)
    with pytest.raises(InputError, match=r"wrapped in Autotuner: give add.fn"):
        triton_on_gfx950(tuned)
    with pytest.raises(InputError, match=r"@triton.jit function, not function"):
        triton_on_gfx950(lambda: None)
    with pytest.raises(TypeError, match="missing"):
        triton_on_gfx950(kernels.add)[(1,)](x, x, BLOCK=64)
    with pytest.raises(InputError, match="CPU tensor"):
        triton_on_gfx950(kernels.add)[(1,)](x.to("meta"), x, x, 64, BLOCK=64)
