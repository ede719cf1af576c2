"""Operands other than a VGPR, and modifiers: whatever LLVM's assembler takes must mean on the emulator what it means on the chip."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Iterator
from functools import lru_cache, wraps
from typing import Any

import numpy as np
import pytest

from sparse_mla.build import find_toolchain
from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.isa import ROWS, Operand
from tests.gfx950.harness import SLOT, Constant, assemble, check, compare, dwords, random_registers, random_words, span
from tests.gfx950.statements import ELEMENTS, IMMEDIATE, MATRIX, MEMORY, NO_EFFECT, SALU, TAKEN, VALU, Statement, sext

MASK = 0xF0F0_3333_0123_8001


def rejected(lines: list[str]) -> dict[str, str]:
    """Which lines LLVM's assembler does not take for gfx950, with its words."""
    done = subprocess.run([*find_toolchain().clang, "--target=amdgcn-amd-amdhsa", "-mcpu=gfx950", "-x", "assembler", "-c", "-", "-o", "/dev/null"],
                          input="label:\n" + "\n".join(lines) + "\n", capture_output=True, text=True)  # fmt: skip
    found = [line.split(":", 4) for line in done.stderr.splitlines() if line.startswith("<stdin>:")]
    return {lines[int(number) - 2]: words for _, number, _, _, words in found}


def example(name: str) -> str:
    """The row written with registers only."""
    row = ROWS[name]
    if name in NO_EFFECT:
        return f"{name} {NO_EFFECT[name]}"
    if name in TAKEN:
        return f"{name} label"
    if name.startswith("s_load"):
        return f"{name} {span('s', 0, row.operands[0].width)}, s[16:17], 0x10"
    if name in MEMORY or name in ELEMENTS or name in MATRIX:
        texts = ["v[2:3]" if x.type == "A" else "off" if x.type == "S" else span("v", SLOT * i, x.width) for i, x in enumerate(row.operands)]
        return f"{name} {', '.join(texts)}"
    written_out = {"v_fmamk_f32": "k", "v_fmaak_f32": "k", "v_writelane_b32": "b"} | IMMEDIATE   # operands that are constants, or must be one here
    forms = {written_out[name]: Constant("0x34", (0x34,))} if name in written_out else {}
    return assemble(row, forms, modifiers="bitop3:0x17" if "bitop3" in name else "")[0]


def test_every_row_is_an_instruction_of_gfx950() -> None:
    """And takes operands of the same kinds and widths there."""
    assert rejected([example(name) for name in ROWS]) == {}


def constants(x: Operand) -> Iterator[Constant]:
    """Inline integers, which a 64-bit operand sign-extends, and floats; a literal."""
    for n in (0, 17, 64, -1, -16):
        yield Constant(str(n), (n & 0xFFFFFFFF, 0xFFFFFFFF if n < 0 else 0)[: dwords(x)])
    if dwords(x) == 1:
        for f in ("0.5", "-4.0", "0.15915494"):
            yield Constant(f, (int(np.float32(f).view(np.uint32)),))
        yield Constant("0x3f8ccccd", (0x3F8CCCCD,))
    else:
        yield Constant("1.0", (0, 0x3FF00000))


@lru_cache
def combinations() -> tuple[tuple[str, str, Any], ...]:
    """(row, operand, form or sign) of every source that the assembler lets be a scalar register, a constant, negated or absolute."""
    lines: dict[str, tuple[str, str, Any]] = {}
    for name in [*SALU, *VALU]:
        row = ROWS[name]
        masks = {x.name: "vcc" for x in row.operands if x.value == "m" and x.read}
        for x in row.operands:
            if x.write or x.value in "mqP" or name in IMMEDIATE:   # packed operands: below
                continue
            forms = [*constants(x), *([] if x.scalar or x.value[0] == "x" else ["s"])]
            given = {"k": Constant("0x40490fdb", (0x40490FDB,))} if any(y.name == "k" for y in row.operands) else {}
            modifiers = "bitop3:0x17" if "bitop3" in name else ""
            for form in forms if x.name != "k" else []:
                lines[assemble(row, masks | given | {x.name: form}, modifiers=modifiers)[0]] = name, x.name, form
            if x.value == "f" and not given:
                for sign in ("-", "||", "-||"):
                    lines[assemble(row, masks, signs={x.name: sign})[0]] = name, x.name, sign
    bad = rejected(list(lines))
    return tuple(combination for line, combination in lines.items() if line not in bad)


@pytest.mark.parametrize("name", [*SALU, *VALU])
def test_scalars_constants_and_signs(name: str) -> None:
    row, rng = ROWS[name], np.random.default_rng(3)
    for _, operand, form in [x for x in combinations() if x[0] == name]:
        columns = {x.name: random_words(rng, "f" if x.value == "f" else "u", (dwords(x), 64)) for x in row.operands}
        masks = {x.name: "vcc" for x in row.operands if x.value == "m" and x.read}
        if name == "s_bfe_u32" and (operand == "a" or form == "s"):
            columns["b"] &= 0x1F001F
        elif name == "s_bfe_u32" and isinstance(form, Constant) and form.words[0] >> 16 & 0x7F > 32:
            continue   # open: see the statement
        signs = {operand: form} if form in ("-", "||", "-||") else {}
        imm = 0x17 if "bitop3" in name else 0
        check(row, (SALU | VALU)[name], columns, rng, forms=masks | ({} if signs else {operand: form}), exec_mask=MASK, signs=signs, imm=imm,
              modifiers="bitop3:0x17" if imm else "")  # fmt: skip


def test_the_assembler_takes_what_was_meant() -> None:
    kinds = [form.text if isinstance(form, Constant) else form for _, _, form in combinations()]
    assert {"s", "17", "-16", "0.5", "0x3f8ccccd", "-", "||", "-||"} <= set(kinds)
    assert len(kinds) > 1500


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if name in VALU and row.operands[0].type == "f" and "k" not in [x.name for x in row.operands]])
def test_clamp(name: str) -> None:
    """To [0, 1]; NaN becomes 0, as compute kernels set MODE.DX10_CLAMP. Which zero a negative number becomes is open."""
    row, rng = ROWS[name], np.random.default_rng(4)

    @wraps(VALU[name])
    def statement(**args: Any) -> Any:
        x = np.asarray(VALU[name](**args))
        return np.where(np.isnan(x), 0, np.clip(x, 0, 1))

    for _ in range(4):
        columns = {x.name: random_words(rng, "f" if x.value == "f" else "u", (1, 64)) for x in row.operands}
        check(row, statement, columns, rng, exec_mask=MASK, modifiers="clamp")


@pytest.mark.parametrize("name", [name for name in VALU if len(ROWS[name].operands) > 1 and "swap" not in name and "accvgpr" not in name])
def test_destination_that_is_a_source(name: str) -> None:
    row, rng = ROWS[name], np.random.default_rng(5)
    second = row.operands[1]
    if row.operands[0].scalar or second.scalar:
        return
    for _ in range(2):
        columns = {x.name: random_words(rng, "f" if x.value in "fP" else "u", (dwords(x), 64)) for x in row.operands}
        columns["d"][: dwords(second)] = columns[second.name]
        check(row, VALU[name], columns, rng, exec_mask=MASK, alias=True, imm=0, modifiers="bitop3:0x0" if "bitop3" in name else "")


PARTS = {"BYTE_0": (0, 8), "BYTE_1": (8, 8), "BYTE_2": (16, 8), "BYTE_3": (24, 8), "WORD_0": (0, 16), "WORD_1": (16, 16), "DWORD": (0, 32)}


@pytest.mark.parametrize("name", ["v_mov_b32", "v_add_u32", "v_or_b32", "v_lshlrev_b32", "v_lshrrev_b16", "v_add_u16", "v_mul_u32_u24", "v_cvt_f32_u32",
                                  "v_cvt_f32_i32", "v_cvt_f32_fp8", "v_cvt_f32_bf8", "v_cvt_pk_f32_fp8", "v_cmp_lt_u16", "v_cmp_ge_i32"])  # fmt: skip
def test_sdwa(name: str) -> None:
    """Parts of the sources, extended by zeros or the sign; the result's low bits into a part of the destination."""
    row, rng = ROWS[name], np.random.default_rng(6)
    sources, tries = [x.name for x in row.operands if x.read], []
    masks = {x.name: "vcc" for x in row.operands if x.value == "m"}
    for _ in range(60):
        part = {x: str(rng.choice(list(PARTS))) for x in sources}
        signs = {x: "sext" for x in sources if rng.random() < 0.4}
        keep, to = bool(rng.random() < 0.5), "DWORD" if row.operands[0].value in "fPm" else str(rng.choice(list(PARTS)))
        modifiers = " ".join(f"src{i}_sel:{part[x]}" for i, x in enumerate(sources))
        if not masks and "f8" not in name and "fp8" not in name:   # those have no destination selector
            modifiers = f"dst_sel:{to} dst_unused:UNUSED_{'PRESERVE' if keep else 'PAD'} {modifiers}"
        tries.append((assemble(row, masks, "_sdwa", modifiers, signs)[0], part, signs, keep, to, modifiers))
    bad = rejected([text for text, *_ in tries])
    tries = [one for one in tries if one[0] not in bad]
    assert len(tries) > 10
    for _, part, signs, keep, to, modifiers in tries:

        def statement(d: Any, **args: Any) -> Any:
            for x in sources:
                at, bits = PARTS[part[x]]
                picked = args[x] % 2**32 >> at & (1 << bits) - 1
                picked = sext(picked, bits) if x in signs else picked
                args[x] = sext(picked, 32) if "_i" in name else picked % 2**32
            result, (at, bits) = VALU[name](**args), PARTS[to]
            if to == "DWORD":
                return result
            return (result & (1 << bits) - 1) << at | (d & ~((1 << bits) - 1 << at) if keep else 0)

        with_d(statement, name)
        columns = {x.name: random_words(rng, "u", (dwords(x), 64)) for x in row.operands}
        check(row, statement, columns, rng, forms=masks, suffix="_sdwa", modifiers=modifiers, signs=signs, exec_mask=MASK)


def with_d(statement: Statement, name: str) -> None:
    """Gives `statement` the parameters of a row's own and the old destination."""
    names = {"d": 0} | dict(inspect.signature(VALU[name]).parameters)
    statement.__signature__ = inspect.Signature([inspect.Parameter(x, inspect.Parameter.KEYWORD_ONLY) for x in names])  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["v_pk_add_f32", "v_pk_mul_f32", "v_pk_fma_f32"])
def test_packed_halves(name: str) -> None:
    """op_sel picks the dword of each source for the low result, op_sel_hi the one for the high result."""
    row, rng = ROWS[name], np.random.default_rng(7)
    sources = [x.name for x in row.operands if not x.write]
    for i in range(40):
        low, high = (dict(zip(sources, rng.integers(0, 2, len(sources)), strict=True)) for _ in range(2))
        forms: dict[str, str | Constant] = {}
        if i % 3:
            scalar = str(rng.choice(sources))
            forms[scalar] = "s" if i % 3 == 1 else Constant("-4.0", (0xC0800000, 0xC0800000))
            if i % 3 == 2:   # a constant has no high half
                low[scalar] = high[scalar] = 0

        @wraps(VALU[name])
        def statement(**args: Any) -> Any:
            return VALU[name](**{x: np.stack([args[x][low[x]], args[x][high[x]]]) for x in sources})

        modifiers = f"op_sel:[{','.join(str(n) for n in low.values())}] op_sel_hi:[{','.join(str(n) for n in high.values())}]"
        columns = {x.name: random_words(rng, "f", (2, 64)) for x in row.operands}
        check(row, statement, columns, rng, forms=forms, modifiers=modifiers, exec_mask=MASK, alias=i % 2 == 0 and not forms)


def test_special_registers() -> None:
    rng = np.random.default_rng(8)
    before = random_registers(rng, exec_mask=MASK)
    vcc, exec_mask = before.mask(106), before.mask(126)
    s0 = int(before.sgpr[0]) | int(before.sgpr[1]) << 32
    got = before.run("""s_and_b64 vcc, exec, s[0:1]
        s_mov_b32 s2, vcc_lo
        s_mov_b32 s3, exec_hi
        s_mov_b32 m0, 5
        v_readlane_b32 s4, v0, m0
        v_mov_b32_e32 v1, vcc_hi
        s_mov_b32 vcc_lo, 7
        s_mov_b64 exec, s[0:1]
        s_not_b32 exec_hi, exec_hi""")
    expected = before.copy()
    both = vcc_after = exec_mask & s0
    for at, word in ((2, both), (3, exec_mask >> 32), (106, 7), (107, vcc_after >> 32), (126, s0), (127, ~(s0 >> 32))):
        expected.sgpr[at] = word & 0xFFFFFFFF
    expected.sgpr[4] = before.vgpr[0, 5]
    lanes = np.array([exec_mask >> lane & 1 for lane in range(64)], bool)
    expected.vgpr[1, lanes] = both >> 32
    expected.scc = 1
    compare("special registers", expected, got)
    assert vcc != both
