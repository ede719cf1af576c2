"""The compiled kernels of one source: their assembly text, the resources they were given, and the ELF that a GPU loads."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sparse_mla.build.store import cached
from sparse_mla.build.toolchain import find_toolchain
from sparse_mla.errors import CompileError

# What one gfx950 compute unit has to share out.
SIMDS = 4
WAVE_SIZE = 64
WAVE_SLOTS = 8  # a SIMD
VGPRS, VGPR_GRANULE = 512, 8  # a SIMD lane; architectural and accumulation registers come from one pool
SGPRS, SGPR_GRANULE = 800, 16  # a SIMD
LDS_BYTES, LDS_GRANULE = 163840, 1280  # a compute unit


def _round_up(value: int, granule: int) -> int:
    return -(-value // granule) * granule


@dataclass(frozen=True)
class Resources:
    """What one kernel takes, and how much of it fits."""

    vgpr: int  # architectural registers a lane
    agpr: int  # accumulation registers a lane
    sgpr: int  # scalar registers a wave
    lds: int  # bytes a workgroup
    scratch: int  # bytes of memory a lane, for what did not fit its registers
    spill_vgpr: int
    spill_sgpr: int
    threads: int  # the largest workgroup it was compiled for

    @property
    def waves_per_simd(self) -> int:
        """Waves that the registers of one SIMD can hold, at most 8."""
        registers = _round_up(self.vgpr, 4) + self.agpr if self.agpr else self.vgpr
        by_vgpr = VGPRS // max(_round_up(registers, VGPR_GRANULE), VGPR_GRANULE)
        by_sgpr = SGPRS // max(_round_up(self.sgpr, SGPR_GRANULE), SGPR_GRANULE)
        return min(WAVE_SLOTS, by_vgpr, by_sgpr)

    @property
    def workgroups_per_cu(self) -> int:
        """Workgroups of `threads` threads resident on one compute unit, by registers and LDS."""
        by_waves = SIMDS * self.waves_per_simd // -(-self.threads // WAVE_SIZE)
        return min(by_waves, LDS_BYTES // _round_up(self.lds, LDS_GRANULE)) if self.lds else by_waves


@dataclass(frozen=True)
class CodeObject:
    """One compiled source. `text` keeps the compiler's `.file`/`.loc` lines, which give every instruction its source line."""

    name: str
    arch: str
    text: str = field(repr=False)
    compiler: str | Path | None = field(default=None, repr=False)
    cache: Path | None = field(default=None, repr=False)

    @cached_property
    def resources(self) -> dict[str, Resources]:
        """By kernel symbol, in the order of the source; read from the metadata that the GPU's loader reads."""
        block = re.search(r"\.amdgpu_metadata\n(.*?)\.end_amdgpu_metadata", self.text, re.DOTALL)
        kernels = re.search(r"^amdhsa\.kernels:\n(.*?)^\S", block[1], re.DOTALL | re.MULTILINE) if block else None
        found = {}
        for kernel in re.split(r"^  - ", kernels[1], flags=re.MULTILINE)[1:] if kernels else ():
            # A kernel's own fields are indented by four; those of its arguments by more.
            fields = dict(re.findall(r"^(?:    )?\.(\w+): +(\S+)$", kernel, re.MULTILINE))
            agpr = int(fields["agpr_count"])
            found[fields["name"]] = Resources(
                vgpr=int(fields["vgpr_count"]) - agpr,
                agpr=agpr,
                sgpr=int(fields["sgpr_count"]),
                lds=int(fields["group_segment_fixed_size"]),
                scratch=int(fields["private_segment_fixed_size"]),
                spill_vgpr=int(fields["vgpr_spill_count"]),
                spill_sgpr=int(fields["sgpr_spill_count"]),
                threads=int(fields["max_flat_workgroup_size"]),
            )
        return found

    @property
    def kernels(self) -> tuple[str, ...]:
        return tuple(self.resources)

    def elf(self) -> bytes:
        """The code object that a GPU's loader takes, assembled and linked on first use."""
        tools = find_toolchain(self.compiler)

        def link(path: Path) -> None:
            source, unlinked = path.with_suffix(".s"), path.with_suffix(".o")
            source.write_text(self.text)
            target = ("-x", "assembler", "-target", "amdgcn-amd-amdhsa", f"-mcpu={self.arch}")
            for command in (
                [*tools.clang, *target, "-c", "-o", str(unlinked), str(source)],
                [*tools.lld, "-shared", "-o", str(path), str(unlinked)],
            ):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    raise CompileError(f"{self.name} did not assemble for {self.arch}:\n{done.stderr}")

        key = "\0".join((self.text, self.arch, tools.version))
        return cached("elf", key, link, ".co", what=self.name, root=self.cache).read_bytes()
