"""Runs one instruction on chosen operands and compares every register with what its statement says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_mla.gfx950.isa import Operand, Row
from sparse_mla.gfx950.machine import Memory, State, run_snippet
from tests.gfx950.statements import IMMEDIATE, OPEN, TRANSCENDENTAL, Statement

Words = NDArray[np.uint32]
FULL = 2**64 - 1
SLOT = 16   # registers between two operands' first ones
FILES = {("v_accvgpr_read_b32", "a"): "a", ("v_accvgpr_write_b32", "d"): "a"}   # operands that are AGPRs
WIDE = {"U", "I", "M", "m", "S", "P"}

FLOATS = [0, 1, 0x7FFFFF, 0x800000, 0x00400001, 0x3F800000, 0x3F800001, 0x3F7FFFFF, 0x3F000000, 0x3FC00000, 0x40200000, 0x4B000001,
          0x4EFFFFFF, 0x4F000000, 0x4F7FFFFF, 0x4F800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000, 0x7F800001, 0x3E99999A, 0x2EDBE6FF,
          0x42FC0000, 0x43150000, 0x3F808000, 0x3F818000]  # fmt: skip
INTEGERS = [0, 1, 2, 7, 8, 15, 16, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFF, 0x800000, 0xFFFFFF,
            0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF, 0x0C0B0A09, 0x08070DFF, 0x3C0F1E2D]  # fmt: skip
EDGES = {"f": FLOATS + [x | 1 << 31 for x in FLOATS], "u": INTEGERS}


def kind(operand: Operand) -> str:
    return "f" if operand.value in "fP" else "u"


def dwords(operand: Operand) -> int:
    return 2 if operand.value in WIDE else 1


def random_words(rng: np.random.Generator, what: str, shape: tuple[int, ...], only_edges: bool = False) -> Words:
    """Edges, plain random bits, and numbers of every size, mixed."""
    edges = rng.choice(np.array(EDGES[what], np.uint32), shape)
    if only_edges:
        return edges
    bits = rng.integers(0, 2**32, shape, dtype=np.uint32)
    small = rng.normal(0, 4, shape).astype(np.float32).view(np.uint32) if what == "f" else bits >> rng.integers(0, 32, shape, dtype=np.uint32)
    return np.choose(rng.integers(0, 3, shape), [edges, bits, small])


def samples(row: Row, rng: np.random.Generator) -> Iterator[dict[str, Words]]:
    """Columns of 64 values for each operand: all pairs of edges where there are two sources, then random mixes."""
    sources = [x for x in row.operands if x.read and not x.write]
    edges = [np.array(EDGES[kind(x)], np.uint32) for x in sources]
    grid = np.stack(np.meshgrid(*edges, indexing="ij")).reshape(len(sources), -1) if 0 < len(sources) < 3 else np.zeros((len(sources), 0), np.uint32)
    for start in range(0, grid.shape[1] + 64 * 4, 64):
        columns = {x.name: random_words(rng, kind(x), (dwords(x), 64)) for x in row.operands}
        part = grid[:, start : start + 64]
        for x, edge in zip(sources, part, strict=True):
            columns[x.name][0, : len(edge)] = edge
            if rng.random() < 0.5:   # extended by zeros or by the sign
                columns[x.name][1:, : len(edge)] = (edge.view(np.int32) >> 31).view(np.uint32)
        yield columns


def value(operand: Operand, words: Words) -> Any:
    """An operand's dwords [width, 64] as the statements take them; a scalar operand is lane 0's."""
    number = sum(words[i].astype(object) << 32 * i for i in range(len(words)))
    if operand.value in "fP":
        floats = words.view(np.float32)
        return floats if operand.value == "P" else floats[0]
    if operand.value == "q":
        return np.stack([number & 0xFFFF, number >> 16])
    if operand.value == "m":
        return np.array([int(number[0]) >> lane & 1 for lane in range(64)], object)
    if operand.value in "iI":
        number = np.where(number >> 32 * len(words) - 1, number - (1 << 32 * len(words)), number)
    return int(number[0]) if operand.scalar else number


def words_of(operand: Operand, result: Any) -> Words:
    """A statement's result as dwords [width, 64]."""
    if operand.value in "fP":
        with np.errstate(over="ignore"):
            result = np.asarray(result, np.float32)
        return np.ascontiguousarray(np.broadcast_to(result, (dwords(operand), 64))).view(np.uint32)
    if operand.value == "q":
        result = (result[1] & 0xFFFF) << 16 | result[0] & 0xFFFF
    if operand.value == "m":
        result = sum(bool(x) << lane for lane, x in enumerate(np.broadcast_to(result, 64)))
    number = np.broadcast_to(np.asarray(result, object), 64)
    return np.array([number >> 32 * i & 0xFFFFFFFF for i in range(dwords(operand))]).astype(np.uint32)


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

    def run(self, text: str, memory: Memory | None = None, lds: NDArray[np.uint8] | None = None) -> Registers:
        state: State = run_snippet(text, vgpr=self.vgpr, agpr=self.agpr, sgpr=self.sgpr[:102], exec_mask=self.mask(126), vcc=self.mask(106),
                                   scc=self.scc, memory=memory, lds=lds)  # fmt: skip
        sgpr = self.sgpr.copy()
        sgpr[:102] = state.sgpr
        for at, mask in ((106, state.vcc), (126, state.exec)):
            sgpr[at : at + 2] = mask & 0xFFFFFFFF, mask >> 32
        return Registers(state.vgpr, state.agpr, sgpr, state.scc)


def random_registers(rng: np.random.Generator, exec_mask: int = FULL, scc: int = 0, n: int = 5 * SLOT) -> Registers:
    sgpr = rng.integers(0, 2**32, 128, dtype=np.uint32)
    sgpr[126:] = exec_mask & 0xFFFFFFFF, exec_mask >> 32
    vector = rng.integers(0, 2**32, (2, n, 64), dtype=np.uint32)
    return Registers(vector[0], vector[1], sgpr, scc)


def span(letter: str, first: int, count: int) -> str:
    return f"{letter}{first}" if count == 1 else f"{letter}[{first}:{first + count - 1}]"


@dataclass(frozen=True)
class Constant:
    """An operand written into the instruction: its text and the dwords that it stands for."""

    text: str
    words: tuple[int, ...]


Forms = Mapping[str, "str | Constant"]   # operand -> v, a, s, vcc or a constant
SIGNS = {"-": np.negative, "||": np.abs, "-||": lambda x: -np.abs(x), "sext": lambda x: x}   # around an operand's text


def assemble(row: Row, forms: Forms, suffix: str = "", modifiers: str = "", signs: Mapping[str, str] = {}, alias: bool = False) -> tuple[str, dict[str, tuple[str, int]]]:  # fmt: skip
    """The instruction's text, and where each of its register operands stands. `alias`: the first two begin in one register."""
    texts, at = [], {}
    for i, x in enumerate(row.operands):
        form = forms.get(x.name, FILES.get((row.mnemonic, x.name), "s" if x.scalar else "v"))
        if isinstance(form, Constant):
            texts.append(form.text)
            continue
        at[x.name] = ("s", 106) if form == "vcc" else (form, SLOT * max(i, alias))
        text, sign = "vcc" if form == "vcc" else span(*at[x.name], dwords(x)), signs.get(x.name, "")
        texts.append(sign.replace("||", f"|{text}|") if "|" in sign else f"sext({text})" if sign == "sext" else sign + text)
    return f"{row.mnemonic}{suffix} {', '.join(texts)} {modifiers}".strip(), at


def check(row: Row, statement: Statement, columns: Mapping[str, Words], rng: np.random.Generator, *, forms: Forms | None = None,
          exec_mask: int = FULL, scc: int = 0, imm: int = 0, suffix: str = "", modifiers: str = "", signs: Mapping[str, str] = {}, alias: bool = False) -> None:  # fmt: skip
    """One instruction against its statement: every register, the condition code and EXEC, on every lane."""
    forms = dict(forms or {})
    for name in (IMMEDIATE[row.mnemonic],) if row.mnemonic in IMMEDIATE else ("k",) if row.mnemonic in ("v_fmamk_f32", "v_fmaak_f32") else ():
        number = int(columns[name][0, 0]) & (0xFFFFFFFF if name == "k" else 0xFFFF)
        forms[name] = Constant(hex(number), (number,))
    text, at = assemble(row, forms, suffix, modifiers, signs, alias)
    before = random_registers(rng, exec_mask, scc)
    args: dict[str, Any] = {"scc": scc, "lane": np.arange(64).astype(object), "imm": imm}
    for x in row.operands:
        words = columns[x.name]
        if isinstance(form := forms.get(x.name), Constant):
            words = np.array(form.words, np.uint32)[:, None].repeat(64, 1)
        elif at[x.name][0] == "s":
            words = words[:, :1].repeat(64, 1)
        if x.name in at:
            letter, first = at[x.name]
            before.file(letter)[first : first + len(words)] = words[:, 0] if letter == "s" else words
        args[x.name] = SIGNS[signs[x.name]](value(x, words)) if x.name in signs else value(x, words)
    args["exec"] = before.mask(126)
    wanted = inspect.signature(statement).parameters
    with np.errstate(all="ignore"):
        results = statement(**{name: arg for name, arg in args.items() if name in wanted})
    results = list(results) if isinstance(results, tuple) else [results]
    after, expected = before.run(text), before.copy()
    everywhere = row.latency == "lane"
    active = np.array([everywhere or exec_mask >> lane & 1 for lane in range(64)], bool)
    for x in row.operands:
        if not x.write:
            continue
        words, (letter, first) = words_of(x, results.pop(0)), at[x.name]
        target, got = expected.file(letter)[first : first + len(words)], after.file(letter)[first : first + len(words)]
        if x.value == "m":
            bits = np.array([exec_mask & 0xFFFFFFFF, exec_mask >> 32], np.uint32)
            # What a carry-out gives for inactive lanes is not stated; a comparison gives 0.
            target[:] = words[:, 0] & bits | (0 if row.mnemonic.startswith("v_cmp") else got & ~bits)
        elif letter == "s":
            target[:] = words[:, 0]
        else:
            lanes = np.broadcast_to(active, target.shape)
            target[lanes] = words[lanes]
            excused = _excused(row, x, args, target, got) & lanes
            if "clamp" in modifiers or row.mnemonic == "v_med3_f32":   # which zero is open
                excused |= lanes & ((target | got) & 0x7FFFFFFF == 0)
            target[excused] = got[excused]
    expected.scc = int(bool(results.pop(0))) if results else scc
    if results:
        mask = results.pop(0)
        expected.sgpr[126:] = mask & 0xFFFFFFFF, mask >> 32
    compare(text, expected, after, args)


def _excused(row: Row, operand: Operand, args: Mapping[str, Any], target: Words, got: Words) -> NDArray[np.bool_]:
    """Where two results count as the same: any NaN for any other, and one ulp either way in a transcendental."""
    if row.mnemonic == "v_cvt_pk_bf16_f32":
        half = [((target >> s & 0x7FFF) > 0x7F80) & ((got >> s & 0x7FFF) > 0x7F80) | ((target >> s & 0xFFFF) == (got >> s & 0xFFFF)) for s in (0, 16)]
        return np.asarray(half[0] & half[1])
    if operand.value not in "fP":
        return np.zeros(target.shape, bool)
    same = np.isnan(target.view(np.float32)) & np.isnan(got.view(np.float32))
    if row.mnemonic in TRANSCENDENTAL:
        want = target.view(np.float32)
        ordered = [np.where(x >> 31, -(x & 0x7FFFFFFF).astype(np.int64), x.astype(np.int64)) for x in (target, got)]
        special = ~np.isfinite(args["a"]) | (args["a"] == 0) | ~np.isfinite(want)
        same = same | (~special & (np.abs(ordered[0] - ordered[1]) <= 1))
    if row.mnemonic in OPEN:
        same = same | OPEN[row.mnemonic](args["a"])
    return np.asarray(same)


def compare(text: str, expected: Registers, got: Registers, args: Mapping[str, Any] | None = None) -> None:
    """Fails naming the first register and lane that differ."""
    for letter in "vas":
        want, have = expected.file(letter), got.file(letter)
        if not np.array_equal(want, have):
            where = tuple(int(i) for i in np.argwhere(want != have)[0])
            lane = where[1] if letter != "s" else 0
            inputs = {k: (v[..., lane] if isinstance(v, np.ndarray) else v) for k, v in (args or {}).items()}
            raise AssertionError(f"`{text}`: {letter}{where[0]} lane {lane} is {have[where]:#x}, should be {want[where]:#x}; {inputs}")
    assert got.scc == expected.scc, f"`{text}`: SCC is {got.scc}"
