"""Launches of the catalogue's Triton kernels on the emulator. Triton is imported on first use: not every platform has it."""

from __future__ import annotations

import torch

from sparse_mla.errors import InputError
from sparse_mla.execute.triton_emulated import triton_on_gfx950
from sparse_mla.gfx950.decode import Code
from sparse_mla.gfx950.memory import Memory
from sparse_mla.kernels.catalogue import KernelLaunch
from sparse_mla.kernels.inputs import DecodeInputs


def triton_launch(
    launched: KernelLaunch,
    inputs: DecodeInputs,
    *,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    partial_acc: torch.Tensor,
    partial_ml: torch.Tensor,
    split_k: int,
    sanitize: frozenset[str] | None = None,
    trace: bool = False,
) -> tuple[Code, bytes, Memory, int]:
    """One launch: the code that Triton makes for these arguments, the argument segment, the memory and the dynamic LDS in bytes.

    Tensors as for `params.pack`. Raises InputError where there is no Triton.
    """
    try:
        from sparse_mla.kernels import triton_kernels
    except ImportError:
        raise InputError("no Triton here: it comes with `pip install triton`, on Linux") from None
    function = getattr(triton_kernels, launched.symbol)
    arguments = triton_kernels.arguments(
        function, inputs, out=out, lse=lse, partial_acc=partial_acc, partial_ml=partial_ml, split_k=split_k
    )
    options = arguments | {"num_warps": launched.block // 64}
    code, (_, _, kernarg, memory), lds = triton_on_gfx950(function).prepared(launched.grid, (), options, sanitize, trace)
    return code, kernarg, memory, lds
