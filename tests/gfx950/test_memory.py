"""Global, scalar and LDS accesses against their statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_mla.build import compile_hip
from sparse_mla.errors import AssemblyError, KernelFault
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.dispatch import pack_arguments
from sparse_mla.gfx950.isa import ROWS
from sparse_mla.gfx950.isa.memory import swizzle
from sparse_mla.gfx950.machine import Memory, launch
from tests.gfx950.harness import FULL, Registers, compare, halves, random_registers, span
from tests.gfx950.statements_memory import (
    ATOMICS,
    DATA_FORMATS,
    DS_ATOMICS,
    ELEMENTS,
    EXCHANGES,
    MEMORY,
    NUMBER_FORMATS,
    OPS,
    SCALAR,
    SCALAR_ATOMICS,
    STRAIGHT,
    TO_LDS,
    TRANSPOSED,
    TYPED,
    component_widths,
    convertible,
    from_component,
    swizzled,
    to_component,
)

MASK = 0x8000_0123_FFFF_00F1
Bytes = NDArray[np.uint8]


class Access:
    """One load or store on random data: `data` is what the instruction touches, `wanted` what it should become."""

    def __init__(self, rng: np.random.Generator, size: int, mask: int, letter: str) -> None:
        self.data = rng.integers(0, 256, size, dtype=np.uint8)
        self.wanted, self.mask, self.letter = self.data.copy(), mask, letter
        self.lanes = [lane for lane in range(64) if mask >> lane & 1]
        self.before = random_registers(rng, mask)

    def address(self, register: int, values: Any, width: int = 1) -> None:
        """Only active lanes get an address; the others may hold any."""
        for lane in self.lanes:
            self.before.vgpr[register : register + width, lane] = halves(int(values[lane]))[:width]

    def read(self, where: Any) -> Any:
        return np.array([int.from_bytes(self.data[a : a + 16].tobytes(), "little") for a in where.tolist()], object)

    def expect_loaded(self, first: int, width: int, values: Any) -> Registers:
        after = self.before.copy()
        for i in range(width):
            after.file(self.letter)[first + i, self.lanes] = (values[self.lanes] >> 32 * i & 0xFFFFFFFF).astype(np.uint32)
        return after

    def given(self, first: int, width: int) -> Any:
        return sum(self.before.file(self.letter)[first + i].astype(object) << 32 * i for i in range(width))

    def expect_stored(self, where: Any, size: int, values: Any) -> None:
        for lane in self.lanes:
            self.wanted[where[lane] :][:size] = np.frombuffer(int(values[lane]).to_bytes(size, "little"), np.uint8)

    def transfer(self, name: str, texts: tuple[str, str], where: Any, first: int) -> tuple[str, Registers]:
        """The instruction, its address written before and behind its data register, and what it should leave."""
        width, statement = next(x.width for x in ROWS[name].operands if x.value[0] == "x"), MEMORY[name]
        register, (before, behind) = span(self.letter, first, width), texts
        if "load" in name or "read" in name:
            old = [self.given(first, 1)] if "d16" in name else []
            return f"{name} {register}, {before}{behind}", self.expect_loaded(first, width, statement(self.read(where), *old))
        self.expect_stored(where, *statement(self.given(first, width)))
        return f"{name} {before}, {register}{behind}", self.before

    def check(self, text: str, after: Registers, **given: Any) -> None:
        compare(text, after, self.before.run(text, **given))
        np.testing.assert_array_equal(self.data, self.wanted, err_msg=text)


@pytest.mark.parametrize("letter", "va")
@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("global")])
def test_global(name: str, letter: str) -> None:
    """Both kinds of address, offsets of either sign, any alignment, loads over their own address."""
    rng = np.random.default_rng(1)
    for i, offset in enumerate((0, 4095, -4096, -7, 12, 1)):
        access, memory = Access(rng, 12288, (FULL, MASK, 0)[i % 3], letter), Memory()
        memory.map(np.zeros(100, np.uint8), "another")
        base = memory.map(access.data, "data")
        where = 4096 + rng.permutation(80)[:64] * 20 + rng.integers(0, 4)  # never two lanes at one byte
        if i % 2:
            access.before.sgpr[2:4] = halves(base - 904)
            access.address(2, where + 904)
        else:
            access.address(2, base + where, 2)
        texts = ("v2", f", s[2:3] offset:{offset}") if i % 2 else ("v[2:3]", f", off offset:{offset}")
        access.check(*access.transfer(name, texts, where + offset, 2 if i in (3, 4) and "load" in name else 16), memory=memory)


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("ds")])
def test_lds(name: str) -> None:
    rng = np.random.default_rng(3)
    for i, offset in enumerate((0, 8, 65000, 16, 1024)):
        access, where = Access(rng, 70000, (FULL, MASK, 0)[i % 3], "vaavv"[i]), rng.permutation(64) * 32
        access.address(2, where)
        text, after = access.transfer(name, ("v2", f" offset:{offset}"), where + offset, 2 if i > 2 and "read" in name else 16)
        access.check(text, after, lds=access.data)


@pytest.mark.parametrize("step", (1, 2, 4))
@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("ds_read")])
def test_lds_rows_side_by_side(name: str, step: int) -> None:
    """16 lanes in a row read `step` bytes apart, all of them or all but one; loads over their own address."""
    rng = np.random.default_rng(4)
    for i, moved in enumerate((0, 3, 0)):
        access, where = Access(rng, 9000, FULL, "v"), np.repeat(rng.permutation(4) * 2000 + 1, 16) + np.arange(64) % 16 * step
        where[37] += moved
        access.address(2, where)
        text, after = access.transfer(name, ("v2", " offset:90"), where + 90, 2 if i == 2 else 16)
        access.check(text, after, lds=access.data)


@pytest.mark.parametrize("name", ELEMENTS)
def test_two_elements(name: str) -> None:
    rng, (size, stride) = np.random.default_rng(3), ELEMENTS[name]
    for i in range(6):
        access, width = Access(rng, 40000, (FULL, MASK, 0)[i % 3], "va"[i % 2]), size // 4
        offsets = rng.permutation(4 if stride == 1 else 64)[:2]
        where = rng.permutation(64) * (32 if stride == 1 else size)  # no two lanes' elements meet
        access.address(2, where)
        one, two = (where + n * size * stride for n in offsets)
        suffix, after = f"offset0:{offsets[0]} offset1:{offsets[1]}", access.before
        if "read" in name:
            text = f"{name} {span(access.letter, 2 * (i < 3), 2 * width)}, v2 {suffix}"
            low = access.read(one) & (1 << 8 * size) - 1
            after = access.expect_loaded(2 * (i < 3), 2 * width, low | access.read(two) << 8 * size)
        else:
            text = f"{name} v2, {span(access.letter, 16, width)}, {span(access.letter, 32, width)} {suffix}"
            access.expect_stored(one, size, access.given(16, width))
            access.expect_stored(two, size, access.given(32, width))
        access.check(text, after, lds=access.data)


def mapped(access: Access) -> tuple[int, Memory]:
    """The access's data as a buffer behind another one: its address, and the memory."""
    memory = Memory()
    memory.map(np.zeros(100, np.uint8), "another")
    return memory.map(access.data, "data"), memory


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("flat")])
@pytest.mark.parametrize("space", ["global", "lds", "scratch"])
def test_flat(name: str, space: str) -> None:
    rng = np.random.default_rng(5)
    for i, offset in enumerate((0, 4095, 7)):
        access, lane = Access(rng, 64 * 8192, (FULL, MASK, 0)[i], "vav"[i]), np.arange(64)
        if space == "scratch":  # every lane has its own 8192 bytes
            within = rng.integers(0, 4000, 64)
            where, address = lane * 8192 + within, (2 << 48) + within
            given: dict[str, Any] = {"scratch": access.data.reshape(64, 8192)}
        else:
            where = rng.permutation(64) * 1000 + rng.integers(0, 4)
            base, memory = mapped(access)
            address, given = (1 << 48) + where, {"lds": access.data}
            if space == "global":
                address, given = base + where, {"memory": memory}
        access.address(2, address, 2)
        first = 2 if "load" in name else 16
        access.check(*access.transfer(name, ("v[2:3]", f" offset:{offset}"), where + offset, first), **given)


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("scratch")])
def test_scratch(name: str) -> None:
    """All ways to say where: a register of each kind or none, and an offset of either sign."""
    rng, lane = np.random.default_rng(6), np.arange(64)
    ways = (("v2", "off", 0), ("v2", "s3", -4096), ("off", "s3", 4095), ("off", "off", 20), ("v2", "s3", 3))
    for i, (vaddr, saddr, offset) in enumerate(ways):
        access = Access(rng, 64 * 16384, (FULL, MASK, 0)[i % 3], "va"[i % 2])
        within = rng.integers(4096, 8000, 64)
        access.before.sgpr[3] = 4100
        access.address(2, within)
        where = lane * 16384 + (within if vaddr == "v2" else 0) + (4100 if saddr == "s3" else 0) + offset
        texts = (vaddr, f", {saddr} offset:{offset}")
        access.check(*access.transfer(name, texts, where, 16), scratch=access.data.reshape(64, 16384))


def resource(base: int, records: int, stride: int = 0, extra: int = 0) -> list[int]:
    return [base & 0xFFFFFFFF, base >> 32 | stride << 16, records, 0x00027000 | extra]


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("buffer")])
def test_buffer(name: str) -> None:
    """Every addressing, with lanes inside, outside, and with only their first dwords inside."""
    rng, size = np.random.default_rng(7), 4 * ROWS[name].operands[0].width
    ways = (("v2", "offen", 0, 0), ("off", "", 64, 20), ("v2", "idxen", 8, 0), ("v[2:3]", "idxen offen", 12, 16),
            ("v2", "offen", 4092, 40))  # fmt: skip
    for i, (address, flags, offset, soffset) in enumerate(ways):
        access = Access(rng, 1 << 17, (FULL, MASK, FULL, 0, FULL)[i], "va"[i % 2])
        base, memory = mapped(access)
        structured = "idxen" in flags
        stride = 48 * structured
        index, at = (rng.permutation(64) if structured else np.zeros(64, int)), np.zeros(64, int)
        if "offen" in flags:
            at = rng.permutation(64) * 4 if structured else rng.permutation(64) * 20 + (rng.integers(0, 4, 64) if i == 0 else 0)
            at[5] = at[5] if structured else 2**32 - 4
        records = 50 if structured else 706 + offset
        access.before.sgpr[4:8] = resource(base, records, stride)
        access.before.sgpr[9] = soffset
        for register, values in ((2, index if structured else at), (3, at)):
            access.address(register, values)
        dwords = np.arange(0, size, 4) if "dword" in name else np.zeros(1, int)
        inside = (index < records)[:, None] | (dwords < 0) if structured else (at + offset)[:, None] + dwords < records
        where = np.where(inside.any(1), soffset + index * stride + at + offset, 0)
        if "dword" in name:
            where &= ~3
        mask = sum(np.where(inside[:, k], 0xFFFFFFFF, 0).astype(object) << 32 * k for k in range(inside.shape[1]))
        line = f"{name} {span(access.letter, 16, size // 4)}, {address}, s[4:7], {'s9' if soffset else 0} {flags} offset:{offset}"
        statement, after = MEMORY[name], access.before
        if "load" in name:
            old = [access.given(16, 1)] if "d16" in name else []
            after = access.expect_loaded(16, size // 4, statement(access.read(where) & mask, *old))
        else:
            count, value = statement(access.given(16, size // 4))
            for lane in access.lanes:
                for k in range(inside.shape[1]):
                    if inside[lane, k]:
                        part = int(value[lane]) >> 32 * k & (1 << 8 * min(count, 4)) - 1
                        access.wanted[where[lane] + 4 * k :][: min(count, 4)] = list(part.to_bytes(min(count, 4), "little"))
        access.check(line, after, memory=memory)


def test_buffers_that_are_not_known() -> None:
    for changed in ({"stride": 1 << 15}, {"extra": 1 << 23}, {"extra": 1 << 30}):
        before = random_registers(np.random.default_rng(1))
        before.sgpr[4:8] = resource(0x1000000000, 100, **changed)
        for line in ("buffer_load_dword v1, off, s[4:7], 0", "s_buffer_load_dword s9, s[4:7], 0x0"):
            with pytest.raises(KernelFault, match="buffer resource"):
                before.run(line)


@pytest.mark.parametrize("name", SCALAR)
def test_scalar(name: str) -> None:
    rng, width = np.random.default_rng(2), SCALAR[name]
    ways = ((16, 0, "0x0"), (16, 64, "0x40"), (32, 4, "s6 offset:0x4"), (0, 400, "s6"), (8, 440, "s6 offset:0x28"),
            (8, 4, "4 glc"))  # fmt: skip
    for first, offset, text in ways:
        data, memory = rng.integers(0, 2**32, 600, dtype=np.uint32), Memory()
        before, base = random_registers(rng, MASK), memory.map(data, "data")
        before.sgpr[:4] = resource(base + 512, 444) if "buffer" in name else [*halves(base + 512), 0, 0]
        before.sgpr[6] = offset if text == "s6" else offset - int(text.split(":")[1], 16) if "s6" in text else 0
        line = f"{name} {span('s', first, width)}, {span('s', 0, 4 if 'buffer' in name else 2)}, {text}"
        after, wanted, place = before.copy(), data.copy(), 128 + offset // 4
        inside = max(0, min(width, (444 - offset) // 4)) if "buffer" in name else width
        if "load" in name:
            after.sgpr[first : first + width] = [*data[place:][:inside], *[0] * (width - inside)]
        else:
            wanted[place:][:inside] = before.sgpr[first:][:inside]
        compare(line, after, before.run(line, memory))
        np.testing.assert_array_equal(data, wanted, err_msg=line)


@pytest.mark.parametrize("name", TYPED)
def test_typed_buffers(name: str) -> None:
    """Every data and number format; a load's components are picked by the resource, where the format is its own too."""
    (n, half), rng, store, own = TYPED[name], np.random.default_rng(8), "store" in name, name[0] == "t"
    registers, high = (n + 1) // 2 if half else n, "_hi_" in name
    for i, (data, number) in enumerate((x, y) for x in range(1, 15) for y in range(8)):
        access, widths = Access(rng, 1024 + 64, MASK if i % 8 else FULL, "va"[i % 2]), component_widths(DATA_FORMATS[data - 1])
        base, memory = mapped(access)
        picks = rng.choice([0, 1, 4, 5, 6, 7], 4) if i % 3 and not own and not store else np.arange(4, 8)
        access.before.sgpr[4:8] = resource(base, 1088)
        access.before.sgpr[7] = sum(int(x) << 3 * k for k, x in enumerate(picks)) | number << 12 | data << 15
        where, size, kind = rng.permutation(64) * 16 + 16, sum(widths) // 8, NUMBER_FORMATS[number]
        access.address(2, where - 16)
        file = access.before.file(access.letter)
        for r in range(registers):
            pairs = rng.normal(size=(64, 2)).astype(np.float16).view(np.uint32)[:, 0]
            file[16 + r] = pairs if half else rng.normal(size=64).astype(np.float32).view(np.uint32)
            if kind in ("UINT", "SINT") and 32 not in widths:
                file[16 + r] &= np.uint32((1 << min(widths) - 1) - 1) * np.uint32(0x10001 if half else 1)
        text = f"format:[BUF_DATA_FORMAT_{DATA_FORMATS[data - 1]},BUF_NUM_FORMAT_{kind}]" if own else ""
        line = f"{name} {span(access.letter, 16, registers)}, v2, s[4:7], 0 offen {text} offset:16"
        if not convertible(widths, kind, half, store) or (store and len(widths) != n):
            with pytest.raises(KernelFault, match="buffer resource"):
                access.before.run(line, memory)
            continue
        after = access.before.copy()
        for lane in access.lanes:
            whole, at = int.from_bytes(access.data[where[lane] :][:size].tobytes(), "little"), 0
            found = []
            for k, bits in enumerate(widths):
                register, shift = 16 + (k // 2 if half else k), 16 * (high or (half and k % 2))
                if store:
                    given = int(file[register, lane]) >> shift & (0xFFFF if half else 0xFFFFFFFF)
                    mask = (1 << bits) - 1 << at
                    whole = whole & ~mask | to_component(given, bits, kind, half) << at
                found.append(from_component(whole >> at & (1 << bits) - 1, bits, kind, half))
                at += bits
            access.wanted[where[lane] :][:size] = list(whole.to_bytes(size, "little"))
            one = 1 if kind in ("UINT", "SINT") else 0x3C00 if half else 0x3F800000
            found += [0, 0, 0, one][len(found) :]
            for k in range(0 if store else n):
                x = found[picks[k] - 4] if picks[k] > 3 else one * int(picks[k])
                register, shift = 16 + (k // 2 if half else k), 16 * (high or (half and k % 2))
                old = int(after.file(access.letter)[register, lane])
                after.file(access.letter)[register, lane] = old & ~(0xFFFF << shift) | x << shift if half else x
        access.check(line, after, memory=memory)


def test_integers_that_do_not_fit_a_format() -> None:
    access = Access(np.random.default_rng(1), 64, 1, "v")
    base, memory = mapped(access)
    access.before.sgpr[4:8], access.before.vgpr[1] = resource(base, 64), 256
    with pytest.raises(KernelFault, match="buffer resource"):
        access.before.run("tbuffer_store_format_x v1, off, s[4:7], 0 format:[BUF_DATA_FORMAT_8,BUF_NUM_FORMAT_UINT]", memory)


@pytest.mark.parametrize("name", SCALAR_ATOMICS)
def test_scalar_atomics(name: str) -> None:
    (op, bits), rng = SCALAR_ATOMICS[name], np.random.default_rng(8)
    n, pair, buffer = bits // 32, "cmp" in op, "buffer" in name
    for i in range(24):
        data, memory = np.array([int(x) % 2**32 for x in atomic_numbers(rng, op, 32, 64)], np.uint32), Memory()
        before, base = random_registers(rng, MASK), memory.map(data, "data")
        before.sgpr[:4] = resource(base, 160) if buffer else [*halves(base), 0, 0]
        place, before.sgpr[6] = 8 + 2 * int(rng.integers(8)), 16
        if i % 4 == 0:
            before.sgpr[8 : 8 + 2 * n] = [*data[place:][:n], *data[place:][:n]]
        elif buffer and i % 4 == 1:
            place = 40
        a, b, old = (int.from_bytes(x[:n].tobytes(), "little") for x in (before.sgpr[8:], before.sgpr[8 + n :], data[place:]))
        after, wanted, outside = before.copy(), data.copy(), place == 40
        new = old if outside else int(OPS[op](old, a, b, bits))
        wanted[place : place + n] = [new & 0xFFFFFFFF, new >> 32][:n]
        if i % 2:
            after.sgpr[8 : 8 + n] = 0 if outside else data[place : place + n]
        where = f"s6 offset:{4 * place - 16:#x}" if i % 3 else f"{4 * place:#x}"
        line = f"{name} {span('s', 8, n * (1 + pair))}, {span('s', 0, 4 if buffer else 2)}, {where}{' glc' if i % 2 else ''}"
        compare(line, after, before.run(line, memory))
        np.testing.assert_array_equal(data, wanted, err_msg=line)


def float_bits(rng: np.random.Generator, bits: int, n: int) -> Any:
    """Floats of all kinds but NaN and, so that no sum is one, infinities; neighbours are often alike."""
    x = np.concatenate([rng.normal(size=n), rng.normal(size=n) * 1e-38, [0.0, -0.0, 1.0, 1.0, 5e-39]])[rng.integers(0, 2 * n, n)]
    return x.astype(f"f{bits // 8}").view(f"u{bits // 8}")


def atomic_numbers(rng: np.random.Generator, op: str, bits: int, n: int) -> Any:
    """Numbers for an operation, exact integers: those that meet often are alike often."""
    if op.startswith("pk"):
        x = (rng.normal(size=2 * n) * 10.0 ** rng.integers(-6, 4, 2 * n)).astype(np.float32)
        half = x.astype(np.float16).view(np.uint16) if op == "pk_f16" else (x.view(np.uint32) >> 16).astype(np.uint16)
        return half.view(np.uint32).astype(object)
    if op[0] == "f":
        return float_bits(rng, bits, n).astype(object)
    x = rng.integers(0, 2**bits, n, dtype=f"u{bits // 8}") >> rng.integers(0, bits, n).astype(f"u{bits // 8}")
    return np.where(rng.random(n) < 0.3, x, rng.choice(x[:3], n)).astype(object)


@pytest.mark.parametrize("name, returns", [(name, returns) for name in ATOMICS for returns in (False, True)]
                         + [(name, "_rtn" in name) for name in DS_ATOMICS])  # fmt: skip
def test_atomics(name: str, returns: bool) -> None:
    """Many lanes at few places, in the order of their numbers; the data in either file."""
    op, bits = (ATOMICS | DS_ATOMICS)[name]
    lds, n = name.startswith("ds"), bits // 32
    rng = np.random.default_rng(8)
    for i, space in enumerate(("lds" if lds else "global", "lds" if name[0] in "df" else "global", "global", "lds")):
        if i > 1 and (lds or (i == 3 and name[0] != "f")):
            continue
        access, where = Access(rng, 512, (FULL, MASK, FULL, 0)[i], "va"[i % 2]), rng.integers(0, 12, 64) * (bits // 8) + 16
        numbers, file = atomic_numbers(rng, op, bits, 64 * 3), access.before.file(access.letter)
        access.data[:] = np.frombuffer(b"".join(int(x).to_bytes(n * 4, "little") for x in numbers[: 512 // n // 4]), np.uint8)
        access.wanted[:] = access.data
        data = [numbers[:64], numbers[64:128]]
        pair = "cmp" in op or op in ("mskor", "wrap")
        for k, value in enumerate(data):
            for r in range(n):
                file[16 + 16 * (k if lds else 0) + (0 if lds else n * k) + r] = (value >> 32 * r & 0xFFFFFFFF).astype(np.uint32)
        a, b = data[::-1] if lds and "cmp" in op else data
        first = 16 if name[0] == "b" else 48
        after = access.before.copy()
        for lane in access.lanes:
            old = int.from_bytes(access.wanted[where[lane] :][: 4 * n].tobytes(), "little")
            new = int(OPS[op](old, int(a[lane]), int(b[lane]), bits))
            access.wanted[where[lane] :][: 4 * n] = list(new.to_bytes(4 * n, "little"))
            for r in range(n if returns else 0):
                after.file(access.letter)[first + r, lane] = old >> 32 * r & 0xFFFFFFFF
        memory, base = Memory(), 1 << 48
        given: dict[str, Any] = {"lds": access.data}
        if space == "global":
            base = memory.map(access.data, "data")
            given = {"memory": memory}
        access.address(2, where - 8 if lds else where - 8 + base, 1 if lds else 2)
        source = span(access.letter, 16, n if lds else n * (1 + pair))
        back = f"{span(access.letter, 48, n)}, " if returns else ""
        ret = " sc0" if returns else ""
        if lds:
            line = f"{name} {back}v2, {source}{', ' + span(access.letter, 32, n) if pair else ''} offset:8"
        elif name[0] == "b":
            access.before.sgpr[4:8] = after.sgpr[4:8] = resource(base, 512)
            access.address(2, where - 8)
            line = f"{name} {source}, v2, s[4:7], 0 offen offset:8{ret}"
        else:
            line = f"{name} {back}v[2:3], {source}{', off' if name[0] == 'g' else ''} offset:8{ret}"
        for lane in access.lanes:
            after.vgpr[2:4, lane] = access.before.vgpr[2:4, lane]
        access.check(line, after, **given)


def test_atomics_across_host_threads() -> None:
    """All work-items of many workgroups add to two numbers of each kind; the floats stay exact."""
    source = """#include "gfx950.h"
    extern "C" __global__ void count(unsigned* n, float* sum, unsigned long long* wide) {
      for (int i = 0; i < 20; ++i) {
        __hip_atomic_fetch_add(n + (threadIdx.x & 1), 1u, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
        __hip_atomic_fetch_add(wide + (threadIdx.x & 1), 1ull << 32 | 1, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
        __builtin_amdgcn_global_atomic_fadd_f32((__attribute__((address_space(1))) float*)sum + (threadIdx.x & 1), 0.5f);
      }
    }"""
    code = parse(compile_hip(source).text)["count"]
    n, total, wide, memory = np.zeros(2, np.uint32), np.zeros(2, np.float32), np.zeros(2, np.uint64), Memory()
    launch(code, (400,), (256,), pack_arguments(code, [n, total, wide], memory), memory, threads=4)
    each = 20 * 128 * 400
    np.testing.assert_array_equal([n, total * 2, wide], [[each] * 2, [each] * 2, [(1 << 32 | 1) * each] * 2])


def test_atomics_must_be_aligned() -> None:
    data, memory = np.zeros(64, np.uint8), Memory()
    base, before = memory.map(data, "data"), random_registers(np.random.default_rng(1), 1 << 5)
    for line, offset, lds in (("global_atomic_add v[2:3], v4, off", 2, 0), ("global_atomic_add_x2 v[2:3], v[4:5], off", 4, 0),
                              ("ds_add_u32 v2, v4", 2, 1), ("flat_atomic_or v[2:3], v4", 1, 0)):  # fmt: skip
        before.vgpr[2:4, 5] = halves(offset if lds else base + offset)
        with pytest.raises(KernelFault, match=r"aligned to its size: \d bytes at") as caught:
            before.run(line, memory, lds=np.zeros(64, np.uint8))
        assert (caught.value.lane, caught.value.address) == (5, offset if lds else base + offset)
    assert [Memory().map(data[k:], "a view") % 16 for k in range(3)] == [(data.ctypes.data + k) % 16 for k in range(3)]


@pytest.mark.parametrize("name", EXCHANGES)
def test_exchange_of_two(name: str) -> None:
    rng, (size, stride) = np.random.default_rng(3), EXCHANGES[name]
    for i, mask in enumerate((FULL, MASK)):
        access, width = Access(rng, 40000, mask, "va"[i]), size // 4
        offsets = rng.permutation(4 if stride == 1 else 64)[:2]
        where = rng.permutation(64) * (32 if stride == 1 else size)
        access.address(2, where)
        one, two = (where + n * size * stride for n in offsets)
        low = access.read(one) & (1 << 8 * size) - 1
        after = access.expect_loaded(48, 2 * width, low | access.read(two) << 8 * size)
        access.expect_stored(one, size, access.given(16, width))
        access.expect_stored(two, size, access.given(32, width))
        registers = ", ".join(span(access.letter, first, n) for first, n in ((16, width), (32, width)))
        line = f"{name} {span(access.letter, 48, 2 * width)}, v2, {registers} offset0:{offsets[0]} offset1:{offsets[1]}"
        access.check(line, after, lds=access.data)


@pytest.mark.parametrize("name", [*STRAIGHT, *(f"buffer_load_{name}" for name in (*TO_LDS, "dwordx3", "dwordx4"))])
def test_straight_to_lds(name: str) -> None:
    """Lane i fills the i-th dword, or the first 4 or 3 of the i-th 16 bytes, behind M0 and the offset."""
    size, sign = STRAIGHT.get(name.replace("buffer_load_", "global_load_lds_"), (0, False))
    rng, lane = np.random.default_rng(9), np.arange(64)
    for mask in (FULL, MASK):
        access, lds, step = Access(rng, 64 * 1024, mask, "v"), rng.integers(0, 256, 4096, dtype=np.uint8), 4 if size < 12 else 16
        where, wanted = rng.permutation(64) * 16, lds.copy()
        base, memory = mapped(access)
        given: dict[str, Any] = {"memory": memory, "lds": lds}
        access.before.sgpr[6] = 0xFFF00000 | 1024
        access.address(2, base + where, 2)
        texts = "v[2:3], off offset:8"
        zero = set()
        if name[0] == "b":
            access.before.sgpr[8:12], zero = resource(base, 1016), {i for i in range(64) if where[i] + 8 >= 1016}
            access.address(2, where)
            texts = "v2, s[8:11], 0 offen offset:8 lds"
        elif name[0] == "s":
            given, texts = {"scratch": access.data.reshape(64, 1024), "lds": lds}, "v2, off offset:8"
            access.address(2, where // 2)
            where = where // 2 + lane * 1024
        for i in access.lanes:
            x = bytes(size) if i in zero else access.data[where[i] + 8 :][:size].tobytes()
            x = int.from_bytes(x, "little", signed=sign).to_bytes(max(size, 4), "little", signed=sign)
            wanted[1024 + 8 + step * i :][: len(x)] = list(x)
        line = f"{name} {texts}"
        compare(line, access.before, access.before.run(f"s_mov_b32 m0, s6\n{line}", **given))
        np.testing.assert_array_equal(lds, wanted, err_msg=line)


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_reads(name: str) -> None:
    """Sixteen lanes name the pieces of a matrix of 16 columns in row order; each lane gets a column, low row first."""
    (bits, width), rng = TRANSPOSED[name], np.random.default_rng(10)
    n = 32 * width // bits  # elements a lane, hence rows of the matrix
    for letter in "va":
        access, where = Access(rng, 4096, FULL, letter), rng.permutation(64) * 4 * (width + 1)
        access.address(2, where)
        pieces = access.read(where + 16)
        flat = [[int(x) >> bits * k & (1 << bits) - 1 for k in range(n)] for x in pieces]
        columns = np.empty(64, object)
        for group in range(0, 64, 16):
            matrix = np.array([x for piece in flat[group : group + 16] for x in piece], object).reshape(n, 16)
            for lane in range(16):
                columns[group + lane] = sum(int(x) << bits * row for row, x in enumerate(matrix[:, lane]))
        line = f"{name} {span(letter, 16, width)}, v2 offset:16"
        access.check(line, access.expect_loaded(16, width, columns), lds=access.data)
    before = random_registers(rng, FULL >> 1)
    with pytest.raises(KernelFault, match="every lane active"):
        before.run(line, lds=access.data)


@pytest.mark.parametrize("pattern, offset", [
    ("QUAD_PERM,3,0,2,1", 0x8063), ('BITMASK_PERM,"01pi0"', 0x906), ("BROADCAST,8,5", 0xB8), ("BROADCAST,32,7", 0xE0),
    ("SWAP,16", 0x401F), ("REVERSE,8", 0x1C1F), ("FFT,7", 0xE007), ("ROTATE,1,31", 0xC7E0),
])  # fmt: skip
def test_swizzle_patterns_as_the_assembler_encodes_them(pattern: str, offset: int) -> None:
    assert swizzle(f"swizzle({pattern})") == offset


def test_lane_exchanges() -> None:
    rng = np.random.default_rng(11)
    patterns = [("QUAD_PERM", [3, 0, 2, 2]), ("BROADCAST", [8, 5]), ("BROADCAST", [32, 7]), ("SWAP", [4]), ("SWAP", [16]),
                ("REVERSE", [8]), ("REVERSE", [32]), ("ROTATE", [0, 5]), ("ROTATE", [1, 9]), ("FFT", [0]), ("FFT", [3]),
                ("FFT", [31])]  # fmt: skip
    cases = [(f"swizzle({mode},{','.join(map(str, n))})", [swizzled(mode, n, i) for i in range(64)]) for mode, n in patterns]
    cases += [('swizzle(BITMASK_PERM,"01pi0")', [i & 32 | 8 | i & 4 | ~i & 2 for i in range(64)])]
    cases += [(str(0x1F | 3 << 10), [i ^ 3 for i in range(64)])]
    for mask in (FULL, MASK):
        active = np.array([mask >> i & 1 for i in range(64)], bool)
        for pattern, source in cases:
            before = random_registers(rng, mask)
            after, line = before.copy(), f"ds_swizzle_b32 v16, v1 offset:{pattern}"
            given = np.where(active, before.vgpr[1], 0)[np.array(source)]
            after.vgpr[16, active] = given[active]
            compare(line, after, before.run(line))
        before = random_registers(rng, mask)
        after, got, line = before.copy(), np.zeros(64, np.uint32), "ds_permute_b32 v16, v2, a3 offset:12"
        for i in np.flatnonzero(active):
            got[(int(before.vgpr[2, i]) + 12) // 4 % 64] = before.agpr[3, i]
        after.vgpr[16, active] = got[active]
        compare(line, after, before.run(line))
        lane = np.arange(64)  # rows of 16 lanes that read a row, or one lane; all of them or all but one
        for pull in (lane ^ 48, lane // 16 * 7, lane ^ (lane == 9), lane // 16 * 7 + (lane == 9)):
            before = random_registers(rng, mask)
            before.vgpr[2] = 4 * pull + 1
            after, line = before.copy(), "ds_bpermute_b32 v16, v2, v3 offset:2"
            after.vgpr[16, active] = np.where(active, before.vgpr[3], 0)[pull][active]
            compare(line, after, before.run(line))


def test_lds_by_m0() -> None:
    """Counters that move by the active lanes, and the lane's own dword."""
    rng = np.random.default_rng(12)
    for mask in (FULL, MASK):
        lds, before = rng.integers(0, 2**32, 200, dtype=np.uint32), random_registers(rng, mask)
        lanes = [i for i in range(64) if mask >> i & 1]
        for name, sign in (("ds_append", 1), ("ds_consume", -1)):
            wanted, after = lds.copy(), before.copy()
            after.vgpr[4, lanes] = lds[7]
            wanted[7] = (int(lds[7]) + sign * len(lanes)) % 2**32
            compare(name, after, before.run(f"s_mov_b32 m0, 20\n{name} v4 offset:8", lds=lds.view(np.uint8)))
            np.testing.assert_array_equal(lds, wanted)
        after = before.copy()
        after.agpr[4, lanes] = lds[7 : 7 + 64][lanes]
        compare("read", after, before.run("s_mov_b32 m0, 20\nds_read_addtid_b32 a4 offset:8", lds=lds.view(np.uint8)))
        wanted[7 : 7 + 64][lanes] = before.vgpr[4, lanes]
        compare("write", before, before.run("s_mov_b32 m0, 20\nds_write_addtid_b32 v4 offset:8", lds=lds.view(np.uint8)))
        np.testing.assert_array_equal(lds, wanted)


@pytest.mark.parametrize("line, kind, address", [
    ("flat_load_dwordx2 v[4:5], v[2:3]", "LDS access", (1 << 48) + 60), ("scratch_load_dword v4, v2, off", "scratch access", 45),
    ("flat_store_dword v[2:3], v4", "scratch access", (2 << 48) + 48), ("flat_load_ubyte v4, v[2:3]", "global access", 3 << 48),
    ("flat_load_ubyte v4, v[2:3]", "global access", (2 << 48) + (1 << 32)),
    ("buffer_load_dword v4, v2, s[4:7], 0 offen", "global access", 64), ("s_store_dword s9, s[4:5], 0x40", "global access", 0),
    ("s_buffer_load_dword s9, s[4:7], 0x40", "global access", 0),
    ("buffer_load_dwordx4 v2, s[4:7], 0 offen lds", "LDS access", 0),
    ("ds_append v4 offset:64", "LDS access", 0), ("ds_read_addtid_b32 v4 offset:28", "LDS access", 0),
    ("ds_wrxchg2_rtn_b32 v[4:5], v2, v6, v7 offset1:1", "LDS access", 60),
])  # fmt: skip
def test_accesses_outside(line: str, kind: str, address: int) -> None:
    memory, before = Memory(), random_registers(np.random.default_rng(1), 1 << 9)
    before.sgpr[4:8], before.vgpr[2:4, 9] = resource(memory.map(np.zeros(64, np.uint8), "data"), 1000), halves(address)
    with pytest.raises(KernelFault, match=kind) as caught:
        before.run(f"s_mov_b32 m0, 0\n{line}", memory, np.zeros(64, np.uint8), np.zeros((64, 48), np.uint8))
    assert caught.value.lane == (0 if line[0] == "s" and "scratch" not in line else 9)


@pytest.mark.parametrize("line, words", [
    ("ds_gws_init v2 gds", "only a driver"),
    ("tbuffer_load_format_x v1, off, s[4:7], 0 format:[BUF_DATA_FORMAT_9]", "no such format"),
    ("buffer_load_dwordx2 v2, s[4:7], 0 offen lds", "operands"), ("global_atomic_add v1, v[2:3], v4, off", "operands"),
    ("global_atomic_add v[2:3], v4, off sc0", "operands"), ("buffer_load_dword v1, v2, s[4:7], 0", "must be off"),
    ("buffer_load_dword v1, off, s[4:7], 0 offen", "one VGPR"), ("v_mov_b32_e32 v1, src_shared_base", "32 bits"),
    ("ds_add_u32 v1, v2 gds", "gds"), ("ds_swizzle_b32 v1, v2 offset:swizzle(SPIRAL,2)", "swizzle"),
])  # fmt: skip
def test_what_is_not_known(line: str, words: str) -> None:
    with pytest.raises(AssemblyError, match=words):
        random_registers(np.random.default_rng(1)).run(line)
