"""The engine as a shared object: generated, compiled for this host by the bundled clang once, and bound by ctypes."""

from __future__ import annotations

import ctypes as c
import os
import platform
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from sparse_mla.build import cached, find_toolchain
from sparse_mla.errors import ToolchainError
from sparse_mla.gfx950.generate import all_rows, sources
from sparse_mla.gfx950.layout import structs

ENGINE = Path(__file__).with_name("engine")
GLOBAL_FAULT, LDS_FAULT, BUDGET_FAULT, PAST_END_FAULT, SCRATCH_FAULT, ALIGNMENT_FAULT, RESOURCE_FAULT, LANES_FAULT = range(1, 9)
TRAP_FAULT, JUMP_FAULT, INDEX_FAULT, MODE_FAULT, TRACE_FAULT = range(9, 14)
FAULTS = {
    GLOBAL_FAULT: "global access outside every buffer",
    LDS_FAULT: "LDS access outside the workgroup's allocation",
    BUDGET_FAULT: "the wave does not end: it has used up its budget of instructions",
    PAST_END_FAULT: "execution ran past the last instruction: the kernel has no s_endpgm there",
    SCRATCH_FAULT: "scratch access outside the lane's private memory",
    ALIGNMENT_FAULT: "an atomic must be aligned to its size",
    RESOURCE_FAULT: "the buffer resource swizzles addresses, adds a thread id or is no buffer: only plain ones are known",
    LANES_FAULT: "a transposed read needs every lane active",
    TRAP_FAULT: "the kernel stopped itself: a failed assertion, __builtin_trap or code that should not be reached",
    JUMP_FAULT: "a jump to an address where no instruction begins",
    INDEX_FAULT: "a register index outside the wave's registers",
    MODE_FAULT: "the hardware register is not modelled, or would change rounding, denormals or clamping",
    TRACE_FAULT: "the trace has reached its limit",
}
MFMA_MODELS = ("plain", "cdna3")  # order and rounding of matrix products: engine/matrix.h
_FLAGS = ("-O2", "-std=c2x", "-ffreestanding", "-fPIC", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Werror",
          "-Wno-unused-function")  # fmt: skip
STRUCTS = structs(ENGINE / f"{name}.h" for name in ("engine", "sanitize", "trace"))
Range, Launch, Debug, Wave, Worker = (STRUCTS[name] for name in ("Range", "Launch", "Debug", "Wave", "Worker"))


def host_cpu() -> str:
    """What code compiled for this host depends on: machine and instruction set extensions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return platform.machine() + next((line for line in lines if line.startswith(("flags", "Features"))), "")


def build_engine(target: tuple[str, ...] | None = None) -> Path:
    """The engine's shared object, for this host or for clang's `target` arguments; made once and kept.

    Raises ToolchainError when there is no compiler or it fails.
    """
    own = ("runtime", "access", "sanitize", "races", "trace")
    units = [*sources(), *((name, (ENGINE / f"{name}.c").read_text()) for name in own)]
    return build_shared_object("engine", units, ENGINE, "the emulator's engine", target)


def build_shared_object(
    name: str,
    units: Sequence[tuple[str, str]],
    headers: Path,
    what: str,
    target: tuple[str, ...] | None = None,
    *,
    root: Path | None = None,
) -> Path:
    """A freestanding shared object of C `units` (name, text), which may include the headers of one folder, for this host or for
    clang's `target` arguments; made once and kept. Raises ToolchainError when there is no compiler or it fails."""
    if target is None:
        target = ("-mcpu=native",) if platform.machine() in ("aarch64", "arm64") else ("-march=native",)
    tools = find_toolchain()
    texts = [text for _, text in units] + [file.read_text() for file in sorted(headers.glob("*.h"))]
    key = "\0".join([tools.version, host_cpu(), *target, *_FLAGS, *texts])

    def make(out: Path) -> None:
        def compiled(unit: tuple[str, str]) -> str:
            path = out.with_name(f"{unit[0]}.c")
            path.write_text(unit[1])
            made = str(path.with_suffix(".o"))
            _run([*tools.clang, *target, *_FLAGS, f"-I{headers}", "-c", str(path), "-o", made])
            return made

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            _run([*tools.lld, "-shared", "-o", str(out), *pool.map(compiled, sorted(units, key=lambda unit: -len(unit[1])))])

    return cached(name, key, make, ".so", what=what, root=root)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ToolchainError(f"the engine did not compile (`{' '.join(command[:2])} ...`):\n{done.stderr}")


class Engine:
    """The loaded shared object."""

    def __init__(self, path: Path) -> None:
        library = c.CDLL(str(path))
        count = c.c_uint32.in_dll(library, "engine_handler_count").value
        assert count == len(all_rows())
        self.handlers = list((c.c_uint64 * count).in_dll(library, "engine_handlers"))
        self.run = library.engine_run
        self.run.argtypes, self.run.restype = (c.POINTER(Launch), c.POINTER(Worker), c.c_uint64), c.c_int64
        self.calibrate = library.engine_calibrate
        self.calibrate.argtypes, self.calibrate.restype = (c.c_uint64,), c.c_float
        self.start, self.resume = library.engine_start, library.engine_resume
        self.start.argtypes, self.start.restype = (c.POINTER(Launch), c.POINTER(Worker), c.c_uint32 * 3), None
        self.resume.argtypes, self.resume.restype = (c.POINTER(Launch), c.POINTER(Worker), c.c_uint32), c.c_uint32
        self.trace_gather = library.trace_gather
        self.trace_gather.argtypes, self.trace_gather.restype = (c.c_void_p, c.c_uint64, c.c_uint32, c.c_void_p, c.c_void_p), None
        self.run_wave = library.engine_run_wave
        self.run_wave.argtypes, self.run_wave.restype = (c.POINTER(Launch), c.POINTER(Worker)), c.c_int64


@lru_cache
def engine() -> Engine:
    """This host's engine, compiled on first use."""
    return Engine(build_engine())
