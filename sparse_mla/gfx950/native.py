"""The engine as a shared object: generated, compiled for this host by the bundled clang once, and bound by ctypes."""

from __future__ import annotations

import ctypes as c
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

from sparse_mla.build import cached, find_toolchain
from sparse_mla.errors import ToolchainError
from sparse_mla.gfx950.generate import all_rows, source

ENGINE = Path(__file__).with_name("engine")
FAULTS = {1: "global access outside every buffer", 2: "LDS access outside the workgroup's allocation", 3: "instruction budget used up"}
_FLAGS = ("-O2", "-std=c2x", "-ffreestanding", "-fPIC", "-fno-math-errno", "-ffp-contract=off", "-Wall", "-Werror")


class Range(c.Structure):
    """One buffer: emulated base address, bytes, host pointer."""

    _fields_ = [("base", c.c_uint64), ("size", c.c_uint64), ("host", c.c_void_p)]


class Fault(c.Structure):
    """What stopped a wave; `kind` indexes FAULTS."""

    _fields_ = [(name, c.c_uint32) for name in ("kind", "pc", "wave", "lane")] + [
        ("address", c.c_uint64),
        ("size", c.c_uint32),
        ("workgroup", c.c_uint32 * 3),
    ]


class Launch(c.Structure):
    """engine.h's Launch."""

    _fields_ = (
        [(name, c.c_void_p) for name in ("code", "ranges", "constants")]
        + [(name, c.c_uint32) for name in ("n_ranges", "n_constants", "sgpr_offset", "vgpr_offset", "n_vgprs", "wave_bytes")]
        + [("n_waves", c.c_uint32), ("lds_bytes", c.c_uint32), ("grid", c.c_uint32 * 3), ("block", c.c_uint32 * 3)]
        + [("user_sgprs", c.c_uint32 * 16), ("n_user_sgprs", c.c_uint32), ("n_blocks", c.c_uint32)]
        + [("workgroup_id_mask", c.c_uint32), ("budget", c.c_uint64), ("next", c.c_uint64), ("limit", c.c_uint64)]
    )


class WaveHeader(c.Structure):
    """engine.h's Wave, before its registers."""

    _fields_ = [(name, c.c_uint64) for name in ("launch", "worker", "range", "resume", "counts", "budget")] + [
        (name, c.c_uint32) for name in ("state", "index", "scc", "lds_bytes")
    ]


class Worker(c.Structure):
    """engine.h's Worker: what one host thread owns."""

    _fields_ = [("waves", c.c_void_p), ("lds", c.c_void_p), ("counts", c.c_void_p), ("fault", Fault)]


def host_cpu() -> str:
    """What code compiled for this host depends on: machine and instruction set extensions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return platform.machine() + next((line for line in lines if line.startswith(("flags", "Features"))), "")


def build_engine(target: tuple[str, ...] | None = None, *, root: Path | None = None) -> Path:
    """The engine's shared object, for this host or for clang's `target` arguments; made once and kept.

    Raises ToolchainError when there is no compiler or it fails.
    """
    if target is None:
        target = ("-mcpu=native",) if platform.machine() in ("aarch64", "arm64") else ("-march=native",)
    tools = find_toolchain()
    files = sorted(ENGINE.glob("*.[ch]"))
    generated = source()
    key = "\0".join([tools.version, host_cpu(), *target, *_FLAGS, generated, *(file.read_text() for file in files)])

    def make(out: Path) -> None:
        unit = out.with_name("handlers.c")
        unit.write_text(generated)
        objects = []
        for path in (unit, ENGINE / "runtime.c"):
            objects.append(str(out.with_name(path.stem + ".o")))
            _run([*tools.clang, *target, *_FLAGS, f"-I{ENGINE}", "-c", str(path), "-o", objects[-1]])
        _run([*tools.lld, "-shared", "-o", str(out), *objects])

    return cached("engine", key, make, ".so", what="the emulator's engine", root=root)


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
        self.run_wave = library.engine_run_wave
        self.run_wave.argtypes, self.run_wave.restype = (c.POINTER(Launch), c.POINTER(Worker)), c.c_int64


@lru_cache
def engine() -> Engine:
    """This host's engine, compiled on first use."""
    return Engine(build_engine())
