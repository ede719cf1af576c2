"""One LDS access of a wave, pass by pass: which lane asks which bank, and who has to wait.

Counts are of the executed instruction; who is served in which pass follows from the table that the emulator serves by
(gfx950.trace.LDS_PATTERNS, sources there). A contradiction between both is an error.
"""

from __future__ import annotations

import ast
import operator
import struct
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sparse_mla.errors import InputError, SparseMlaError
from sparse_mla.gfx950.accesses import accesses
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.isa import ARCHES
from sparse_mla.gfx950.machine import Memory, launch, run_snippet
from sparse_mla.gfx950.trace import LDS_PATTERNS

LANES = 64
INSTRUCTIONS = {  # VGPRs of a lane's data
    "ds_read_u16": 1, "ds_read_b32": 1, "ds_read_b64": 2, "ds_read_b96": 3, "ds_read_b128": 4, "ds_read_b64_tr_b8": 2,
    "ds_read_b64_tr_b16": 2, "ds_write_b16": 1, "ds_write_b32": 1, "ds_write_b64": 2, "ds_write_b96": 3, "ds_write_b128": 4,
}  # fmt: skip
_OPERATORS: dict[type, Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.BitXor: operator.xor, ast.USub: operator.neg, ast.Invert: operator.invert,
}  # fmt: skip
_LISTING = """
.type access,@function
access:
s_load_dwordx2 s[2:3], s[0:1], 0x0
v_lshlrev_b32_e32 v1, 2, v0
s_waitcnt lgkmcnt(0)
global_load_dword v1, v1, s[2:3]
s_waitcnt vmcnt(0)
{access}
s_waitcnt lgkmcnt(0)
s_endpgm
.amdhsa_kernel access
.amdhsa_user_sgpr_kernarg_segment_ptr 1
.amdhsa_kernarg_size 8
.amdhsa_group_segment_fixed_size {bytes}
.end_amdhsa_kernel
"""


def addresses(where: str | tuple[int, ...], arch: str = "gfx950") -> npt.NDArray[np.int64]:
    """The byte address of each lane, int64 [64]: given, or from arithmetic over `lane`, such as "16 * (lane ^ lane // 8)".

    InputError for anything else than numbers, `lane`, parentheses and + - * // % << >> & | ^ ~, and for a place outside LDS.
    """
    at = _arithmetic(where) if isinstance(where, str) else np.array(where)
    if at.shape != (LANES,) or at.dtype.kind != "i":
        raise InputError(f"addresses {where}: give {LANES} whole numbers, one for each lane")
    if (outside := (at < 0) | (at >= ARCHES[arch].lds_bytes)).any():
        lane = int(outside.argmax())
        raise InputError(f"address {where!r}: lane {lane} is at byte {at[lane]}; LDS has bytes 0 to {ARCHES[arch].lds_bytes - 1}")
    return at.astype(np.int64)


def _arithmetic(expression: str) -> npt.NDArray[np.int64]:
    allowed = "whole numbers, lane, parentheses and + - * // % << >> & | ^ ~"
    try:
        if len(expression) > 200:
            raise ValueError("it has more than 200 characters")
        with np.errstate(all="raise"):
            found = _value(ast.parse(expression.strip(), mode="eval").body)
    except (ValueError, SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise InputError(f"address {expression!r}: {error}; it may hold {allowed}") from None
    return np.broadcast_to(np.asarray(found, np.int64), (LANES,))


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id == "lane":
        return np.arange(LANES)
    if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 1 << 31:
        return np.int64(node.value)
    if isinstance(node, ast.UnaryOp | ast.BinOp) and type(node.op) in _OPERATORS:
        sides = [_value(side) for side in ([node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right])]
        if isinstance(node.op, ast.LShift | ast.RShift) and np.any((sides[1] < 0) | (sides[1] > 31)):
            raise ValueError(f"{ast.unparse(node)} shifts by fewer than 0 or more than 31 bits")
        made = _OPERATORS[type(node.op)](*sides)
        if np.any(np.abs(made) >= 1 << 31):  # so that no product of two passes the end of int64
            raise ValueError(f"{ast.unparse(node)} is beyond 31 bits")
        return made
    raise ValueError(f"{ast.unparse(node)} is not known")


@lru_cache(maxsize=32)
def _code(instruction: str, arch: str) -> tuple[Code, int]:
    """A kernel with this access in it, and the place of it."""
    if instruction not in INSTRUCTIONS:
        raise InputError(f"instruction {instruction!r}: this shows {', '.join(INSTRUCTIONS)}")
    last = 3 + INSTRUCTIONS[instruction]
    data = "v4" if last == 4 else f"v[4:{last}]"
    operands = f"{data}, v1" if instruction.startswith("ds_read") else f"v1, {data}"
    text = _LISTING.format(access=f"{instruction} {operands}", bytes=ARCHES[arch].lds_bytes)
    kernel = parse(f'.amdgcn_target "amdgcn-amd-amdhsa--{arch}"\n{text}')["access"]
    return decode(kernel, trace=True), next(i for i, ins in enumerate(kernel.instructions) if ins.mnemonic == instruction)


def service(instruction: str, arch: str = "gfx950") -> tuple[int, int, list[int]]:
    """How LDS serves one of INSTRUCTIONS: bytes of a lane, banks, and the phase of each lane (gfx950.trace.LDS_PATTERNS)."""
    code, pc = _code(instruction, arch)
    assert code.accesses is not None
    patterns = [*LDS_PATTERNS[arch].values()]
    return int(code.accesses[pc]["bytes"]), *patterns[code.accesses[pc]["pattern"]]


@lru_cache(maxsize=256)
def lds_access(instruction: str, where: str | tuple[int, ...], arch: str = "gfx950") -> pd.DataFrame:
    """Executes `instruction` (of INSTRUCTIONS) on a wave whose lanes have the addresses `where`: an expression, or 64 numbers.

    Rows are dwords that lanes ask for, in order of lane. Columns: lane, address (of the lane, bytes), dword (of LDS), bank, phase
    (in which the lane's group is served), turn (how many other dwords of that bank come first in that phase), served (the pass:
    a phase takes as many as its worst bank has dwords), passes (in all) and needed (those without conflicts), kind.
    InputError for a name or an address that is not possible; the emulator's fault for one that the instruction may not have.
    """
    at, memory = addresses(where, arch), Memory()
    (code, pc), (size, banks, phase_of) = _code(instruction, arch), service(instruction, arch)
    done = launch(code, (1,), (LANES,), struct.pack("<Q", memory.map(at.astype(np.uint32), "addresses")), memory, threads=1)
    assert done.trace is not None
    every = accesses(done.trace)
    executed, extra = (int(x[every.pc == pc][0]) for x in (every.phases, every.extra))
    touched = (at % 4 + size - 1) // 4 + 1  # one more where an address is not a multiple of 4
    frame = pd.DataFrame({"lane": np.repeat(np.arange(LANES), touched), "address": np.repeat(at, touched)})
    frame["dword"] = frame.address // 4 + frame.groupby("lane").cumcount()
    frame["bank"], frame["phase"] = frame.dword % banks, np.repeat(phase_of, touched)
    asked = frame.drop_duplicates(["phase", "bank", "dword"])
    turn = asked.assign(turn=asked.groupby(["phase", "bank"]).cumcount())[["phase", "bank", "dword", "turn"]]
    frame = frame.merge(turn, on=["phase", "bank", "dword"], how="left")
    takes = frame.groupby("phase").turn.max() + 1
    frame["served"] = frame.phase.map(takes.cumsum() - takes) + frame.turn
    passes, needed = int(takes.sum()), len(takes)
    if (passes, passes - needed) != (executed, extra):
        raise SparseMlaError(f"{instruction} at {where}: {executed} passes were executed, the table says {passes}")
    return frame.assign(passes=passes, needed=needed, banks=banks, kind="emulated")


def transposed_read(tile: npt.ArrayLike) -> pd.DataFrame:
    """Executes ds_read_b64_tr_b16 on a tile of 16 rows and 16 columns, whole numbers below 65,536; lane l points at its columns
    4 (l % 4) .. + 3 of row l // 4. Rows are lanes; columns are the halves of the two VGPRs that they get."""
    lane = np.arange(LANES, dtype=np.uint32)
    vgpr = np.stack([32 * (lane // 4) + 8 * (lane % 4), lane, lane])
    lds = np.array(tile, np.uint16).reshape(16, 16).view(np.uint8).ravel()
    got = run_snippet("ds_read_b64_tr_b16 v[1:2], v0\ns_waitcnt lgkmcnt(0)", vgpr=vgpr, lds=lds).vgpr[1:3]
    halves = [f"v{register} {half}" for register in (1, 2) for half in ("low", "high")]
    return pd.DataFrame(got.T.copy().view(np.uint16), columns=halves).rename_axis("lane")
