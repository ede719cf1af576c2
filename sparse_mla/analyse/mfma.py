"""Which lane, register and half hold an element of an MFMA's A, B or D: the formulae, and a measurement to test them.

The formulae are those of AMD's CDNA4 ISA manual, section 7.1.5, whose tables print both shapes below. With `m` rows
(= columns), depth `k` and g = 64 / m groups of lanes:

    A[i][k]   lane = i + m * (k // 8)              register = (k % 8) // 2     half = k % 2
    B[k][j]   the same, with j in place of i
    D[i][j]   lane = j + m * ((i // 4) % g)        register = 4 * (i // (4 * g)) + i % 4

What can be *measured* is where operands meet: which A register half is multiplied by which B half, and in which D
register the product lands. The hardware has no names for rows, columns or depth; those are ours. `measure_meetings`
records the whole table by execution and `Shape.predict_meetings` writes it down from the formulae.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparse_mla.errors import InputError
from sparse_mla.gfx950.machine import run_snippet

LANES = 64
NOBODY = -1  # in a table of meetings: this B half contributes nothing to this D register

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """One matrix instruction: D[m, m] = A[m, k] x B[k, m] + C, bf16 operands, fp32 result, one wave of 64 lanes."""

    m: int
    k: int
    operand_registers: int = 4  # VGPRs a lane gives to A, and to B: 8 bf16 elements

    @property
    def name(self) -> str:
        return f"{self.m}x{self.m}x{self.k}"

    @property
    def mnemonic(self) -> str:
        return f"v_mfma_f32_{self.name}_bf16"

    @property
    def result_registers(self) -> int:
        """VGPRs a lane gives to C and D, one fp32 element each."""
        return self.m * self.m // LANES

    @property
    def groups(self) -> int:
        """Groups of lanes that share the same rows of A (and columns of B)."""
        return LANES // self.m

    def a(self, i: npt.ArrayLike, k: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
        """(lane, register, half) of A[i][k]; half 0 is the low 16 bits."""
        i, k = np.asarray(i, np.int64), np.asarray(k, np.int64)
        return i + self.m * (k // 8), k % 8 // 2, k % 2

    def b(self, k: npt.ArrayLike, j: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
        """(lane, register, half) of B[k][j]: the formula of A with j in place of i."""
        return self.a(j, k)

    def d(self, i: npt.ArrayLike, j: npt.ArrayLike) -> tuple[Ints, Ints]:
        """(lane, register) of D[i][j], and of C[i][j]."""
        i, j = np.asarray(i, np.int64), np.asarray(j, np.int64)
        return j + self.m * (i // 4 % self.groups), 4 * (i // (4 * self.groups)) + i % 4

    def predict_meetings(self) -> Ints:
        """The table that `measure_meetings` should find, from the three formulae. int64 [B halves, D registers]."""
        i, k, j = np.indices((self.m, self.k, self.m))
        table = np.full((LANES * 2 * self.operand_registers, LANES * self.result_registers), NOBODY)
        table[half_id(*self.b(k, j)), result_id(*self.d(i, j))] = half_id(*self.a(i, k))
        return table


SHAPES: dict[str, Shape] = {shape.name: shape for shape in (Shape(16, 32), Shape(32, 16))}


def shape(name: str) -> Shape:
    """The shape called `name`, such as "16x16x32"."""
    if name not in SHAPES:
        raise InputError(f"no MFMA shape {name!r} here; there are {', '.join(SHAPES)}")
    return SHAPES[name]


def half_id(lane: npt.ArrayLike, register: npt.ArrayLike, half: npt.ArrayLike) -> Ints:
    """One number for a half of an operand register: (register * 64 + lane) * 2 + half."""
    return (np.asarray(register) * LANES + np.asarray(lane)) * 2 + np.asarray(half)


def result_id(lane: npt.ArrayLike, register: npt.ArrayLike) -> Ints:
    """One number for a D register of a lane: register * 64 + lane."""
    return np.asarray(register) * LANES + np.asarray(lane)


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


@dataclass(frozen=True)
class LaneMap:
    """Where every element lives. a [m, k, 3] and b [k, m, 3] hold (lane, register, half); d [m, m, 2] (lane, register)."""

    shape: Shape
    a: Ints
    b: Ints
    d: Ints

    def operand(self, name: str) -> Ints:
        """The places of A, B or D."""
        if name not in ("A", "B", "D"):
            raise InputError(f"operand {name!r}; an MFMA has A, B and D")
        return {"A": self.a, "B": self.b, "D": self.d}[name]

    def place(self, name: str, row: int, column: int) -> str:
        """In words, such as "lane 37, v2 high half"."""
        places = self.operand(name)
        if not (0 <= row < len(places) and 0 <= column < len(places[0])):
            raise InputError(f"{name}[{row}][{column}] is outside {name}[{len(places)}][{len(places[0])}]")
        lane, register, *half = (int(x) for x in places[row, column])
        return f"lane {lane}, v{register}" + ("".join(f" {('low', 'high')[x]} half" for x in half))

    def partners(self, name: str, row: int, column: int) -> pd.DataFrame:
        """Every element that takes part with `name[row][column]`. Columns: role, operand, row, column, place."""
        m, k = range(self.shape.m), range(self.shape.k)
        meets = {
            "A": [("multiplied by", "B", column, j) for j in m] + [("adds to", "D", row, j) for j in m],
            "B": [("multiplied by", "A", i, row) for i in m] + [("adds to", "D", i, column) for i in m],
            "D": [("sums over", "A", row, x) for x in k] + [("sums over", "B", x, column) for x in k],
        }
        rows = [("chosen", name, row, column, self.place(name, row, column))]
        rows += [(*meeting, self.place(*meeting[1:])) for meeting in meets[name]]
        return pd.DataFrame(rows, columns=["role", "operand", "row", "column", "place"])


def lane_map(shape: Shape) -> LaneMap:
    """The map by the formulae."""
    mk, km, mm = (np.indices(size) for size in ((shape.m, shape.k), (shape.k, shape.m), (shape.m, shape.m)))
    return LaneMap(shape, *(np.stack(f(*at), -1) for f, at in ((shape.a, mk), (shape.b, km), (shape.d, mm))))


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
