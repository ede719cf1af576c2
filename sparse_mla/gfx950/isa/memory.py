"""Global memory and LDS. Source: AMD CDNA4 ISA manual, FLAT/GLOBAL and DS."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

GLOBAL: list[Row] = table(
    "VMEM",
    """
global_load_ubyte           d=x1 v:A s:S | @GLOBAL_LOAD(u8, 1)
global_load_sbyte           d=x1 v:A s:S | @GLOBAL_LOAD(i8, 1)
global_load_ushort          d=x1 v:A s:S | @GLOBAL_LOAD(u16, 1)
global_load_sshort          d=x1 v:A s:S | @GLOBAL_LOAD(i16, 1)
global_load_dword           d=x1 v:A s:S | @GLOBAL_LOAD(u32, 1)
global_load_dwordx2         d=x2 v:A s:S | @GLOBAL_LOAD(u32, 2)
global_load_dwordx3         d=x3 v:A s:S | @GLOBAL_LOAD(u32, 3)
global_load_dwordx4         d=x4 v:A s:S | @GLOBAL_LOAD(u32, 4)
global_load_short_d16       d+x1 v:A s:S | @GLOBAL_LOAD_D16(u16, 0)
global_load_short_d16_hi    d+x1 v:A s:S | @GLOBAL_LOAD_D16(u16, 16)
global_load_ubyte_d16       d+x1 v:A s:S | @GLOBAL_LOAD_D16(u8, 0)
global_load_ubyte_d16_hi    d+x1 v:A s:S | @GLOBAL_LOAD_D16(u8, 16)
""",
    latency="load",
    modifiers="offset sc0 sc1 nt",
) + table(
    "VMEM",
    """
global_store_byte           v:A a:x1 s:S | @GLOBAL_STORE(u8, 1, 0)
global_store_byte_d16_hi    v:A a:x1 s:S | @GLOBAL_STORE(u8, 1, 16)
global_store_short          v:A a:x1 s:S | @GLOBAL_STORE(u16, 1, 0)
global_store_short_d16_hi   v:A a:x1 s:S | @GLOBAL_STORE(u16, 1, 16)
global_store_dword          v:A a:x1 s:S | @GLOBAL_STORE(u32, 1, 0)
global_store_dwordx2        v:A a:x2 s:S | @GLOBAL_STORE(u32, 2, 0)
global_store_dwordx3        v:A a:x3 s:S | @GLOBAL_STORE(u32, 3, 0)
global_store_dwordx4        v:A a:x4 s:S | @GLOBAL_STORE(u32, 4, 0)
""",
    latency="store",
    modifiers="offset sc0 sc1 nt",
)

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
ds_read2_b32        d=x2 v:u | @DS_READ2(1, 1)
ds_read2_b64        d=x4 v:u | @DS_READ2(2, 1)
ds_read2st64_b32    d=x2 v:u | @DS_READ2(1, 64)
ds_read2st64_b64    d=x4 v:u | @DS_READ2(2, 64)
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
""",
        latency="lds_write",
        modifiers="offset offset0 offset1",
    )
    + table("LDS", "ds_bpermute_b32 d=u v:u a:u | @DS_BPERMUTE", latency="lds_permute", modifiers="offset")
)
