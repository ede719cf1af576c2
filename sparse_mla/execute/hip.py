"""A user's own kernels on the emulator: HIP source, assembly or a code object, launched on NumPy arrays and CPU tensors."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sparse_mla.build import CodeObject, compile_hip, csrc_dir
from sparse_mla.build.assemble import check_assembly
from sparse_mla.build.disassemble import disassemble
from sparse_mla.errors import InputError
from sparse_mla.execute.signature import Parameter, checked, demangle, parameters, signatures
from sparse_mla.gfx950.assembly import Kernel, Program, parse
from sparse_mla.gfx950.debug import Debugger
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.dispatch import pack_arguments
from sparse_mla.gfx950.isa import ARCHES
from sparse_mla.gfx950.machine import Launched, Memory, launch
from sparse_mla.gfx950.timing import Device, Timing, simulate
from sparse_mla.gfx950.timing.device import device as device_named

Shape = int | Sequence[int]
PRINTF_BYTES = 1 << 20  # of one launch


class UserKernel:
    """One kernel. `kernel[grid, block](*arguments)` launches it, in workgroups and work-items, each an int or up to three."""

    def __init__(self, name: str, kernel: Kernel, types: list[Parameter] | None, source: str = "") -> None:
        self.name, self.kernel, self.types, self.source = name, kernel, types, source
        self._decoded: dict[tuple[bool, bool], Code] = {}

    def __repr__(self) -> str:
        written = [x.written for x in self.types] if self.types else [f"{a.size} bytes" for a in self.kernel.explicit_arguments]
        return f"<kernel {self.name}({', '.join(written)}): {len(self.kernel.instructions)} instructions>"

    def __getitem__(self, shape: tuple[Shape, Shape]) -> Callable[..., Launched]:
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise InputError(f"{self.name}[{shape}]: give {self.name}[grid, block], each an int or a tuple of up to three")
        return partial(self._launch, *shape)

    def __call__(self, *_: Any) -> Launched:
        raise InputError(f"{self.name} needs its shape: call {self.name}[grid, block](...)")

    def _launch(
        self,
        grid: Shape,
        block: Shape,
        /,
        *values: Any,
        dynamic_lds: int = 0,
        sanitize: bool = False,
        trace: bool = False,
        threads: int | None = None,
    ) -> Launched:
        """Runs the kernel. `dynamic_lds`: bytes of `extern __shared__`. Gives exact counts; prints what the kernel prints."""
        memory = Memory()
        kernarg, printed = self._arguments(values, memory)
        if (sanitize, trace) not in self._decoded:
            self._decoded[sanitize, trace] = decode(self.kernel, sanitize=frozenset() if sanitize else None, trace=trace)
        try:
            code = self._decoded[sanitize, trace]
            return launch(code, _shape(grid), _shape(block), kernarg, memory, dynamic_lds=dynamic_lds, threads=threads)
        finally:
            for text in _printed(printed, memory):
                print(text, end="")

    def time(
        self, grid: Shape, block: Shape, /, *values: Any, dynamic_lds: int = 0, device: str | Device = "mi355x", band: bool = True
    ) -> Timing:
        """Runs such a launch, and models how long a device takes for it: microseconds with their band, waits, counters."""
        launched = self._launch(grid, block, *values, dynamic_lds=dynamic_lds, trace=True)
        return simulate([launched], device_named(device) if isinstance(device, str) else device, band=band)

    def debug(
        self, grid: Shape, block: Shape, /, *values: Any, workgroup: Sequence[int] = (0, 0, 0), dynamic_lds: int = 0
    ) -> Debugger:
        """A debugger before the first instruction of one workgroup of such a launch; nothing is printed."""
        memory = Memory()
        kernarg, _ = self._arguments(values, memory)
        stopped = Debugger(
            self.kernel, _shape(grid), _shape(block), kernarg, memory, workgroup=workgroup, dynamic_lds=dynamic_lds
        )
        stopped.sources["source.hip"] = self.source
        return stopped

    def _arguments(self, values: tuple[Any, ...], memory: Memory) -> tuple[bytes, np.ndarray]:
        """The argument segment of a launch, and the buffer of what it prints."""
        kernel = self.kernel
        if self.types is not None:
            if len(values) != len(self.types):
                wanted = ", ".join(x.written for x in self.types) or "none"
                raise InputError(f"{self.name} takes {len(self.types)} arguments ({wanted}), not {len(values)}")
            values = tuple(checked(self.name, parameter, value) for parameter, value in zip(self.types, values, strict=True))
        kernarg = bytearray(pack_arguments(kernel, values, memory))
        prints = [a.offset for a in kernel.arguments if a.value_kind == "hidden_hostcall_buffer"]
        printed = np.zeros((2 + PRINTF_BYTES // 8) if prints else 0, np.uint64)
        for at in prints:
            printed[1] = PRINTF_BYTES
            kernarg[at : at + 8] = memory.map(printed, "printf's buffer").to_bytes(8, "little")
        return bytes(kernarg), printed


def _shape(given: Shape) -> tuple[int, ...]:
    return (given,) if isinstance(given, int) else tuple(given)


class Module:
    """The kernels of one source. A kernel is an attribute; where there is only one, the module launches it itself."""

    def __init__(self, program: Program, code: CodeObject, source: str = "") -> None:
        self.code = code
        """The compiled code: `.text` the assembly, `.resources` what each kernel takes."""
        self._program = program
        self.kernels: dict[str, UserKernel] = {}
        written = signatures(source)
        for symbol, kernel in program.kernels.items():
            name, arguments = demangle(symbol)
            template, own = written.get(name, ((), None))
            types = None if own is None else parameters(own, dict(zip(template, arguments, strict=False)))
            if types is not None and len(types) != len(kernel.explicit_arguments):
                types = None  # a macro, say: the metadata decides
            spelled = re.sub(r"\W+", "_", "_".join((name, *arguments)))
            key = symbol if spelled in self.kernels else spelled
            self.kernels[key] = UserKernel(key, kernel, types, source)

    def __getattr__(self, name: str) -> UserKernel:
        if name.startswith("__") or name not in self.kernels:
            raise AttributeError(f"no kernel {name}: there is {', '.join(self.kernels) or 'none'}")
        return self.kernels[name]

    def __getitem__(self, shape: tuple[Shape, Shape]) -> Callable[..., Launched]:
        if len(self.kernels) != 1:
            raise InputError(f"which kernel? There is {', '.join(self.kernels) or 'none'}: write module.name[grid, block](...)")
        return next(iter(self.kernels.values()))[shape]

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.kernels.values())) or "<no kernels>"

    def variable(self, name: str) -> np.ndarray:
        """The bytes, uint8, of a `__device__` or `__constant__` variable: written here, read by launches, and the other way."""
        data = next(iter(self._program.kernels.values())).data if self._program.kernels else None
        if data is None or name not in data.symbols:
            raise InputError(f"no variable {name}: there is {', '.join(data.symbols if data else ()) or 'none'}")
        return data.bytes[data.symbols[name]]


def hip(source: str | Path, *, arch: str = "gfx950", opt: str = "-O3", compiler: str | Path | None = None) -> Module:
    """Compiles HIP source, as text or as a Path, and gives its kernels.

    `k = hip(source)`; `k.name[grid, block](a, b, n)`. Templates need an explicit instantiation, and are named with its
    arguments: `template __global__ void scale<float>(...)` is `k.scale_float`. The headers are ours (csrc/include/hip) with any
    compiler. Raises CompileError with the compiler's own words.
    """
    code = compile_hip(source, arch=arch, opt=opt, compiler=compiler, include=(csrc_dir() / "include/std",))
    return Module(parse(code.text), code, source.read_text() if isinstance(source, Path) else source)


def load_kernels(path: str | Path) -> Module:
    """The kernels of a saved assembly file, or of a code object (.co, .hsaco) of ROCm or Triton.

    A code object is disassembled by llvm-objdump (`disassemble`), and must not call functions. Raises AssemblyError for text with
    instructions in a form that the processor lacks.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file {path}: give an assembly file (.s), or a code object (.co, .hsaco)")
    with path.open("rb") as file:
        binary = file.read(4) == b"\x7fELF"
    text = disassemble(path) if binary else path.read_text()
    arch = m[1] if (m := re.search(r"amdgcn-amd-amdhsa--(gfx\w+)", text)) else "gfx950"
    if not binary and arch in ARCHES:
        check_assembly(text, arch, path.name)
    return Module(parse(text), CodeObject(path.name, arch, text))


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext sparse_mla`: a cell that begins with `%%hip` compiles, and defines its kernels by name. `%%hip -O1` as hip()."""

    def magic(line: str, cell: str) -> Module:
        if not re.fullmatch(r"(-O[0-3s])?", line.strip()):
            raise InputError(f"%%hip takes nothing, or one of -O0 to -O3, not {line.strip()!r}")
        module = hip(cell, opt=line.strip() or "-O3")
        shell.push(module.kernels)
        return module

    shell.register_magic_function(magic, "cell", "hip")


_CONVERSION = re.compile(r"%([-+ #0]*\d*(?:\.\d+)?)(hh|h|ll|l|z|j|t)?([diouxXeEfFgGcsp%])")


def _printed(buffer: np.ndarray, memory: Memory) -> Iterator[str]:
    """The text of each record of a printf buffer (csrc/include/hip/hip_printf.h), in the order of the calls."""
    at, end = 2, 2 + min(int(buffer[0]), PRINTF_BYTES) // 8 if len(buffer) else 0
    while at < end and buffer[at]:
        size = int(buffer[at]) // 8
        yield _formatted(_text(memory, int(buffer[at + 1])), [int(x) for x in buffer[at + 2 : at + size]], memory)
        at += size
    if len(buffer) and (lost := int(buffer[0]) - PRINTF_BYTES) > 0:
        yield f"... and more: printf keeps {PRINTF_BYTES:,} bytes a launch, and {lost:,} did not fit\n"


def _formatted(template: str, words: list[int], memory: Memory) -> str:
    left = iter(words)

    def convert(m: re.Match[str]) -> str:
        flags, length, kind = m.groups()
        if kind == "%":
            return "%"
        word = next(left, 0)
        value: int | float | str = word & ((1 << 64) - 1 if length in ("l", "ll", "z", "j", "t") else 0xFFFFFFFF)
        if kind in "di":
            bits = 64 if length in ("l", "ll", "z", "j", "t") else 32
            value = int(value) - ((int(value) >> bits - 1) << bits)
        elif kind in "eEfFgG":
            value = float(np.uint64(word).view(np.float64))
        elif kind == "s":
            value = _text(memory, word)
        elif kind == "p":
            return f"{word:#x}"
        return f"%{flags}{'d' if kind in 'iu' else kind}" % value

    return _CONVERSION.sub(convert, template)


def _text(memory: Memory, address: int) -> str:
    for base, size, host, _ in memory.ranges:
        if base <= address < base + size:
            return ctypes.string_at(host + address - base, base + size - address).partition(b"\0")[0].decode(errors="replace")
    return f"<no string at {address:#x}>"
