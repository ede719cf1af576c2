"""Every computing row against the second statement of its meaning, with every kind of operand that LLVM's assembler takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from sparse_mla.gfx950.isa import ARCHES, ROWS, Operand, Row
from sparse_mla.tables import coverage
from tests.gfx950 import statements_memory
from tests.gfx950.coverage import TESTS
from tests.gfx950.harness import (
    FULL,
    SLOT,
    Constant,
    Forms,
    Words,
    Written,
    check,
    compare,
    dwords,
    edges,
    random_registers,
    random_words,
    rejected,
    span,
    split,
    wanted,
    written_out,
)
from tests.gfx950.statements import TAKEN, Statement, sext
from tests.gfx950.statements_formats import APART, NO_EFFECT, SALU, SIX, VALU, WRITTEN_OUT
from tests.gfx950.statements_matrix import SPECS

MASKS = (FULL, 0x0123456789ABCDEF, FULL, 1 << 63, 0)
MASK = 0xF0F0_3333_0123_8001
PARTS = {"BYTE_0": (0, 8), "BYTE_1": (8, 8), "BYTE_2": (16, 8), "BYTE_3": (24, 8), "WORD_0": (0, 16), "WORD_1": (16, 16),
         "DWORD": (0, 32)}  # fmt: skip


def random_columns(row: Row, rng: np.random.Generator, **how: Any) -> dict[str, Words]:
    columns = {x.name: random_words(rng, x, **how) for x in row.operands}
    if row.mnemonic == "s_bfe_u32":  # the manual does not say what a width of more than 32 means
        columns["b"] = columns["b"] & np.uint32(0x1F) | columns["b"] % np.uint32(33) << np.uint32(16)
    return columns


def test_every_row_is_stated_and_every_statement_is_a_row() -> None:
    assert set(ROWS) == set().union(*TESTS.values())


def test_coverage_names_a_row_that_no_test_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {row["untested"] for row in coverage()} == {"", "none"}
    monkeypatch.setitem(ROWS, "v_new_b32", replace(ROWS["v_not_b32"], mnemonic="v_new_b32"))
    assert [row["family"] for row in coverage() if row["untested"] == "v_new_b32"] == ["VALU", "total"]


@pytest.mark.parametrize("name", SALU)
def test_scalar(name: str) -> None:
    row, rng = ROWS[name], np.random.default_rng(1)
    for i in range(60):
        columns = {key: words.repeat(64, 1) for key, words in random_columns(row, rng, lanes=1, edges_only=i < 30).items()}
        if i % 4 == 0 and "b" in columns and name != "s_bfe_u32":
            columns["b"][:] = columns["a"][: len(columns["b"])]
        check(row, SALU[name], columns, rng, Written(written_out(row, columns)), scc=i % 2, exec_mask=MASKS[i % 5])


@pytest.mark.parametrize("name", VALU)
def test_vector(name: str) -> None:
    """All pairs of edges, then random values, under full and partial EXEC; the destination is a source now and then."""
    row, rng = ROWS[name], np.random.default_rng(2)
    sources = [x for x in row.operands if x.read and not x.write]
    grid = [edges(x) for x in sources]
    pairs = np.stack(np.meshgrid(*grid)).reshape(len(grid), -1) if 0 < len(grid) < 3 else np.zeros((len(grid), 0), np.uint64)
    pairs = rng.permutation(pairs, axis=1)[:, :1600]
    may_alias = not (row.operands[0].scalar or row.operands[1].scalar or row.latency == "lane" or "accvgpr" in name)
    for i in range(pairs.shape[1] // 64 + 5):
        columns = random_columns(row, rng)
        for x, edge in zip(sources, pairs[:, 64 * i : 64 * i + 64], strict=True):
            upper = columns[x.name][:, : len(edge)].copy()
            if i % 2:  # 64-bit values extended by the sign
                upper[1:] = (edge.astype(np.uint32).view(np.int32) >> 31).view(np.uint32)
            columns[x.name][:, : len(edge)] = split(x, edge, upper)
        imm = 37 * i % 256 if "bitop3" in name else 4 * i if name == "ds_bpermute_b32" else 0
        modifiers = f"bitop3:{imm:#x}" if "bitop3" in name else f"offset:{imm}" if imm else ""
        masks: Forms = {x.name: "vcc" if i % 2 else "s" for x in row.operands if x.value == "m"}
        if alias := may_alias and i % 3 == 2:
            second = columns[row.operands[1].name]
            columns["d"][: len(second)] = second[: dwords(row.operands[0])]
        # The manual does not say what EXEC does to the swaps.
        how = Written(masks | written_out(row, columns), modifiers=modifiers, alias=alias)
        check(row, VALU[name], columns, rng, how, imm=imm, exec_mask=FULL if "swap" in name else MASKS[i % 5], scc=i % 2)


def example(row: Row) -> str:
    """The row written with registers only, where it may be."""
    name = row.mnemonic
    if name in APART:
        return f"{name} {APART[name]}"
    if name in NO_EFFECT or name in TAKEN:
        return f"{name} {NO_EFFECT.get(name, 'label')}"
    if name in statements_memory.STATED or name in SPECS or name in SIX:
        registers = {"A": "v[2:3]", "B": "off", "C": "off", "S": "off", "T": "s5", "sU": "s[16:17]", "su": "0x10"}
        spans = (span("s" if x.scalar else "v", SLOT * i, x.width) for i, x in enumerate(row.operands))
        texts = [registers.get(x.type, text) for x, text in zip(row.operands, spans, strict=True)]
        return f"{name} {', '.join(texts)}{' sc0' if row.latency == 'atomic' and row.operands[0].optional else ''}"
    columns = {x.name: np.full((dwords(x), 64), 0x34, np.uint32) for x in row.operands}
    lane: Forms = {"b": Constant("5", (5,))} if name == "v_writelane_b32" else {}  # two scalar registers are one too many
    return Written(written_out(row, columns) | lane, modifiers="bitop3:0x17" if "bitop3" in name else "").place(row)[0]


@pytest.mark.parametrize("arch", ARCHES)
def test_every_row_is_an_instruction(arch: str) -> None:
    """Of that processor, but for those that it is said to lack; and takes operands of the same kinds and widths there."""
    lines = {example(row): row.mnemonic for row in ROWS.values()}
    found = {lines[line]: words for line, words in rejected([*lines], arch).items()}
    assert set(found) == {name for name in ROWS if ARCHES[arch].lacks.fullmatch(name)}, found


HALF_FLOATS = dict.fromkeys("hHgwj", "h") | dict.fromkeys("bE", "b")  # operands for which a float is a half


def constants(x: Operand) -> Iterator[Constant]:
    """Inline integers, which a 64-bit operand sign-extends, and floats; a literal."""
    for n in (0, 17, 64, -1, -16):
        yield Constant(str(n), (n & 0xFFFFFFFF, 0xFFFFFFFF if n < 0 else 0)[: dwords(x)])
    if x.value == "F":
        yield Constant("0x3fe01234", (0, 0x3FE01234))  # the high half
    if dwords(x) == 2:
        yield Constant("1.0", (0, 0x3FF00000))
    elif x.value in "qp":  # the assembler takes floats for f32 here
        yield Constant("0.5", (0x3F000000,))
    else:
        kind = HALF_FLOATS.get(x.value)
        for text in ("0.5", "-4.0", "0.15915494")[: 2 if kind == "b" else 3]:
            half = int(np.float16(text).view(np.uint16))
            yield Constant(text, (half if kind == "h" else int(np.float32(text).view(np.uint32)) >> (16 if kind else 0),))
        yield Constant(*(("0x3c01", (0x3C01,)) if kind else ("0x3f8ccccd", (0x3F8CCCCD,))))


@lru_cache
def combinations() -> dict[str, list[Written]]:
    """Every source that the assembler lets be a scalar register, a constant, negated or absolute; and every clamp."""
    tried = []
    for name in [*SALU, *VALU]:
        row, bitop3 = ROWS[name], "bitop3:0x17" if "bitop3" in name else ""
        masks: Forms = {x.name: "vcc" for x in row.operands if x.value == "m" and x.read}
        for x in row.operands:
            if not x.write and x.value not in "mqP" and name not in WRITTEN_OUT:  # packed operands: below
                forms: list[str | Constant] = [*constants(x), *([] if x.scalar else ["s"])]
                tried += [(row, Written(masks | {x.name: form}, modifiers=bitop3)) for form in forms]
            if x.value in "fhgF" and not x.write:
                tried += [(row, Written(masks, {x.name: sign})) for sign in ("-", "||", "-||")]
        if row.operands[0].type in "fhFPH" and "clamp" in row.modifiers and "div_scale" not in name:
            tried += [(row, Written(masks, modifiers=omod)) for omod in ("mul:2", "div:2") if row.operands[0].type != "H"]
            tried.append((row, Written(masks, modifiers="clamp")))
    bad = rejected([how.place(row)[0] for row, how in tried])
    legal: dict[str, list[Written]] = {name: [] for name in [*SALU, *VALU]}
    for row, how in tried:
        if how.place(row)[0] not in bad:
            legal[row.mnemonic].append(how)
    return legal


def clamped(statement: Statement) -> Callable[..., Any]:
    """To [0, 1]; NaN becomes 0, as compute kernels set MODE.DX10_CLAMP."""

    def clamp(**args: Any) -> Any:
        x = np.asarray(statement(**args))
        return np.where(np.isnan(x), 0, np.clip(x, 0, 1))

    return with_parameters(clamp, wanted(statement))


def with_parameters(function: Callable[..., Any], names: Any) -> Callable[..., Any]:
    parameters = [inspect.Parameter(x, inspect.Parameter.KEYWORD_ONLY) for x in names]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


@pytest.mark.parametrize("name", [*SALU, *VALU])
def test_scalars_constants_and_modifiers(name: str) -> None:
    row, rng, statement = ROWS[name], np.random.default_rng(3), (SALU | VALU)[name]
    for how in combinations()[name]:
        if name == "s_bfe_u32" and isinstance(x := how.forms.get("b"), Constant) and x.words[0] >> 16 & 0x7F > 32:
            continue
        meaning = clamped(statement) if how.modifiers == "clamp" else statement
        check(row, meaning, random_columns(row, rng), rng, how, exec_mask=MASK, imm=0x17)


def test_the_assembler_takes_what_was_meant() -> None:
    ways = [how for several in combinations().values() for how in several]
    used = [x for how in ways for x in (*how.forms.values(), *how.signs.values(), how.modifiers)]
    texts = {x.text if isinstance(x, Constant) else x for x in used}
    assert {"s", "17", "-16", "0.5", "0x3f8ccccd", "-", "||", "-||", "clamp"} <= texts
    assert len(ways) > 1500


SDWA = """v_mov_b32 v_add_u32 v_and_b32 v_min_u32 v_max_i16 v_mul_lo_u16 v_cmp_ne_u16 v_or_b32
    v_lshlrev_b32 v_lshrrev_b16 v_add_u16 v_mul_u32_u24 v_cvt_f32_u32 v_cvt_f32_i32 v_cvt_f32_fp8
    v_cvt_f32_bf8 v_cvt_pk_f32_fp8 v_cmp_lt_u16 v_cmp_ge_i32"""


@pytest.mark.parametrize("name", SDWA.split())
def test_sdwa(name: str) -> None:
    """Parts of the sources, extended by zeros or the sign; the result's low bits into a part of the destination."""
    row, rng = ROWS[name], np.random.default_rng(6)
    sources, tried = [x.name for x in row.operands if x.read], []
    masks: Forms = {x.name: "vcc" for x in row.operands if x.value == "m"}
    row = replace(row, operands=tuple(replace(x, type="u") if x.write and x.value in "wj" else x for x in row.operands))
    for _ in range(60):
        part = {x: str(rng.choice(list(PARTS))) for x in sources}
        signs = {x: "sext" for x in sources if rng.random() < 0.4}
        keep = str(rng.choice(["PAD", "PRESERVE", "SEXT"]))
        to = "DWORD" if row.operands[0].value in "fPm" else str(rng.choice(list(PARTS)))
        modifiers = " ".join(f"src{i}_sel:{part[x]}" for i, x in enumerate(sources))
        if not masks and "f8" not in name and "fp8" not in name:  # those have no destination selector
            modifiers = f"dst_sel:{to} dst_unused:UNUSED_{keep} {modifiers}"
        tried.append((Written(masks, signs, "_sdwa", modifiers), part, keep, to))
    bad = rejected([how.place(row)[0] for how, *_ in tried])
    legal = [one for one in tried if one[0].place(row)[0] not in bad]
    assert len(legal) > 10
    for how, part, keep, to in legal:

        def meaning(d: Any, raw: Any, *, how: Any = how, part: Any = part, keep: str = keep, to: str = to, **args: Any) -> Any:
            for x in sources:
                at, bits = PARTS[part[x]]
                picked = raw[x] >> at & (1 << bits) - 1
                picked = sext(picked, bits) if x in how.signs else picked
                width = 16 if "16" in name else 32
                args[x] = sext(picked, width) if "_i" in name else picked % 2**width
            result, (at, bits) = VALU[name](**args), PARTS[to]
            result = result & 0xFFFF if "16" in name and not masks else result
            if to == "DWORD":
                return result
            above = {"PAD": 0, "PRESERVE": d, "SEXT": -(result >> bits - 1 & 1) << at}[keep]
            return (result & (1 << bits) - 1) << at | above & ~((1 << bits) - 1 << at)

        columns = {x.name: random_words(rng, x) for x in row.operands}
        check(row, with_parameters(meaning, ["d", "raw", *sources]), columns, rng, how, exec_mask=MASK)


@pytest.mark.parametrize("name", [name for name in ROWS if name.startswith("v_pk_")])
def test_packed_halves(name: str) -> None:
    """op_sel picks the half of each source for the low result, op_sel_hi the one for the high result."""
    row, rng = ROWS[name], np.random.default_rng(7)
    sources = [x.name for x in row.operands if not x.write]
    for i in range(40):
        low, high = (dict(zip(sources, rng.integers(0, 2, len(sources)).tolist(), strict=True)) for _ in range(2))
        forms: Forms = {}
        if i % 3:
            constant = Constant("-4.0", (0xC0800000, 0)) if name.endswith("f32") else Constant("7", (7, 0))
            forms[sources[i % len(sources)]] = "s" if i % 3 == 1 else constant
        if i % 3 == 2 and name.endswith(("f32", "b32")):  # a constant dword has no high half
            low[sources[i % len(sources)]] = high[sources[i % len(sources)]] = 0

        def meaning(low: dict[str, int] = low, high: dict[str, int] = high, **args: Any) -> Any:
            return VALU[name](**args | {x: np.stack([args[x][low[x]], args[x][high[x]]]) for x in sources})

        modifiers = f"op_sel:{list(low.values())} op_sel_hi:{list(high.values())}".replace(" ", "").replace("]op", "] op")
        columns = random_columns(row, rng)
        if alias := i % 2 == 0 and not forms:
            columns["d"] = columns["a"]
        how = Written(forms, modifiers=modifiers, alias=alias)
        check(row, with_parameters(meaning, wanted(VALU[name])), columns, rng, how, exec_mask=MASK)


def test_clamp_comes_before_the_destination_selector() -> None:
    before = random_registers(np.random.default_rng(9))
    before.vgpr[1] = np.float32(5).view(np.uint32)
    got = before.run("v_add_f32_sdwa v0, v1, v1 clamp dst_sel:WORD_1 dst_unused:UNUSED_PRESERVE src0_sel:DWORD src1_sel:DWORD")
    expected = before.copy()
    expected.vgpr[0] &= 0xFFFF  # the low half of 1.0 is 0
    compare("clamp, then place", expected, got)


def test_special_registers() -> None:
    before = random_registers(np.random.default_rng(8), exec_mask=MASK)
    s0 = before.mask(0)
    got = before.run("""s_and_b64 vcc, exec, s[0:1]
        s_mov_b32 s2, vcc_lo
        s_mov_b32 s3, exec_hi
        s_mov_b32 m0, 5
        v_readlane_b32 s4, v0, m0
        v_mov_b32_e32 v1, vcc_hi
        s_mov_b32 vcc_lo, 7
        s_mov_b64 exec, s[0:1]
        s_not_b32 exec_hi, exec_hi""")
    expected, both = before.copy(), MASK & s0
    words = {2: both, 3: MASK >> 32, 4: int(before.vgpr[0, 5]), 106: 7, 107: both >> 32, 126: s0, 127: ~(s0 >> 32)}
    for at, word in words.items():
        expected.sgpr[at] = word & 0xFFFFFFFF
    expected.vgpr[1, [lane for lane in range(64) if MASK >> lane & 1]] = both >> 32
    expected.scc = 1
    compare("special registers", expected, got)
