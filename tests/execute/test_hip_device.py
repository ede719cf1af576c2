"""The way to a GPU, through the emulated HIP runtime: the same bits as the emulator's own run, and every kind of failure."""

from __future__ import annotations

import ctypes as c
import re
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sparse_mla import doctor
from sparse_mla.build import CodeObject, compile_hip, csrc_dir
from sparse_mla.errors import BackendError, HipError, InputError, KernelFault, ToolchainError
from sparse_mla.execute import hip_device, run
from sparse_mla.execute.emulator import decode_on_emulator, outputs
from sparse_mla.execute.hip_device import FUNCTIONS, Hip, launch, load, runtime
from sparse_mla.gfx950 import hip_runtime, native
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE, Partials

SOURCE = """#include <hip/hip_runtime.h>
extern "C" __global__ __launch_bounds__(256) void add(int* x, int n) { __shared__ int t[64]; t[threadIdx.x % 64] = n;
  __syncthreads(); x[blockIdx.x * blockDim.x + threadIdx.x] += t[threadIdx.x % 64]; }
extern "C" __global__ void nothing() {}"""
# hipMemcpyHostToDevice, DeviceToHost; hipStreamNonBlocking; hipStreamCaptureModeGlobal
DEVICE, HOST, STREAM, GLOBAL = 1, 2, 1, 0


@pytest.fixture
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSE_MLA_HIP", "emulated")


@pytest.fixture
def hip(emulated: None) -> Iterator[Hip]:
    """The emulated runtime, with nothing in it of other tests, nor anything left to them."""
    yield reset()
    reset()


def reset() -> Hip:
    runtime()("hipDeviceReset")
    hip_device._module.cache_clear()
    hip_device._function.cache_clear()
    return runtime()


@pytest.fixture(scope="module")
def code() -> CodeObject:
    return compile_hip(SOURCE)


def ints(hip: Hip, n: int) -> tuple[int, np.ndarray]:
    """Device memory of n zeros, int32, and the same as an array."""
    at = hip.make("hipMalloc", 4 * n)
    return at, np.ctypeslib.as_array((c.c_int32 * n).from_address(at))


def add(code: CodeObject, at: int, n: int, stream: int = 0, **other: object) -> None:
    shape: dict[str, object] = {"grid": (2, 1, 1), "block": (64, 1, 1), "shared": 0, "params_bytes": struct.pack("<Qi", at, n)}
    launch(code, "add", **(shape | other), stream=stream)  # type: ignore[arg-type]


FORMS: list[tuple[str, int, Partials]] = [
    ("base", 1, "fp32"), ("base", 4, "fp32"), ("base", 2, "bf16"),
    ("product", 1, "fp32"), ("product", 4, "fp32"), ("product", 8, "fp32"),
]  # fmt: skip


@pytest.mark.parametrize("kernel, split_k, partials", FORMS)
@pytest.mark.parametrize("name", ["ragged-invalid", "heads-17", "no-sink"])
def test_a_decode_has_the_same_bits(emulated: None, name: str, kernel: str, split_k: int, partials: Partials) -> None:
    result = run(kernel, CASES[name], on="gpu", split_k=split_k, partials=partials)
    out, lse, launches = decode_on_emulator(CATALOGUE[kernel], CASES[name].inputs(), split_k=split_k, partials=partials)
    assert torch.equal(result.out.view(torch.int16), out.view(torch.int16))
    assert torch.equal(result.lse.view(torch.int32), lse.view(torch.int32))
    assert result.kind == "emulated"
    assert result.seconds > 0  # the host's: no event of this runtime has a time
    assert [x.kernel.name for x in result.launches] == [x.kernel.name for x in launches]


def test_only_what_was_asked_for_is_opened(emulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSE_MLA_HIP", "rocm")
    with pytest.raises(InputError, match="SPARSE_MLA_HIP is 'rocm': it may be `emulated`"):
        runtime()
    monkeypatch.setenv("SPARSE_MLA_HIP", "emulated")
    with pytest.raises(InputError, match="Triton, which launches it itself"):
        run("triton", CASES["no-sink"], on="gpu")
    said = next(check for check in doctor.examine().checks if check.name == "HIP runtime")
    assert (said.ok, said.found) == (True, "emulated on this CPU, as SPARSE_MLA_HIP asks")


@pytest.mark.skipif(torch.version.hip is not None, reason="torch has loaded a real one")
def test_the_library_of_torch_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a process where torch's ROCm build has loaded its own; the version is that of HIP 7.2."""
    monkeypatch.delenv("SPARSE_MLA_HIP", raising=False)
    monkeypatch.setattr(torch.version, "hip", "7.2.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="torch sees no AMD GPU; use --on emulator"):
        runtime()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    stubs = dict.fromkeys((*FUNCTIONS, "hipGetErrorName", "hipGetErrorString"), "return 0")
    stubs["hipRuntimeGetVersion"] = "*v = 70226015; return 0"
    text = "".join(f"int {name}(int* v) {{ {body}; }}\n" for name, body in stubs.items())
    made = native.build_shared_object("stub", [("stub", text)], tmp_path, "a stub", root=tmp_path)
    library = made.rename(tmp_path / "libamdhip64.so.7")
    loaded = c.CDLL(str(library))
    try:
        assert repr(runtime()) == f"libamdhip64 of ROCm 7.2 ({library})"
        assert not runtime().emulated
    finally:
        hip_device._opened.cache_clear()
        del loaded


def test_it_exports_what_we_call_and_nothing_else() -> None:
    source = (native.ENGINE / "hip_runtime.c").read_text()
    exported = set(re.findall(r"^(?:int|void|const char\*) (hip\w+|sparse_mla\w+)\(", source, re.MULTILINE))
    assert exported == {*FUNCTIONS, "hipGetErrorName", "hipGetErrorString", "sparse_mla_emulated_hip"}


WRONG: dict[str, tuple[str, Callable[[Hip, CodeObject], object]]] = {
    "no code object": ("hipErrorInvalidImage", lambda hip, code: hip.make("hipModuleLoadData", b"#include <hip>" * 9)),
    "of another processor": ("hipErrorNoBinaryForGpu", lambda hip, code: load(compile_hip(SOURCE, arch="gfx942"), "add")),
    "no such kernel": ("hipErrorNotFound", lambda hip, code: load(code, "substract")),
    "no module": ("hipErrorInvalidHandle", lambda hip, code: hip.make("hipModuleGetFunction", 8, b"add")),
    "no function": ("hipErrorInvalidImage", lambda hip, code: hip("hipModuleLaunchKernel", 8, *[1] * 6, 0, 0, None, None)),
    "arguments missing": ("hipErrorInvalidValue", lambda hip, code: add(code, 0, 0, params_bytes=bytes(11))),
    "arguments left over": ("hipErrorInvalidValue", lambda hip, code: add(code, 0, 0, params_bytes=bytes(4096))),
    "no workgroups": ("hipErrorInvalidValue", lambda hip, code: add(code, 0, 0, grid=(1, 0, 1))),
    "no work-items": ("hipErrorInvalidConfiguration", lambda hip, code: add(code, 0, 0, block=(64, 0, 1))),
    "2^32 work-items": ("hipErrorInvalidConfiguration", lambda hip, code: add(code, 0, 0, grid=(1 << 26, 1, 1))),
    "a workgroup of 1056": ("hipErrorInvalidValue", lambda hip, code: add(code, 0, 0, block=(33, 32, 1))),
    "beyond the launch bounds": ("hipErrorLaunchFailure", lambda hip, code: add(code, 0, 0, block=(257, 1, 1))),
    "too much LDS": ("hipErrorInvalidValue", lambda hip, code: add(code, 0, 0, shared=163_840 - 255)),
    "no such stream": ("hipErrorInvalidHandle", lambda hip, code: add(code, 0, 0, stream=8)),
    "more than its memory": ("hipErrorOutOfMemory", lambda hip, code: hip.make("hipMalloc", 300_000_000_000)),
    "no allocation": ("hipErrorInvalidValue", lambda hip, code: hip("hipFree", ints(hip, 2)[0] + 4)),
    "mapped twice": ("hipErrorHostMemoryAlreadyRegistered", lambda hip, code: hip("hipHostRegister", ints(hip, 2)[0] + 4, 4, 0)),
    "not registered": ("hipErrorHostMemoryNotRegistered", lambda hip, code: hip("hipHostUnregister", 8)),
    "a copy out of host memory": ("hipErrorInvalidValue", lambda hip, code: hip("hipMemcpy", 8, ints(hip, 1)[0], 4, DEVICE)),
    "a copy past the end": ("hipErrorInvalidValue", lambda hip, code: hip("hipMemcpy", 8, ints(hip, 1)[0], 5, HOST)),
    "no event": ("hipErrorInvalidHandle", lambda hip, code: hip("hipEventElapsedTime", c.byref(c.c_float()), 8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_call_is_refused_by_its_code(hip: Hip, code: CodeObject, what: str) -> None:
    name, call = WRONG[what]
    with pytest.raises(HipError) as caught:
        call(hip, code)
    error = caught.value
    assert error.name == name
    assert str(error).startswith(error.call)
    assert f"{name}, {error.code}: {error.text}" in str(error)
    hip("hipGetLastError")  # which torch would ask next
    if "kernel" in what:
        assert re.search("^hipModuleGetFunction .substract.:(.|\n)*there is add, nothing", str(error))
    at, x = ints(hip, 128)  # and nothing is broken
    add(code, at, 3)
    hip("hipDeviceSynchronize")
    assert (x == 3).all()


def test_a_fault_comes_later_and_stays(hip: Hip, code: CodeObject) -> None:
    at, _ = ints(hip, 127)
    stream = hip.make("hipStreamCreateWithFlags", STREAM)
    add(code, at, 1, stream)
    add(code, at, 1, stream)
    hip("hipGetLastError")
    with pytest.raises(HipError, match="hipStreamSynchronize: hipErrorIllegalAddress, 700: an illegal memory access") as caught:
        hip("hipStreamSynchronize", stream)
    fault = caught.value.__cause__
    assert isinstance(fault, KernelFault)
    assert (fault.kernel, fault.workgroup, fault.lane, fault.address) == ("add", (1, 0, 0), 63, at + 4 * 127)
    for call in (lambda: hip.make("hipMalloc", 4), lambda: add(code, at, 1), lambda: hip("hipGetLastError")):
        with pytest.raises(HipError, match="hipErrorIllegalAddress"):
            call()
    hip("hipDeviceReset")
    assert hip.make("hipMalloc", 4)


def test_a_fault_of_a_decode_says_where(hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the failures that follow, the first is told: here an output that is one row short."""
    short = {"out": torch.zeros(1, 16, 512, dtype=torch.bfloat16)}
    monkeypatch.setattr("sparse_mla.execute.hip_device.outputs", lambda *given: outputs(*given) | short)
    with pytest.raises(HipError, match=r"^hipStreamSynchronize: \w+, 700(.|\n)*mla_decode_fused(.|\n)*store(.|\n)*lane  "):
        run("base", CASES["no-sink"], on="gpu", split_k=1)


def test_work_is_done_when_somebody_waits(hip: Hip, code: CodeObject) -> None:
    at, x = ints(hip, 128)
    host, (one, other) = np.arange(128, dtype=np.int32), (hip.make("hipStreamCreateWithFlags", STREAM) for _ in range(2))
    before, after = (hip.make("hipEventCreate") for _ in range(2))
    hip("hipMemcpyAsync", at, host.ctypes.data, 512, DEVICE, one)
    hip("hipEventRecord", before, one)
    add(code, at, 5, one)
    hip("hipMemsetAsync", at, 0xFF, 4, one)
    hip("hipEventRecord", after, one)
    hip("hipStreamSynchronize", other)
    assert not x.any()
    with pytest.raises(HipError, match="hipErrorNotReady"):
        hip("hipEventElapsedTime", c.byref(c.c_float()), before, after)
    hip("hipEventSynchronize", before)
    assert (x == host).all()
    hip("hipMemcpy", host.ctypes.data, at, 4, HOST)  # on the null stream: a stream made non-blocking goes its own way
    hip("hipEventSynchronize", after)
    assert x.tolist() == [-1, *range(6, 133)]
    milliseconds = c.c_float(7)
    hip("hipEventElapsedTime", c.byref(milliseconds), before, after)
    assert milliseconds.value == 0
    for name, made in (("hipEventDestroy", after), ("hipStreamDestroy", one), ("hipFree", at)):
        hip(name, made)


def test_threads_do_not_wait_for_each_other_for_ever(hip: Hip, code: CodeObject) -> None:
    """Each on a stream of its own: the library's lock and Python's are taken in both orders."""

    def work(number: int) -> bool:
        (at, x), stream = ints(hip, 128), hip.make("hipStreamCreateWithFlags", STREAM)
        for _ in range(10):
            add(code, at, number, stream)
            hip("hipStreamSynchronize", stream)
        return bool((x == 10 * number).all())

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8), timeout=60))


def test_a_launch_can_be_captured(hip: Hip, code: CodeObject) -> None:
    at, x = ints(hip, 128)
    load(code, "add")
    stream = hip.make("hipStreamCreateWithFlags", STREAM)
    hip("hipStreamBeginCapture", stream, GLOBAL)
    add(code, at, 2, stream)
    add(code, at, 3, stream)
    graph = c.c_void_p()
    hip("hipStreamEndCapture", stream, c.byref(graph))
    runnable = hip.make("hipGraphInstantiateWithFlags", graph, 0)
    hip("hipGraphDestroy", graph)
    hip("hipDeviceSynchronize")
    assert not x.any()
    for times in (1, 2):
        hip("hipGraphLaunch", runnable, stream)
        hip("hipStreamSynchronize", stream)
        assert (x == 5 * times).all()
    hip("hipGraphExecDestroy", runnable)


@pytest.mark.parametrize("what", ["hipDeviceSynchronize", "hipMalloc", "load"])
def test_what_a_capture_does_not_take_spoils_it(hip: Hip, code: CodeObject, what: str) -> None:
    stream, graph = hip.make("hipStreamCreateWithFlags", STREAM), c.c_void_p()
    hip("hipStreamBeginCapture", stream, GLOBAL)
    with pytest.raises(HipError, match="hipErrorStreamCaptureUnsupported, 900"):
        load(code, "add") if what == "load" else hip.make(what, 4) if what == "hipMalloc" else hip(what)
    with pytest.raises(HipError, match="hipErrorStreamCaptureInvalidated"):
        hip("hipStreamEndCapture", stream, c.byref(graph))
    hip("hipDeviceSynchronize")


def test_the_last_error_is_told_once(hip: Hip) -> None:
    assert hip._calls["hipFree"](8) == 1
    assert [hip._calls["hipGetLastError"]() for _ in range(2)] == [1, 0]


def test_attributes(hip: Hip, code: CodeObject) -> None:
    found, value = code.resources["add"], c.c_int()
    for attribute, want in ((0, 256), (1, 256), (3, 0), (4, found.vgpr)):
        hip("hipFuncGetAttribute", c.byref(value), attribute, load(code, "add"))
        assert value.value == want
    launch(code, "nothing", (1, 1, 1), (64, 1, 1), 0, b"")
    module = hip.make("hipModuleLoadData", code.elf())
    function = hip.make("hipModuleGetFunction", module, b"nothing")
    hip("hipModuleUnload", module)
    with pytest.raises(HipError, match="hipErrorInvalidHandle"):
        hip("hipFuncGetAttribute", c.byref(value), 0, function)


def test_without_a_disassembler(hip: Hip, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code object is known by its hash where it came from our compiler, and else said to be unreadable."""

    def none() -> str:
        raise ToolchainError("no llvm-objdump")

    monkeypatch.setattr(hip_runtime, "find_objdump", none)
    code = compile_hip(csrc_dir() / "decode/product.hip")
    load(code, "mla_decode_product_fused")
    changed = bytearray(code.elf())
    changed[-1] ^= 1
    with pytest.raises(HipError, match=r"hipErrorInvalidImage(.|\n)*no llvm-objdump"):
        hip.make("hipModuleLoadData", bytes(changed))
