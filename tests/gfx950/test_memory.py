"""Global, scalar and LDS accesses, and the matrix cores, against their statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sparse_mla.gfx950.isa import ROWS
from sparse_mla.gfx950.machine import Memory
from tests.gfx950.harness import FULL, Registers, Words, compare, random_registers, span
from tests.gfx950.statements import ELEMENTS, MATRIX, MEMORY, matrix_product

MASK = 0x8000_0123_FFFF_00F1
Bytes = NDArray[np.uint8]


def at(data: Bytes, addresses: Any) -> Any:
    """The bytes from each address on, as little-endian integers."""
    return np.array([int.from_bytes(data[int(a) : int(a) + 64].tobytes(), "little") for a in addresses], object)


def active(mask: int) -> list[int]:
    return [lane for lane in range(64) if mask >> lane & 1]


def load(registers: Registers, letter: str, first: int, width: int, value: Any, mask: int) -> None:
    """Writes `width` dwords of a loaded value a lane."""
    for i in range(width):
        for lane in active(mask):
            registers.file(letter)[first + i, lane] = int(value[lane]) >> 32 * i & 0xFFFFFFFF


def stored(registers: Registers, letter: str, first: int, width: int) -> Any:
    return sum(registers.file(letter)[first + i].astype(object) << 32 * i for i in range(width))


def put(data: Bytes, addresses: Any, size: int, value: Any, mask: int) -> None:
    for lane in active(mask):
        data[int(addresses[lane]) :][:size] = np.frombuffer(int(value[lane]).to_bytes(size, "little"), np.uint8)


@pytest.mark.parametrize("letter", "va")
@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("global")])
def test_global(name: str, letter: str) -> None:
    """Both kinds of address, offsets of either sign, any alignment; inactive lanes may hold any address."""
    row, rng, statement = ROWS[name], np.random.default_rng(1), MEMORY[name]
    width = next(x.width for x in row.operands if x.value[0] == "x")
    for i, offset in enumerate((0, 4095, -4096, -7, 12, 1)):
        data = rng.integers(0, 256, 12288, dtype=np.uint8)
        memory = Memory()
        memory.map(np.zeros(100, np.uint8), "another")
        base = memory.map(data, "data")
        mask = (FULL, MASK, 0)[i % 3]
        where = 4096 + rng.permutation(80)[:64] * 20 + rng.integers(0, 4)   # never two lanes at one byte
        before = random_registers(rng, mask)
        if by_scalar := i % 2 == 1:
            anchor = base + 4096 - 5000
            before.sgpr[2:4] = anchor & 0xFFFFFFFF, anchor >> 32
            before.vgpr[2, active(mask)] = (base + where - anchor)[active(mask)].astype(np.uint32)
        else:
            for lane in active(mask):
                before.vgpr[2:4, lane] = int(base + where[lane]) & 0xFFFFFFFF, int(base + where[lane]) >> 32
        address = "v2, {}, s[2:3]" if by_scalar else "v[2:3], {}, off"
        after = before.copy()
        wanted = data.copy()
        if "load" in name:
            texts = address.format("").split(", ")
            first = 16 if i < 4 or letter == "a" else 2   # the last ones overwrite their own address
            text = f"{name} {span(letter, first, width)}, {texts[0]}, {texts[2]} offset:{offset}"
            x, old = at(data, where + offset), before.file(letter)[first].astype(object)
            load(after, letter, first, width, statement(x, old) if "d16" in name else statement(x), mask)
        else:
            text = f"{name} {address.format(span(letter, 16, width))} offset:{offset}"
            size, value = statement(stored(before, letter, 16, width))
            put(wanted, where + offset, size, value, mask)
        compare(text, after, before.run(text, memory))
        np.testing.assert_array_equal(data, wanted, err_msg=text)


@pytest.mark.parametrize("name", [name for name in MEMORY if name.startswith("s_load")])
def test_scalar_load(name: str) -> None:
    rng, width = np.random.default_rng(2), ROWS[name].operands[0].width
    data = rng.integers(0, 2**32, 600, dtype=np.uint32)
    memory = Memory()
    base = memory.map(data, "data")
    for destination, offset, text in ((16, 0, "0x0"), (16, 64, "0x40"), (32, -32, "-32"), (0, 400, "s6"), (0, 404, "s6 offset:0x4"), (16, 4, "4 glc")):
        before = random_registers(rng, MASK)
        before.sgpr[:2] = (base + 512) & 0xFFFFFFFF, (base + 512) >> 32
        before.sgpr[6] = 400
        line = f"{name} {span('s', destination, width)}, s[0:1], {text}"
        after = before.copy()
        after.sgpr[destination : destination + width] = data[(512 + offset) // 4 :][:width]   # also over its own base
        compare(line, after, before.run(line, memory))


@pytest.mark.parametrize("name", [name for name in [*MEMORY, *ELEMENTS] if name.startswith("ds")])
def test_lds(name: str) -> None:
    row, rng = ROWS[name], np.random.default_rng(3)
    width = next(x.width for x in row.operands if x.value[0] == "x")
    for i, offset in enumerate((0, 8, 65000, 16, 1024)):
        lds = rng.integers(0, 256, 70000, dtype=np.uint8)
        wanted, mask, letter = lds.copy(), (FULL, MASK, 0)[i % 3], "va"[i % 2]
        before = random_registers(rng, mask)
        where = rng.permutation(64) * 32
        before.vgpr[2, active(mask)] = where[active(mask)]
        after = before.copy()
        first = 16 if i < 4 or letter == "a" else 1   # over its own address
        if name in ELEMENTS:
            size, stride = ELEMENTS[name]
            offsets = [int(n) for n in rng.permutation(4 if stride == 1 else 64)[:2]]
            where = where if stride == 1 else where // 32 * size   # no two lanes' elements meet
            before.vgpr[2, active(mask)] = after.vgpr[2, active(mask)] = where[active(mask)]
            spots = [where + n * size * stride for n in offsets]
            suffix = f"offset0:{offsets[0]} offset1:{offsets[1]}"
            if "read" in name:
                text = f"{name} {span(letter, first, width)}, v2 {suffix}"
                load(after, letter, first, width, at(lds, spots[0]) & (1 << 8 * size) - 1 | at(lds, spots[1]) << 8 * size, mask)
            else:
                text = f"{name} v2, {span(letter, 16, width)}, {span(letter, 32, width)} {suffix}"
                for spot, register in zip(spots, (16, 32), strict=True):
                    put(wanted, spot, size, stored(before, letter, register, width), mask)
        elif "read" in name:
            text = f"{name} {span(letter, first, width)}, v2 offset:{offset}"
            x, old = at(lds, where + offset), before.file(letter)[first].astype(object)
            load(after, letter, first, width, MEMORY[name](x, old) if "d16" in name else MEMORY[name](x), mask)
        else:
            text = f"{name} v2, {span(letter, 16, width)} offset:{offset}"
            put(wanted, where + offset, *MEMORY[name](stored(before, letter, 16, width)), mask)
        compare(text, after, before.run(text, lds=lds))
        np.testing.assert_array_equal(lds, wanted, err_msg=text)


def bf16_words(x: Any) -> Words:
    """float32 [8, 64], exact in bf16, to four registers: two a dword, low half first."""
    bits = x.astype(np.float32).view(np.uint32)
    return np.asarray(bits[0::2] >> 16 | bits[1::2] & 0xFFFF0000)


def random_bf16(rng: np.random.Generator, kind: str) -> Any:
    if kind == "integers":
        return rng.integers(-8, 9, (8, 64)).astype(np.float32)
    bits = rng.normal(size=(8, 64)).astype(np.float32).view(np.uint32) & 0xFFFF0000
    if kind == "any":   # every exponent, denormals, infinities and NaN
        bits = rng.integers(0, 2**16, (8, 64), dtype=np.uint32) << 16
        bits[rng.random((8, 64)) < 0.9] = 0x3F80 << 16
    return bits.view(np.float32)


@pytest.mark.parametrize("files", ["vvvv", "avva", "aaaa", "vav0", "vvv1", "vvv="])
@pytest.mark.parametrize("kind", ["integers", "normal", "any"])
@pytest.mark.parametrize("name", MATRIX)
def test_matrix(name: str, kind: str, files: str) -> None:
    """D, A, B and C in either register file, C a constant, or C in D's registers. EXEC does not matter."""
    (m, k), rng = MATRIX[name], np.random.default_rng(4)
    count = m * m // 64
    d, a, b, c = files
    before = random_registers(rng, MASK, n=112)
    left, right = random_bf16(rng, kind), random_bf16(rng, kind)
    start = np.zeros((count, 64), np.float32)
    before.file(a)[64:68], before.file(b)[72:76] = bf16_words(left), bf16_words(right)
    text = {"0": "0", "1": "1.0", "=": span(d, 16, count)}.get(c, span(c, 80, count))
    if c in "01":
        start += float(c)
    else:
        start = rng.integers(-9, 9, (count, 64)).astype(np.float32) if kind == "integers" else rng.normal(size=(count, 64)).astype(np.float32)
        before.file(d if c == "=" else c)[16 if c == "=" else 80 :][:count] = start.view(np.uint32)
    line = f"{name} {span(d, 16, count)}, {span(a, 64, 4)}, {span(b, 72, 4)}, {text}"
    with np.errstate(all="ignore"):
        stepped, exact = matrix_product(left, right, start, m, k)
    got, after = before.run(line), before.copy()
    result = got.file(d)[16 : 16 + count].view(np.float32)
    same = np.isnan(stepped) & np.isnan(result)
    after.file(d)[16 : 16 + count] = np.where(same, got.file(d)[16 : 16 + count], stepped.view(np.uint32))
    compare(line, after, got)
    if kind == "integers":
        np.testing.assert_array_equal(result, exact)
    elif kind == "normal":
        np.testing.assert_allclose(result, exact, rtol=0, atol=32 * 2.0**-24 * 16)
