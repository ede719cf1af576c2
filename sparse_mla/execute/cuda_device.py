"""The Hopper kernel on an NVIDIA GPU: compiled by NVRTC, started through CUDA's driver API on the stream and tensors of torch.

Both libraries, and the Python bindings for them, come with torch's CUDA builds. Machine code is kept in the user's cache folder.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from sparse_mla.build import csrc_dir
from sparse_mla.build.store import cached
from sparse_mla.errors import BackendError, CompileError, InputError
from sparse_mla.kernels import hopper
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.kernels.params import pack

OPTIONS = ("-arch=sm_90a", "-std=c++17", "-default-device", "-lineinfo")
# For the headers that HIP kernels share: what they take from HIP.
TYPES = """typedef unsigned char uint8_t; typedef int int32_t; typedef unsigned uint32_t; typedef long long int64_t;
typedef unsigned short __bf16;
#define __builtin_offsetof(type, member) __INTADDR__(&((type *)0)->member)"""


def bindings() -> tuple[Any, Any]:
    """CUDA's Python bindings: the driver's and NVRTC's."""
    try:
        return import_module("cuda.bindings.driver"), import_module("cuda.bindings.nvrtc")
    except ImportError as problem:
        raise BackendError(
            "the Hopper kernel needs the package cuda-bindings, which torch's CUDA builds bring along"
        ) from problem


def done(result: tuple[Any, ...]) -> Any:
    """What a function of the bindings returns beside its error code. Raises BackendError unless it succeeded."""
    if int(result[0]):
        raise BackendError(f"CUDA says {result[0]!r}")
    return result[1] if len(result) > 1 else None


def compiled(file: str, defines: dict[str, int]) -> Path:
    """The machine code (a cubin) of a source of the kernel for these macros; made once."""
    source = (csrc_dir() / file).read_bytes()
    headers = {name: (csrc_dir() / ("." if "/" in name else "include") / name).read_bytes() for name in hopper.HEADERS}
    headers["hip/hip_runtime.h"] = TYPES.encode()
    flags = [*OPTIONS, *(f"-D{name}={value}" for name, value in defines.items())]
    _, nvrtc = bindings()

    def make(path: Path) -> None:
        names = [name.encode() for name in headers]
        program = done(nvrtc.nvrtcCreateProgram(source, file.encode(), len(names), list(headers.values()), names))
        (failed,) = nvrtc.nvrtcCompileProgram(program, len(flags), [flag.encode() for flag in flags])
        if int(failed):
            log = bytearray(done(nvrtc.nvrtcGetProgramLogSize(program)))
            done(nvrtc.nvrtcGetProgramLog(program, log))
            raise CompileError(f"NVRTC on {file}:\n{log.decode(errors='replace')}")
        code = bytearray(done(nvrtc.nvrtcGetCUBINSize(program)))
        done(nvrtc.nvrtcGetCUBIN(program, code))
        path.write_bytes(code)

    return cached("cuda", repr((nvrtc.nvrtcVersion(), flags, source, headers)), make, ".cubin", what=file)


@cache
def _function(device: int, file: str, defines: tuple[tuple[str, int], ...]) -> Any:
    driver, _ = bindings()
    module = done(driver.cuModuleLoadData(compiled(file, dict(defines)).read_bytes()))
    function = done(driver.cuModuleGetFunction(module, hopper.SYMBOL.encode()))
    attribute = driver.CUfunction_attribute
    shared = dict(defines)["SHARED_BYTES"]
    done(driver.cuFuncSetAttribute(function, attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared))
    done(driver.cuFuncSetAttribute(function, attribute.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1))
    return function


def launch(inputs: DecodeInputs, cut: hopper.Plan, out: torch.Tensor, lse: torch.Tensor | None) -> None:
    """Start the kernel on arguments that have been checked, on torch's current stream."""
    driver, _ = bindings()
    device = inputs.q.device
    defines, argument = hopper.defines(inputs, cut), pack(inputs, out=out, lse=lse)
    with torch.cuda.device(device):
        config = driver.CUlaunchConfig()
        clusters = min(
            inputs.rows * cut.blocks(inputs.heads),
            cut.resident(torch.cuda.get_device_properties(device).multi_processor_count),
        )
        config.gridDimX, config.gridDimY, config.gridDimZ = clusters * cut.splits, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = cut.threads, 1, 1
        config.sharedMemBytes, config.hStream = defines["SHARED_BYTES"], torch.cuda.current_stream(device).cuda_stream
        if cut.splits > 1:
            cluster = driver.CUlaunchAttribute()
            cluster.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            cluster.value.clusterDim.x, cluster.value.clusterDim.y, cluster.value.clusterDim.z = cut.splits, 1, 1
            config.attrs, config.numAttrs = [cluster], 1
        places = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        function = _function(torch.cuda.current_device(), cut.source, tuple(defines.items()))
        done(driver.cuLaunchKernelEx(config, function, ctypes.addressof(places), 0))


def decode(
    inputs: DecodeInputs, cut: hopper.Plan, *, out: torch.Tensor | None = None, lse: torch.Tensor | None = None
) -> torch.Tensor:
    """The decode of `inputs` on their Hopper GPU: bf16 `[rows, heads, 512]`; f32 `[rows, heads]` into `lse`, if given.

    Allocates nothing on the device where `out` is given. For a given plan a row's bits are the same in any batch.
    """
    out = torch.empty(inputs.q.shape, dtype=torch.bfloat16, device=inputs.q.device) if out is None else out
    hopper.check(inputs, out, lse)
    device = inputs.q.device
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    if capability is None or capability[0] != 9:
        raise InputError(f"the inputs are on {device} of compute capability {capability}; this kernel needs a Hopper GPU (9.0)")
    launch(inputs, cut, out, lse)
    return out
