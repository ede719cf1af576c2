"""What a kernel's parameters are, read from its source, and the values that a caller gives for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sparse_mla.errors import InputError

_SPELLINGS = {
    "float32": "float", "float64": "double", "float16": "__half half _Float16", "bool": "bool",
    "bfloat16": "__hip_bfloat16 hip_bfloat16 __bf16 bf16", "float8_e4m3fn": "__hip_fp8_e4m3", "float8_e5m2": "__hip_fp8_e5m2",
    "int8": "int8_t char signed_char", "uint8": "uint8_t uchar unsigned_char", "int16": "int16_t short",
    "uint16": "uint16_t ushort unsigned_short", "int32": "int32_t int", "uint32": "uint32_t uint unsigned unsigned_int",
    "int64": "int64_t long longlong long_long ptrdiff_t intptr_t",
    "uint64": "uint64_t size_t ulong ulonglong unsigned_long unsigned_long_long uintptr_t",
}  # fmt: skip
DTYPES = {word: dtype for dtype, words in _SPELLINGS.items() for word in words.split()}
_CODES = {
    "f": "float", "d": "double", "b": "bool", "c": "char", "a": "signed char", "h": "unsigned char", "s": "short",
    "t": "unsigned short", "i": "int", "j": "unsigned int", "l": "long", "m": "unsigned long", "x": "long long",
    "y": "unsigned long long", "DF16_": "_Float16", "DF16b": "__bf16",
}  # fmt: skip
_CODE = "DF16_|DF16b|[a-z]"
_NESTED = r"(?:[^()]|\((?:[^()]|\([^()]*\))*\))*"
_KERNEL = re.compile(rf"(?:template\s*<([^>]*)>[^;{{}}]*?)?__global__\b{_NESTED}?\b(\w+)\s*\(({_NESTED})\)\s*\{{")


@dataclass(frozen=True)
class Parameter:
    """One parameter as written. `dtype` of the value, or of what a pointer points at; None for a type of the source's own."""

    name: str
    written: str
    dtype: str | None
    pointer: bool
    const: bool


def demangle(symbol: str) -> tuple[str, tuple[str, ...]]:
    """The name and template arguments of a C++ symbol; the symbol itself where it is more than names and plain types."""
    rest, name = symbol.removeprefix("_Z").removeprefix("N").removeprefix("L"), ""
    while symbol.startswith("_Z") and (m := re.match(r"\d+", rest)):
        end = m.end() + int(m[0])
        name, rest = rest[m.end() : end], rest[end:]
    if not name:
        return symbol, ()
    arguments: list[str] = []
    rest = rest.removeprefix("I") if rest.startswith("I") else "E"
    while not rest.startswith("E"):
        if m := re.match(rf"L({_CODE})(n?)(\d+)E", rest):
            arguments.append({"b0": "false", "b1": "true"}.get(m[1] + m[3], "-" * len(m[2]) + m[3]))
        elif m := re.match(_CODE, rest):
            arguments.append(_CODES.get(m[0], "?"))
        if m is None or "?" in arguments:
            return symbol, ()
        rest = rest[m.end() :]
    return name, tuple(arguments)


def signatures(source: str) -> dict[str, tuple[tuple[str, ...], list[str]]]:
    """By kernel name: its template's parameters and its own, as written."""
    source = re.sub(r"//[^\n]*|/\*.*?\*/", " ", source, flags=re.DOTALL)
    found = {}
    for template, name, parameters in _KERNEL.findall(source):
        names = tuple(part.split("=")[0].split()[-1] for part in template.split(",") if part.split())
        found[name] = names, [part.strip() for part in parameters.split(",") if part.strip() not in ("", "void")]
    return found


def parameters(written: Sequence[str], template: dict[str, str]) -> list[Parameter]:
    """Each parameter as written, with the template's parameters replaced by what they stand for."""
    made = []
    for text in written:
        words = re.findall(r"\w+(?:::\w+)*|[*&\[<>]", text)
        name = words.pop() if len(words) > 1 and words[-1].isidentifier() else ""
        pointer = "*" in words or "[" in words
        own = [template.get(x, x) for x in words if x not in ("const", "volatile", "__restrict__", "__restrict", "restrict", "*")]
        made.append(Parameter(name, text, _dtype(" ".join(own)), pointer, "const" in words))
    return made


def _dtype(written: str) -> str | None:
    """The dtype of a C type, of its elements where it is a vector such as float4."""
    key = written.replace(" ", "_")
    return DTYPES.get(key) or DTYPES.get(key.rstrip("1234"))


def element(value: Any) -> str:
    """The dtype's name of an array or tensor."""
    return str(value.dtype).removeprefix("torch.")


def is_array(value: Any) -> bool:
    return hasattr(value, "data_ptr") or (hasattr(value, "__array_interface__") and not isinstance(value, np.generic))


def checked(kernel: str, parameter: Parameter, value: Any) -> Any:
    """`value` as dispatch.pack_arguments takes it: arrays as they are, numbers as their bytes. InputError if they do
    not fit."""
    where, dtype = f"{parameter.name or 'a parameter'} of {kernel} is `{parameter.written}`", parameter.dtype
    if parameter.pointer:
        if value is not None and not is_array(value):
            raise InputError(f"{where}: give an array, a CPU tensor or None, not {type(value).__name__}")
        if value is not None and dtype and not _fits(element(value), dtype):
            raise InputError(f"{where}: give a {dtype} array, not {element(value)}")
        if isinstance(value, np.ndarray) and not value.flags.writeable:
            if not parameter.const:
                raise InputError(f"{where}: the array is read-only; give a copy")
            value = value.copy()
        return value
    if isinstance(value, bytes):
        return value
    if dtype is None:
        if not isinstance(value, np.generic):
            raise InputError(
                f"{where}, a type of the source's own: give its bytes, or a NumPy scalar, not {type(value).__name__}"
            )
        return value.tobytes()
    if is_array(value) or not isinstance(value, (int, float, np.generic)):
        raise InputError(f"{where}: give a number, not {type(value).__name__}")
    if "float" not in dtype and int(value) != value:
        raise InputError(f"{where}: {value} is no integer")
    try:
        exact = torch.tensor([value if "float" in dtype else int(value)], dtype=getattr(torch, dtype))
    except (RuntimeError, OverflowError):
        raise InputError(f"{where}: {value} does not fit {dtype}") from None
    return exact.view(torch.uint8).numpy().tobytes()


def _fits(given: str, wanted: str) -> bool:
    """The same type; integers of one size; or the bits of a type that NumPy lacks."""
    bits = {name: re.sub(r"\D*(\d+).*|bool", r"\1", name) or "8" for name in (given, wanted)}
    integers = all("int" in name or name == "bool" for name in (given, wanted))
    raw = "uint" in given and wanted not in ("float32", "float64")
    return given == wanted or (bits[given] == bits[wanted] and (integers or raw))
