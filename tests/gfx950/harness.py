"""Runs one instruction on chosen operands and compares every register with what its statement says."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_mla.build import find_toolchain
from sparse_mla.gfx950.isa import Operand, Row
from sparse_mla.gfx950.machine import Memory, run_snippet
from tests.gfx950.statements import Statement
from tests.gfx950.statements_formats import OPEN, TRANSCENDENTAL, WRITTEN_OUT, kept

Words = NDArray[np.uint32]
FULL = 2**64 - 1
SLOT = 16  # registers between two operands' first ones
FILES = {("v_accvgpr_read_b32", "a"): "a", ("v_accvgpr_write_b32", "d"): "a",
         ("v_accvgpr_mov_b32", "d"): "a", ("v_accvgpr_mov_b32", "a"): "a"}  # fmt: skip  # operands that are AGPRs
SIGNS = {"-": np.negative, "||": np.abs, "-||": lambda x: -np.abs(x), "sext": lambda x: x}  # around an operand's text
BIT_SIGNS = {"-": lambda x: x ^ 0x8000, "||": lambda x: x & 0x7FFF, "-||": lambda x: x | 0x8000}  # of f16 as bits
_POSITIVE = """0 1 400001 7fffff 800000 3f800000 3f800001 3f7fffff 3f000000 3fc00000 40200000 4b000001 4effffff 4f000000 4f7fffff
    4f800000 7f7fffff 7f800000 7fc00000 7f800001 3e99999a 2edbe6ff 42fc0000 43150000 3f808000 3f818000"""
_INTEGERS = """0 1 2 7 8 f 10 1f 20 21 3f 40 7f 80 ff 7fff 8000 ffff 10000 7fffff 800000 ffffff 7fffffff 80000000 80000001
    fffffffe ffffffff 0c0b0a09 08070dff 3c0f1e2d"""
_HALVES = "0 1 3ff 400 3c00 3c01 3bff 3800 3e00 4100 6400 77ff 7bff 7c00 7e00 7c01 0d00 2e66"
_DOUBLES = """0 1 fffffffffffff 10000000000000 3ff0000000000000 3ff0000000000001 3fefffffffffffff
    3fe0000000000000 3ff8000000000000 4004000000000000 41dfffffffc00000 41e0000000000000 41efffffffe00000 41f0000000000000
    7fefffffffffffff 7ff0000000000000 7ff8000000000000 7ff0000000000001 3fd3333333333333 1a00000000000000 5ff123456789abcd
    20000000000000 7fd0000000000000"""
KINDS = {"f": "f", "P": "f", "X": "f", "F": "F", "h": "h", "H": "h", "g": "h", "b": "u", "E": "u"}
EDGES = {"u": np.array([int(x, 16) for x in _INTEGERS.split()], np.uint64)}
for _kind, _texts, _bits in (("f", _POSITIVE, 31), ("h", _HALVES, 15), ("F", _DOUBLES, 63)):
    EDGES[_kind] = np.array([int(x, 16) | sign << _bits for x in _texts.split() for sign in (0, 1)], np.uint64)


def dwords(x: Operand) -> int:
    return x.width


def edges(x: Operand) -> NDArray[np.uint64]:
    return EDGES[KINDS.get(x.value, "u")]


def split(x: Operand, numbers: NDArray[np.uint64], upper: Words) -> Words:
    """Numbers as dwords [width, n]; `upper` is what stands above those that are narrower than the operand."""
    kind = KINDS.get(x.value, "u")
    if kind == "F":
        return np.stack([numbers & 0xFFFFFFFF, numbers >> 32]).astype(np.uint32)
    words = upper.copy()
    words[0] = numbers | (upper[0] & 0xFFFF0000 if kind == "h" else 0)
    return words


def random_words(rng: np.random.Generator, x: Operand, lanes: int = 64, edges_only: bool = False) -> Words:
    """Dwords [width, lanes] for an operand: edges, plain random bits, and numbers of every size."""
    shape, kind = (dwords(x), lanes), KINDS.get(x.value, "u")
    bits, small = rng.integers(0, 2**32, (2, *shape), dtype=np.uint32)
    small >>= rng.integers(0, 32, shape, dtype=np.uint32)
    normal = rng.normal(0, 4, (2, *shape))
    if kind == "f":
        small = normal[0].astype(np.float32).view(np.uint32)
    if kind == "h":
        lower, upper = normal.astype(np.float16).view(np.uint16).astype(np.uint32)
        small = lower | upper << 16
    if kind == "F":
        small = np.ascontiguousarray(normal[0, 0]).view(np.uint32).reshape(lanes, 2).T
    edge = [split(x, rng.choice(edges(x), lanes), part) for part in (bits, rng.choice(EDGES["u"], shape).astype(np.uint32))]
    pick = rng.integers(0, 1 if edges_only else 3, lanes)
    return np.where(pick == 0, edge[1] if kind != "h" else edge[0], np.where(pick == 1, bits, small))


def value(x: Operand, words: Words) -> Any:
    """An operand's dwords as the statements take them; a scalar operand is lane 0's."""
    number = sum(words[i].astype(object) << 32 * i for i in range(len(words)))
    kind = x.value
    if kind in "fPX":
        return words.view(np.float32) if kind == "P" else words.view(np.float32)[0]
    if kind == "F":
        return np.ascontiguousarray(words.T).view(np.float64)[:, 0]
    if kind in "hb":
        return half(words[0] & 0xFFFF, kind)
    if kind in "HE":
        return np.stack([half(part, "h" if kind == "H" else "b") for part in (words[0] & 0xFFFF, words[0] >> 16)])
    if kind in "wgy":
        return number & (0xFF if kind == "y" else 0xFFFF)
    if kind in "qp":
        return np.stack([part - (part >> 15 << 16) * (kind == "p") for part in (number & 0xFFFF, number >> 16)])
    if kind == "m":
        return np.array([int(number[0]) >> lane & 1 for lane in range(64)], object)
    if kind in "iIj":
        bits = 16 if kind == "j" else 32 * len(words)
        number = number & (1 << bits) - 1
        number = number - (number >> bits - 1 << bits)
    return int(number[0]) if x.scalar else number


def half(words: Words, kind: str) -> NDArray[np.float64]:
    """f16 (h) or bf16 (b) bits as float64, which keeps a signalling NaN signalling here."""
    with np.errstate(invalid="ignore"):
        if kind == "b":
            return (words << 16).view(np.float32).astype(np.float64)
        wide = words.astype(np.uint16).view(np.float16).astype(np.float64)
    payload = (words.astype(np.uint64) & 0x3FF) << 42 | 0x7FF << 52 | (words.astype(np.uint64) >> 15) << 63
    return np.where(np.isnan(wide), payload, wide.view(np.uint64)).view(np.float64)


def words_of(x: Operand, result: Any) -> Words:
    """A statement's result as dwords [width, 64]."""
    kind = x.value
    if kind in "fP":
        with np.errstate(all="ignore"):
            result = np.broadcast_to(np.asarray(result, np.float32), (dwords(x), 64))
        return np.ascontiguousarray(result).view(np.uint32)
    if kind == "F":
        doubles = np.ascontiguousarray(np.broadcast_to(np.asarray(result, np.float64), 64))
        return doubles.view(np.uint32).reshape(64, 2).T
    if kind in "hH":
        with np.errstate(all="ignore"):
            result = np.asarray(result, np.float64).astype(np.float16).view(np.uint16).astype(object)
        kind = "q" if kind == "H" else kind
    if kind in "qp":
        result = (result[1] & 0xFFFF) << 16 | result[0] & 0xFFFF
    if kind == "m":
        result = sum(bool(x) << lane for lane, x in enumerate(np.broadcast_to(result, 64)))
    if kind in "wjy":
        result = result & (0xFF if kind == "y" else 0xFFFF)
    number = np.broadcast_to(np.asarray(result, object), 64)
    return np.array([number >> 32 * i & 0xFFFFFFFF for i in range(dwords(x))]).astype(np.uint32)


@dataclass
class Registers:
    """All of a wave's registers; `sgpr` holds vcc and exec at their own numbers."""

    vgpr: Words
    agpr: Words
    sgpr: Words
    scc: int

    def mask(self, at: int) -> int:
        return int(self.sgpr[at]) | int(self.sgpr[at + 1]) << 32

    def copy(self) -> Registers:
        return Registers(self.vgpr.copy(), self.agpr.copy(), self.sgpr.copy(), self.scc)

    def file(self, letter: str) -> Words:
        return {"v": self.vgpr, "a": self.agpr, "s": self.sgpr}[letter]

    def run(self, text: str, memory: Memory | None = None, lds: NDArray[np.uint8] | None = None,
            scratch: NDArray[np.uint8] | None = None) -> Registers:  # fmt: skip
        state = run_snippet(text, vgpr=self.vgpr, agpr=self.agpr, sgpr=self.sgpr[:102],
                            vcc=self.mask(106), exec_mask=self.mask(126), scc=self.scc, memory=memory, lds=lds,
                            scratch=scratch)  # fmt: skip
        sgpr = self.sgpr.copy()
        sgpr[:102] = state.sgpr
        sgpr[106:108], sgpr[126:] = halves(state.vcc), halves(state.exec)
        return Registers(state.vgpr, state.agpr, sgpr, state.scc)


def halves(mask: int) -> tuple[int, int]:
    return mask & 0xFFFFFFFF, mask >> 32


def random_registers(rng: np.random.Generator, exec_mask: int = FULL, scc: int = 0, n: int = 5 * SLOT) -> Registers:
    sgpr = rng.integers(0, 2**32, 128, dtype=np.uint32)
    sgpr[126:] = halves(exec_mask)
    vgpr, agpr = rng.integers(0, 2**32, (2, n, 64), dtype=np.uint32)
    return Registers(vgpr, agpr, sgpr, scc)


def span(letter: str, first: int, count: int) -> str:
    return f"{letter}{first}" if count == 1 else f"{letter}[{first}:{first + count - 1}]"


@dataclass(frozen=True)
class Constant:
    """An operand written into the instruction: its text and the dwords that it stands for."""

    text: str
    words: tuple[int, ...]


Forms = dict[str, str | Constant]


@dataclass(frozen=True)
class Written:
    """How an instruction is written. `forms`: an operand's register file (v, a, s or vcc), or a constant; `signs` as in SIGNS.
    `alias`: the first two operands begin in one register."""

    forms: Forms = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""
    modifiers: str = ""
    alias: bool = False

    def place(self, row: Row) -> tuple[str, dict[str, tuple[str, int]]]:
        """The text, and where each register operand stands."""
        texts, at = [], {}
        for i, x in enumerate(row.operands):
            form = self.forms.get(x.name, FILES.get((row.mnemonic, x.name), "s" if x.scalar else "v"))
            if isinstance(form, Constant):
                texts.append(form.text)
                continue
            at[x.name] = ("s", 106) if form == "vcc" else (form, SLOT * max(i, self.alias))
            text, sign = "vcc" if form == "vcc" else span(*at[x.name], dwords(x)), self.signs.get(x.name, "")
            texts.append(sign.replace("||", f"|{text}|") if "|" in sign else f"sext({text})" if sign == "sext" else sign + text)
        return f"{row.mnemonic}{self.suffix} {', '.join(texts)} {self.modifiers}".strip(), at


def check(row: Row, statement: Statement, columns: Mapping[str, Words], rng: np.random.Generator, how: Written, *,
          exec_mask: int = FULL, scc: int = 0, imm: int = 0) -> None:  # fmt: skip
    """One instruction against its statement: every register, the condition code and EXEC, on every lane."""
    text, at = how.place(row)
    before = random_registers(rng, exec_mask, scc)
    raw: dict[str, Any] = {}
    args: dict[str, Any] = {"scc": scc, "lane": np.arange(64).astype(object), "imm": imm}
    for x in row.operands:
        words = columns[x.name]
        if isinstance(form := how.forms.get(x.name), Constant):
            words = np.array(form.words, np.uint32)[:, None].repeat(64, 1)
        else:
            letter, first = at[x.name]
            words = words[:, :1].repeat(64, 1) if letter == "s" else words
            before.file(letter)[first : first + len(words)] = words[:, 0] if letter == "s" else words
        raw[x.name] = sum(words[i].astype(object) << 32 * i for i in range(len(words)))
        signs = SIGNS if x.value != "g" else BIT_SIGNS
        args[x.name] = signs[how.signs[x.name]](value(x, words)) if x.name in how.signs else value(x, words)  # type: ignore[operator]
    args["exec"], args["raw"] = before.mask(126), raw
    args["vcc"] = np.array([before.mask(106) >> lane & 1 for lane in range(64)], object)
    expected, after = stated(row, at, before, results_of(statement, args)), before.run(text)
    bits = np.array(halves(exec_mask), np.uint32)
    for x in row.operands:
        if not x.write:
            continue
        letter, first = at[x.name]
        target, got = (registers.file(letter)[first : first + dwords(x)] for registers in (expected, after))
        if x.value == "m" and not row.mnemonic.startswith("v_cmp"):
            target |= got & ~bits  # what a carry-out gives for inactive lanes is not stated; a comparison gives 0
        elif letter != "s":
            alike = as_good(row, x, args["a"], target, got)
            if "clamp" in how.modifiers or row.mnemonic.startswith("v_med3_f"):  # which zero is open
                alike |= np.equal(*(unsigned_zeros(w, x) for w in (target, got)))
            alike = alike & active_lanes(row, exec_mask)
            target[alike] = got[alike]
    compare(text, expected, after, args)


def results_of(statement: Statement, args: Mapping[str, Any]) -> list[Any]:
    """What a statement says of the operands that it asks for."""
    with np.errstate(all="ignore"):
        results = statement(**{name: args[name] for name in wanted(statement)})
    return list(results) if isinstance(results, tuple) else [results]


def active_lanes(row: Row, exec_mask: int) -> NDArray[np.bool_]:
    return np.array([row.latency == "lane" or exec_mask >> lane & 1 for lane in range(64)], bool)


def stated(row: Row, at: Mapping[str, tuple[str, int]], before: Registers, results: list[Any]) -> Registers:
    """The registers after an instruction whose operands stand at these places, by its statement's results."""
    after, exec_mask, left = before.copy(), before.mask(126), list(results)
    active = active_lanes(row, exec_mask)
    for x in row.operands:
        if not x.write:
            continue
        words, (letter, first) = words_of(x, left.pop(0)), at[x.name]
        target = after.file(letter)[first : first + len(words)]
        if letter == "s":
            target[:] = words[:, 0] & np.array(halves(exec_mask), np.uint32) if x.value == "m" else words[:, 0]
            continue
        if old := kept(row.mnemonic):
            part = words & np.uint32(0xFF if old == 0xFFFFFF00 else 0xFFFF)
            words = part << np.uint32(16 * (old == 0xFFFF)) | target & np.uint32(old)
        target[:, active] = words[:, active]
    after.scc = int(bool(left.pop(0))) if left else before.scc
    if left:
        after.sgpr[126:] = halves(left.pop(0))
    return after


def wanted(statement: Statement) -> list[str]:
    """The names that a statement asks for."""
    return [name for name, x in inspect.signature(statement).parameters.items() if x.default is x.empty]


def as_good(row: Row, x: Operand, a: Any, target: Words, got: Words) -> NDArray[np.bool_]:
    """Where two results count as the same: any NaN for any other, and one ulp either way in a transcendental."""
    same = np.zeros(target.shape, bool)
    if row.mnemonic in ("v_cvt_pk_bf16_f32", "v_cvt_sr_bf16_f32") or ("_bf16_" in row.mnemonic and "scale" in row.mnemonic):
        return halves_alike(target, got, 0x7F80)
    if x.value in "hH" or "f16_f" in row.mnemonic or "sr_f16" in row.mnemonic or "f16_bf" in row.mnemonic:
        same |= halves_alike(target, got, 0x7C00)
    if x.value == "F":
        same |= np.isnan(value(x, target)) & np.isnan(value(x, got))
    if x.value in "fP":
        same |= np.isnan(target.view(np.float32)) & np.isnan(got.view(np.float32))
    if row.mnemonic in TRANSCENDENTAL:
        sign, result = (15, half(target[0] & 0xFFFF, "h")) if x.value == "h" else (31, target.view(np.float32))
        ordinary = np.isfinite(a) & (a != 0) & np.isfinite(result)
        most = (1 << sign) - 1
        mine, theirs = (np.where(w >> sign, -(w & most).astype(np.int64), w.astype(np.int64)) for w in (target, got))
        same |= ordinary & (np.abs(mine - theirs) <= 1)
    return same | OPEN[row.mnemonic](a) if row.mnemonic in OPEN else same


def halves_alike(target: Words, got: Words, infinity: int) -> NDArray[np.bool_]:
    """Equal, NaN for NaN, in both halves."""
    nan = [((target >> s & 0x7FFF) > infinity) & ((got >> s & 0x7FFF) > infinity) for s in (0, 16)]
    return np.asarray((nan[0] | (target << 16 == got << 16)) & (nan[1] | (target >> 16 == got >> 16)))


def unsigned_zeros(words: Words, x: Operand) -> Words:
    """Without the sign of what is zero."""
    if x.value in "hH":
        parts = [words >> np.uint32(s) & np.uint32(0xFFFF) for s in (0, 16)]
        lower, upper = (np.where(part == 0x8000, 0, part) for part in parts)
        return np.asarray(lower | upper << np.uint32(16))
    if x.value == "F":
        words = words.copy()
        words[1] = np.where((words[1] == 0x80000000) & (words[0] == 0), 0, words[1])
        return words
    return np.asarray(np.where(words == 0x80000000, np.uint32(0), words))


def compare(text: str, expected: Registers, got: Registers, args: Mapping[str, Any] | None = None) -> None:
    """Fails naming the first register and lane that differ."""
    for letter in "vas":
        want, have = expected.file(letter), got.file(letter)
        if not np.array_equal(want, have):
            where = tuple(int(i) for i in np.argwhere(want != have)[0])
            lane = where[1] if letter != "s" else 0
            inputs = {k: (v[..., lane] if isinstance(v, np.ndarray) else v) for k, v in (args or {}).items() if k != "raw"}
            place = f"{letter}{where[0]} lane {lane}"
            raise AssertionError(f"`{text}`: {place} is {have[where]:#x}, should be {want[where]:#x}; {inputs}")
    assert got.scc == expected.scc, f"`{text}`: SCC is {got.scc}"


def written_out(row: Row, columns: Mapping[str, Words]) -> Forms:
    """The operand that must be a constant, where there is one, holding the first value of its column."""
    name = WRITTEN_OUT.get(row.mnemonic)
    if name is None:
        return {}
    number = int(columns[name][0, 0]) & (0xFFFFFFFF if name == "k" else 0xFFFF)
    return {name: Constant(hex(number), (number,))}


def rejected(lines: list[str], arch: str = "gfx950") -> dict[str, str]:
    """Which lines LLVM's assembler does not take for a processor, with its words."""
    flags = f"--target=amdgcn-amd-amdhsa -mcpu={arch} -x assembler -c - -o /dev/null"
    text = "label:\n" + "\n".join(lines) + "\n"
    done = subprocess.run([*find_toolchain().clang, *flags.split()], input=text, capture_output=True, text=True)
    found = [line.split(":", 4) for line in done.stderr.splitlines() if line.startswith("<stdin>:")]
    return {lines[int(number) - 2]: words for _, number, _, _, words in found}
