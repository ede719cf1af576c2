"""The timing engine as a shared object: C compiled for this host once, the constants' struct generated, bound by ctypes."""

from __future__ import annotations

import ctypes as c
from functools import lru_cache
from pathlib import Path
from typing import Any

from sparse_mla.gfx950.layout import structs
from sparse_mla.gfx950.native import build_shared_object
from sparse_mla.gfx950.timing.device import Device, device

ENGINE = Path(__file__).with_name("engine")
_TYPES = """typedef __UINT8_TYPE__ u8; typedef __UINT16_TYPE__ u16; typedef __UINT32_TYPE__ u32; typedef __UINT64_TYPE__ u64;
typedef __INT32_TYPE__ i32; typedef __INT64_TYPE__ i64; typedef double f64;
"""


def _fields() -> list[tuple[str, Any]]:
    return [(x.name, c.c_uint32 if x.whole else c.c_double) for x in device("mi355x").constants.values()]


class Constants(c.Structure):
    """A device's constants, under their names in profiles/devices/*.toml."""

    _fields_ = _fields()


STRUCTS = structs(ENGINE / name for name in ("timing.h", "chip.c", "replay.c"))


def constants(of: Device) -> Constants:
    """The values of a device as the engine takes them."""
    return Constants(*(int(x.value) if x.whole else x.value for x in (of.constants[name] for name, _ in _fields())))


def _header() -> str:
    members = " ".join(f"{'u32' if kind is c.c_uint32 else 'f64'} {name};" for name, kind in _fields())
    return f"{_TYPES}typedef struct {{ {members} }} Constants;\n"


@lru_cache
def library() -> c.CDLL:
    """The engine, compiled on first use."""
    units = [(path.stem, _header() + path.read_text()) for path in sorted(ENGINE.glob("*.c"))]
    made = c.CDLL(str(build_shared_object("timing", units, ENGINE, "the timing model")))
    made.memory_bytes.restype = c.c_uint64
    made.memory_start.argtypes = (c.c_void_p, c.c_void_p)
    return made
