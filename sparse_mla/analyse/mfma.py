"""Which lane, register and half hold an element of an MFMA's A, B or D: the formulae, written once.

The formulae are those of AMD's CDNA4 ISA manual, section 7.1.5, whose tables print both shapes below. With `m` rows
(= columns), depth `k` and g = 64 / m groups of lanes:

    A[i][k]   lane = i + m * (k // 8)              register = (k % 8) // 2     half = k % 2
    B[k][j]   the same, with j in place of i
    D[i][j]   lane = j + m * ((i // 4) % g)        register = 4 * (i // (4 * g)) + i % 4

analyse.mfma_probe finds the same by execution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparse_mla.errors import InputError

LANES = 64
OPERAND_REGISTERS = 4  # VGPRs a lane gives to A, and to B: 8 bf16 elements
NOBODY = -1  # in a table of meetings: this B half contributes nothing to this D register

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """One matrix instruction: D[m, m] = A[m, k] x B[k, m] + C, bf16 operands, fp32 result, one wave of 64 lanes."""

    m: int
    k: int

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

    def a(self, i: npt.ArrayLike, k: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
        """(lane, register, half) of A[i][k]; half 0 is the low 16 bits."""
        i, k = np.asarray(i, np.int64), np.asarray(k, np.int64)
        return i + self.m * (k // 8), k % 8 // 2, k % 2

    def b(self, k: npt.ArrayLike, j: npt.ArrayLike) -> tuple[Ints, Ints, Ints]:
        """(lane, register, half) of B[k][j]: the formula of A with j in place of i."""
        return self.a(j, k)

    def d(self, i: npt.ArrayLike, j: npt.ArrayLike) -> tuple[Ints, Ints]:
        """(lane, register) of D[i][j], and of C[i][j]."""
        i, j, groups = np.asarray(i, np.int64), np.asarray(j, np.int64), LANES // self.m
        return j + self.m * (i // 4 % groups), 4 * (i // (4 * groups)) + i % 4

    def places(self, operand: str) -> Ints:
        """Where every element lives: (lane, register, half) in A [m, k, 3] and B [k, m, 3], (lane, register) in D [m, m, 2]."""
        if operand not in ("A", "B", "D"):
            raise InputError(f"operand {operand!r}; an MFMA has A, B and D")
        formula = {"A": self.a, "B": self.b, "D": self.d}[operand]
        size = {"A": (self.m, self.k), "B": (self.k, self.m), "D": (self.m, self.m)}[operand]
        return np.stack(formula(*np.indices(size)), -1)

    def place(self, operand: str, row: int, column: int) -> str:
        """In words, such as "lane 37, v2 high half"."""
        places = self.places(operand)
        rows, columns = places.shape[:2]
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(f"{operand}[{row}][{column}] is outside {operand}[{rows}][{columns}]")
        lane, register, *half = (int(x) for x in places[row, column])
        return f"lane {lane}, v{register}" + ("".join(f" {('low', 'high')[x]} half" for x in half))

    def partners(self, operand: str, row: int, column: int) -> pd.DataFrame:
        """Every element that takes part with `operand[row][column]`. Columns: role, operand, row, column, place."""
        m, k = range(self.m), range(self.k)
        meets = {
            "A": [("multiplied by", "B", column, j) for j in m] + [("adds to", "D", row, j) for j in m],
            "B": [("multiplied by", "A", i, row) for i in m] + [("adds to", "D", i, column) for i in m],
            "D": [("sums over", "A", row, x) for x in k] + [("sums over", "B", x, column) for x in k],
        }
        elements = [("chosen", operand, row, column), *meets[operand]]
        frame = pd.DataFrame(elements, columns=["role", "operand", "row", "column"])
        return frame.assign(place=[self.place(*element[1:]) for element in elements])

    def predict_meetings(self) -> Ints:
        """The table that mfma_probe.measure_meetings should find, from the three formulae. int64 [B halves, D registers]."""
        i, k, j = np.indices((self.m, self.k, self.m))
        table = np.full((LANES * 2 * OPERAND_REGISTERS, LANES * self.result_registers), NOBODY)
        table[half_id(*self.b(k, j)), result_id(*self.d(i, j))] = half_id(*self.a(i, k))
        return table


SHAPES: dict[str, Shape] = {shape.name: shape for shape in (Shape(16, 32), Shape(32, 16))}


def shape(name: str) -> Shape:
    """The shape called `name`, such as "16x16x32"."""
    if name not in SHAPES:
        raise InputError(f"no MFMA shape {name!r} here; there are {', '.join(SHAPES)}")
    return SHAPES[name]


def half_id(lane: Ints, register: Ints, half: Ints) -> Ints:
    """One number for a half of an operand register: (register * 64 + lane) * 2 + half."""
    return 2 * result_id(lane, register) + half


def result_id(lane: Ints, register: Ints) -> Ints:
    """One number for a D register of a lane: register * 64 + lane."""
    return register * LANES + lane
