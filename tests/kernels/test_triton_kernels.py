"""The Triton kernels in Triton's CPU interpreter: chosen when Triton is imported, so each test is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

triton = pytest.importorskip("triton", reason="Triton is for Linux")

INTERPRETED = """
import json, sys, torch
from sparse_mla.kernels import triton_kernels
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.reference import reference
from sparse_mla.kernels.split_k import workspace_shape

assert triton_kernels.INTERPRETED
far = {}
for name in sys.argv[2:]:
    inputs, split_k = CASES[name].inputs(), int(sys.argv[1])
    acc, ml = (torch.full(shape, torch.nan) for shape in workspace_shape(inputs.rows, inputs.heads, split_k))
    out, lse = torch.full(inputs.q.shape, torch.nan, dtype=torch.bfloat16), torch.full(inputs.q.shape[:2], torch.nan)
    for step in CATALOGUE["triton"].launches(inputs.rows, inputs.heads, split_k):
        kernel = getattr(triton_kernels, step.symbol)
        tensors = {"out": out, "lse": lse, "partial_acc": acc, "partial_ml": ml}
        kernel[step.grid](**triton_kernels.arguments(kernel, inputs, **tensors, split_k=split_k))
    want = reference(inputs)
    far[name] = compare(out, want.out).rel_l2, compare(lse, want.lse).max_abs
print(json.dumps(far))
"""
CASES = ["heads-5", "infinite-sink", "strided-q", "empty-rows"]


@pytest.mark.skipif(triton.__version__ < "3.7", reason="older interpreters fail on a loop whose end is a tensor, with new NumPy")
@pytest.mark.parametrize("split_k", [1, 4])
def test_in_the_interpreter(split_k: int) -> None:
    command = [sys.executable, "-W", "ignore", "-c", INTERPRETED, str(split_k), *CASES]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    far = json.loads(done.stdout)
    assert list(far) == CASES
    for name, (out, lse) in far.items():
        assert out < 3e-3, name
        assert lse < 2e-3, name
