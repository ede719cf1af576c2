"""What can run a decode, and how each of them is started on tensors that `ops` has checked.

`hopper` is the CUDA kernel for compute capability 9.0; `triton` the portable one for gfx942, gfx950 and NVIDIA from 8.9 on;
`hip` the product kernels on a gfx950; `emulator` their machine code on CPU tensors; `reference` the float64 oracle.
Starting one reads nothing back from a device and allocates nothing there. Triton, compilers and the emulator are imported by the
first launch that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.errors import BackendError, InputError
from sparse_mla.execute import cuda_device
from sparse_mla.kernels import hopper
from sparse_mla.kernels.catalogue import CATALOGUE, KernelLaunch, KernelSpec
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.kernels.params import Place, device_address, pack
from sparse_mla.kernels.reference import reference
from sparse_mla.kernels.split_k import workspace_shape


class Cut(NamedTuple):
    """How rows `first` to `last` - 1 are decoded: into how many parts each, and the kernel's form where it has several."""

    first: int
    last: int
    splits: int
    head_block: int = 16  # heads of a program
    tile: int = 0  # tokens taken at a time; 0: as the kernel was written
    warps: int = 0  # of a program; the same
    shares: int = 1  # workgroups that divide a block's dims: of the product kernels, that for few rows has 4


class Scratch(NamedTuple):
    """Of split rows, flat. `words` are zero before a launch and after it; what lies in the others never matters."""

    partial: torch.Tensor  # f32: sums
    partial_ml: torch.Tensor  # f32: maximum (log2 domain) and sum
    words: torch.Tensor  # int32: who has arrived


class Backend(NamedTuple):
    kernels: tuple[str, ...]  # of the catalogue, where it is of these: a plan takes the one of least modelled time
    refusal: Callable[[torch.device], str | None]  # why tensors of a device cannot be decoded so
    start: Callable[[DecodeInputs, torch.Tensor, torch.Tensor | None, Scratch, Cut], None]

    def spec(self, shares: int = 1) -> KernelSpec | None:
        """The kernel with so many shares, of those that it has."""
        return next((CATALOGUE[name] for name in self.kernels if CATALOGUE[name].shares == shares), None)


def scratch_sizes(backend: str, cut: Cut, heads: int) -> tuple[int, int, int]:
    """Elements of the three tensors of `Scratch` that rows cut so need."""
    rows, spec = cut.last - cut.first, BACKENDS[backend].spec(cut.shares)
    if spec is None or cut.splits == 1:
        return 0, 0, 0
    parts = rows * cut.splits * heads
    return parts * workspace_shape(1, 1, 2)[0][-1], 2 * parts * spec.shares, rows * -(-heads // spec.head_block)


def _views(spec: KernelSpec, inputs: DecodeInputs, scratch: Scratch, splits: int) -> dict[str, torch.Tensor]:
    """The catalogue kernels' partials, in the shapes that they are stored in."""
    shapes = workspace_shape(inputs.rows, inputs.heads, splits, spec.shares)
    flat = {"partial_acc": scratch.partial, "partial_ml": scratch.partial_ml}
    return {name: flat[name][: shape.numel()].view(shape) for name, shape in zip(flat, map(torch.Size, shapes), strict=True)}


def _packed(
    inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut
) -> Iterator[tuple[KernelLaunch, Callable[[Place], bytes]]]:
    """Each launch of a HIP kernel, and what gives its argument block from where tensors lie."""
    spec = BACKENDS["hip"].spec(cut.shares)
    assert spec is not None
    tensors: dict[str, Any] = _views(spec, inputs, scratch, cut.splits) | {"out": out, "lse": lse}
    if 1 < cut.splits <= spec.one_launch:
        tensors["arrivals"] = scratch.words
    for step in spec.launches(inputs.rows, inputs.heads, cut.splits):
        yield step, lambda place: bytes(pack(inputs, **tensors, split_k=cut.splits, place=place))


def _emulator(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut) -> None:
    from sparse_mla.execute.emulator import load
    from sparse_mla.gfx950.machine import Memory, launch

    for step, packed in _packed(inputs, out, lse, scratch, cut):
        memory = Memory()
        launch(load(step.source)[step.symbol], step.grid, (step.block,), packed(memory.map), memory)


@lru_cache(maxsize=8)
def _code_object(source: str) -> Any:
    return compile_hip(csrc_dir() / source)


def _hip(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut) -> None:
    from sparse_mla.execute import hip_device

    stream = torch.cuda.current_stream(inputs.q.device).cuda_stream
    for step, packed in _packed(inputs, out, lse, scratch, cut):
        code = _code_object(step.source)
        hip_device.launch(code, step.symbol, step.grid, (step.block, 1, 1), 0, packed(device_address), stream)


def _triton(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut) -> None:
    from sparse_mla.kernels import triton_kernels

    spec = CATALOGUE["triton"]
    tensors: dict[str, Any] = _views(spec, inputs, scratch, cut.splits) | {"out": out, "lse": lse}
    for step in spec.launches(inputs.rows, inputs.heads, cut.splits):
        kernel = getattr(triton_kernels, step.symbol)
        options = triton_kernels.arguments(kernel, inputs, **tensors, split_k=cut.splits) | {"num_warps": step.block // 64}
        if "TILE" in kernel.arg_names and cut.tile:
            options |= {"TILE": cut.tile, "num_warps": cut.warps}
        kernel[step.grid](**options)


def _hopper(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut) -> None:
    cuda_device.decode(inputs, hopper.Plan(cut.head_block, cut.splits), out=out, lse=lse)


def _reference(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut) -> None:
    answer = reference(inputs)
    out.copy_(answer.out)
    if lse is not None:
        lse.copy_(answer.lse)


def arch(device: torch.device) -> str:
    """`gfx950`, say, or `sm_90`; the device's type where it is no GPU of AMD's or NVIDIA's."""
    if device.type != "cuda":
        return device.type
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(device).gcnArchName).split(":")[0]
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def _on_cpu(device: torch.device) -> str | None:
    return None if device.type == "cpu" else "it takes CPU tensors"


def _for_hopper(device: torch.device) -> str | None:
    return None if arch(device) == "sm_90" else "it is for NVIDIA GPUs of compute capability 9.0"


def _for_triton(device: torch.device) -> str | None:
    if device.type != "cuda":
        return "it needs a GPU; on a CPU use the emulator"
    if arch(device).startswith("sm_") and torch.cuda.get_device_capability(device) < (8, 9):
        return "Triton converts e4m3 on NVIDIA GPUs of compute capability 8.9 and up"
    return None


def _for_hip(device: torch.device) -> str | None:
    return None if arch(device) == "gfx950" else "it is for AMD's gfx950, with torch's ROCm build"


_PRODUCT = ("product", "few")
BACKENDS = {
    "hopper": Backend((), _for_hopper, _hopper),
    "hip": Backend(_PRODUCT, _for_hip, _hip),
    "triton": Backend(("triton",), _for_triton, _triton),
    "emulator": Backend(_PRODUCT, _on_cpu, _emulator),
    "reference": Backend((), _on_cpu, _reference),
}


def choose(backend: str, device: torch.device) -> str:
    """`backend`, or where it is "auto" the first of BACKENDS that takes tensors of `device`.

    Raises InputError for a name that there is not, BackendError where the device is another.
    """
    if backend == "auto":
        for name, one in BACKENDS.items():
            if one.refusal(device) is None:
                return name
        reasons = "; ".join(f"{name}: {one.refusal(device)}" for name, one in BACKENDS.items())
        raise BackendError(f"no backend decodes tensors on {device} ({arch(device)}): {reasons}")
    if backend not in BACKENDS:
        raise InputError(f"backend is {backend!r}; it may be auto, {', '.join(BACKENDS)}")
    reason = BACKENDS[backend].refusal(device)
    if reason is not None:
        raise BackendError(f"backend {backend!r} with tensors on {device} ({arch(device)}): {reason}")
    return backend
