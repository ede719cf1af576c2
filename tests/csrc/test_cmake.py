"""What CMake builds: code objects by architecture, and the torch op, which runs here through the emulated HIP runtime."""

from __future__ import annotations

import ctypes as c
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse_mla.build import cached, csrc_dir, find_toolchain
from sparse_mla.build.disassemble import find_objdump
from sparse_mla.build.toolchain import find_zig
from sparse_mla.errors import ToolchainError
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.execute.hip_device import Hip, runtime
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE, TRITON
from sparse_mla.kernels.split_k import workspace_shape

OP = csrc_dir() / "torch_op/decode_op.cpp"
INCLUDE = Path(torch.__file__).parent / "include"
HOST_COMPILER = shutil.which("c++")


def cmake(source: Path, build: Path, *options: str) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    tools = find_toolchain()
    given = [f"-DSPARSE_MLA_{name}={';'.join(command)}" for name, command in (("CLANG", tools.clang), ("LLD", tools.lld))]
    given += [f"-DPython_EXECUTABLE={sys.executable}", *options]
    for step in ([f"-S{source}", f"-B{build}", *given], ["--build", str(build)]):
        done = subprocess.run(["cmake", *step], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build for gfx950 and gfx942, with the op where the machine has a host compiler; once for all processes of a run."""
    options = ["-DSPARSE_MLA_ARCHS=gfx950;gfx942", f"-DSPARSE_MLA_TORCH_OP={'ON' if HOST_COMPILER else 'OFF'}"]
    folder = tmp_path_factory.getbasetemp()
    root = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return cached("cmake", "", lambda build: cmake(csrc_dir(), build, *options), "", root=root)


def test_code_objects(built: Path) -> None:
    kernels = {kernel for spec in CATALOGUE.values() for kernel in (spec.fused, *spec.partial.values(), *spec.reduce.values())}
    for symbol, source in sorted(kernel for kernel in kernels if kernel[1] != TRITON):
        assert f"\0{symbol}\0".encode() in (built / f"{Path(source).stem}.gfx950.co").read_bytes()
        assert b"mla_" not in (built / f"{Path(source).stem}.gfx942.co").read_bytes()  # other architectures get an empty unit


@pytest.mark.parametrize("defines", [(), ("USE_CUDA", "SPARSE_MLA_OPS=_rocm_C", 'SPARSE_MLA_CODE_OBJECT="/dev/null"')])
def test_the_op_compiles_against_torch(defines: tuple[str, ...], tmp_path: Path) -> None:
    """Without code for any architecture, and as for a ROCm build of torch in somebody's extension; HIP is only declared here."""
    command = [str(find_zig()), "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fPIC", "-c", str(OP)]
    command += ["-DTORCH_TARGET_VERSION=0x020a000000000000ULL", "-isystem", str(INCLUDE), "-isystem", str(OP.parent)]
    command += [f"-D{define}" for define in defines]
    done = subprocess.run([*command, "-o", str(tmp_path / "op.o")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (b"\0_rocm_C\0" if defines else b"\0sparse_mla_rocm\0") in (tmp_path / "op.o").read_bytes()


@pytest.fixture
def hip(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hip]:
    """The emulated runtime, and the op loaded into this process: it finds HIP's functions there."""
    if not HOST_COMPILER:
        pytest.skip("no host compiler whose C++ library is torch's")
    try:
        find_objdump()
    except ToolchainError as missing:  # without it only code objects of our own compiling are known
        pytest.skip(str(missing))
    monkeypatch.setenv("SPARSE_MLA_HIP", "emulated")
    hip = runtime()
    c.CDLL(str(hip.path), mode=c.RTLD_GLOBAL)
    torch.ops.load_library(built / "libsparse_mla_torch.so")  # type: ignore[no-untyped-call]
    yield hip
    hip("hipDeviceSynchronize")


def arguments(name: str, split_k: int) -> dict[str, Any]:
    """Of the op, for a case: with a workspace and outputs that are NaN until written."""
    given = CASES[name].inputs()
    acc, ml = (torch.full(shape, torch.nan) for shape in workspace_shape(given.rows, given.heads, split_k))
    extra = given.extra
    return {
        "q": given.q,
        "main_cache": given.main.cache.storage,
        "main_indices": given.main.indices,
        "main_indptr": given.main.indptr,
        "extra_cache": extra and extra.cache.storage,
        "extra_indices": extra and extra.indices,
        "extra_indptr": extra and extra.indptr,
        "attn_sink": given.attn_sink,
        "scale": given.scale,
        "split_k": split_k,
        "out": torch.full(given.q.shape, torch.nan, dtype=torch.bfloat16),
        "lse": torch.full(given.q.shape[:2], torch.nan),
        "partial_acc": acc if split_k > 1 else None,
        "partial_ml": ml if split_k > 1 else None,
        "arrivals": torch.zeros(given.rows, -(-given.heads // 16), dtype=torch.int32) if 1 < split_k <= 4 else None,
    }


@pytest.mark.parametrize("split_k", [1, 2, 3, 4, 8, 12])
@pytest.mark.parametrize("name", ["ragged-invalid", "heads-17", "no-sink"])
def test_the_op_has_the_bits_of_the_emulator(hip: Hip, name: str, split_k: int) -> None:
    given = arguments(name, split_k)
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in given.values() if isinstance(x, torch.Tensor)}
    for at, storage in storages.items():
        hip("hipHostRegister", at, storage.nbytes(), 0)
    torch.ops.sparse_mla_rocm.sparse_mla_decode(**given)
    assert given["out"].isnan().all()  # nothing is done before somebody waits
    for at in storages:
        hip("hipHostUnregister", at)
    out, lse, _ = decode_on_emulator(CATALOGUE["product"], CASES[name].inputs(), split_k=split_k, partials="fp32")
    assert torch.equal(given["out"].view(torch.int16), out.view(torch.int16))
    assert torch.equal(given["lse"].view(torch.int32), lse.view(torch.int32))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "split": ({"split_k": 5}, "split_k is 5; it may be 1, 2, 3, 4, 6, 8, 12 or 16"),
    "dtype": ({"lse": torch.zeros(1, 16, dtype=torch.float64)}, "lse has another dtype"),
    "shape": ({"out": torch.zeros(1, 16, 512, dtype=torch.bfloat16)}, "out has another shape"),
    "strides": ({"main_indices": torch.zeros(8, dtype=torch.int32)[::2]}, "indices must be contiguous"),
    "cache": ({"main_cache": torch.zeros(2, 8, 1168, dtype=torch.uint8)[:, :, ::2]}, "cache: only the stride between blocks"),
    "half an extra": ({"extra_indptr": torch.zeros(3, dtype=torch.int32)}, "extra_indptr come together"),
    "no workspace": ({"split_k": 2}, "a split decode needs partial_acc and partial_ml"),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_op_refuses(hip: Hip, what: str) -> None:
    change, message = WRONG[what]
    given = arguments("no-sink", 1) | {"extra_cache": None, "extra_indices": None, "extra_indptr": None}
    with pytest.raises(RuntimeError, match=message):
        torch.ops.sparse_mla_rocm.sparse_mla_decode(**given | change)


def test_the_op_names_the_call_that_failed(hip: Hip) -> None:
    """More workgroups than 2^32 work-items, which HIP refuses: by a q whose rows are all the same one."""
    given = arguments("no-sink", 1) | {"extra_cache": None, "extra_indices": None, "extra_indptr": None, "lse": None}
    rows = 1 << 24
    given |= {name: given[name][:1].expand(rows, *given[name].shape[1:]) for name in ("q", "out")}
    given["main_indptr"] = torch.zeros(rows + 1, dtype=torch.int32)
    with pytest.raises(RuntimeError, match=r"hipModuleLaunchKernel \(mla_decode_product_fused\): \w+, 9"):
        torch.ops.sparse_mla_rocm.sparse_mla_decode(**given)


@pytest.mark.skipif(not HOST_COMPILER, reason="no host compiler whose C++ library is torch's")
def test_the_op_in_another_extension(hip: Hip, tmp_path: Path) -> None:
    """By the lines that README.md gives, for an architecture without a kernel: the op is there, and says why it does nothing."""
    (lines,) = re.findall(r"^```cmake\n(.*?)^```", (csrc_dir().parent / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "own.cpp").write_text("int own() { return 1; }")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(engine LANGUAGES CXX)\nadd_library(_rocm_C MODULE own.cpp)\n"
        + lines.replace("third_party/sparse_mla/csrc", str(csrc_dir()))
    )
    cmake(tmp_path, tmp_path / "build", "-DVLLM_GPU_ARCHES=gfx90a;gfx942")
    torch.ops.load_library(tmp_path / "build/lib_rocm_C.so")  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="sparse_mla_decode was built without code for gfx950"):
        torch.ops._rocm_C.sparse_mla_decode(**arguments("no-sink", 1))
