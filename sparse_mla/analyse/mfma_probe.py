"""MFMAs executed with chosen register contents: products, and a measurement of the lane map.

What can be *measured* is where operands meet: which A register half is multiplied by which B half, and in which D
register the product lands. The hardware has no names for rows, columns or depth; those are ours. `measure_meetings`
records the whole table by execution; `Shape.predict_meetings` writes the same table down from the formulae.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sparse_mla.analyse.mfma import LANES, NOBODY, OPERAND_REGISTERS, Ints, Shape
from sparse_mla.errors import InputError, SparseMlaError
from sparse_mla.gfx950.machine import run_snippet


def to_bf16(values: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """The bf16 bits of values that bf16 holds exactly; others are refused, so that a demonstration stays exact."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    if (bits & 0xFFFF).any():
        raise InputError("to_bf16 takes only values that bf16 holds exactly (8 significant bits), such as small integers")
    return (bits >> 16).astype(np.uint16)


def operand_registers(values: npt.ArrayLike, places: tuple[Ints, Ints, Ints]) -> npt.NDArray[np.uint32]:
    """Put each value at its (lane, register, half). uint32 [4, 64]."""
    halves = np.zeros((OPERAND_REGISTERS, LANES, 2), np.uint16)
    lane, register, half = places
    halves[register, lane, half] = to_bf16(values)
    return halves.view(np.uint32)[..., 0]


def multiply(shape: Shape, a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Execute one MFMA on operand registers uint32 [4, 64]; returns its D registers, float32 [result_registers, 64]."""
    end = 8 + shape.result_registers
    vgpr = np.concatenate([a, b, np.zeros((shape.result_registers, LANES), np.uint32)])
    return run_snippet(f"{shape.mnemonic} v[8:{end - 1}], v[0:3], v[4:7], 0", vgpr=vgpr).vgpr[8:end].view(np.float32)


def matmul(shape: Shape, a: npt.ArrayLike, b: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """A x B through one executed MFMA. a [m, k], b [k, m], exact in bf16; returns float32 [m, m]."""
    i, k = np.indices((shape.m, shape.k))
    found = multiply(shape, operand_registers(a, shape.a(i, k)), operand_registers(np.transpose(b), shape.b(k, i)))
    lane, register = shape.d(*np.indices((shape.m, shape.m)))
    return found[register, lane]


@lru_cache
def measure_meetings(shape: Shape) -> Ints:
    """Which A half meets each B half in each D register, found by execution alone. int64 [B halves, D registers].

    Every A half holds a different number. Then B is one-hot: a single 1 in one of its halves. The products that land in
    D are now copies of the A halves that this B half is multiplied by, and the numbers say which. One MFMA a B half.
    """
    halves = np.arange(LANES * 2 * OPERAND_REGISTERS)
    # 512 numbers that bf16 holds exactly: 1 to 256, then -1 to -256.
    a = to_bf16(np.where(halves < 256, halves + 1, 255 - halves)).view(np.uint32).reshape(-1, LANES)
    one_hot = to_bf16(np.eye(len(halves))).view(np.uint32).reshape(len(halves), -1, LANES)
    table = np.stack([multiply(shape, a, b).ravel() for b in one_hot])
    found = np.where(table > 0, table - 1, 255 - table).astype(np.int64)
    found[table == 0] = NOBODY
    found.setflags(write=False)
    return found


def confirm(shape: Shape) -> None:
    """Raise unless execution shows every meeting that the formulae predict, and no other: then their map is the measured one."""
    if not np.array_equal(measure_meetings(shape), shape.predict_meetings()):
        raise SparseMlaError(f"{shape.mnemonic}: what was executed contradicts the formulae of its lane map")
