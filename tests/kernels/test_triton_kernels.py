"""The Triton kernels in Triton's CPU interpreter: chosen when Triton is imported, so each test is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sparse_mla.kernels.case import CASES

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
    # Of large cases the first row's first block of heads: the interpreter walks 100 tiles a second.
    rows, heads = inputs.rows, inputs.heads
    if sum(map(sum, (part.lens for part in inputs.segments.values()))) * heads > 8_000:
        rows, heads = 1, min(16, heads)
    for step in CATALOGUE["triton"].launches(rows, heads, split_k):
        kernel = getattr(triton_kernels, step.symbol)
        tensors = {"out": out, "lse": lse, "partial_acc": acc, "partial_ml": ml}
        kernel[step.grid](**triton_kernels.arguments(kernel, inputs, **tensors, split_k=split_k))
    want = reference(inputs)
    some = slice(rows), slice(heads)
    far[name] = compare(out[some], want.out[some]).rel_l2, compare(lse[some], want.lse[some]).max_abs
print(json.dumps(far))
"""
# The million tokens walk the same way as pro-hca-h16's, for half a minute; a split row does as a whole one.
WHOLE = [name for name in CASES if name != "pro-hca-1m-h16"]
SPLIT = ["heads-5", "infinite-sink", "strided-q", "empty-rows", "all-invalid", "invalid-tiles", "pro-csa-h128"]


@pytest.mark.skipif(triton.__version__ < "3.7", reason="older interpreters fail on a loop whose end is a tensor, with new NumPy")
@pytest.mark.parametrize("split_k, names", [(1, WHOLE[0::2]), (1, WHOLE[1::2]), (4, SPLIT)])
def test_in_the_interpreter(split_k: int, names: list[str]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", INTERPRETED, str(split_k), *names]
    done = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    far = json.loads(done.stdout)
    assert list(far) == names
    for name, (out, lse) in far.items():
        assert out < 3e-3, name
        assert lse < 2e-3, name
