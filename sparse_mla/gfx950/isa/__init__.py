"""The instruction set: `ROWS[mnemonic]` is the only home of an instruction's meaning."""

from __future__ import annotations

from sparse_mla.gfx950.isa.arch import ARCHES, tell_apart
from sparse_mla.gfx950.isa.matrix import ALIASES, MATRIX
from sparse_mla.gfx950.isa.memory import CACHE, LDS, SMEM, VMEM
from sparse_mla.gfx950.isa.micro import MICRO
from sparse_mla.gfx950.isa.refused import REFUSED
from sparse_mla.gfx950.isa.row import Operand, Row
from sparse_mla.gfx950.isa.scalar import CONTROL, SALU
from sparse_mla.gfx950.isa.typed import TYPED
from sparse_mla.gfx950.isa.vector import VECTOR

ROWS: dict[str, Row] = {row.mnemonic: row for row in SALU + SMEM + CONTROL + VECTOR + MATRIX + VMEM + TYPED + LDS + CACHE}
ENCODINGS = ("_e32", "_e64", "_sdwa", "_dpp")  # suffixes of a mnemonic that name an encoding, not an instruction
tell_apart(ROWS.values())

__all__ = ["ALIASES", "ARCHES", "ENCODINGS", "MICRO", "REFUSED", "ROWS", "Operand", "Row"]
