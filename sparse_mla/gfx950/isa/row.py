"""One row an instruction: how it is written, what it does, which unit executes it.

A table is text, one instruction a line::

    mnemonic   operands   | effect

Operands stand in the order of the assembly text: `d=u` is written, `d~w` written with the rest of its register kept, `d+u`
read and written, `a:u` read; `d?u` is written where the text has it: an atomic that returns (sc0), a buffer load that does not
go to LDS. Types:

====  =============================================  ====  ===============================================
u i   dword, unsigned or signed, a lane               U I   64-bit integer a lane (register pair)
f     fp32 a lane                                     F     fp64 a lane (register pair)
q p   two 16-bit halves a lane, unsigned or signed    P     pair of fp32 a lane, halves chosen by op_sel
w j   the low 16 bits, unsigned or signed             H E   two f16 or bf16 a lane, in fp32, chosen by op_sel
h b   f16 or bf16 in the low 16 bits, in fp32         X     fp32 or half of a register, by op_sel_hi (fma_mix)
g y   f16 as its bits; the low 8 bits
m     lane mask as lanes (SGPR pair or vcc)           M     the same mask as 64 bits
xN    N dwords a lane, in registers                   su si sU sI sxN   the same as scalars
cN    N dwords a lane, or one constant for all
A S   global address and its scalar base (or `off`)   L     a label
B     buffer address: as offen and idxen ask          C T   scratch address and its scalar base (either may be `off`)
====  =============================================  ====  ===============================================

The effect is C over the vocabulary of engine/lanes.h: an expression (the value of the first operand), statements that
assign the written operands and SCC, or `@` and a whole handler body. `imm` and `aux` are the instruction's immediates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

WIDTH = {x: n for n, types in enumerate(("ABCLk", "uifqpTwjhbgyHEX", "UIFPmMS")) for x in types}


@dataclass(frozen=True)
class Operand:
    """One operand of a row: its name in the effect, its type letter, whether it is read and written, or may be absent."""

    name: str
    type: str
    read: bool
    write: bool
    optional: bool = False
    keep: bool = False

    @property
    def scalar(self) -> bool:
        """True where only an SGPR or a constant may stand (lane masks included)."""
        return self.type[0] == "s" or self.type in "mMST"

    @property
    def value(self) -> str:
        """The type without its scalar mark: `u`, `I`, `x4`, ..."""
        return self.type[1:] if self.type[0] == "s" else self.type

    @property
    def width(self) -> int:
        """Consecutive registers, in dwords; 0 where the text decides (an address, a label)."""
        return int(self.value[1:]) if self.value[0] in "xc" else WIDTH[self.value]


@dataclass(frozen=True)
class Row:
    """One instruction of gfx950. `unit` is the class that counters and the timing model use; `latency` its latency class."""

    mnemonic: str
    operands: tuple[Operand, ...]
    effect: str
    unit: str
    latency: str
    modifiers: frozenset[str]

    @cached_property
    def handler(self) -> str:
        """The C function's name. A comparison that writes EXEC too is the plain one, and a move."""
        return "op_" + self.mnemonic.replace("v_cmpx_", "v_cmp_")


def table(unit: str, text: str, *, latency: str = "", modifiers: str = "") -> list[Row]:
    """Parse a table; `modifiers` lists what the decoder may meet behind the operands of every row in it."""
    rows = []
    for line in text.strip().splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head, effect = line.split("|", 1)
        mnemonic, *specs = head.split()
        operands = []
        for spec in specs:
            m = re.fullmatch(r"(\w+)([=+:?~])(\w+)", spec)
            assert m, f"{mnemonic}: operand {spec!r}"
            operands.append(Operand(m[1], m[3], m[2] in "+:", m[2] != ":", m[2] == "?", m[2] == "~"))
        rows.append(Row(mnemonic, tuple(operands), effect.strip(), unit, latency or unit.lower(), frozenset(modifiers.split())))
    return rows
