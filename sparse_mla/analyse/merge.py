"""Merging parts of a softmax: the rule in NumPy, and the parts that an executed split decode leaves in its workspace."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from sparse_mla.errors import InputError
from sparse_mla.execute.emulator import prepared
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.inputs import DecodeInputs

Floats = npt.NDArray[np.float64]


class Parts(NamedTuple):
    """Of S parts: maximum (log2 domain) and sum [rows, S, heads], and sums of values [rows, S, heads, 512]."""

    max: Floats
    sum: Floats
    acc: Floats


def merge(max: npt.ArrayLike, sum: npt.ArrayLike, acc: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """One softmax from parts [..., S] of it, with acc [..., S, dims]: the maximum, the sum and acc, each part scaled by
    2^(its maximum - the largest). A part that attended nothing has a sum of 0, and counts for nothing whatever its acc holds."""
    m, s, a = (np.asarray(x, np.float64) for x in (max, sum, acc))
    top = m.max(axis=-1, keepdims=True)
    weight = np.where(s > 0, np.exp2(m - top), 0.0)
    return top[..., 0], (s * weight).sum(axis=-1), np.where(weight[..., None] > 0, a * weight[..., None], 0).sum(axis=-2)


def executed_parts(kernel: str, inputs: DecodeInputs, split_k: int) -> tuple[Parts, torch.Tensor]:
    """What the first launch of a split decode leaves in the workspace, and the output, bf16 [rows, heads, 512].

    InputError for a kernel that has merged before its first launch ends: it writes parts too, but only so long."""
    spec = kernel_named(kernel)
    if split_k < 2:
        raise InputError(f"split_k is {split_k}; a whole row leaves no parts: give 2 or more")
    out, _, steps = prepared(spec, inputs, split_k=split_k, partials="fp32")
    if len(steps) < 2:
        raise InputError(f"{kernel} merges {split_k} parts within its launch; ask for one with a second launch, such as base")
    steps[0].run()
    shape = (inputs.rows, split_k, inputs.heads)
    found = {}
    for _, size, host, name in steps[0].memory.ranges:
        if name in ("partial_acc", "partial_ml"):
            raw = np.frombuffer(ctypes.string_at(host, size), np.float32)
            found[name] = raw.reshape(*shape, -1).astype(np.float64)
    for step in steps[1:]:
        step.run()
    ml = found["partial_ml"]
    return Parts(ml[..., 0], ml[..., 1], found["partial_acc"]), out
