"""Kernels on an AMD GPU: the code object that the emulator runs, launched through HIP's module API.

One thin ctypes layer over libamdhip64.so, on the stream and the tensors of the torch that has loaded it. SPARSE_MLA_HIP=emulated
puts the emulated runtime (gfx950/hip_runtime.py) in its place. Types and constants: HIP's hip_runtime_api.h.
"""

from __future__ import annotations

import ctypes as c
import hashlib
import os
import re
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch

from sparse_mla.build import CodeObject, compile_hip, csrc_dir
from sparse_mla.errors import BackendError, HipError, InputError
from sparse_mla.execute.emulator import outputs
from sparse_mla.gfx950.hip_runtime import Emulator, emulated_hip
from sparse_mla.gfx950.machine import Launched
from sparse_mla.kernels.catalogue import TRITON, KernelSpec, Partials
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.kernels.params import device_address, pack

_TYPES = {"p": c.c_void_p, "P": c.POINTER(c.c_void_p), "i": c.c_int, "I": c.POINTER(c.c_int), "u": c.c_uint, "z": c.c_size_t,
          "s": c.c_char_p, "F": c.POINTER(c.c_float)}  # fmt: skip
_SIGNATURES = """
hipInit u   hipRuntimeGetVersion I   hipGetDeviceCount I   hipDeviceSynchronize -   hipDeviceReset -   hipGetLastError -
hipMalloc Pz   hipFree p   hipHostRegister pzu   hipHostUnregister p
hipMemcpy ppzi   hipMemcpyAsync ppzip   hipMemsetAsync pizp
hipModuleLoadData Ps   hipModuleUnload p   hipModuleGetFunction Pps   hipFuncGetAttribute Iip
hipModuleLaunchKernel puuuuuuupPP
hipStreamCreateWithFlags Pu   hipStreamDestroy p   hipStreamSynchronize p   hipStreamBeginCapture pi   hipStreamEndCapture pP
hipGraphInstantiateWithFlags Ppz   hipGraphLaunch pp   hipGraphDestroy p   hipGraphExecDestroy p
hipEventCreate P   hipEventDestroy p   hipEventRecord pp   hipEventSynchronize p   hipEventElapsedTime Fpp"""
FUNCTIONS = {
    name: tuple(_TYPES[kind] for kind in kinds.strip("-")) for name, kinds in re.findall(r"(hip\w+) ([-\w]+)", _SIGNATURES)
}
"""What is called of HIP: each function's argument types. All return a hipError_t."""
_POINTER, _BYTES, _END = 1, 2, 3  # HIP_LAUNCH_PARAM_BUFFER_POINTER, _BUFFER_SIZE, _END


class Hip:
    """A HIP runtime. `hip("hipFree", pointer)` calls a function of FUNCTIONS, and raises HipError unless it succeeds."""

    def __init__(self, path: Path | str, emulator: Emulator | None = None) -> None:
        self.path, self.emulator, library = Path(path), emulator, c.CDLL(str(path))
        self.emulated = hasattr(library, "sparse_mla_emulated_hip")
        self._calls = {}
        for name, types in FUNCTIONS.items():
            self._calls[name] = getattr(library, name)
            self._calls[name].argtypes, self._calls[name].restype = types, c.c_int
        self._words = library.hipGetErrorName, library.hipGetErrorString
        for says in self._words:
            says.argtypes, says.restype = (c.c_int,), c.c_char_p

    def __call__(self, name: str, *arguments: Any, kernel: str | None = None) -> None:
        if code := self._calls[name](*arguments):
            self._calls["hipGetLastError"]()  # or torch would find the error at its own next call
            word, text = (says(code).decode() for says in self._words)
            problem = None
            if self.emulator:
                problem, self.emulator.problem = self.emulator.problem, None
            raise HipError(name, code, word, text, kernel) from problem

    def make(self, name: str, *arguments: Any, kernel: str | None = None) -> int:
        """Calls a function that writes a handle or an address through its first argument, and gives that."""
        made = c.c_void_p()
        self(name, c.byref(made), *arguments, kernel=kernel)
        return made.value or 0

    @property
    def version(self) -> str:
        """HIP's version, which is ROCm's: major.minor."""
        number = c.c_int()
        self("hipRuntimeGetVersion", c.byref(number))
        return f"{number.value // 10_000_000}.{number.value // 100_000 % 100}"

    def __repr__(self) -> str:
        return "emulated" if self.emulated else f"libamdhip64 of ROCm {self.version} ({self.path})"


@lru_cache(maxsize=2)
def _opened(emulated: bool) -> Hip:
    if emulated:
        return Hip(*emulated_hip())
    if torch.version.hip is None or not torch.cuda.is_available():
        none = "torch here is not a ROCm build, so there is no gfx950 device to run on"
        why = "torch sees no AMD GPU" if torch.version.hip else none
        raise BackendError(f"{why}; use --on emulator, which executes the same machine code on the CPU")
    # The library that torch itself uses: a second copy would know nothing of its streams.
    mapped = [line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()]
    return Hip(next((path for path in mapped if "libamdhip64.so" in Path(path).name), "libamdhip64.so"))


def runtime() -> Hip:
    """The HIP runtime in use. Raises BackendError where there is none."""
    wanted = os.environ.get("SPARSE_MLA_HIP", "")
    if wanted not in ("", "emulated"):
        raise InputError(f"SPARSE_MLA_HIP is {wanted!r}: it may be `emulated`, or not set, for the runtime of torch's ROCm build")
    return _opened(bool(wanted))


@cache
def _function(hip: Hip, device: int, code: CodeObject, kernel_name: str) -> int:
    module, _ = _module(hip, device, code)
    return hip.make("hipModuleGetFunction", module, kernel_name.encode(), kernel=kernel_name)


@cache
def _module(hip: Hip, device: int, code: CodeObject) -> tuple[int, bytes]:
    """The module, and its image, which has to stay: ROCm's runtime keeps a pointer to it (clr's FatBinaryInfo)."""
    elf = code.elf()
    if hip.emulator:
        hip.emulator.texts[hashlib.sha256(elf).digest()] = code.text
    return hip.make("hipModuleLoadData", elf, kernel=f"{code.name} for {code.arch}"), elf


def load(code_object: CodeObject, kernel_name: str) -> int:
    """The function of a kernel on torch's current device, loaded on first use. Do that before a graph is captured: loading is no
    part of one. Raises HipError where the device cannot run the code or there is no such kernel."""
    hip = runtime()
    device = 0 if hip.emulated else torch.cuda.current_device()
    return _function(hip, device, code_object, kernel_name)


def launch(
    code_object: CodeObject,
    kernel_name: str,
    grid: Sequence[int],
    block: Sequence[int],
    shared: int,
    params_bytes: bytes,
    stream: int = 0,
) -> None:
    """Queues one launch on a raw HIP stream handle: `grid` workgroups of `block` work-items (three each), `shared` bytes of
    dynamic LDS, `params_bytes` the explicit arguments. It neither waits nor allocates, so a graph can capture it. Raises
    HipError."""
    function = load(code_object, kernel_name)
    buffer, size = c.create_string_buffer(params_bytes, len(params_bytes)), c.c_size_t(len(params_bytes))
    extra = (c.c_void_p * 5)(_POINTER, c.addressof(buffer), _BYTES, c.addressof(size), _END)
    runtime()("hipModuleLaunchKernel", function, *grid, *block, shared, stream, None, extra, kernel=kernel_name)


def decode_on_device(
    spec: KernelSpec, inputs: DecodeInputs, *, split_k: int, partials: Partials
) -> tuple[torch.Tensor, torch.Tensor, float, tuple[Launched, ...]]:
    """Runs a decode's launches on torch's current device and stream, and waits. Gives out and lse on the CPU as
    decode_on_emulator does, and the seconds between two events around the launches. The emulated runtime has no clock: then the
    seconds are the host's; but it counts: what each launch did.

    CPU inputs are copied to the device; with the emulated runtime, kernels work on the very tensors.
    """
    hip = runtime()
    steps = spec.launches(inputs.rows, inputs.heads, split_k, partials)
    if any(step.source == TRITON for step in steps):
        raise InputError(f"kernel {spec.name} is compiled by Triton, which launches it itself; give a kernel of HIP source")
    stream = 0 if hip.emulated else torch.cuda.current_stream().cuda_stream
    inputs = inputs if hip.emulated else inputs.to("cuda")
    tensors = outputs(spec, inputs, split_k, partials, inputs.q.device)
    codes = [compile_hip(csrc_dir() / step.source) for step in steps]
    for code, step in zip(codes, steps, strict=True):
        load(code, step.symbol)
    with ExitStack() as stack:

        def at_the_end(name: str, handle: int) -> None:
            with suppress(HipError):  # what failed before says why
                hip(name, handle)

        events = [hip.make("hipEventCreate") for _ in range(2)]
        for event in events:
            stack.callback(at_the_end, "hipEventDestroy", event)
        if hip.emulated:
            storages = [x.untyped_storage() for x in (*inputs.tensors().values(), *tensors.values())]
            for at, size in {x.data_ptr(): x.nbytes() for x in storages if x.nbytes()}.items():
                hip("hipHostRegister", at, size, 0)
                stack.callback(at_the_end, "hipHostUnregister", at)
        params = bytes(pack(inputs, split_k=split_k, place=device_address, **tensors))
        start = time.perf_counter()
        hip("hipEventRecord", events[0], stream)
        for code, step in zip(codes, steps, strict=True):
            launch(code, step.symbol, step.grid, (step.block, 1, 1), 0, params, stream)
        hip("hipEventRecord", events[1], stream)
        hip("hipStreamSynchronize", stream)
        seconds, milliseconds = time.perf_counter() - start, c.c_float()
        hip("hipEventElapsedTime", c.byref(milliseconds), *events)
    launched = tuple(hip.emulator.launched)[-len(steps) :] if hip.emulator else ()
    return tensors["out"].cpu(), tensors["lse"].cpu(), seconds if hip.emulated else milliseconds.value / 1e3, launched
