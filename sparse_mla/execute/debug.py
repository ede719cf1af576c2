"""Stepping through a decode: a debugger on one workgroup of one of its launches."""

from __future__ import annotations

from collections.abc import Sequence

from sparse_mla.errors import InputError
from sparse_mla.execute.emulator import prepared
from sparse_mla.gfx950.debug import Debugger
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import Partials, kernel_named


def debug(
    kernel: str, case: Case, workgroup: Sequence[int] = (0, 0, 0), split_k: int = 1, partials: Partials = "fp32", launch: int = 0
) -> Debugger:
    """A debugger before the first instruction of a workgroup of `kernel` on `case`; the launches before number `launch` have run.

    The tensors are the debugger's buffers ("out", "lse", "q", "main cache", ...).
    """
    spec, inputs = kernel_named(kernel), case.inputs()
    spec.check(inputs, split_k, partials)
    *_, steps = prepared(spec, inputs, split_k=split_k, partials=partials)
    if not 0 <= launch < len(steps):
        raise InputError(f"there is no launch {launch}: with split_k {split_k}, {kernel} has launches 0 to {len(steps) - 1}")
    for step in steps[:launch]:
        step.run()
    at, code, kernarg, memory, lds = steps[launch]
    return Debugger(code, at.grid, (at.block,), kernarg, memory, workgroup=workgroup, dynamic_lds=lds)
