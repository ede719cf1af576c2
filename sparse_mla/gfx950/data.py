"""The data of an assembly text: `__constant__` and `__device__` variables, string literals, tables that the compiler made.

They lie at fixed addresses, below every buffer. Code reaches them relative to its own address, which is 0 here (s_getpc_b64): so
`x@rel32@lo+4` is the low half of x's address, and `x@gotpcrel32@lo+4` that of a word that holds it. The 4, and the 12 of the high
half, are the bytes from s_getpc_b64's result to the number. Functions have addresses too, for code to call and data to hold.
"""

from __future__ import annotations

import re

import numpy as np

from sparse_mla.errors import AssemblyError

BASE = 0x8_0000_0000
CODE = 1 << 46  # the address of the first function; each instruction takes 4 bytes
_ALIGN = 16  # the largest that a load asks for
_DIRECTIVES = r"(?:[ \t]+\.(?:byte|short|long|quad|ascii|asciz|zero|fill)\b.*\n)+"
_OBJECT = re.compile(rf"^([\w.$]+):.*\n({_DIRECTIVES})[ \t]+\.size[ \t]+\1,", re.M)
_COMMON = re.compile(r"^[ \t]+\.comm[ \t]+([\w.$]+),(\d+)", re.M)
_REFERENCE = re.compile(r"([\w.$]+)@(gotpc)?rel32@(lo|hi)\+(\d+)")
_VALUE = re.compile(r"(?:(-?\d\w*)|([\w.$]+)([+-]\d+)?)$")
_SIZES = {"byte": 1, "short": 2, "long": 4, "quad": 8}
_ESCAPES = {"n": 10, "t": 9, "b": 8, "f": 12, "r": 13}


class Data:
    """Bytes uint8 at BASE, and where each symbol lies in them. Variables keep their values from launch to launch, as on a GPU."""

    def __init__(self, text: str, functions: dict[str, int]) -> None:
        self.functions, self.calls = functions, False  # and their addresses; whether any is asked for
        objects = dict(_OBJECT.findall(text))
        pieces = {name: bytearray(int(size)) for name, size in _COMMON.findall(text)}
        places: dict[str, list[tuple[int, int, str, int]]] = {}
        for name, body in objects.items():
            pieces[name], places[name] = _assemble(name, body)
        for name in {m[1] for m in _REFERENCE.finditer(text) if m[2]}:
            pieces[f"{name}@got"], places[f"{name}@got"] = bytearray(8), [(0, 8, name, 0)]
        self.symbols: dict[str, slice] = {}
        at = 0
        for name, piece in pieces.items():
            self.symbols[name] = slice(at, at + len(piece))
            at += -(-len(piece) // _ALIGN) * _ALIGN
        self.bytes = np.zeros(at, np.uint8)
        for name, piece in pieces.items():
            for offset, size, symbol, addend in places.get(name, ()):
                piece[offset : offset + size] = (self.address(symbol) + addend).to_bytes(size, "little")
            self.bytes[self.symbols[name]] = np.frombuffer(piece, np.uint8)

    def address(self, symbol: str) -> int:
        """Where `symbol` lies; AssemblyError where the text does not define it."""
        if symbol in self.functions:
            self.calls = True
            return self.functions[symbol]
        if symbol not in self.symbols:
            raise AssemblyError(f"{symbol} is neither data nor a function of this assembly")
        return BASE + int(self.symbols[symbol].start)

    def resolve(self, line: str) -> str:
        """`line` with the addresses in place of the symbols."""

        def number(m: re.Match[str]) -> str:
            address = self.address(f"{m[1]}@got" if m[2] else m[1]) + int(m[4]) - (4 if m[3] == "lo" else 12)
            return str(address & 0xFFFFFFFF if m[3] == "lo" else address >> 32)

        return _REFERENCE.sub(number, line)


def _assemble(name: str, body: str) -> tuple[bytearray, list[tuple[int, int, str, int]]]:
    """The bytes of one object, and (offset, size, symbol, addend) of the addresses that it holds."""
    out, places = bytearray(), []
    for word, rest in re.findall(r"\.(\w+)[ \t]+(\"(?:\\.|[^\"])*\"|[^;\n]*)", body):
        if word.startswith("asci"):
            text = re.sub(r"\\([0-7]{1,3}|.)", _escaped, rest[1:-1])
            out += text.encode("latin-1") + b"\0" * (word == "asciz")
            continue
        values = [x.strip() for x in rest.split(",")]
        if word in ("zero", "fill"):  # .fill count, size, value
            count, size, value = ([int(x, 0) for x in values] + [1, 0][len(values) - 1 :])[:3]
            out += (value & (1 << 8 * size) - 1).to_bytes(size, "little") * count
            continue
        for value in values:
            if not (m := _VALUE.match(value)):
                raise AssemblyError(f"{name}: cannot read the value {value!r} of .{word}")
            if m[2]:
                places.append((len(out), _SIZES[word], m[2], int(m[3] or 0)))
            out += (int(m[1] or "0", 0) & (1 << 8 * _SIZES[word]) - 1).to_bytes(_SIZES[word], "little")
    return out, places


def _escaped(m: re.Match[str]) -> str:
    return chr(int(m[1], 8) if m[1].isdigit() else _ESCAPES.get(m[1], ord(m[1])))
