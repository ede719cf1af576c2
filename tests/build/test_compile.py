"""The base kernels as compiled: what they take, what is in them, and what happens when compiling fails."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from sparse_mla.build import CodeObject, Resources, compile_hip, csrc_dir
from sparse_mla.errors import CompileError, InputError

PARTIALS = ("mla_decode_split_partial_f32", "mla_decode_split_partial_bf16")
TILE_KERNELS = {"fused": ("mla_decode_fused",), "split_partial": PARTIALS}
KERNELS = TILE_KERNELS | {"split_reduce": ("mla_decode_split_reduce_f32", "mla_decode_split_reduce_bf16")}
HEADER = '#include "gfx950.h"\n'
STORE_ONE = HEADER + 'extern "C" __global__ __launch_bounds__(64, 1) void one(float* out) { out[threadIdx.x] = VALUE; }\n'


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def base(name: str, cache: Path) -> CodeObject:
    return compile_hip(csrc_dir() / "decode" / f"{name}.hip", cache=cache)


@pytest.mark.parametrize("name", KERNELS)
def test_base_kernels_keep_everything_in_registers(name: str, cache: Path) -> None:
    code = base(name, cache)
    assert code.kernels == KERNELS[name]
    for took in code.resources.values():
        # A compiler short of registers parks values in accumulation registers without calling it a spill.
        assert (took.spill_vgpr, took.spill_sgpr, took.scratch, took.agpr, took.threads) == (0, 0, 0, 0, 256)
        if name in TILE_KERNELS:
            assert took.lds == 16 * 1024 + 32 * 1024 + 16 * 32 * 4 + 32 * 4
            assert (took.waves_per_simd, took.workgroups_per_cu) == (3, 3)
    assert "scratch_" not in code.text


@pytest.mark.parametrize("name", TILE_KERNELS)
def test_tile_kernels_are_the_base_design(name: str, cache: Path) -> None:
    """Per tile: wave 0's scores are 2 x 16 MFMAs, and every wave has 8 for its output dims, each fed by 8 two-byte reads."""
    for body in base(name, cache).text.split("s_endpgm")[: len(TILE_KERNELS[name])]:
        assert body.count("v_mfma_f32_16x16x32_bf16") == 32 + 8
        assert body.count("ds_read_u16") == 64
        assert body.count("s_barrier\n") == 3


def test_source_lines_are_named_relative_to_csrc(cache: Path) -> None:
    """So that neither the text nor the cache depends on where a checkout lies, and a viewer finds the files in any of them."""
    text = base("fused", cache).text
    files = dict(re.findall(r'^\t\.file\t(\d+) (".*?(?:" ".*?)?")', text, re.MULTILINE))
    names = {"/".join(re.findall(r'"(.*?)"', name)).removeprefix("./") for name in files.values()}
    assert {"decode/fused.hip", "decode/base_tile.h", "include/gfx950.h"} <= names
    assert all((csrc_dir() / name).is_file() for name in names)
    assert str(csrc_dir()) not in text


@pytest.mark.parametrize(
    "vgpr, agpr, sgpr, lds, threads, waves, workgroups",
    [
        (64, 0, 16, 0, 256, 8, 8),
        (65, 0, 16, 0, 256, 7, 7),
        (128, 0, 16, 0, 256, 4, 4),
        (128, 1, 16, 0, 256, 3, 3),  # one more register takes a granule of eight
        (141, 0, 59, 51328, 256, 3, 3),
        (256, 41, 98, 32768, 256, 1, 1),
        (254, 56, 52, 131584, 256, 1, 1),
        (32, 0, 16, 53760, 64, 8, 3),
        (32, 0, 16, 53761, 64, 8, 2),  # one more byte takes a granule of 1,280
        (78, 0, 51, 32896, 1024, 6, 1),
        (16, 0, 102, 0, 64, 7, 28),  # scalar registers, for once
    ],
)
def test_occupancy(vgpr: int, agpr: int, sgpr: int, lds: int, threads: int, waves: int, workgroups: int) -> None:
    resources = Resources(vgpr, agpr, sgpr, lds, 0, 0, 0, threads)
    assert (resources.waves_per_simd, resources.workgroups_per_cu) == (waves, workgroups)


def test_metadata_splits_architectural_and_accumulation_registers() -> None:
    text = """\t.amdgpu_metadata
---
amdhsa.kernels:
  - .agpr_count:     41
    .args:
      - .name:           p
        .size:           176
    .group_segment_fixed_size: 1024
    .max_flat_workgroup_size: 256
    .name:           busy
    .private_segment_fixed_size: 8
    .sgpr_count:     98
    .sgpr_spill_count: 1
    .vgpr_count:     297
    .vgpr_spill_count: 2
amdhsa.target:   amdgcn-amd-amdhsa--gfx950
...
\t.end_amdgpu_metadata
"""
    assert CodeObject("given", "gfx950", text).resources == {"busy": Resources(256, 41, 98, 1024, 8, 2, 1, 256)}


@pytest.mark.parametrize("name", KERNELS)
def test_elf_is_what_a_loader_takes(name: str, cache: Path) -> None:
    elf = base(name, cache).elf()
    ident, system, (kind, machine), (flags,) = elf[:6], elf[7], struct.unpack("<HH", elf[16:20]), struct.unpack("<I", elf[48:52])
    assert (ident, system) == (b"\x7fELF\x02\x01", 64)  # 64 bits, little endian; the AMD HSA system
    assert (kind, machine, flags & 0xFF) == (3, 224, 0x4F)  # a shared object, AMDGPU, EF_AMDGPU_MACH_AMDGCN_GFX950
    for symbol in KERNELS[name]:
        assert f"\0{symbol}\0".encode() in elf
        assert f"\0{symbol}.kd\0".encode() in elf


def test_a_change_of_anything_that_matters_is_another_entry(cache: Path, tmp_path: Path) -> None:
    header = tmp_path / "value.h"
    source = STORE_ONE.replace(HEADER, HEADER + '#include "value.h"\n')

    def text(value: str, in_header: str = "", opt: str = "-O3") -> str:
        header.write_text(in_header)
        return compile_hip(source, defines={"VALUE": value}, include=[tmp_path], opt=opt, cache=cache).text

    one = text("1.0f")
    assert text("1.0f") == one
    assert compile_hip(source, arch="gfx942", defines={"VALUE": 0}, include=[tmp_path], cache=cache).text != one
    assert len({one, text("2.0f"), text("1.0f", opt="-O0"), text("1.0f", "#define __launch_bounds__(a, b)\n")}) == 4


def test_compile_error_is_the_compilers_own_words(tmp_path: Path, cache: Path) -> None:
    broken = tmp_path / "broken.hip"
    broken.write_text(HEADER + 'extern "C" __global__ void k(float* p) {\n  p[threadIdx.x] = no_such_name;\n}\n')
    with pytest.raises(CompileError) as caught:
        compile_hip(broken, cache=cache)
    for words in (f"{broken}:3:20: error:", "use of undeclared identifier 'no_such_name'", "p[threadIdx.x] = no_such_name;"):
        assert words in str(caught.value)
    with pytest.raises(CompileError, match=r"(?m)^source\.hip:2:"):
        compile_hip(HEADER + "oops\n", cache=cache)


def test_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.hip.*csrc"):
        compile_hip(tmp_path / "missing.hip")
