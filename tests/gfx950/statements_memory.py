"""What instructions that touch memory do, stated on exact integers. Written from the manual, not from the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Statement = Callable[..., Any]
SPACES = ("global", "flat", "scratch", "buffer")


def signed(x: Any, bits: int) -> Any:
    return (x + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def sext(x: Any, bits: int) -> Any:
    return signed(x & (1 << bits) - 1, bits) & 0xFFFFFFFF


# Under one name for every space. Loads: the value for the registers, low dword first. Stores: (bytes, value).
LOADS: dict[str, Statement] = dict.fromkeys(("dword", "dwordx2", "dwordx3", "dwordx4"), lambda x: x)
LOADS |= {
    "ubyte": lambda x: x & 0xFF,
    "sbyte": lambda x: sext(x, 8),
    "ushort": lambda x: x & 0xFFFF,
    "sshort": lambda x: sext(x, 16),
    "short_d16": lambda x, d: d & 0xFFFF0000 | x & 0xFFFF,
    "short_d16_hi": lambda x, d: d & 0xFFFF | (x & 0xFFFF) << 16,
    "ubyte_d16": lambda x, d: d & 0xFFFF0000 | x & 0xFF,
    "ubyte_d16_hi": lambda x, d: d & 0xFFFF | (x & 0xFF) << 16,
    "sbyte_d16": lambda x, d: d & 0xFFFF0000 | sext(x, 8) & 0xFFFF,
    "sbyte_d16_hi": lambda x, d: d & 0xFFFF | (sext(x, 8) & 0xFFFF) << 16,
}
STORES: dict[str, Statement] = {
    "byte": lambda a: (1, a & 0xFF),
    "byte_d16_hi": lambda a: (1, a >> 16 & 0xFF),
    "short": lambda a: (2, a & 0xFFFF),
    "short_d16_hi": lambda a: (2, a >> 16 & 0xFFFF),
    "dword": lambda a: (4, a),
    "dwordx2": lambda a: (8, a),
    "dwordx3": lambda a: (12, a),
    "dwordx4": lambda a: (16, a),
}
MEMORY: dict[str, Statement] = {f"{space}_load_{name}": f for space in SPACES for name, f in LOADS.items()}
MEMORY |= {f"{space}_store_{name}": f for space in SPACES for name, f in STORES.items()}
_LDS = {"u8": "ubyte", "i8": "sbyte", "u16": "ushort", "i16": "sshort", "u8_d16": "ubyte_d16", "u8_d16_hi": "ubyte_d16_hi"}
_LDS |= {"u16_d16": "short_d16", "u16_d16_hi": "short_d16_hi", "i8_d16": "sbyte_d16", "i8_d16_hi": "sbyte_d16_hi"}
_LDS |= {"b32": "dword", "b64": "dwordx2", "b96": "dwordx3", "b128": "dwordx4"}
MEMORY |= {f"ds_read_{lds}": LOADS[name] for lds, name in _LDS.items()}
_LDS |= {"b8": "byte", "b8_d16_hi": "byte_d16_hi", "b16": "short", "b16_d16_hi": "short_d16_hi"}
MEMORY |= {f"ds_write_{lds}": STORES[name] for lds, name in _LDS.items() if lds[0] == "b"}
# Two accesses each: bytes of an element, and the elements that its offsets count by.
ELEMENTS = {f"ds_{rw}2{st}_b{8 * n}": (n, 64 if st else 1) for rw in ("read", "write") for st in ("", "st64") for n in (4, 8)}
EXCHANGES = {f"ds_wrxchg2{st}_rtn_b{8 * n}": (n, 64 if st else 1) for st in ("", "st64") for n in (4, 8)}
# Dwords of a scalar access; the buffer forms have the same, behind a resource.
SCALAR = {f"s_{buffer}load_dword{f'x{n}' * (n > 1)}": n for buffer in ("", "buffer_") for n in (1, 2, 4, 8, 16)}
SCALAR |= {f"s_{buffer}store_dword{f'x{n}' * (n > 1)}": n for buffer in ("", "buffer_") for n in (1, 2, 4)}
# Accesses that convert: components, and whether each takes 16 bits of a register. Names of data formats begin with the highest.
TYPED = {f"{space}_{way}_format_{d16}{'xyzw'[:n]}": (n, bool(d16)) for space in ("buffer", "tbuffer") for way in ("load", "store")
         for n in (1, 2, 3, 4) for d16 in ("", "d16_")}  # fmt: skip
TYPED |= {f"buffer_{way}_format_d16_hi_x": (1, True) for way in ("load", "store")}
DATA_FORMATS = ("8", "16", "8_8", "32", "16_16", "10_11_11", "11_11_10", "10_10_10_2", "2_10_10_10", "8_8_8_8", "32_32",
                "16_16_16_16", "32_32_32", "32_32_32_32")  # fmt: skip
NUMBER_FORMATS = ("UNORM", "SNORM", "USCALED", "SSCALED", "UINT", "SINT", "RESERVED_6", "FLOAT")


def component_widths(data_format: str) -> list[int]:
    return [int(x) for x in reversed(data_format.split("_"))]


def convertible(widths: list[int], number: str, half: bool, store: bool) -> bool:
    """Whether there is such a format, and it is stated what it does."""
    if number == "RESERVED_6" or (store and number.endswith("SCALED")):
        return False
    if 11 in widths:
        return number == "FLOAT" and not store
    return number in ("UINT", "SINT", "FLOAT") and not half if 32 in widths else number != "FLOAT" or 16 in widths


def from_component(x: int, bits: int, number: str, half: bool) -> int:
    """A component as it lies in memory to the bits of a register, or of half of one."""
    if number in ("UINT", "SINT"):
        return int(signed(x, bits) if number == "SINT" else x) % (1 << (16 if half else 32))
    if number == "FLOAT":  # 10 and 11 bits are f16 without a sign and with a shorter mantissa
        value = as_float(x, bits) if bits >= 16 else as_float(x << 15 - bits, 16)
    else:
        n = x if number[0] == "U" else signed(x, bits)
        value = (
            n / (2**bits - 1) if number == "UNORM" else max(-1.0, n / (2 ** (bits - 1) - 1)) if number == "SNORM" else float(n)
        )
    return of_float(np.float32(value), 16 if half else 32)


def to_component(x: int, bits: int, number: str, half: bool) -> int:
    value = float(as_float(x, 16 if half else 32))
    if number in ("UINT", "SINT") or bits == 32:
        return x % (1 << bits)
    if number == "FLOAT":
        return of_float(np.float32(value), 16)
    low, most = (-1, 2 ** (bits - 1) - 1) if number == "SNORM" else (0, 2**bits - 1)
    return 0 if value != value else round(min(max(value, low), 1) * most) % 2**bits


# Bytes that one lane brings to LDS, and whether their sign fills the dword.
TO_LDS = {"ubyte": (1, False), "sbyte": (1, True), "ushort": (2, False), "sshort": (2, True), "dword": (4, False)}
STRAIGHT = {f"{space}_load_lds_{name}": x for space in ("global", "scratch") for name, x in TO_LDS.items()}
STRAIGHT |= {"global_load_lds_dwordx3": (12, False), "global_load_lds_dwordx4": (16, False)}


def as_float(x: int, bits: int) -> Any:
    return np.array([x], f"u{bits // 8}").view(f"f{bits // 8}")[0]


def of_float(x: Any, bits: int) -> int:
    return int(np.array([x], f"f{bits // 8}").view(f"u{bits // 8}")[0])


def flushed(x: int) -> int:
    """A denormal is a zero of its sign."""
    return x & 0x80000000 if not x & 0x7F800000 else x


def add_float(m: int, a: int, b: int, bits: int) -> int:
    return of_float(as_float(m, bits) + as_float(a, bits), bits)


def add_halves(kind: torch.dtype) -> Statement:
    def add(m: int, a: int, b: int, bits: int) -> int:
        x, y = (torch.tensor([v & 0xFFFF, v >> 16], dtype=torch.uint16).view(kind) for v in (m, a))
        low, high = (x + y).view(torch.uint16).tolist()
        return int(low | high << 16)

    return add


def exchange_marked(m: int, a: int, b: int, bits: int) -> int:
    """Half by half: a set top bit says to store the rest."""
    halves = [(a >> s & 0x7FFFFFFF) if a >> s + 31 & 1 else m >> s & 0xFFFFFFFF for s in (0, 32)]
    return halves[0] | halves[1] << 32


# What memory m becomes, of data a, second data b and the size in bits.
OPS: dict[str, Statement] = {
    "swap": lambda m, a, b, n: a,
    "cmpswap": lambda m, a, b, n: a if m == b else m,
    "add": lambda m, a, b, n: (m + a) % 2**n,
    "sub": lambda m, a, b, n: (m - a) % 2**n,
    "rsub": lambda m, a, b, n: (a - m) % 2**n,
    "smin": lambda m, a, b, n: min(m, a, key=lambda x: signed(x, n)),
    "smax": lambda m, a, b, n: max(m, a, key=lambda x: signed(x, n)),
    "umin": lambda m, a, b, n: min(m, a),
    "umax": lambda m, a, b, n: max(m, a),
    "and": lambda m, a, b, n: m & a,
    "or": lambda m, a, b, n: m | a,
    "xor": lambda m, a, b, n: m ^ a,
    "inc": lambda m, a, b, n: m + 1 if m < a else 0,
    "dec": lambda m, a, b, n: m - 1 if 0 < m <= a else a,
    "mskor": lambda m, a, b, n: m & ~a | b,
    "wrap": lambda m, a, b, n: m - a if m >= a else (m + b) % 2**n,
    "condxchg": exchange_marked,
    "fadd": add_float,
    "fadd_flushed": lambda m, a, b, n: flushed(add_float(flushed(m), flushed(a), b, n)),
    "fmin": lambda m, a, b, n: a if as_float(a, n) < as_float(m, n) else m,
    "fmax": lambda m, a, b, n: a if as_float(a, n) > as_float(m, n) else m,
    "fcmpswap": lambda m, a, b, n: a if as_float(m, n) == as_float(b, n) else m,
    "pk_f16": add_halves(torch.float16),
    "pk_bf16": add_halves(torch.bfloat16),
}
# Name: (what it does, bits, registers of data, whether the value compared with stands before the new one).
_PLAIN = ("swap", "cmpswap", "add", "sub", "smin", "umin", "smax", "umax", "and", "or", "xor", "inc", "dec")
_CACHED = {f"{op}{x2}": (op, n) for op in _PLAIN for x2, n in (("", 32), ("_x2", 64))}
SCALAR_ATOMICS = {f"s_{buffer}atomic_{name}": x for buffer in ("", "buffer_") for name, x in _CACHED.items()}
_CACHED |= {"add_f32": ("fadd_flushed", 32), "pk_add_f16": ("pk_f16", 32), "pk_add_bf16": ("pk_bf16", 32)}
_CACHED |= {"add_f64": ("fadd", 64), "min_f64": ("fmin", 64), "max_f64": ("fmax", 64)}
ATOMICS = {f"{space}_atomic_{name}": x for space in ("global", "flat", "buffer") for name, x in _CACHED.items()}
_TYPES = dict.fromkeys(("add", "sub", "rsub", "inc", "dec"), "u") | dict.fromkeys(("and", "or", "xor", "mskor"), "b")
DS_ATOMICS = {f"ds_{op}{rtn}_{t}{n}": (op, n) for op, t in _TYPES.items() for n in (32, 64) for rtn in ("", "_rtn")}
for _n in (32, 64):
    DS_ATOMICS[f"ds_wrxchg_rtn_b{_n}"] = ("swap", _n)
    for _rtn in ("", "_rtn"):
        for _op in ("min", "max"):
            for _t, _name in (("i", "s"), ("u", "u"), ("f", "f")):
                DS_ATOMICS[f"ds_{_op}{_rtn}_{_t}{_n}"] = (_name + _op, _n)
        DS_ATOMICS[f"ds_add{_rtn}_f{_n}"] = ("fadd", _n)
        DS_ATOMICS |= {f"ds_cmpst{_rtn}_b{_n}": ("cmpswap", _n), f"ds_cmpst{_rtn}_f{_n}": ("fcmpswap", _n)}
        DS_ATOMICS |= {f"ds_pk_add{_rtn}_{t}": (f"pk_{t}", 32) for t in ("f16", "bf16")}
DS_ATOMICS |= {"ds_wrap_rtn_b32": ("wrap", 32), "ds_condxchg32_rtn_b64": ("condxchg", 64)}

# Bits of an element and dwords a lane of the transposed reads.
TRANSPOSED = {f"ds_read_b{32 * n}_tr_b{bits}": (bits, n) for bits, n in ((16, 2), (8, 2), (4, 2), (6, 3))}
LDS_OTHERS = {"ds_permute_b32", "ds_swizzle_b32", "ds_append", "ds_consume", "ds_read_addtid_b32", "ds_write_addtid_b32"}
# Caches, of which there are none here, and nothing at all.
NO_EFFECT = {"s_dcache_inv": "", "s_dcache_inv_vol": "", "s_dcache_wb": "", "s_dcache_wb_vol": "",
             "s_dcache_discard": "s[4:5], 0x10", "s_dcache_discard_x2": "s[4:5], 0x10",
             "buffer_inv": "sc1", "buffer_wbl2": "sc0 sc1", "ds_nop": ""}  # fmt: skip
STATED = {*SCALAR_ATOMICS, *TYPED, *MEMORY, *ELEMENTS, *EXCHANGES, *SCALAR, *STRAIGHT, *ATOMICS, *DS_ATOMICS, *TRANSPOSED}
STATED |= LDS_OTHERS | {*NO_EFFECT}


def swizzled(mode: str, n: list[int], lane: int) -> int:
    """The lane that `lane` reads, said in words of the pattern; groups of 32 at most."""
    i, top = lane % 32, lane - lane % 32
    if mode == "QUAD_PERM":
        return lane // 4 * 4 + n[lane % 4]
    if mode == "BROADCAST":  # the size of a group, the lane in it
        return lane // n[0] * n[0] + n[1]
    if mode == "SWAP":  # neighbouring groups of n
        return lane + n[0] if lane // n[0] % 2 == 0 else lane - n[0]
    if mode == "REVERSE":
        return lane // n[0] * n[0] + n[0] - 1 - lane % n[0]
    if mode == "ROTATE":  # 0 to lower lanes, 1 to higher ones
        return top + (i + (n[1], -n[1])[n[0]]) % 32
    if mode == "FFT":
        backwards = int(f"{i:05b}"[::-1], 2)
        return top + (backwards >> n[0].bit_count() | i & n[0])
    raise ValueError(mode)
