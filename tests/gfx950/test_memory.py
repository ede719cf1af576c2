"""Global, scalar and LDS accesses against their statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_mla.gfx950.isa import ROWS
from sparse_mla.gfx950.machine import Memory
from tests.gfx950.harness import FULL, Registers, compare, halves, random_registers, span
from tests.gfx950.statements import ELEMENTS, MEMORY

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


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("s_load")])
def test_scalar_load(name: str) -> None:
    rng, width = np.random.default_rng(2), ROWS[name].operands[0].width
    data, memory = rng.integers(0, 2**32, 600, dtype=np.uint32), Memory()
    base = memory.map(data, "data")
    ways = ((16, 0, "0x0"), (16, 64, "0x40"), (32, -32, "-32"), (0, 400, "s6"), (0, 404, "s6 offset:0x4"), (8, 4, "4 glc"))
    for first, offset, text in ways:
        before = random_registers(rng, MASK)
        before.sgpr[:2], before.sgpr[6] = halves(base + 512), 400
        line = f"{name} {span('s', first, width)}, s[0:1], {text}"
        after = before.copy()
        after.sgpr[first : first + width] = data[(512 + offset) // 4 :][:width]  # also over its own base
        compare(line, after, before.run(line, memory))


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("ds")])
def test_lds(name: str) -> None:
    rng = np.random.default_rng(3)
    for i, offset in enumerate((0, 8, 65000, 16, 1024)):
        access, where = Access(rng, 70000, (FULL, MASK, 0)[i % 3], "vaavv"[i]), rng.permutation(64) * 32
        access.address(2, where)
        text, after = access.transfer(name, ("v2", f" offset:{offset}"), where + offset, 2 if i > 2 and "read" in name else 16)
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
