"""Finds the clang that compiles for gfx950 and the lld that links what it made.

By default both come out of the `ziglang` wheel, so that every machine gets the same machine code. ROCm's own, or another
clang, is used only when asked for: other compilers give other code, and other counts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from sparse_mla.errors import ToolchainError

OLDEST_CLANG = 20  # the first with gfx950


@dataclass(frozen=True)
class Toolchain:
    """Two commands, to be followed by clang's and lld's own arguments."""

    clang: tuple[str, ...]
    lld: tuple[str, ...]
    version: str  # first line of `clang --version`: what the compiled code depends on


def find_toolchain(compiler: str | Path | None = None) -> Toolchain:
    """The toolchain asked for: None (the `ziglang` wheel), "rocm", "system", or the path of a clang."""
    if compiler is None:
        zig = str(find_zig())
        return _checked((zig, "clang"), (zig, "ld.lld"))
    if compiler == "rocm":
        told = os.environ.get("ROCM_PATH")
        roots = [Path(told)] if told else [Path("/opt/rocm"), *sorted(Path("/opt").glob("rocm-*"), reverse=True)]
        for root in roots:
            for clang in (root / "llvm/bin/clang", root / "lib/llvm/bin/clang"):
                if clang.is_file():
                    return _with_lld(clang)
        looked = ", ".join(map(str, roots))
        raise ToolchainError(f"no ROCm clang under {looked}: install ROCm 7 or newer, or set ROCM_PATH to where it is")
    if compiler == "system":
        found = shutil.which("clang")
        if found is None:
            raise ToolchainError(f"no clang on PATH: install clang {OLDEST_CLANG} or newer, or use the bundled one")
        return _with_lld(Path(found))
    if not Path(compiler).is_file():
        allowed = '"rocm", "system", the path of a clang, or nothing for the bundled one'
        raise ToolchainError(f"no compiler {str(compiler)!r}: give {allowed}")
    return _with_lld(Path(compiler))


def find_zig() -> Path:
    """The one executable of the `ziglang` wheel; its first argument says which tool to be (`clang`, `ld.lld`, `cc` ...)."""
    spec = find_spec("ziglang")
    zig = Path(spec.origin).with_name("zig") if spec and spec.origin else None
    if zig is None or not zig.is_file():
        raise ToolchainError('no compiler: run `pip install "ziglang>=0.17.1,<0.18"`, or ask for "rocm" or "system"')
    return zig


def _with_lld(clang: Path) -> Toolchain:
    beside = clang.resolve().with_name("ld.lld")
    lld = str(beside) if beside.is_file() else shutil.which("ld.lld")
    if lld is None:
        raise ToolchainError(f"{clang} has no ld.lld beside it and none is on PATH: install lld")
    return _checked((str(clang),), (lld,))


def _checked(clang: tuple[str, ...], lld: tuple[str, ...]) -> Toolchain:
    version = _version(clang, os.stat(clang[0]).st_mtime_ns)
    major = re.search(r"clang version (\d+)", version)
    if major is None or int(major[1]) < OLDEST_CLANG:
        wanted = f"clang {OLDEST_CLANG} or newer (ROCm 7 has it; so has `pip install ziglang`)"
        raise ToolchainError(f"{clang[0]} says {version!r}: gfx950 needs {wanted}")
    return Toolchain(clang, lld, version)


@lru_cache
def _version(clang: tuple[str, ...], modified_ns: int) -> str:
    """Asked once for each compiler, and again when its file changes."""
    try:
        answer = subprocess.run([*clang, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolchainError(f"{clang[0]} does not run: {error}") from error
    return answer.stdout.partition("\n")[0]
