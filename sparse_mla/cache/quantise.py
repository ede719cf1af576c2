"""Between float latents and the cache's bytes, exact in both directions.

A group of 64 NoPE elements shares the scale 2**e, the smallest power of two that is at least max(amax / 448, 1e-4), so that the
group fits e4m3fn's range; elements are divided by it (exact, and never beyond 448, so nothing saturates) and rounded to nearest
even. RoPE is only rounded to bf16.
"""

from __future__ import annotations

import torch

from sparse_mla.cache.layout import (
    DATA_BYTES,
    FP8_MAX,
    GROUP_DIM,
    GROUPS,
    HEAD_DIM,
    NOPE_DIM,
    ROPE_OFFSET,
    SCALE_BIAS,
    SCALE_BYTES,
)
from sparse_mla.errors import InputError

SMALLEST_SCALE = 1e-4  # before rounding up to a power of two: a group of zeros gets 2**-13


def scale_values(scale: torch.Tensor) -> torch.Tensor:
    """UE8M0 bytes (uint8, any shape) as float32: 2**(byte - 127), 255 is NaN."""
    bits = scale.to(torch.int32) << 23
    # The exponent field of float32 has the same bias, but keeps 0 for subnormals (2**-127 is one) and 255 for Inf and NaN.
    bits = torch.where(scale == 0, 1 << 22, torch.where(scale == 255, 0x7FC00000, bits)).to(torch.int32)
    return bits.view(torch.float32)


def quantise(kv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Finite latents `[..., 512]`, any float dtype, to data records uint8 `[..., 576]` and scale records uint8 `[..., 8]`."""
    if kv.shape[-1:] != (HEAD_DIM,) or not kv.is_floating_point():
        raise InputError(f"kv is {kv.dtype} {list(kv.shape)}; quantise takes floats [..., {HEAD_DIM}]")
    if not bool(torch.isfinite(kv).all()):
        raise InputError("kv holds NaN or Inf; quantise takes finite values (poison a cache with PagedCache.write_records)")
    nope = kv[..., :NOPE_DIM].to(torch.float32).reshape(*kv.shape[:-1], GROUPS, GROUP_DIM)
    wanted = (nope.abs().amax(-1) / FP8_MAX).clamp_min(SMALLEST_SCALE)
    mantissa, exponent = torch.frexp(wanted)  # mantissa in [0.5, 1): exact, where log2().ceil() may round across a power of two
    exponent = exponent - (mantissa == 0.5).to(exponent.dtype)
    used = (exponent + SCALE_BIAS).to(torch.uint8)
    fp8 = (nope / scale_values(used)[..., None]).to(torch.float8_e4m3fn)

    data = torch.empty(*kv.shape[:-1], DATA_BYTES, dtype=torch.uint8, device=kv.device)
    data[..., :ROPE_OFFSET] = fp8.view(torch.uint8).flatten(-2)
    data[..., ROPE_OFFSET:] = kv[..., NOPE_DIM:].to(torch.bfloat16).contiguous().view(torch.uint8)
    scale = torch.zeros(*kv.shape[:-1], SCALE_BYTES, dtype=torch.uint8, device=kv.device)
    scale[..., :GROUPS] = used
    return data, scale


def dequantise(data: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Data records uint8 `[..., 576]` and scale records uint8 `[..., 8]` to the float32 `[..., 512]` they stand for (exact)."""
    for name, records, size in (("data", data, DATA_BYTES), ("scale", scale, SCALE_BYTES)):
        if records.dtype != torch.uint8 or records.shape[-1:] != (size,):
            raise InputError(f"{name} is {records.dtype} {list(records.shape)}; dequantise takes uint8 [..., {size}]")
    fp8 = data[..., :ROPE_OFFSET].contiguous().view(torch.float8_e4m3fn).to(torch.float32)
    nope = fp8.reshape(*data.shape[:-1], GROUPS, GROUP_DIM) * scale_values(scale[..., :GROUPS])[..., None]
    rope = data[..., ROPE_OFFSET:].contiguous().view(torch.bfloat16).to(torch.float32)
    return torch.cat([nope.flatten(-2), rope], dim=-1)
