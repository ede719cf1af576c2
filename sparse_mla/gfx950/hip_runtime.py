"""The emulated HIP runtime: engine/hip_runtime.c compiled for this host, and the emulator's side of it.

docs/hip_device.md describes it. A launch may touch what hipMalloc gave or hipHostRegister named, at the host's own addresses.
"""

from __future__ import annotations

import ctypes as c
import hashlib
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sparse_mla.build import CodeObject
from sparse_mla.build.disassemble import disassemble, find_objdump
from sparse_mla.errors import AssemblyError, InputError, KernelFault, SparseMlaError
from sparse_mla.gfx950 import native
from sparse_mla.gfx950.assembly import Program, parse
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.machine import Launched, launch
from sparse_mla.gfx950.memory import Memory

# Of hipError_t, and what in the emulator they stand for.
INVALID_VALUE, INVALID_FUNCTION, INVALID_IMAGE, NOT_FOUND = 1, 98, 200, 500
ILLEGAL_ADDRESS, LAUNCH_FAILURE, UNKNOWN = 700, 719, 999
CODES = {KernelFault: LAUNCH_FAILURE, AssemblyError: INVALID_FUNCTION, InputError: INVALID_VALUE}
_I64, _SIZE, _P = c.c_int64, c.c_size_t, c.c_void_p
_LAUNCH = (_I64, c.POINTER(c.c_uint32), c.POINTER(c.c_uint32), c.c_uint32, _P, _SIZE, c.POINTER(native.Range), _SIZE)
_TYPES = {"load": c.CFUNCTYPE(_I64, _P, _SIZE), "function": c.CFUNCTYPE(_I64, _I64, c.c_char_p, c.POINTER(c.c_int32 * 6)),
          "launch": c.CFUNCTYPE(_I64, *_LAUNCH), "unload": c.CFUNCTYPE(None, _I64)}  # fmt: skip


class _Callbacks(c.Structure):
    _fields_ = list(_TYPES.items())


class Emulator:
    """What hip_runtime.c calls. `problem` is what went wrong last; `launched` the last launches, counted; `texts` assembly by the
    SHA-256 of its code object, for a machine without llvm-objdump."""

    def __init__(self) -> None:
        self.problem: Exception | None = None
        self.launched: deque[Launched] = deque(maxlen=16)
        self.texts: dict[bytes, str] = {}
        self._ids = count()
        self._programs: dict[int, Program] = {}
        self._functions: dict[int, Code] = {}
        self.callbacks = _Callbacks(*(kind(self._guarded(getattr(self, f"_{name}"))) for name, kind in _TYPES.items()))

    def _guarded(self, does: Callable[..., int | None]) -> Callable[..., int | None]:
        """An exception becomes an error code: C cannot catch one."""

        def call(*given: Any) -> int | None:
            try:
                return does(*given)
            except BaseException as problem:
                self.problem = problem if isinstance(problem, Exception) else None
                if isinstance(problem, KernelFault) and problem.reason.startswith(native.FAULTS[native.GLOBAL_FAULT]):
                    return -ILLEGAL_ADDRESS
                return -next((code for kind, code in CODES.items() if isinstance(problem, kind)), UNKNOWN)

        return call

    def _load(self, image: int, size: int) -> int:
        elf = c.string_at(image, size)
        try:
            find_objdump()
            text = _disassembled(elf)
        except SparseMlaError as problem:
            text = self.texts.get(hashlib.sha256(elf).digest(), "")
            if not text:
                self.problem = problem
                return -INVALID_IMAGE
        number = next(self._ids)
        self._programs[number] = parse(text)
        return number

    def _function(self, module: int, name: bytes, attributes: Any) -> int:
        program, symbol = self._programs[module], name.decode()
        if symbol not in program.kernels:
            self.problem = InputError(f"no kernel {symbol}: there is {', '.join(program.kernels) or 'none'}")
            return -NOT_FOUND
        kernel, has = program[symbol], CodeObject("", "gfx950", program.text).resources[symbol]
        size = kernel.descriptor.get("kernarg_size", 0)
        explicit = max((a.offset + a.size for a in kernel.explicit_arguments), default=0)
        attributes.contents[:] = has.threads, has.lds, has.scratch, has.vgpr + has.agpr, explicit, size
        number = next(self._ids)
        self._functions[number] = decode(kernel)
        return number

    def _launch(self, function: int, grid: Any, block: Any, shared: int, bytes_at: int, size: int, ranges: Any, n: int) -> int:
        memory = Memory.of_host([(r.base, r.size, "device memory") for r in ranges[:n]])
        kernarg = c.string_at(bytes_at, size)
        self.launched.append(launch(self._functions[function], grid[:3], block[:3], kernarg, memory, dynamic_lds=shared))
        return 0

    def _unload(self, module: int) -> None:
        self._programs.pop(module, None)


@lru_cache(maxsize=32)
def _disassembled(elf: bytes) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "module.co"
        path.write_bytes(elf)
        return disassemble(path)


@lru_cache
def emulated_hip() -> tuple[Path, Emulator]:
    """The library, compiled on first use and connected to this process's emulator."""
    path = native.build_shared_object(
        "hip", [("runtime", (native.ENGINE / "hip_runtime.c").read_text())], native.ENGINE, "the emulated HIP runtime"
    )
    emulator = Emulator()
    c.CDLL(str(path)).sparse_mla_emulated_hip(c.byref(emulator.callbacks))
    return path, emulator
