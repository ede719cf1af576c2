"""What encodings do around an instruction: DPP, saturation, six-bit floats, division, scalar registers by number, clocks."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from sparse_mla.errors import AssemblyError, KernelFault
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.machine import Memory, launch
from tests.gfx950.harness import FULL, Registers, compare, random_registers
from tests.gfx950.statements_formats import SIX, code, noisy, number, prng, scale

MASK = 0xF0F0_3333_0123_8001


def neighbour(pattern: str, n: int, lane: int) -> int | None:
    """The lane that one reads, by the manual's table of DPP_CTRL; None where it is outside the row or the wave."""
    row, at = lane // 16 * 16, lane % 16
    if pattern.startswith("quad_perm"):
        return lane // 4 * 4 + int(pattern.strip("quad_perm:[]").split(",")[lane % 4])
    moved = {"row_shl": at + n, "row_shr": at - n, "row_mirror": 15 - at, "row_half_mirror": at // 8 * 8 + 7 - at % 8,
             "row_ror": (at - n) % 16, "row_newbcast": n}  # fmt: skip
    if pattern in moved:
        return row + moved[pattern] if 0 <= moved[pattern] < 16 else None
    if pattern == "row_bcast":
        return (row - 1 if n == 15 else 31) if lane > n else None
    step = {"wave_shl": 1, "wave_rol": 1, "wave_shr": -1, "wave_ror": -1}[pattern]
    return (lane + step) % 64 if "ro" in pattern[5:] or 0 <= lane + step < 64 else None


MOVED = [f"wave_{x}:1" for x in ("shl", "shr", "rol", "ror")] + [f"row_{x}:{n}" for x in ("shl", "shr", "ror") for n in (1, 15)]
PATTERNS = ["quad_perm:[3,1,0,2]", "row_mirror", "row_half_mirror", "row_bcast:15", "row_bcast:31", "row_newbcast:5", *MOVED]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("d", [0, 1])
def test_dpp(pattern: str, d: int) -> None:
    """A lane with no other to read keeps its value, or reads 0; `d` 1: the destination is the source."""
    name, _, n = pattern.partition(":")
    quad = n.startswith("[")
    reads = [neighbour(pattern if quad else name, 0 if quad else int(n or 0), lane) for lane in range(64)]
    for exec_mask in (FULL, MASK):
        for rows, banks, bound in ((15, 15, ""), (15, 15, " bound_ctrl:0"), (10, 5, ""), (7, 14, " bound_ctrl:0")):
            before = random_registers(np.random.default_rng(4), exec_mask)
            text = f"v_add_u32_dpp v{d}, v1, v2 {pattern} row_mask:{rows:#x} bank_mask:{banks:#x}{bound}"
            after, expected = before.run(text), before.copy()
            for lane, read in enumerate(reads):
                have = read is not None and exec_mask >> read & 1
                on = exec_mask >> lane & rows >> lane // 16 & banks >> lane // 4 % 4 & 1
                if on and (have or bound):
                    expected.vgpr[d, lane] = (before.vgpr[1, read] if have else np.uint32(0)) + before.vgpr[2, lane]
            compare(text, expected, after)


def test_dpp_of_pairs_and_signs() -> None:
    before = random_registers(np.random.default_rng(5))
    before.vgpr[2:4] = np.random.default_rng(5).normal(size=64).view(np.uint32).reshape(64, 2).T
    expected = before.copy()
    expected.vgpr[0:2] = before.vgpr[2:4][:, [lane // 16 * 16 + 3 for lane in range(64)]]
    compare("v_mov_b64_dpp", expected, before.run("v_mov_b64_dpp v[0:1], v[2:3] row_newbcast:3 row_mask:0xf bank_mask:0xf"))
    numbers = np.random.default_rng(6).normal(size=(2, 64)).astype(np.float32)
    before.vgpr[1:3], expected = numbers.view(np.uint32), before.copy()
    expected.vgpr[1:3] = before.vgpr[1:3]
    expected.vgpr[0] = (-numbers[0][::-1].reshape(4, 16)[::-1].ravel() + np.abs(numbers[1])).view(np.uint32)
    compare("signs", expected, before.run("v_add_f32_dpp v0, -v1, |v2| row_mirror row_mask:0xf bank_mask:0xf"))


def test_dpp_without_a_pattern() -> None:
    with pytest.raises(AssemblyError, match="pattern of DPP"):
        random_registers(np.random.default_rng(0)).run("v_mov_b32_dpp v0, v1 row_mask:0xf bank_mask:0xf")


def selected(text: str, plain: str, before: Registers, shifts: list[int], at: int, bits: int) -> None:
    """`text` does what `plain` does on sources shifted right, and puts `bits` bits of it at bit `at`, keeping the rest."""
    moved, expected = before.copy(), before.copy()
    for i, shift in enumerate(shifts, 1):
        moved.vgpr[i] >>= np.uint32(shift)
    result, mask = moved.run(plain).vgpr[0] & np.uint32(2**bits - 1), np.uint32((2**bits - 1) << at)
    expected.vgpr[0] = before.vgpr[0] & ~mask | result << np.uint32(at)
    compare(text, expected, before.run(text))


HALVES = """v_fma_f16:3 v_mad_u16:3 v_min3_i16:3 v_med3_u16:3 v_bitop3_b16:3 v_add_i16:2 v_sub_i16:2 v_div_fixup_f16:3"""


@pytest.mark.parametrize("name", HALVES.split())
def test_op_sel_picks_halves(name: str) -> None:
    """Of every source and of the destination; without it, the low ones."""
    name, n = name.split(":")
    before = random_registers(np.random.default_rng(3))
    rest, table = ", ".join(f"v{i}" for i in range(int(n) + 1)), " bitop3:0x1b" if "bitop3" in name else ""
    for bits in range(2 ** (int(n) + 1)):
        picks = [bits >> i & 1 for i in range(int(n) + 1)]
        text = f"{name} {rest}{table} op_sel:[{','.join(map(str, picks))}]"
        selected(text, f"{name} {rest}{table}", before, [16 * x for x in picks[:-1]], 16 * picks[-1], 16)


@pytest.mark.parametrize("low, high", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_op_sel_picks_bytes_and_words(low: int, high: int) -> None:
    before, byte = random_registers(np.random.default_rng(3)), 8 * low + 16 * high
    for name in ("v_cvt_sr_fp8_f32", "v_cvt_scalef32_sr_bf8_f16", "v_cvt_scalef32_pk_fp4_f32"):
        name += " v0, v1, v2" + ", v3" * ("scale" in name)
        selected(f"{name} op_sel:[0,0,{low},{high}]", name, before, [], byte, 8)
    for name in ("v_cvt_scalef32_f32_fp8 v0, v1, v2", "v_cvt_scalef32_pk_f16_fp4 v0, v1, v2"):
        selected(f"{name} op_sel:[{low},{high},0]", name, before, [byte], 0, 32)
    for name, picks, shifts, at, bits in (
        ("v_cvt_scalef32_f16_bf8", (low, 0, high), [8 * low], 16 * high, 16),
        ("v_cvt_scalef32_pk_bf16_fp8", (low, 0, 0), [16 * low], 0, 32),
        ("v_cvt_pk_fp8_f32", (0, 0, high), [], 16 * high, 16),
        ("v_pack_b32_f16", (low, high, 0), [16 * low, 16 * high], 0, 32),
    ):
        plain = f"{name} v0, v1, v2"
        selected(f"{plain} op_sel:[{','.join(map(str, picks))}]", plain, before, shifts, at, bits)


@pytest.mark.parametrize("name, at, bits", [("v_fma_mix_f32", 0, 32), ("v_fma_mixlo_f16", 0, 16), ("v_fma_mixhi_f16", 16, 16)])
def test_mixed_sources(name: str, at: int, bits: int) -> None:
    """op_sel_hi makes a source one of the register's halves, op_sel says which; signs come after."""
    rng = np.random.default_rng(3)
    for case in range(64):
        before = random_registers(rng)
        before.vgpr[1:4] = rng.normal(size=(3, 128)).astype(np.float16).view(np.uint32)
        wide, high = [case >> i & 1 for i in range(3)], [case >> 3 + i & 1 for i in range(3)]
        moved = before.copy()
        for i in range(3):
            if wide[i]:
                moved.vgpr[1 + i] = before.vgpr[1 + i].view(np.float16)[high[i] :: 2].astype(np.float32).view(np.uint32)
        moved.vgpr[1] ^= np.uint32(1 << 31)
        moved.vgpr[2] &= np.uint32(2**31 - 1)
        text = f"{name} v0, -v1, |v2|, v3 op_sel:{high} op_sel_hi:{wide}".replace(", 0", ",0").replace(", 1", ",1")
        result = moved.run("v_fma_f32 v0, v1, v2, v3" + ("" if bits == 32 else "\nv_cvt_f16_f32 v0, v0")).vgpr[0]
        expected, mask = before.copy(), np.uint32((2**bits - 1) << at)
        expected.vgpr[0] = before.vgpr[0] & ~mask | result << np.uint32(at) & mask
        compare(text, expected, before.run(text))


@pytest.mark.parametrize("name, wide", [("v_pk_fma_f16", 1), ("v_pk_max_f16", 1), ("v_pk_fma_f32", 2), ("v_pk_mul_f32", 2)])
def test_signs_of_packed_halves(name: str, wide: int) -> None:
    """neg_lo and neg_hi change the signs of the halves that op_sel and op_sel_hi chose."""
    rng, n = np.random.default_rng(3), 3 if "fma" in name else 2
    for _ in range(20):
        before = random_registers(rng)
        numbers = rng.normal(size=(3, 64, 2))
        low, high, pick, pick_high = (rng.integers(0, 2, n).tolist() for _ in range(4))
        for i in range(3):
            both = numbers[i].astype(np.float32 if wide == 2 else np.float16)
            before.vgpr[2 + wide * i : 2 + wide * (i + 1)] = both.view(np.uint32).reshape(64, wide).T
        moved = before.copy()
        for i in range(n):
            at = slice(2 + wide * i, 2 + wide * (i + 1))
            parts = np.ascontiguousarray(before.vgpr[at].T).view(np.float32 if wide == 2 else np.float16)
            chosen = np.stack([parts[:, pick[i]] * (1 - 2 * low[i]), parts[:, pick_high[i]] * (1 - 2 * high[i])], 1)
            moved.vgpr[at] = np.ascontiguousarray(chosen.astype(parts.dtype)).view(np.uint32).reshape(64, wide).T
        plain = f"{name} " + ", ".join(f"v[{i}:{i + 1}]" if wide == 2 else f"v{i}" for i in [0, *range(2, 2 + wide * n, wide)])
        lists = (("neg_lo", low), ("neg_hi", high), ("op_sel", pick), ("op_sel_hi", pick_high))
        text = plain + "".join(f" {key}:[{','.join(map(str, x))}]" for key, x in lists)
        expected = before.copy()
        expected.vgpr[:wide] = moved.run(plain).vgpr[:wide]
        compare(text, expected, before.run(text))


SATURATED = {"v_add_u32": ("u", 32, 1), "v_sub_u32": ("u", 32, -1), "v_add_i32": ("i", 32, 1), "v_sub_i32": ("i", 32, -1),
             "v_add_u16": ("u", 16, 1), "v_sub_u16": ("u", 16, -1), "v_add_i16": ("i", 16, 1), "v_sub_i16": ("i", 16, -1),
             "v_subrev_u32": ("u", 32, 0), "v_subrev_u16": ("u", 16, 0)}  # fmt: skip


@pytest.mark.parametrize("name", SATURATED)
def test_integer_clamp_saturates(name: str) -> None:
    kind, bits, sign = SATURATED[name]
    before = random_registers(np.random.default_rng(2), MASK)
    text = f"{name}{'_e64' if name[-3:] in ('u32', 'u16') else ''} v0, v1, v2 clamp"
    after, expected = before.run(text), before.copy()
    low, high = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for lane in range(64):
        a, b = (int(before.vgpr[i, lane]) % 2**bits for i in (1, 2))
        a, b = (x - 2**bits if kind == "i" and x >> bits - 1 else x for x in (a, b))
        result = min(max(a + b if sign > 0 else a - b if sign < 0 else b - a, low), high) % 2**bits
        kept = int(before.vgpr[0, lane]) >> 16 << 16 if name.endswith("i16") else 0
        if MASK >> lane & 1:
            expected.vgpr[0, lane] = result | kept
    compare(text, expected, after)


@pytest.mark.parametrize("name", ["v_pk_add_u16", "v_pk_sub_u16", "v_pk_add_i16", "v_pk_sub_i16"])
def test_packed_clamp_saturates(name: str) -> None:
    before = random_registers(np.random.default_rng(2))
    kind = np.int16 if name.endswith("i16") else np.uint16
    a, b = (before.vgpr[i].view(kind).astype(np.int64) for i in (1, 2))
    expected = before.copy()
    exact, ends = a + b if "add" in name else a - b, np.iinfo(kind)
    expected.vgpr[0] = np.clip(exact, ends.min, ends.max).astype(kind).view(np.uint32)
    compare(name, expected, before.run(f"{name} v0, v1, v2 clamp"))


@pytest.mark.parametrize("name", sorted(SIX))
def test_six_bit_floats(name: str) -> None:
    """32 numbers of 6 bits to and from 32 wider ones."""
    small = "fp6" if "_fp6" in name else "bf6"
    wide = next(t for t in ("bf16", "f16", "f32") if f"_{t}" in name)
    rng = np.random.default_rng(7)
    before = random_registers(rng, n=96)
    values = rng.normal(0, 8, (32, 64)) * rng.choice([1e-3, 1, 100], (32, 64))
    values[::5, ::3], values[1::5, ::3], values[2::5, ::3] = np.nan, np.inf, -np.inf  # which these formats lack
    if wide == "f32":
        packed = values.astype(np.float32).view(np.uint32)
        values = packed.view(np.float32).astype(np.float64)
    else:
        bits = code(values.ravel(), wide).reshape(32, 64).astype(np.uint32)
        values = number(bits.ravel(), wide).reshape(32, 64)
        packed = bits[::2] | bits[1::2] << np.uint32(16)
    before.vgpr[90] = rng.integers(110, 140, 64).astype(np.uint32) << 23
    factor, noise = scale(before.vgpr[90].astype(object)), before.vgpr[91].astype(object)
    expected, n = before.copy(), len(packed)
    if name.endswith(("fp6", "bf6")):
        text = f"{name} v[0:{n - 1}], v[40:45], v90"
        whole = sum(before.vgpr[40 + i].astype(object) << 32 * i for i in range(6))
        numbers = np.stack([number(whole >> 6 * k & 63, small) * factor for k in range(32)])
        if wide == "f32":
            expected.vgpr[:32] = numbers.astype(np.float32).view(np.uint32)
        else:
            halves = np.stack([code(x, wide) for x in numbers]).astype(np.uint32)
            expected.vgpr[:16] = halves[::2] | halves[1::2] << np.uint32(16)
    else:
        before.vgpr[40 : 40 + n] = expected.vgpr[40 : 40 + n] = packed
        inputs = "v[40:55], v[56:71], v90" if "2xpk16" in name else f"v[40:{39 + n}], {'v91, ' if 'sr' in name else ''}v90"
        text, whole = f"{name} v[0:5], {inputs}", np.zeros(64, object)
        order = [values[k // 2 + 16 * (k % 2)] for k in range(32)] if "2xpk16" in name else list(values)
        for k, x in enumerate(order):
            whole = whole | (noisy(x / factor, noise, small) if "_sr_" in name else code(x / factor, small)) << 6 * k
            noise = prng(noise)
        expected.vgpr[:6] = np.stack([whole >> 32 * i & 0xFFFFFFFF for i in range(6)]).astype(np.uint32)
    compare(text, expected, before.run(text))


DIVISION = """v_div_scale_{t} {e}, s[4:5], {b}, {b}, {a}
    v_rcp_{t} {r}, {e}
    v_fma_{t} {q}, -{e}, {r}, 1.0
    v_fma_{t} {r}, {q}, {r}, {r}
    v_fma_{t} {q}, -{e}, {r}, 1.0
    v_fma_{t} {r}, {q}, {r}, {r}
    v_div_scale_{t} {n}, vcc, {a}, {b}, {a}
    v_mul_{t} {q}, {n}, {r}
    v_fma_{t} {x}, -{e}, {q}, {n}
    v_fma_{t} {q}, {x}, {r}, {q}
    v_fma_{t} {x}, -{e}, {q}, {n}
    v_div_fmas_{t} {x}, {x}, {r}, {q}
    v_div_fixup_{t} {q}, {x}, {b}, {a}"""


@pytest.mark.parametrize("t", ["f32", "f64"])
def test_the_compilers_division_is_correctly_rounded(t: str) -> None:
    """Over all of the range, ends and denormals too; of fp64 denormal quotients, which are rounded twice, within one ulp."""
    rng, wide = np.random.default_rng(3), t == "f64"
    kind, bits, exponents = (np.float64, np.uint64, 2047) if wide else (np.float32, np.uint32, 255)
    mantissa = 52 if wide else 23
    for i in range(40):
        fields = (1 << mantissa, 0), (exponents + (i % 5 == 0), mantissa), (2, 63 if wide else 31)
        raw: Any = [sum(rng.integers(0, n, 64, dtype=np.uint64) << np.uint64(at) for n, at in fields) for _ in range(2)]
        if i % 2:  # quotients near 1, and near the ends
            raw[1] = raw[0] ^ rng.integers(0, 1 << mantissa + i % 3 * 3, 64, dtype=np.uint64)
        a, b = (x.astype(bits).view(kind) for x in raw)
        before = random_registers(rng)
        names = dict(zip("aberqnx", (f"v[{k}:{k + 1}]" if wide else f"v{k}" for k in range(0, 14, 2)), strict=True))
        for k, x in enumerate((a, b)):
            before.vgpr[2 * k : 2 * k + 1 + wide] = x.view(np.uint32).reshape(64, -1).T
        after = before.run(DIVISION.format(t=t, **names))
        got = np.ascontiguousarray(after.vgpr[8 : 9 + wide].T).view(kind)[:, 0]
        with np.errstate(all="ignore"):
            want = a / b
        same = (got.view(bits) == want.view(bits)) | (np.isnan(got) & np.isnan(want))
        if wide:
            denormal = np.abs(want) < np.finfo(kind).tiny
            same |= denormal & (np.abs(got.view(np.int64) - want.view(np.int64)) <= 1)
        lane = int(np.argmin(same))
        assert same.all(), (a[lane], b[lane], got[lane], want[lane])


def scalars(text: str, **values: int) -> Registers:
    before = random_registers(np.random.default_rng(1))
    for name, x in values.items():
        before.sgpr[int(name[1:])] = x
    return before.run(text)


def test_scalar_registers_by_number() -> None:
    text = "s_mov_b32 m0, 3\ns_movrels_b32 s0, s10\ns_movreld_b32 s20, s11\ns_movrels_b64 s[2:3], s[12:13]"
    got = scalars(text, s11=7, s13=9, s15=1, s16=2)
    assert (got.sgpr[0], got.sgpr[23], got.sgpr[2], got.sgpr[3]) == (9, 7, 1, 2)
    with pytest.raises(KernelFault, match="register index"):
        scalars("s_mov_b32 m0, 0x60\ns_movrels_b32 s0, s10")


def test_vector_registers_by_number() -> None:
    before = random_registers(np.random.default_rng(1), MASK)
    before.sgpr[0] = 5
    text = """s_set_gpr_idx_on s0, gpr_idx(SRC0)
        v_mov_b32_e32 v0, v10
        s_set_gpr_idx_off
        s_set_gpr_idx_on s0, gpr_idx(DST)
        v_add_u32_e32 v20, v1, v2
        s_set_gpr_idx_off
        v_mov_b32_e32 v3, v4"""
    after, expected = before.run(text), before.copy()
    on = [lane for lane in range(64) if MASK >> lane & 1]
    for to, value in ((0, before.vgpr[15]), (25, before.vgpr[1] + before.vgpr[2]), (3, before.vgpr[4])):
        expected.vgpr[to, on] = value[on]
    compare(text, expected, after)
    before.sgpr[0] = 75
    with pytest.raises(KernelFault, match="register index"):
        before.run(text)


def test_hardware_registers() -> None:
    registers = "HW_REG_MODE", "HW_REG_MODE, 4, 4", "HW_REG_XCC_ID"
    got = scalars("\n".join(f"s_getreg_b32 s{i}, hwreg({x})" for i, x in enumerate(registers)))
    assert got.sgpr[:3].tolist() == [0x3F0, 0xF, 0]
    got = scalars("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 12, 2), 3\ns_getreg_b32 s0, hwreg(HW_REG_MODE)")
    assert got.sgpr[0] == 0x33F0
    for text in ("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 0, 2), 3", "s_setreg_b32 hwreg(HW_REG_MODE, 4, 2), s0"):
        with pytest.raises(KernelFault, match="not modelled"):
            scalars(text, s0=0)
    with pytest.raises(AssemblyError, match="HW_REG_IB_STS"):
        scalars("s_getreg_b32 s0, hwreg(HW_REG_IB_STS)")


@pytest.mark.parametrize("text", ["s_trap 2", "s_sethalt 1", "s_sendmsghalt sendmsg(MSG_INTERRUPT)"])
def test_traps_are_faults(text: str) -> None:
    with pytest.raises(KernelFault, match="stopped itself"):
        scalars(text)


def test_clocks_go_forward() -> None:
    got = scalars("s_memtime s[0:1]\ns_memrealtime s[2:3]")
    first, second = (int(got.sgpr[i]) | int(got.sgpr[i + 1]) << 32 for i in (0, 2))
    assert 0 < first <= second < 100


def test_messages_and_hints_do_nothing() -> None:
    before = random_registers(np.random.default_rng(1))
    text: Any = "s_sendmsg sendmsg(MSG_INTERRUPT)\nv_nop\ns_wakeup\ns_sethalt 0"
    compare("nothing", before, before.run(text))


CALLS = """
	.type	more,@function
more:
	s_add_u32 s2, s2, 1
	s_setpc_b64 s[8:9]
	.size	more, 4
	.type	twice,@function
twice:
	s_lshl_b32 s2, s2, 1
	s_cmp_lt_u32 s2, 10
	s_cbranch_scc1 .LBB1_1
	s_call_b64 s[8:9], more
.LBB1_1:
	s_setpc_b64 s[30:31]
	.size	twice, 4
	.type	k,@function
k:
	s_load_dwordx2 s[6:7], s[0:1], 0x0
	s_mov_b32 s2, 20
	s_getpc_b64 s[4:5]
	s_add_u32 s4, s4, twice@rel32@lo+4
	s_addc_u32 s5, s5, twice@rel32@hi+12
	s_swappc_b64 s[30:31], s[4:5]
	v_mov_b32 v0, 0
	v_mov_b32 v1, s2
	s_waitcnt lgkmcnt(0)
	global_store_dword v0, v1, s[6:7]
	s_endpgm
	.size	k, 4
	.amdhsa_kernel k
		.amdhsa_kernarg_size 8
		.amdhsa_user_sgpr_kernarg_segment_ptr 1
	.end_amdhsa_kernel
"""


def test_functions_are_called_and_return() -> None:
    """Through a pointer and straight, from each other; a pointer to no instruction is a fault."""
    memory, out = Memory(), np.zeros(1, np.uint32)
    arguments = struct.pack("<Q", memory.map(out, "out"))
    done = launch(parse(CALLS)["k"], (1,), (64,), arguments, memory)
    assert out[0] == 41
    assert done.wave_instructions == 11 + 5 + 2
    with pytest.raises(KernelFault, match="no instruction begins"):
        launch(parse(CALLS.replace("@lo+4", "@lo+6"))["k"], (1,), (64,), arguments, memory)


@pytest.mark.parametrize("scc, vcc, exec_mask", [(0, 0, FULL), (1, 5, 0), (1, 0, MASK), (0, 1 << 40, FULL)])
def test_conditions_as_operands(scc: int, vcc: int, exec_mask: int) -> None:
    """SCC, and whether VCC and EXEC are 0, as integers of the operand's width."""
    before = random_registers(np.random.default_rng(1), exec_mask, scc)
    before.sgpr[106:108] = vcc & 0xFFFFFFFF, vcc >> 32
    expected, values = before.copy(), (scc, vcc == 0, exec_mask == 0)
    on = [lane for lane in range(64) if exec_mask >> lane & 1]
    expected.sgpr[0], expected.sgpr[2:4] = values[0], (values[2], 0)
    expected.vgpr[0, on], expected.vgpr[1, on] = values[1], 2 * values[0]
    text = """s_mov_b32 s0, src_scc
        s_mov_b64 s[2:3], src_execz
        v_mov_b32_e32 v0, src_vccz
        v_add_u32_e64 v1, src_scc, src_scc"""
    compare(text, expected, before.run(text))
