"""Launches of the catalogue's Triton kernels on the emulator. Triton is imported on first use: not every platform has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from sparse_mla.build.code_object import CodeObject, Resources
from sparse_mla.errors import InputError
from sparse_mla.execute.triton_emulated import TritonLauncher, triton_on_gfx950
from sparse_mla.gfx950.decode import Code
from sparse_mla.gfx950.memory import Memory
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import KernelLaunch, KernelSpec, kernel_named
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.kernels.split_k import workspace_shape


def _called(launched: KernelLaunch, inputs: DecodeInputs, **tensors: Any) -> tuple[TritonLauncher, dict[str, Any]]:
    """The function of a launch, and what it is called with."""
    try:
        from sparse_mla.kernels import triton_kernels
    except ImportError:
        raise InputError("no Triton here: it comes with `pip install triton`, on Linux") from None
    function = getattr(triton_kernels, launched.symbol)
    options = triton_kernels.arguments(function, inputs, **tensors) | {"num_warps": launched.block // 64}
    return triton_on_gfx950(function), options


def _compiled(spec: KernelSpec, split_k: int) -> Iterator[tuple[KernelLaunch, TritonLauncher, Any]]:
    """Each launch, as Triton compiles it for 16 heads and caches in blocks of 64 tokens."""
    inputs = Case.make(rows=1).inputs()
    acc, ml = (torch.empty(shape) for shape in workspace_shape(1, inputs.heads, split_k))
    out, lse = torch.empty_like(inputs.q), torch.empty(inputs.q.shape[:2])
    for launched in spec.launches(1, inputs.heads, split_k):
        launcher, options = _called(launched, inputs, out=out, lse=lse, partial_acc=acc, partial_ml=ml, split_k=split_k)
        yield launched, launcher, launcher.compile(**options)


def compiled(spec: KernelSpec) -> Iterator[tuple[str, str, Resources]]:
    """Symbol, assembly and resources of each function, as Triton makes it for 16 heads and caches in blocks of 64 tokens."""
    for split_k in (1, 4):
        for launched, launcher, made in _compiled(spec, split_k):
            [need] = CodeObject(launched.symbol, launcher.arch, made.asm["amdgcn"]).resources.values()
            yield launched.symbol, made.asm["amdgcn"], replace(need, lds=made.metadata.shared)  # LDS is given at the launch


def intermediate(symbol: str, split_k: int) -> dict[str, str]:
    """The texts that Triton goes through for a function of its decode: ttir, ttgir, llir, amdgcn."""
    every = {launched.symbol: made for launched, _, made in _compiled(kernel_named("triton"), split_k)}
    if symbol not in every:
        raise InputError(f"with split_k {split_k} the Triton decode has no {symbol!r}; it has {', '.join(every)}")
    return {name: text for name, text in every[symbol].asm.items() if isinstance(text, str)}


def triton_launch(
    launched: KernelLaunch, inputs: DecodeInputs, *, decoded: Mapping[str, Any] | None = None, **tensors: Any
) -> tuple[Code, bytes, Memory, int]:
    """One launch: the code that Triton makes for these arguments, the argument segment, the memory and the dynamic LDS in bytes.

    Tensors and `split_k` as for `triton_kernels.arguments`; `decoded`: options of gfx950.decode. Raises InputError where there is
    no Triton.
    """
    launcher, options = _called(launched, inputs, **tensors)
    code, (_, _, kernarg, memory), lds = launcher.prepared(launched.grid, (), options, **decoded or {})
    return code, kernarg, memory, lds
