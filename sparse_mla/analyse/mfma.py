"""Which lane, register and half hold an element of an MFMA's A, B or D: the formulae, written once.

The formulae are those of AMD's CDNA4 ISA manual, section 7.1.5, whose tables print both shapes below. With `m` rows
(= columns), depth `k` and g = 64 / m groups of lanes:

    A[i][k]   lane = i + m * (k // 8)              register = (k % 8) // 2     half = k % 2
    B[k][j]   the same, with j in place of i
    D[i][j]   lane = j + m * ((i // 4) % g)        register = 4 * (i // (4 * g)) + i % 4

analyse.mfma_probe measures the same by execution; a test keeps the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparse_mla.errors import InputError

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
        """The table that mfma_probe.measure_meetings should find, from the three formulae. int64 [B halves, D registers]."""
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
    return 2 * result_id(lane, register) + np.asarray(half, np.int64)


def result_id(lane: npt.ArrayLike, register: npt.ArrayLike) -> Ints:
    """One number for a D register of a lane: register * 64 + lane."""
    return np.asarray(register, np.int64) * LANES + np.asarray(lane, np.int64)


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
