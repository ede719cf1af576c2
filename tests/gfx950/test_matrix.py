"""The matrix cores against their statements."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from sparse_mla.build import compile_hip
from sparse_mla.errors import AssemblyError, InputError
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.isa import ARCHES, ROWS
from sparse_mla.gfx950.isa.matrix import controls
from sparse_mla.gfx950.machine import Memory, launch, run_snippet
from tests.gfx950.harness import Words, compare, random_registers, span
from tests.gfx950.statements_matrix import F8F6F4, FORMATS, SPECS, Spec, cdna3, gathered, operands, plain, values

MASK = 0x8000_0123_FFFF_00F1
A, B, C, D, INDEX, SCALES = 64, 80, 96, 128, 160, 162  # first registers
DENSE = [name for name in SPECS if "f8f6f4" not in name and "xf32" not in name]
KINDS = ("integers", "normal", "any")
FILES = ("vvvv", "avva", "aaaa", "vav0", "vvv1", "vvv=")  # as Case takes them


def pack(codes: Any, bits: int) -> Words:
    """Items [n, 64] to registers [n * bits / 32, 64]."""
    whole = sum(codes[t].astype(object) << bits * t for t in range(len(codes)))
    return np.array([whole >> 32 * r & 0xFFFFFFFF for r in range(len(codes) * bits // 32)], object).astype(np.uint32)


def random_operand(rng: np.random.Generator, format: str, registers: int, kind: str) -> Words:
    """Small integers, numbers around 1, or any code."""
    f = FORMATS[format]
    n = registers * 32 // f.bits
    if format == "I8" or (kind == "any" and f.bits < 16):
        return rng.integers(0, 2**32, (registers, 64), dtype=np.uint32)
    if f.bits > 16 or format == "BF16":
        numbers = rng.integers(-8, 9, (n, 64)).astype(np.float64) if kind == "integers" else rng.normal(size=(n, 64))
        words = numbers.view(np.uint64) if f.bits == 64 else numbers.astype(np.float32).view(np.uint32) >> 32 - f.bits
        if kind == "any":
            some = rng.random(words.shape) < 0.1
            words = np.where(some, rng.integers(0, 2**f.bits, words.shape, dtype=np.uint64), words)
        return pack(words, f.bits)
    known = np.nan_to_num(values(format), nan=99)
    wanted = (abs(known) <= 8) & (known == np.rint(known) if kind == "integers" else True)
    return pack(rng.choice(np.flatnonzero(wanted), (n, 64)), f.bits)


def random_result(rng: np.random.Generator, spec: Spec, kind: str) -> Words:
    n = spec.registers("d")
    if spec.result == "I32" or (kind == "any" and spec.result == "F32"):
        return rng.integers(0, 2**32, (n, 64), dtype=np.uint32)
    numbers = rng.integers(-99, 100, (n, 64)).astype(np.float64) if kind == "integers" else rng.normal(size=(n, 64))
    if spec.result == "F64":
        return pack(numbers[: n // 2].view(np.uint64), 64)
    return numbers.astype(np.float32).view(np.uint32)


class Case:
    """One instruction on random registers. `files`: those of D, A, B and C, or C's constant, or = for D's own registers."""

    def __init__(self, spec: Spec, kind: str, files: str = "vvvv", seed: int = 4) -> None:
        self.spec, rng = spec, np.random.default_rng(seed)
        d, a, b, c = (files[i] for i in range(4))
        self.before = random_registers(rng, MASK, n=176)
        self.a, self.b = (random_operand(rng, getattr(spec, x), spec.registers(x), kind) for x in "ab")
        self.c = random_result(rng, spec, kind)
        self.index = np.zeros(64, object)
        for first, file, words in ((A, a, self.a), (B, b, self.b)):
            self.before.file(file)[first : first + len(words)] = words
        if spec.sparse:
            c = "="
            self.index = sum((rng.choice([4, 8, 12, 9, 13, 14], 64).astype(object) << 4 * pair for pair in range(8)), self.index)
            self.before.vgpr[INDEX] = self.index.astype(np.uint32)
        n, size = spec.registers("d"), 2 if spec.result == "F64" else 1
        if c in "01":
            one = struct.unpack(f"<{size}I", struct.pack("<d" if size == 2 else "<f" if spec.result == "F32" else "<i", int(c)))
            self.c[:] = np.resize(one, n)[:, None]
        else:
            self.before.file(d if c == "=" else c)[D if c == "=" else C :][:n] = self.c
        constant = {"0": "0", "1": "1" if spec.result == "I32" else "1.0"}
        third = span("v", INDEX, 1) if spec.sparse else constant.get(c) or span(*((d, D) if c == "=" else (c, C)), n)
        self.file, self.first, self.n = d, D, n
        self.line = f"{spec.name} {span(d, D, n)}, {span(a, A, len(self.a))}, {span(b, B, len(self.b))}, {third}"

    def check(self, wanted: Any, modifiers: str = "", arch: str = "gfx950") -> Any:
        """Runs it; every register must be as `wanted` [blocks, m, m] says, whichever NaN it is. Gives back D."""
        state = run_snippet(f"{self.line} {modifiers}", vgpr=self.before.vgpr, agpr=self.before.agpr, exec_mask=MASK, arch=arch)
        got, after = self.before.copy(), self.before.copy()
        got.vgpr, got.agpr = state.vgpr, state.agpr
        after.file(self.file)[D : D + self.n] = scattered(self.spec, wanted)
        place = (after.file(self.file)[D : D + self.n], got.file(self.file)[D : D + self.n])
        if self.spec.result == "F32":
            both = np.isnan(place[0].view(np.float32)) & np.isnan(place[1].view(np.float32))
            place[0][both] = place[1][both]
        compare(f"{self.line} {modifiers}", after, got)
        return gathered(self.spec, np.ascontiguousarray(got.file(self.file)[D : D + self.n]))


def scattered(spec: Spec, d: Any) -> Words:
    """D [blocks, m, m] to registers."""
    lane, item = spec.d()
    if spec.result == "F64":
        codes = np.zeros((spec.registers("d") // 2, 64), np.uint64)
        codes[item, lane] = d.view(np.uint64)
        return pack(codes, 64)
    words = np.zeros((spec.registers("d"), 64), np.uint32)
    words[item, lane] = d.view(np.uint32) if spec.result == "I32" else d.astype(np.float32).view(np.uint32)
    return words


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DENSE)
def test_matrix(name: str, kind: str) -> None:
    """D, A, B and C in either register file, C a constant, or C in D's registers. EXEC does not matter."""
    spec, some = SPECS[name], (DENSE.index(name) + KINDS.index(kind)) % len(FILES)
    for place in FILES if name.endswith("_bf16") else FILES[some : some + 1]:
        case = Case(spec, kind, place)
        left, right, ks = operands(spec, case.a, case.b, case.index)
        start = gathered(spec, case.c)
        with np.errstate(all="ignore"):
            got = case.check(plain(spec, left, right, start, ks))
        if kind == "integers" and spec.result == "F32":
            dense = left if ks is None else np.zeros((1, spec.m, spec.k))
            if ks is not None:
                dense[0, np.arange(spec.m)[:, None], ks[0]] = left[0]
            np.testing.assert_array_equal(got, np.einsum("bik,bjk->bij", dense, right) + start)


@pytest.mark.parametrize("b", F8F6F4)
@pytest.mark.parametrize("a", F8F6F4)
@pytest.mark.parametrize("name", [name for name in SPECS if "f8f6f4" in name])
def test_formats(name: str, a: str, b: str) -> None:
    """Every pair of formats, with scales of their own for every 32 k where the instruction takes them."""
    spec, rng = replace(SPECS[name], a=a, b=b), np.random.default_rng(3)
    for kind, (byte_a, byte_b) in zip(KINDS, ((0, 0), (1, 2), (3, 3)), strict=True):
        case, modifiers = Case(spec, kind, "vvvv", len(a) + len(b)), f"cbsz:{F8F6F4.index(a)} blgp:{F8F6F4.index(b)}"
        left, right, _ = operands(spec, case.a, case.b)
        scales = None
        if spec.scaled:
            words = rng.integers(*((0, 256) if kind == "any" else (100, 150)), (2, 64, 4), dtype=np.uint8)
            case.before.vgpr[SCALES : SCALES + 2] = words.view(np.uint32)[..., 0]
            picked = np.stack([words[0, :, byte_a], words[1, :, byte_b]]).astype(np.float64)
            scales = np.where(picked == 255, np.nan, 2.0 ** (picked - 127)).reshape(2, -1, spec.m).swapaxes(1, 2)
            case.line += f", v{SCALES}, v{SCALES + 1}"
            modifiers = f"op_sel:[{byte_a & 1},{byte_b & 1},0] op_sel_hi:[{byte_a >> 1},{byte_b >> 1},0] {modifiers}"
        with np.errstate(all="ignore"):
            got = case.check(plain(spec, left, right, gathered(spec, case.c), scales=scales), modifiers)
        if kind == "integers" and scales is None:
            np.testing.assert_array_equal(got, np.einsum("bik,bjk->bij", left, right) + gathered(spec, case.c))


def test_scales_by_default() -> None:
    """Without op_sel_hi, whose bits are set where it is not written, the third byte."""
    spec = replace(SPECS["v_mfma_scale_f32_16x16x128_f8f6f4"], a="FP4", b="FP4")
    case = Case(spec, "integers")
    case.before.vgpr[SCALES : SCALES + 2] = 0x7F80_7F7F
    case.line += f", v{SCALES}, v{SCALES + 1}"
    left, right, _ = operands(spec, case.a, case.b)
    case.check(plain(spec, left, right, gathered(spec, case.c), scales=np.full((2, 16, 4), 2.0)), "cbsz:4 blgp:4")


@pytest.mark.parametrize("name", [name for name in DENSE if SPECS[name].blocks > 1 and "f64" not in name])
def test_broadcast(name: str) -> None:
    """CBSZ and ABID choose the lanes that A is read from, BLGP those of B (manual, 7.1.6)."""
    spec, lane = SPECS[name], np.arange(64)
    blgp = [lane, lane % 32, lane % 32 + 32, (lane + 16) % 64, *(lane % 16 + 16 * n for n in range(4))]
    blocks = spec.blocks.bit_length() - 1
    most = 2**blocks - 1
    for b, (cbsz, abid) in enumerate(((1, 1), (0, 0), (0, 0), (blocks, most), (1, 0), (blocks, 0), (0, 0), (blocks, most // 2))):
        case, s = Case(spec, "normal", "avva"), 64 >> cbsz
        from_a = lane % s + s * abid if cbsz else lane
        left, right, _ = operands(spec, case.a[:, from_a], case.b[:, blgp[b]])
        case.check(plain(spec, left, right, gathered(spec, case.c)), f"cbsz:{cbsz} abid:{abid} blgp:{b}")


@pytest.mark.parametrize("name", [name for name in SPECS if "f64" in name])
def test_negated(name: str) -> None:
    spec = SPECS[name]
    for neg in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        case = Case(spec, "normal")
        left, right, _ = operands(spec, case.a, case.b)
        x, y, z = ((-1.0) ** sign * matrix for sign, matrix in zip(neg, (left, right, gathered(spec, case.c)), strict=True))
        case.check(plain(spec, x, y, z), f"neg:[{','.join(map(str, neg))}]")


@pytest.mark.parametrize("name", [name for name in SPECS if "smfmac" in name])
def test_sparse_index_sets(name: str) -> None:
    """ABID picks one of the sets in the index register, unless CBSZ says the first."""
    spec = SPECS[name]
    used = 2 * spec.registers("a") * 32 // FORMATS[spec.a].bits
    for abid in range(32 // used):
        for cbsz in (0, 1):
            case = Case(spec, "normal")
            left, right, ks = operands(spec, case.a, case.b, case.index >> used * (0 if cbsz else abid))
            case.check(plain(spec, left, right, gathered(spec, case.c), ks), f"cbsz:{cbsz} abid:{abid}")


@pytest.mark.parametrize("name", [name for name in DENSE if SPECS[name].blocks == 1 and not re.search("smfmac|f64", name)])
def test_one_hot(name: str) -> None:
    """From a lane's point of view (layouts as published): which row of A it holds, which row of D its registers are."""
    spec, case = SPECS[name], Case(SPECS[name], "integers", "vvv0")
    bits, one = FORMATS[spec.a].bits, {"I8": 1, "F32": 0x3F800000, "F16": 0x3C00, "BF16": 0x3F80, "FP8": 0x38, "BF8": 0x3C}
    rng, r, lane = np.random.default_rng(0), np.arange(case.n)[:, None], np.arange(64)
    row = 4 * (lane // 16) + r if spec.m == 16 else 8 * (r // 4) + 4 * (lane // 32) + r % 4
    for _ in range(3):
        hot = np.zeros((len(case.a) * 32 // bits, 64), np.int64)
        item, at = rng.integers(len(hot)), rng.integers(64)
        hot[item, at] = one[spec.a]
        case.before.vgpr[A : A + len(case.a)] = pack(hot, bits)
        case.before.vgpr[B : B + len(case.b)] = pack(hot * 0 + one[spec.b], bits)
        d = run_snippet(case.line, vgpr=case.before.vgpr).vgpr[D : D + case.n]
        np.testing.assert_array_equal(d != 0, row == at % spec.m)


def adversarial(rng: np.random.Generator, format: str, n: int) -> Any:
    """Item codes [n, 64] whose products cancel, vanish beside each other and overflow."""
    f = FORMATS[format]
    codes = rng.integers(0, 2**f.bits, (n, 64), dtype=np.uint64)
    if f.bits == 8:
        return codes & np.uint64(rng.choice([0xFF, 0xBF]))  # any, or none of the large ones, the infinite and the NaN
    middle, spread = f.bias << f.mantissa, int(rng.choice([0, 1, 3, 13])) << f.mantissa
    around = middle + rng.integers(-spread, spread + 1, codes.shape) // (1 << f.mantissa) * (1 << f.mantissa)
    near = around.astype(np.uint64) | codes & np.uint64((1 << f.mantissa) - 1) | codes & np.uint64(1 << f.bits - 1)
    repeated = np.where(rng.random(codes.shape) < 0.5, np.roll(near, 1, axis=0) ^ np.uint64(1 << f.bits - 1), near)
    return [codes, near, repeated][rng.integers(3)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["16x16x16_f16", "16x16x32_bf16", "16x16x32_fp8_bf8", "4x4x4_16b_bf16", "16x16x8_xf32"])
def test_model_of_cdna3(name: str, seed: int) -> None:
    """Bit for bit, against exact fractions."""
    spec, rng = SPECS[f"v_mfma_f32_{name}"], np.random.default_rng(seed)
    case = Case(spec, "normal")
    for first, x in ((A, "a"), (B, "b")):
        format, n = getattr(spec, x), spec.registers(x)
        bits = FORMATS[format].bits
        case.before.vgpr[first : first + n] = pack(adversarial(rng, format, n * 32 // bits), bits)
    c = case.before.vgpr[C : C + case.n].view(np.float32)
    c *= np.float32(2) ** rng.integers(-30, 30, c.shape)
    c[rng.random(c.shape) < 0.1] = 0
    left, right, _ = operands(spec, *(case.before.vgpr[x : x + spec.registers(y)] for x, y in ((A, "a"), (B, "b"))))
    formats, start = (FORMATS[spec.a], FORMATS[spec.b]), gathered(spec, c.view(np.uint32))
    with np.errstate(all="ignore"):
        wanted = [cdna3(*formats, left[n, i], right[n, j], x) for (n, i, j), x in np.ndenumerate(start)]
    arch = "gfx942" if "xf32" in name else "gfx950"
    state = run_snippet(case.line, vgpr=case.before.vgpr, agpr=case.before.agpr, mfma="cdna3", arch=arch)
    np.testing.assert_array_equal(gathered(spec, state.vgpr[D : D + case.n]).ravel(), wanted)


def test_models_differ_and_are_named() -> None:
    """2^24 + 1 + 1: one by one the ones are lost, summed first they are not. Integers and fp32 have one model."""
    a = np.zeros((4, 64), np.uint32)
    a[0] = 0x3F80_4B80  # 2^24, 1
    a[1] = 0x3F80
    ones = np.full((4, 64), 0x3F803F80, np.uint32)
    text, found = "v_mfma_f32_16x16x32_bf16 v[8:11], v[0:3], v[4:7], 0", {}
    for model in ("plain", "cdna3"):
        found[model] = run_snippet(text, vgpr=np.concatenate([a, ones, ones]), mfma=model).vgpr[8].view(np.float32)[0]
    assert found == {"plain": 4 * 2.0**24, "cdna3": 4 * (2.0**24 + 2)}
    with pytest.raises(InputError, match="plain, cdna3"):
        run_snippet(text, mfma="exact")


@pytest.mark.parametrize("c, fp8, bf16", [(-25, 1 - 2.0**-24, 1 - 2.0**-24), (-26, 1, 1 - 2.0**-24), (-60, 1, 1 - 2.0**-24)])
def test_tiny_c_on_cdna3(c: int, fp8: float, bf16: float) -> None:
    """1 - 2^c: C is rounded down at 24 bits behind the point, however small; with fp8 only if at most 25 exponents below."""
    vgpr = np.zeros((12, 64), np.uint32)
    vgpr[8:] = np.float32(-(2.0**c)).view(np.uint32)
    for one, types, n, wanted in ((0x38, "fp8_fp8", 2, fp8), (0x3F80, "bf16", 4, bf16)):
        vgpr[0, :16] = vgpr[4, :16] = one  # k = 0 only
        line = f"v_mfma_f32_16x16x32_{types} v[12:15], {span('v', 0, n)}, {span('v', 4, n)}, v[8:11]"
        got = run_snippet(line, vgpr=vgpr, mfma="cdna3").vgpr[12:16].view(np.float32)
        np.testing.assert_array_equal(got, np.full((4, 64), wanted, np.float32))


@pytest.mark.parametrize(
    "line, why",
    [
        ("v_mfma_f32_16x16x32_bf16 a[0:3], v[4:7], v[8:11], v[0:3]", "same register file"),
        ("v_mfma_f32_32x32x16_bf16 v[0:15], v[4:7], v[8:11], v[2:17]", "C must be D's registers or none"),
        ("v_mfma_f32_16x16x32_bf16 v[0:3], s[4:7], v[8:11], 0", "must be a vector register"),
        ("v_mfma_f32_16x16x32_bf16 v[0:3], v[4:5], v[8:11], 0", "takes 4 registers, not 2"),
        ("v_mfma_f32_16x16x32_bf16 v[0:3], v[4:7], v[8:11], 0 cbsz:1", "1 blocks take no cbsz 1"),
        ("v_mfma_f32_16x16x4_4b_f16 v[0:15], v[16:17], v[18:19], 0 cbsz:1 abid:2", "4 blocks take no cbsz 1 with abid 2"),
        ("v_mfma_f32_16x16x32_bf16 v[0:3], v[4:7], v[8:11], 0 neg:[1,0,0]", "modifier neg is not known"),
        ("v_mfma_f32_16x16x128_f8f6f4 v[0:3], v[4:11], v[12:19], 0 cbsz:5", "formats are 0 to 4"),
        ("v_mfma_f32_16x16x128_f8f6f4 v[0:3], v[4:11], v[12:19], 0 cbsz:2", "operand a takes 6 registers, not 8"),
        ("v_mfma_f32_16x16x128_f8f6f4 v[0:3], v[4:11], v[12:17], 0 blgp:4", "operand b takes 4 registers, not 6"),
        ("v_mfma_f32_16x16x128_f8f6f4 v[0:3], v[4:11], v[12:19], 0 op_sel:[1,0,0]", "modifier op_sel is not known"),
        ("v_mfma_f32_16x16x8_xf32 v[0:3], v[4:5], v[6:7], 0", "gfx950 has no v_mfma_f32_16x16x8_xf32"),
    ],
)
def test_rejected(line: str, why: str) -> None:
    with pytest.raises(AssemblyError, match=why):
        run_snippet(line)


@pytest.mark.parametrize("name", DENSE)
def test_passes(name: str) -> None:
    """Tables 28 and 33, in cycles: several blocks and fp32 take longer, fp64 longest."""
    spec = SPECS[name]
    slow = {"F64": {16: 64, 4: 32}, "F32": {32: 64, 16: 32, 4: 8}}
    cycles = slow.get(spec.a, slow["F32"] if spec.blocks > 1 else {32: 32, 16: 16})
    assert ROWS[name].latency == f"mfma{cycles[spec.m] // 4}"


def test_passes_of_small_formats() -> None:
    """f8f6f4 takes as long as its 8-bit elements make it."""
    for m, k, passes in ((16, 128, 8), (32, 64, 16)):
        row = ROWS[f"v_mfma_f32_{m}x{m}x{k}_f8f6f4"]
        found = [controls(row, {"cbsz": a, "blgp": b}).row.latency for a, b in (("0", "0"), ("4", "1"), ("2", "4"))]
        assert found == [f"mfma{passes}", f"mfma{passes}", f"mfma{passes // 2}"]


# ---- gfx942 ------------------------------------------------------------------------------------------------------
GFX942 = r"""
#include "gfx950.h"
typedef short bits16x4 __attribute__((ext_vector_type(4)));
typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef float f32x4 __attribute__((ext_vector_type(4)));
extern "C" __global__ void both(const bits16x4* a, const long* fp8, f32x16* out, f32x4* out8, float* converted) {
  unsigned lane = threadIdx.x;
  out[lane] = __builtin_amdgcn_mfma_f32_32x32x8bf16_1k(a[lane], a[64 + lane], f32x16{}, 0, 0, 0);
  out8[lane] = __builtin_amdgcn_mfma_f32_16x16x32_fp8_fp8(fp8[lane], fp8[64 + lane], f32x4{}, 0, 0, 0);
  converted[lane] = __builtin_amdgcn_cvt_f32_fp8((int)fp8[lane], 1);
}
"""


def test_code_of_gfx942_runs() -> None:
    """Its fp8 is of another kind (FNUZ): one NaN, no -0, twice the bias."""
    rng, memory = np.random.default_rng(8), Memory()
    wide, small = SPECS["v_mfma_f32_32x32x8_bf16"], replace(SPECS["v_mfma_f32_16x16x32_fp8_fp8"], a="FP8Z", b="FP8Z")
    x = [random_operand(rng, "BF16", 2, "normal") for _ in "ab"]
    y = [rng.integers(0, 2**32, (2, 64), dtype=np.uint32) & 0x7F7F7F7F for _ in "ab"]
    given = [np.ascontiguousarray(np.concatenate([w.T for w in words])) for words in (x, y)]
    out, out8, converted = np.zeros((64, 16), np.float32), np.zeros((64, 4), np.float32), np.zeros(64, np.float32)
    text = compile_hip(GFX942, arch="gfx942").text
    kernarg = struct.pack("<5Q", *(memory.map(array, "data") for array in (*given, out, out8, converted)))
    kernel = parse(text)["both"]
    assert kernel.arch == "gfx942"
    launch(kernel, (1,), (64,), kernarg, memory)
    for spec, words, got in ((wide, x, out), (small, y, out8)):
        left, right, _ = operands(spec, *words)
        zero = np.zeros((spec.blocks, spec.m, spec.m), np.float32)
        np.testing.assert_array_equal(gathered(spec, np.ascontiguousarray(got.T).view(np.uint32)), plain(spec, left, right, zero))
    np.testing.assert_array_equal(converted, [FORMATS["FP8Z"].decode(int(code) >> 8 & 0xFF) for code in y[0][0]])
    other = text.replace("gfx942", "gfx90a")
    with pytest.raises(AssemblyError, match="both is for gfx90a: the emulator executes gfx950 and gfx942"):
        launch(parse(other)["both"], (1,), (64,), kernarg, memory)
    with pytest.raises(InputError, match="a gfx942 workgroup has 0 to 65,536"):
        launch(kernel, (1,), (64,), kernarg, memory, dynamic_lds=65_537)


@pytest.mark.parametrize("name", [x for x in DENSE if x[-3:] in ("fp8", "bf8") and not ARCHES["gfx942"].lacks.fullmatch(x)])
def test_fp8_products_of_gfx942(name: str) -> None:
    spec = replace(SPECS[name], a=SPECS[name].a + "Z", b=SPECS[name].b + "Z")
    case = Case(spec, "any")
    left, right, ks = operands(spec, case.a, case.b, case.index)
    with np.errstate(all="ignore"):
        case.check(plain(spec, left, right, gathered(spec, case.c), ks), arch="gfx942")


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name, format", [("fp8", "FP8"), ("bf8", "BF8")])
def test_all_codes(name: str, format: str, arch: str) -> None:
    f = FORMATS[format + "Z" * (arch == "gfx942")]
    for start in range(0, 256, 64):
        codes = np.arange(start, start + 64, dtype=np.uint32)[None]
        got = run_snippet(f"v_cvt_f32_{name} v1, v0", vgpr=codes, arch=arch).vgpr[1].view(np.float32)
        np.testing.assert_array_equal(got, [f.decode(code) for code in range(start, start + 64)])


@pytest.mark.parametrize("name, format", [("fp8", "FP8Z"), ("bf8", "BF8Z")])
def test_rounding_to_fp8_of_gfx942(name: str, format: str) -> None:
    """Every code comes back; halfway between two the even one wins; there is no -0 and no infinity."""
    known = values(format)
    middle = (known[:127] + known[1:128]) / 2
    even, pair = np.arange(127) + np.arange(127) % 2, partial(zip, strict=True)
    pairs = [*pair(known, range(256)), *pair(middle, even), *pair(-middle[1:], even[1:] + 128)]
    pairs += [(x, 128) for x in (np.nan, np.inf, -np.inf, 1e30)] + [(x, 0) for x in (-0.0, -1e-30, -middle[0])]
    for start in range(0, len(pairs), 64):
        x, codes = (np.resize(column, 64) for column in zip(*pairs[start : start + 64], strict=True))
        words = x.astype(np.float32).view(np.uint32)
        got = run_snippet(f"v_cvt_pk_{name}_f32 v1, v0, v0", vgpr=words[None], arch="gfx942").vgpr[1]
        np.testing.assert_array_equal(got & 0xFF, codes)


def test_what_gfx942_lacks() -> None:
    with pytest.raises(AssemblyError, match=r"gfx942 has no v_mfma_f32_16x16x32_bf16 in .*line 1"):
        run_snippet("v_mfma_f32_16x16x32_bf16 v[0:3], v[4:7], v[8:11], 0", arch="gfx942")
