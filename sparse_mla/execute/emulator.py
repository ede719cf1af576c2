"""A decode on the emulator: the compiled kernels' machine code on the case's own tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch

from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.execute.triton_decode import triton_launch
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.machine import Launched, Memory, launch
from sparse_mla.kernels.catalogue import TRITON, KernelLaunch, KernelSpec, Partials
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.kernels.params import pack
from sparse_mla.kernels.split_k import workspace_shape


@lru_cache(maxsize=64)
def load(source: str, **decoded: Any) -> dict[str, Code]:
    """The kernels of one source under csrc/, compiled for gfx950 and decoded, by symbol. Options are those of gfx950.decode."""
    program = parse(compile_hip(csrc_dir() / source).text)
    return {name: decode(kernel, **decoded) for name, kernel in program.kernels.items()}


class Prepared(NamedTuple):
    """One launch of a decode that is ready to go."""

    launch: KernelLaunch
    code: Code
    kernarg: bytes
    memory: Memory
    dynamic_lds: int  # bytes

    def run(self, **options: Any) -> Launched:
        """Runs it; options as in gfx950.machine.launch."""
        at = self.launch
        return launch(self.code, at.grid, (at.block,), self.kernarg, self.memory, dynamic_lds=self.dynamic_lds, **options)


def outputs(
    spec: KernelSpec, inputs: DecodeInputs, split_k: int, partials: Partials, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """What a decode writes, by the names of kernels.params.pack: NaN at first, so that what a kernel fails to write is seen."""
    acc, ml = workspace_shape(inputs.rows, inputs.heads, split_k, spec.shares)
    f32, bf16 = torch.float32, torch.bfloat16
    shapes = {"out": (inputs.q.shape, bf16), "lse": (inputs.q.shape[:2], f32)}
    shapes |= {"partial_acc": (torch.Size(acc), f32 if partials == "fp32" else bf16), "partial_ml": (torch.Size(ml), f32)}
    made = {name: torch.full(shape, torch.nan, dtype=dtype, device=device) for name, (shape, dtype) in shapes.items()}
    if 1 < split_k <= spec.one_launch:
        made["arrivals"] = torch.zeros(inputs.rows, -(-inputs.heads // spec.head_block), dtype=torch.int32, device=device)
    return made


def prepared(
    spec: KernelSpec,
    inputs: DecodeInputs,
    *,
    split_k: int,
    partials: Partials,
    out: torch.Tensor | None = None,
    **decoded: Any,
) -> tuple[torch.Tensor, torch.Tensor, list[Prepared]]:
    """A decode's output bf16 [rows, heads, 512], lse f32 [rows, heads], and the launches that will fill them. Other options as
    in gfx950.decode."""
    tensors = outputs(spec, inputs, split_k, partials) | ({} if out is None else {"out": out})
    arrivals = tensors.pop("arrivals", None)
    steps = []
    for launched in spec.launches(inputs.rows, inputs.heads, split_k, partials):
        if launched.source == TRITON:
            ready = triton_launch(launched, inputs, **tensors, split_k=split_k, decoded=decoded)
            steps.append(Prepared(launched, *ready))
            continue
        memory = Memory()
        params = pack(inputs, **tensors, arrivals=arrivals, split_k=split_k, place=memory.map)
        code = load(launched.source, **decoded)[launched.symbol]
        steps.append(Prepared(launched, code, bytes(params), memory, 0))
    return tensors["out"], tensors["lse"], steps


def decode_on_emulator(
    spec: KernelSpec,
    inputs: DecodeInputs,
    *,
    split_k: int,
    partials: Partials,
    out: torch.Tensor | None = None,
    sanitize: frozenset[str] | None = None,
    trace: bool = False,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor, tuple[Launched, ...]]:
    """Runs a decode's launches; gives out and lse as `prepared` does, and what each launch did.

    `sanitize` and `trace` as in gfx950.decode: the launches then carry findings, or traces. Other options as in
    gfx950.machine.launch.
    """
    out, lse, steps = prepared(spec, inputs, split_k=split_k, partials=partials, out=out, sanitize=sanitize, trace=trace)
    return out, lse, tuple(step.run(**options) for step in steps)
