"""Triton kernels on the emulator: compiled for gfx950 without a GPU, their machine code run on CPU tensors."""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sparse_mla.errors import InputError
from sparse_mla.gfx950.assembly import Kernel, parse
from sparse_mla.gfx950.debug import Debugger
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.dispatch import pack_arguments
from sparse_mla.gfx950.machine import Launched, Memory, launch

_FLOATS = {"fp64": torch.float64, "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


_Launch = tuple[tuple[int, ...], tuple[int, ...], bytes, Memory]


class _Driver:
    """What Triton asks of a GPU while it compiles. The device's name keeps these programs apart from a real GPU's."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def get_current_target(self) -> Any:
        return self.target

    def get_current_device(self) -> str:
        return f"emulated {self.target.arch}"

    def get_current_stream(self, device: Any) -> int:
        return 0


@contextmanager
def _compiling_for(arch: str) -> Iterator[None]:
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    before = driver._active  # what reads it by its public name would look for a GPU
    driver.set_active(_Driver(GPUTarget("hip", arch, 64)))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TRITON_DEFAULT_FP_FUSION")  # 3.9 announces a default of 3.10
            yield
    finally:
        driver._active = before


# Where our kernels and Triton's library lay when Triton compiled: it keeps code that other checkouts of ours compiled.
_FOLDER = re.compile(r'(?<=")/[^"]*/(?=(?:sparse_mla/kernels|triton/language)")')


@lru_cache(maxsize=256)
def _decoded(text: str, name: str, **options: Any) -> Code:
    return decode(parse(_FOLDER.sub("", text))[name], **options)


class TritonLauncher:
    """A jit function that runs on the emulator: `triton_on_gfx950(f)[grid](*args, num_warps=4, BLOCK=128)`."""

    def __init__(self, function: Any, arch: str) -> None:
        self.function, self.arch = function, arch

    def __getitem__(self, grid: Any) -> Any:
        return lambda *args, **kwargs: self._run(grid, args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> Any:
        """Triton's compiled kernel for these arguments: `.asm["amdgcn"]`, `.metadata`. Triton itself keeps it."""
        with _compiling_for(self.arch):
            return self.function.run(*args, grid=(1,), warmup=True, **kwargs)

    def _run(self, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Launched:
        sanitize: frozenset[str] | None = frozenset() if kwargs.pop("sanitize", False) else None
        threads = kwargs.pop("threads", None)
        code, launched, lds = self.prepared(grid, args, kwargs, sanitize=sanitize)
        return launch(code, *launched, dynamic_lds=lds, threads=threads)

    def debug(self, grid: Any, *args: Any, workgroup: Sequence[int] = (0, 0, 0), **kwargs: Any) -> Debugger:
        """A debugger before the first instruction of one program (workgroup) of such a launch."""
        code, launched, lds = self.prepared(grid, args, kwargs)
        stopped = Debugger(code, *launched, workgroup=workgroup, dynamic_lds=lds)
        stopped.sources.update(_sources(code.kernel))
        return stopped

    def prepared(self, grid: Any, args: tuple[Any, ...], kwargs: dict[str, Any], **decoded: Any) -> tuple[Code, _Launch, int]:
        """The code, the grid, block, arguments and memory of a launch, and its dynamic LDS in bytes; options of gfx950.decode."""
        compiled = self.compile(*args, **kwargs)
        signature = inspect.signature(self.function.fn)
        bound = signature.bind(*args, **{key: value for key, value in kwargs.items() if key in signature.parameters})
        bound.apply_defaults()
        sizes = tuple(grid(bound.arguments) if callable(grid) else (grid,) if isinstance(grid, int) else grid)
        memory = Memory()
        code = _decoded(compiled.asm["amdgcn"], compiled.metadata.name, **decoded)
        values = [value for name, kind in compiled.src.signature.items() for value in _runtime(name, kind, bound.arguments[name])]
        # Behind its own arguments a Triton kernel has pointers to scratch memory, as many programs wide as the grid.
        programs = math.prod(sizes)
        for name in ("global_scratch_size", "profile_scratch_size")[: len(code.kernel.explicit_arguments) - len(values)]:
            size = getattr(compiled.metadata, name, 0) * programs
            values.append(torch.zeros(size, dtype=torch.uint8) if size else None)
        kernarg = pack_arguments(code.kernel, values, memory)
        block = (compiled.metadata.num_warps * 64,)
        lds = max(0, compiled.metadata.shared - code.kernel.lds_bytes)
        return code, (sizes, block, kernarg, memory), lds


def _sources(kernel: Kernel) -> dict[str, str]:
    """The texts of the Python files that a kernel's lines come from, as far as they are there."""
    names = {ins.source[0] for ins in kernel.instructions if ins.source}
    return {name: Path(name).read_text() for name in names if Path(name).is_file()}


def _runtime(name: str, kind: Any, value: Any) -> Iterator[Any]:
    """The value of an argument, in the form of dispatch.pack_arguments; nothing for one that was compiled in."""
    if isinstance(kind, tuple):
        for part, inner in zip(kind, value, strict=True):
            yield from _runtime(name, part, inner)
    elif kind == "constexpr":
        return
    elif kind.startswith("*"):
        if value is not None and not isinstance(value, torch.Tensor):
            raise InputError(f"{name} is {kind}: give a CPU tensor, not {type(value).__name__}")
        yield value
    elif kind in _FLOATS:
        yield torch.tensor([value], dtype=_FLOATS[kind]).view(torch.uint8).numpy().tobytes()
    elif kind[0] in "iu" and kind[1:].isdigit():
        yield int(value)
    else:
        raise InputError(f"{name} is {kind}: the emulator takes tensors, numbers and tuples of them")


def triton_on_gfx950(function: Any, *, arch: str = "gfx950") -> TritonLauncher:
    """`function`, a `@triton.jit` function, to be launched as on a GPU, with CPU tensors: the machine code that Triton makes for
    gfx950 runs on the emulator. Each launch gives exact counts. `sanitize=True` among its arguments looks for faults."""
    try:
        from triton.runtime import JITFunction
    except ImportError:
        raise InputError("no Triton here: it comes with `pip install triton`, on Linux") from None
    if not isinstance(function, JITFunction):
        inner = getattr(function, "fn", None)
        if isinstance(inner, JITFunction):
            wrapper, name = type(function).__name__, inner.fn.__name__
            raise InputError(f"{name} is wrapped in {wrapper}: give {name}.fn, and what {wrapper} would choose in the call")
        raise InputError(f"give a @triton.jit function, not {type(function).__name__}")
    return TritonLauncher(function, arch)
