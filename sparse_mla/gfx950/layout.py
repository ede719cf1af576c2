"""The engines' C structs as ctypes structures: the C text is their only description. `np.dtype` takes one as it is."""

from __future__ import annotations

import ctypes as c
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TYPES: dict[str, Any] = {f"u{n}": getattr(c, f"c_uint{n}") for n in (8, 16, 32, 64)}
_TYPES |= {f"i{n}": getattr(c, f"c_int{n}") for n in (8, 16, 32, 64)} | {"f64": c.c_double, "Handler": c.c_void_p}
_STRUCT = re.compile(r"struct (\w+ )?\{([^{}]*)\}\s*(\w*)[^;]*;")


def structs(files: Iterable[Path], **known: Any) -> dict[str, Any]:
    """The structs of C files by name, in order, made of integers, doubles, pointers, arrays, each other and `known` ones. Arrays
    have the length of a number, a macro or an enumerator. One that holds anything else is left out."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", "\n".join(file.read_text() for file in files), flags=re.DOTALL)
    lengths = {name: int(value) for name, value in re.findall(r"#define (\w+) (\d+)\s*\n", text)}
    for names in re.findall(r"enum \{([^}]*)\}", text):
        following = 0
        for name, value in re.findall(r"(\w+)(?: = ([^,]*))?", names):
            lengths[name] = following = int(value) if value.strip().isdigit() else following
            following += 1
    found: dict[str, Any] = {}

    def fields(body: str) -> Iterable[tuple[str, Any]]:
        for kind, rest in re.findall(r"(?:const |struct )*(\w+)([^;]*);", body):
            for one in rest.split(","):
                names, pointer = re.findall(r"\w+", one), "*" in one
                made = c.c_void_p if pointer else (_TYPES | known | found)[kind]
                for length in [] if pointer else names[1:]:
                    made = made * (int(length) if length.isdigit() else lengths[length])
                yield names[0], made

    for tag, body, name in _STRUCT.findall(text):
        try:
            name = name if name not in ("", "__attribute__") else tag.strip()
            found[name] = type(name, (c.Structure,), {"_fields_": [*fields(body)]})
        except KeyError:
            continue
    return found
