"""How far a result is from what it should be, and where it is furthest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from sparse_mla.errors import InputError

# An element passes when it is within two bf16 roundings (2**-8 each) of what is expected, measured on the larger of its own size
# and the typical (root mean square) size: a sum that happens to cancel is not held to its own tiny size.
TOLERANCE = 2**-7


@dataclass(frozen=True)
class Comparison:
    """Distance of a result from the expected one. Anything not finite that should be (or the other way round) makes `finite`
    false, `rel_l2` and `max_abs` inf and `cosine` nan, and `worst` is the first such element."""

    rel_l2: float  # |actual - expected| / |expected|; |actual| itself where everything expected is 0: max_abs
    max_abs: float
    cosine: float  # nan where a side is all 0, unless both are: 1
    worst: tuple[int, ...]  # index of the largest absolute error; () for no elements
    worst_actual: float
    worst_expected: float
    share: float  # of elements within TOLERANCE
    finite: bool  # every element is finite where the expected one is, and the same infinity where it is not

    def __str__(self) -> str:
        where = f"worst at {list(self.worst)}: {self.worst_actual:.6g}, expected {self.worst_expected:.6g}"
        flaw = "" if self.finite else "NOT FINITE, "
        return f"{flaw}rel_l2 {self.rel_l2:.2e}, max_abs {self.max_abs:.2e}, {self.share:.2%} within tolerance, {where}"


def compare(actual: torch.Tensor, expected: torch.Tensor) -> Comparison:
    """Compare tensors of one shape, in float64. An expected infinity is met by the same one only, an expected NaN by nothing."""
    if actual.shape != expected.shape:
        raise InputError(f"actual is {list(actual.shape)}, expected {list(expected.shape)}; only equal shapes compare")
    if actual.numel() == 0:
        return Comparison(0.0, 0.0, 1.0, (), math.nan, math.nan, 1.0, True)
    a, e = actual.detach().double().cpu(), expected.detach().double().cpu()
    alike = torch.isinf(e) & (a == e)
    broken = ~(torch.isfinite(a) & torch.isfinite(e)) & ~alike
    finite = not bool(broken.any())
    # Matching infinities count as exact and leave the norms; a broken element is worse than any error.
    a0, e0 = (torch.where(alike | broken, 0.0, x) for x in (a, e))
    error = torch.where(broken, torch.inf, (a0 - e0).abs())

    worst_flat = int(error.argmax())
    worst = tuple(int(i) for i in torch.unravel_index(torch.tensor(worst_flat), a.shape))
    max_abs = float(error.max())
    norm_a, norm_e = float(a0.norm()), float(e0.norm())
    if norm_a and norm_e:
        cosine = float((a0.flatten() / norm_a) @ (e0.flatten() / norm_e)) if finite else math.nan
    else:
        cosine = 1.0 if finite and norm_a == norm_e else math.nan
    limit = TOLERANCE * e0.abs().clamp_min(norm_e / math.sqrt(e0.numel()))
    return Comparison(
        rel_l2=float(error.norm()) / norm_e if norm_e and finite else max_abs,
        max_abs=max_abs,
        cosine=cosine,
        worst=worst,
        worst_actual=float(a[worst]),
        worst_expected=float(e[worst]),
        share=float((error <= limit).double().mean()),
        finite=finite,
    )
