"""Code objects: what llvm-objdump gives back of one decodes to the same threaded code as the compiler's own text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparse_mla import hip, load_kernels, triton_on_gfx950
from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.build.disassemble import disassemble, find_objdump
from sparse_mla.errors import InputError, ToolchainError
from sparse_mla.execute.emulator import decode_on_emulator, prepared
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.decode import HANDLER_INDEX, Code, decode
from sparse_mla.gfx950.machine import launch
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE

try:
    find_objdump()
except ToolchainError as missing:
    pytest.skip(str(missing), allow_module_level=True)


def without_blocks(code: Code) -> Any:
    """The operations that do something. The compiler's text has labels that nothing jumps to, a code object no-ops that align."""
    does = code.ops["run"] != HANDLER_INDEX["_block"]
    ops = code.ops[does].copy()
    ops["pc"], ops["target"] = 0, np.cumsum(does)[ops["target"]]
    return ops


def alike(elf: bytes, text: str, folder: Path) -> None:
    """Every kernel of a code object is, operation by operation, what its text is; so are its arguments and needs."""
    path = folder / "kernels.hsaco"
    path.write_bytes(elf)
    here, there = parse(disassemble(path)).kernels, parse(text).kernels
    assert here.keys() == there.keys()
    for name in here:
        got, want = (decode(kernels[name]) for kernels in (here, there))
        np.testing.assert_array_equal(without_blocks(got), without_blocks(want))
        np.testing.assert_array_equal(got.constants, want.constants)
        assert [x.offset for x in here[name].arguments] == [x.offset for x in there[name].arguments]
        for key, value in here[name].descriptor.items():
            if not key.startswith(("next_free_", "reserve_", "accum_offset")):  # rounded up to what is allocated
                assert there[name].descriptor.get(key, value) == value, key


@pytest.mark.parametrize("warps", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["add", "softmax", "matmul", "dropout"])
def test_triton(name: str, warps: int, tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is for Linux")
    from tests.execute import triton_kernels

    x: Any = torch.zeros(64, 64)
    arguments: dict[str, tuple[Any, ...]] = {"add": (x, x, x, 4000), "softmax": (x, x, 64, 64, 64, 64),
                                             "matmul": (x, x, x, 64, 64, 64, 64, 1, 64, 1, 64, 1),
                                             "dropout": (x, x, 4096, 0.5, 7)}  # fmt: skip
    more = {"softmax": {"STAGES": 2}, "matmul": {"BM": 32, "BN": 32, "BK": 32, "GROUP": 2, "LEAKY": True}}.get(name, {})
    more |= {} if name == "matmul" else {"BLOCK": 256}
    made = triton_on_gfx950(getattr(triton_kernels, name)).compile(*arguments[name], **more, num_warps=warps)
    alike(made.asm["hsaco"], made.asm["amdgcn"], tmp_path)


READS = """#include <hip/hip_runtime.h>
__constant__ int table[3] = {7, 8, 9};
__device__ float weights[5] = {1, 2, 3, 4, 5};
__device__ int* pointer = &table[1];
__device__ int counter;
__global__ void reads(int* x) {
  const char* text = "hello";
  static const double halves[4] = {1.5, 2.5, 3.5, 4.5};
  const int i = threadIdx.x;
  x[i] = table[i] + weights[i] + *pointer + text[i] * 1000 + (int)(halves[i] * 2) * 1000000 + atomicAdd(&counter, 1);
}"""
CALLS = "__device__ __attribute__((noinline)) int f(int x) { return x * 3; } __global__ void calls(int* x) { *x = f(*x); }"


def test_data_that_code_reads(tmp_path: Path) -> None:
    """Constants, variables, pointers among them and zeros, at the addresses that code forms relative to its own."""
    path, module = tmp_path / "reads.co", hip(READS)
    path.write_bytes(module.code.elf())
    got, want = np.zeros(3, np.int32), np.zeros(3, np.int32)
    done, direct = load_kernels(path).reads[1, 3](got), module.reads[1, 3](want)
    assert got.tolist() == want.tolist() == [3104016, 5101019, 7108022]
    assert done.wave_instructions == direct.wave_instructions


def test_calls_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "calls.co"
    path.write_bytes(hip("#include <hip/hip_runtime.h>\n" + CALLS).code.elf())
    with pytest.raises(InputError, match=r"calls functions: give its assembly \(.s\)"):
        load_kernels(path)


@pytest.mark.parametrize("kernel", CATALOGUE)
def test_hip(kernel: str, tmp_path: Path) -> None:
    for source in CATALOGUE[kernel].sources:
        code = compile_hip(csrc_dir() / source)
        if "NO_RECORD" not in code.text:
            alike(code.elf(), code.text, tmp_path)
            continue
        # Its data lies elsewhere, and so do the constants that say where: what counts is that it does the same.
        path = tmp_path / "kernels.co"
        path.write_bytes(code.elf())
        inputs = CASES["ragged-invalid"].inputs()
        out, _, steps = prepared(CATALOGUE[kernel], inputs, split_k=1, partials="fp32")
        [step] = steps
        if step.launch.source != source:  # of another kernel's test
            continue
        for text in (code.text, disassemble(path)):
            out.fill_(torch.nan)
            program = parse(text).kernels[step.launch.symbol]
            done = launch(program, step.launch.grid, (step.launch.block,), step.kernarg, step.memory)
            assert done.wave_instructions > 10_000
            assert torch.equal(out, decode_on_emulator(CATALOGUE[kernel], inputs, split_k=1, partials="fp32")[0])
