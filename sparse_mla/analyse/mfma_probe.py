"""MFMAs executed with chosen register contents: products, and a measurement of the lane map.

What can be *measured* is where operands meet: which A register half is multiplied by which B half, and in which D
register the product lands. The hardware has no names for rows, columns or depth; those are ours. `measure_meetings`
records the whole table by execution; `Shape.predict_meetings` writes the same table down from the formulae.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sparse_mla.analyse.mfma import LANES, NOBODY, Ints, LaneMap, Shape, half_id, lane_map, result_id
from sparse_mla.errors import InputError
from sparse_mla.gfx950.machine import run_snippet


def to_bf16(values: npt.ArrayLike) -> npt.NDArray[np.uint16]:
    """The bf16 bits of values that bf16 holds exactly; others are refused, so that a demonstration stays exact."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    if (bits & 0xFFFF).any():
        raise InputError("to_bf16 takes only values that bf16 holds exactly (8 significant bits), such as small integers")
    return (bits >> 16).astype(np.uint16)


def operand_registers(values: npt.ArrayLike, places: tuple[Ints, Ints, Ints], registers: int = 4) -> npt.NDArray[np.uint32]:
    """Put each value at its (lane, register, half). uint32 [registers, 64]."""
    halves = np.zeros((registers, LANES, 2), np.uint16)
    lane, register, half = places
    halves[register, lane, half] = to_bf16(values)
    return halves.view(np.uint32)[..., 0]


def multiply(shape: Shape, a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """Execute one MFMA on operand registers uint32 [4, 64]; returns its D registers, float32 [result_registers, 64]."""
    n = 2 * shape.operand_registers
    text = f"{shape.mnemonic} v[{n}:{n + shape.result_registers - 1}], v[0:3], v[4:7], 0"
    vgpr = np.zeros((n + shape.result_registers, LANES), np.uint32)
    vgpr[:n] = np.concatenate([a, b])
    return run_snippet(text, vgpr=vgpr).vgpr[n : n + shape.result_registers].view(np.float32)


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
    D are now copies of the A halves that this B half is multiplied by, and the numbers say which. One MFMA a B half;
    a snippet holds as many as its 256 registers allow.
    """
    halves = LANES * 2 * shape.operand_registers
    name = np.arange(halves)
    # 512 numbers that bf16 holds exactly: 1 to 256, then -1 to -256.
    a = to_bf16(np.where(name < 256, name + 1, 255 - name)).reshape(-1, LANES, 2).view(np.uint32)[..., 0]
    one_hot = np.zeros((halves, shape.operand_registers, LANES, 2), np.uint16)
    one_hot.reshape(halves, halves)[name, name] = to_bf16(1.0)
    b = one_hot.view(np.uint32)[..., 0]
    stride = shape.operand_registers + shape.result_registers
    batch = (256 - shape.operand_registers) // stride
    table = np.empty((halves, LANES * shape.result_registers))
    for first in range(0, halves, batch):
        probes = b[first : first + batch]
        vgpr = np.zeros((shape.operand_registers + len(probes) * stride, LANES), np.uint32)
        vgpr[: shape.operand_registers] = a
        lines = []
        for n, probe in enumerate(probes):
            start = shape.operand_registers + n * stride
            middle, end = start + shape.operand_registers, start + stride
            vgpr[start:middle] = probe
            lines.append(f"{shape.mnemonic} v[{middle}:{end - 1}], v[0:3], v[{start}:{middle - 1}], 0")
        state = run_snippet("\n".join(lines), vgpr=vgpr)
        results = state.vgpr[shape.operand_registers : len(vgpr)].view(np.float32).reshape(len(probes), stride, LANES)
        table[first : first + len(probes)] = results[:, shape.operand_registers :].reshape(len(probes), -1)
    found = np.where(table > 0, table - 1, 255 - table).astype(np.int64)
    found[table == 0] = NOBODY
    found.setflags(write=False)
    return found


def measure_lane_map(shape: Shape) -> LaneMap:
    """The map by execution. D's rows and columns and A's depth need names, and only their names come from the manual.

    A half belongs to row i if it reaches D registers of row i; a B half to column j likewise; and a B half has the
    depth of the A halves it meets. If execution contradicts itself or leaves an element without a place, it says so.
    """
    table, halves = measure_meetings(shape), np.arange(LANES * 2 * shape.operand_registers)
    b_half, d_register = np.nonzero(table != NOBODY)
    a_half = table[b_half, d_register]
    named = lane_map(shape)
    row, column, depth = np.full((3, len(halves)), NOBODY)
    d_row, d_column = np.empty((2, table.shape[1]), np.int64)
    d_ids = result_id(named.d[..., 0], named.d[..., 1])
    d_row[d_ids], d_column[d_ids] = np.indices(d_ids.shape)
    depth[half_id(*np.moveaxis(named.a, -1, 0))] = np.arange(shape.k)
    b_depth = np.full(len(halves), NOBODY)
    row[a_half], column[b_half], b_depth[b_half] = d_row[d_register], d_column[d_register], depth[a_half]
    if not (
        (row[a_half] == d_row[d_register]).all()
        and (column[b_half] == d_column[d_register]).all()
        and (b_depth[b_half] == depth[a_half]).all()
    ):
        raise InputError(f"{shape.mnemonic}: execution puts one register half in two rows, columns or depths")
    place = np.stack([halves // 2 % LANES, halves // 2 // LANES, halves % 2], -1)
    a, b = np.full((shape.m, shape.k, 3), NOBODY), np.full((shape.k, shape.m, 3), NOBODY)
    a[row, depth], b[b_depth, column] = place, place
    if (a == NOBODY).any() or (b == NOBODY).any():
        raise InputError(f"{shape.mnemonic}: execution leaves elements of A or B without a place")
    return LaneMap(shape, a, b, named.d)
