"""Everything that moves data between registers and memory, by families: spaces times widths, operations times sizes.

Source: AMD CDNA4 ISA manual, SMEM, FLAT/GLOBAL/SCRATCH, MUBUF and DS. Not here: what isa/refused.py lists.

Alignment. A device drops the low two address bits of scalar accesses and of buffer accesses of a dword or more; so does the
engine. It takes global, flat and scratch accesses at any address. LDS wants b64 aligned to 8 bytes and b96 and b128 to 16 unless
unaligned access is enabled, as it is by default; here they work at any address, and the sanitizer reports them. An atomic that
is not aligned to its size is a fault."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sparse_mla.gfx950.isa.row import Row, table

_LOADS = {"ubyte": ("u8", 1), "sbyte": ("i8", 1), "ushort": ("u16", 1), "sshort": ("i16", 1)}
_LOADS |= {f"dword{f'x{n}' * (n > 1)}": ("u32", n) for n in (1, 2, 3, 4)}
_D16 = {"short": "u16", "ubyte": "u8", "sbyte": "i8"}
_STORES = {"byte": ("u8", 1), "short": ("u16", 1)} | {name: x for name, x in _LOADS.items() if name.startswith("dword")}
_TO_LDS = [name for name in _LOADS if name != "dwordx2"]
# Operands around the data: behind it in a load, before and behind it in a store. A buffer's data always stands first.
_SPACES = {
    "global": ("v:A", "s:S", "offset"),
    "flat": ("v:A", "", "offset"),
    "scratch": ("v:C", "s:T", "offset"),
    "buffer": ("", "v:B r:sx4 s:su", "offset offen idxen"),
}
_WIDE = ("swap", "cmpswap", "add", "sub", "smin", "umin", "smax", "umax", "and", "or", "xor", "inc", "dec")
_ATOMICS = {f"{op}{x2}": (f"{op}_{bits}", bits // 32) for x2, bits in (("", 32), ("_x2", 64)) for op in _WIDE}
_ATOMICS |= {"add_f32": ("add_f32_flush", 1), "pk_add_f16": ("pk_add_f16", 1), "pk_add_bf16": ("pk_add_bf16", 1)}
_ATOMICS |= {f"{op}_f64": (f"{op}_f64", 2) for op in ("add", "min", "max")}


def _space(space: str) -> list[Row]:
    before, behind, modifiers = _SPACES[space]
    macro, modifiers, buffer = space.upper(), f"{modifiers} sc0 sc1 nt", space == "buffer"
    loads = [
        f"{space}_load_{name} d{'?' if buffer and name in _TO_LDS else '='}x{n} {before} {behind} | @{macro}_LOAD({kind}, {n})"
        for name, (kind, n) in _LOADS.items()
    ]
    halves = [
        f"{space}_load_{name}_d16{'_hi' * hi} d+x1 {before} {behind} | @{macro}_LOAD_D16({kind}, {16 * hi})"
        for name, kind in _D16.items() for hi in (0, 1)
    ]  # fmt: skip
    stores = [
        f"{space}_store_{name}{'_d16_hi' * hi} {before} a:x{n} {behind} | @{macro}_STORE({kind}, {n}, {16 * hi})"
        for name, (kind, n) in _STORES.items() for hi in (0, 1) if not hi or kind != "u32"
    ]  # fmt: skip
    straight = [
        f"{space}_load_lds_{name} {before} {behind} | @{macro}_LOAD_LDS({kind}, {n})"
        for name, (kind, n) in _LOADS.items()
        if name in _TO_LDS and n <= {"global": 4, "scratch": 1}.get(space, 0)
    ]
    data = "a+x" if buffer else "a:x"  # a buffer's atomic returns into its data
    atomics = [
        f"{space}_atomic_{name} {'' if buffer else f'd?x{n}'} {before} {data}{n * (1 + ('cmp' in name))} {behind}"
        f" | @{macro}_ATOMIC({op}, {n})"
        for name, (op, n) in _ATOMICS.items()
        if space != "scratch"
    ]
    rows = []
    for latency, lines in (("load", loads), ("load", halves), ("store", stores), ("load", straight), ("atomic", atomics)):
        lds = " lds" if buffer and lines is loads else ""
        rows += table("VMEM", "\n".join(lines), latency=latency, modifiers=modifiers + lds)
    return rows


VMEM: list[Row] = [row for space in _SPACES for row in _space(space)]

SMEM: list[Row] = table(
    "SMEM",
    "\n".join(
        [f"s_load_{x} d=sx{n} a:sU b:su | @SMEM_LOAD({n})\ns_buffer_load_{x} d=sx{n} a:sx4 b:su | @SMEM_BUFFER_LOAD({n})"
         for n in (1, 2, 4, 8, 16) for x in (f"dword{f'x{n}' * (n > 1)}",)]
        + [f"s_store_{x} d:sx{n} a:sU b:su | @SMEM_STORE({n})\ns_buffer_store_{x} d:sx{n} a:sx4 b:su | @SMEM_BUFFER_STORE({n})"
           for n in (1, 2, 4) for x in (f"dword{f'x{n}' * (n > 1)}",)]
        + [f"s_{buffer}atomic_{op} d+sx{n << ('cmp' in op)} a:{base} b:su | @SMEM_ATOMIC({f}, u{32 * n}, {int(base != 'sU')})"
           for buffer, base in (("", "sU"), ("buffer_", "sx4")) for op, (f, n) in _ATOMICS.items() if f[-3:] in ("_32", "_64")]
    ),
    modifiers="offset glc",
)  # fmt: skip

# Nothing here has a cache that could be stale.
CACHE: list[Row] = table(
    "WAIT",
    """
s_dcache_inv        | @NEXT
s_dcache_inv_vol    | @NEXT
s_dcache_wb         | @NEXT
s_dcache_wb_vol     | @NEXT
s_dcache_discard    | @NEXT
s_dcache_discard_x2 | @NEXT
buffer_inv          | @NEXT
buffer_wbl2         | @NEXT
ds_nop              | @NEXT
""",
)

# An LDS atomic: its type, what it does by size, and whether it takes a second datum (before the first, in what it does).
_DS_ATOMICS = {op: ("u", op) for op in ("add", "sub", "rsub", "inc", "dec")} | {op: ("b", op) for op in ("and", "or", "xor")}
_DS = {f"{op}{{}}_{t}{bits}": (f"{f}_{bits}", bits // 32, 1) for op, (t, f) in _DS_ATOMICS.items() for bits in (32, 64)}
_DS |= {f"{op}{{}}_{t}{bits}": (f"{'su'[t == 'u']}{op}_{bits}", bits // 32, 1)
        for op in ("min", "max") for t in "iu" for bits in (32, 64)}  # fmt: skip
_DS |= {f"{op}{{}}_f{bits}": (f"{op}_f{bits}", bits // 32, 1) for op in ("add", "min", "max") for bits in (32, 64)}
_DS |= {f"pk_add{{}}_{t}": (f"pk_add_{t}", 1, 1) for t in ("f16", "bf16")}
_DS |= {f"mskor{{}}_b{bits}": (f"mskor_{bits}", bits // 32, 2) for bits in (32, 64)}
_DS |= {f"cmpst{{}}_b{bits}": (f"cmpswap_{bits}", bits // 32, 2) for bits in (32, 64)}
_DS |= {f"cmpst{{}}_f{bits}": (f"cmpswap_f{bits}", bits // 32, 2) for bits in (32, 64)}
_DS_RETURNING = {f"wrxchg_rtn_b{bits}": (f"swap_{bits}", bits // 32, 1) for bits in (32, 64)}
_DS_RETURNING |= {"wrap_rtn_b32": ("wrap", 1, 2), "condxchg32_rtn_b64": ("condxchg", 2, 1)}


def _ds_atomic(name: str, op: str, n: int, data: int, returns: bool) -> str:
    first = int(returns)  # the address's slot
    a, b = f"o->o[{first + 1}]", f"o->o[{first + data}]"
    if op.startswith("cmpswap"):  # the compared value comes first
        a, b = b, a
    operands = f"d=x{n} " * returns + f"v:u a:x{n}" + f" b:x{n}" * (data == 2)
    return f"ds_{name} {operands} | @DS_ATOMIC({op}, {n}, {first}, {a}, {b}, {'o->o[0]' if returns else '0'})"


LDS: list[Row] = (
    table(
        "LDS",
        """
ds_read_u8          d=x1 v:u | @DS_READ(u8, 1)
ds_read_i8          d=x1 v:u | @DS_READ(i8, 1)
ds_read_u16         d=x1 v:u | @DS_READ(u16, 1)
ds_read_i16         d=x1 v:u | @DS_READ(i16, 1)
ds_read_b32         d=x1 v:u | @DS_READ(u32, 1)
ds_read_b64         d=x2 v:u | @DS_READ(u32, 2)
ds_read_b96         d=x3 v:u | @DS_READ(u32, 3)
ds_read_b128        d=x4 v:u | @DS_READ(u32, 4)
ds_read_u16_d16     d+x1 v:u | @DS_READ_D16(u16, 0)
ds_read_u16_d16_hi  d+x1 v:u | @DS_READ_D16(u16, 16)
ds_read_u8_d16      d+x1 v:u | @DS_READ_D16(u8, 0)
ds_read_u8_d16_hi   d+x1 v:u | @DS_READ_D16(u8, 16)
ds_read_i8_d16      d+x1 v:u | @DS_READ_D16(i8, 0)
ds_read_i8_d16_hi   d+x1 v:u | @DS_READ_D16(i8, 16)
ds_read2_b32        d=x2 v:u | @DS_READ2(1, 1)
ds_read2_b64        d=x4 v:u | @DS_READ2(2, 1)
ds_read2st64_b32    d=x2 v:u | @DS_READ2(1, 64)
ds_read2st64_b64    d=x4 v:u | @DS_READ2(2, 64)
ds_read_addtid_b32  d=x1     | @DS_READ_ADDTID
ds_read_b64_tr_b16  d=x2 v:u | @DS_READ_TR(16, 2)
ds_read_b64_tr_b8   d=x2 v:u | @DS_READ_TR(8, 2)
ds_read_b64_tr_b4   d=x2 v:u | @DS_READ_TR(4, 2)
ds_read_b96_tr_b6   d=x3 v:u | @DS_READ_TR(6, 3)
""",
        latency="lds_read",
        modifiers="offset offset0 offset1",
    )
    + table(
        "LDS",
        """
ds_write_b8         v:u a:x1 | @DS_WRITE(u8, 1, 0)
ds_write_b8_d16_hi  v:u a:x1 | @DS_WRITE(u8, 1, 16)
ds_write_b16        v:u a:x1 | @DS_WRITE(u16, 1, 0)
ds_write_b16_d16_hi v:u a:x1 | @DS_WRITE(u16, 1, 16)
ds_write_b32        v:u a:x1 | @DS_WRITE(u32, 1, 0)
ds_write_b64        v:u a:x2 | @DS_WRITE(u32, 2, 0)
ds_write_b96        v:u a:x3 | @DS_WRITE(u32, 3, 0)
ds_write_b128       v:u a:x4 | @DS_WRITE(u32, 4, 0)
ds_write2_b32       v:u a:x1 b:x1 | @DS_WRITE2(1, 1)
ds_write2_b64       v:u a:x2 b:x2 | @DS_WRITE2(2, 1)
ds_write2st64_b32   v:u a:x1 b:x1 | @DS_WRITE2(1, 64)
ds_write2st64_b64   v:u a:x2 b:x2 | @DS_WRITE2(2, 64)
ds_write_addtid_b32 a:x1          | @DS_WRITE_ADDTID
""",
        latency="lds_write",
        modifiers="offset offset0 offset1",
    )
    + table(
        "LDS",
        """
ds_bpermute_b32 d=u v:u a:u | @DS_BPERMUTE
ds_permute_b32  d=u v:u a:u | @DS_PERMUTE
ds_swizzle_b32  d=u a:u     | @DS_SWIZZLE
""",
        latency="lds_permute",
        modifiers="offset",
    )
    + table(
        "LDS",
        "\n".join(
            [_ds_atomic(name.format(rtn), *x, returns=bool(rtn)) for name, x in _DS.items() for rtn in ("", "_rtn")]
            + [_ds_atomic(name, *x, returns=True) for name, x in _DS_RETURNING.items()]
            + [
                f"ds_wrxchg2{st}_rtn_b{32 * n} d=x{2 * n} v:u a:x{n} b:x{n} | @DS_EXCHANGE2({n}, {64 if st else 1})"
                for st in ("", "st64") for n in (1, 2)
            ]
            + ["ds_append d=u | @DS_COUNTER(+)", "ds_consume d=u | @DS_COUNTER(-)"]
        ),
        latency="lds_atomic",
        modifiers="offset offset0 offset1",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What one lane of an access touches: so many bytes at each of one or two addresses; offsets count units of bytes."""

    bytes: int
    addresses: int = 1
    unit: int = 1

    @property
    def dwords(self) -> int:
        """Registers of data."""
        return -(-self.bytes // 4) * self.addresses


def shape(row: Row) -> Shape | None:
    """Read off the effect of a row of these tables; None where its operands hold no address. Of a typed buffer access, the
    registers: its bytes in memory are the resource's to say."""
    if not (m := re.match(r"@(\w+)\((\w+)(?:, (\w+))?", row.effect)):
        return None
    macro, first, second = m.groups()
    if macro.endswith("2"):  # dwords, stride
        return Shape(4 * int(first), 2, 4 * int(first) * int(second))
    if macro.startswith("FORMAT"):  # components, whether they are halves
        return Shape(int(first) * (2 if second == "1" else 4))
    if macro == "SMEM_ATOMIC":  # operation, type
        return Shape(int(second[1:]) // 8)
    if first[0] in "ui" and first[1:].isdigit():  # type and how many, or of a d16 the place in the register
        return Shape(int(first[1:]) // 8 * (1 if "D16" in macro else int(second)))
    return Shape(4 * int(second or first))  # operation or bits and dwords, or dwords


def swizzle(text: str) -> int:
    """The offset that a written pattern of ds_swizzle_b32 stands for: `swizzle(SWAP,16)`, `swizzle(BITMASK_PERM,"01pi0")`, ..."""
    mode, *rest = text.removeprefix("swizzle(").removesuffix(")").replace(" ", "").split(",")
    if mode == "BITMASK_PERM":  # a character a bit of the lane's number: 0, 1, preserved or inverted
        bits = {"0": 0, "1": 1 << 5, "p": 1, "i": 1 | 1 << 10}
        return sum(bits[x] << i for i, x in enumerate(reversed(rest[0].strip('"'))))
    n = [int(x, 0) for x in rest]
    if mode == "QUAD_PERM":
        return 1 << 15 | sum(x << 2 * i for i, x in enumerate(n))
    modes = {"BROADCAST": lambda: 32 - n[0] | n[1] << 5, "SWAP": lambda: 31 | n[0] << 10, "REVERSE": lambda: 31 | n[0] - 1 << 10,
             "FFT": lambda: 0xE000 | n[0], "ROTATE": lambda: 0xC000 | n[0] << 10 | n[1] << 5}  # fmt: skip
    return modes[mode]()
