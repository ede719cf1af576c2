"""HIP source -> gfx950 assembly, once: kept under the hash of the source, its headers, the flags and the compiler."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparse_mla.build.code_object import CodeObject
from sparse_mla.build.store import cached
from sparse_mla.build.toolchain import find_toolchain
from sparse_mla.errors import CompileError, InputError
from sparse_mla.files import folder

# csrc/CMakeLists.txt has the same flags.
FLAGS = (
    *("-x", "hip", "--cuda-device-only", "-std=c++17", "-S"),
    *("-nogpulib", "-nogpuinc"),  # our own headers stand in for ROCm's
    "-gline-tables-only",  # source lines; changes no instruction
    "-ffp-contract=fast-honor-pragmas",  # as hipcc does
)
ANY_BYTES = "latin-1"  # for the key only: a source need not be valid UTF-8


def csrc_dir() -> Path:
    """The folder of the kernels' sources."""
    return folder("csrc")


def compile_hip(
    source: Path | str,
    *,
    arch: str = "gfx950",
    defines: Mapping[str, object] | None = None,
    include: Sequence[Path] = (),
    opt: str = "-O3",
    compiler: str | Path | None = None,
    cache: Path | None = None,
) -> CodeObject:
    """Compiles a `Path`, or a `str` of source text, for `arch`.

    `include` is searched after the source's own folder, and before csrc/include and csrc. `compiler` as in `find_toolchain`;
    `cache` is the folder to keep results in (default: the user's cache). Raises CompileError with the compiler's own words,
    ToolchainError when there is no compiler.
    """
    tools = find_toolchain(compiler)
    csrc = csrc_dir()
    if isinstance(source, Path):
        path = source.resolve()
        if not path.is_file():
            raise InputError(f"no source {source}: give a Path (ours are under {csrc}), or the source text as a str")
        name = str(path.relative_to(csrc) if path.is_relative_to(csrc) else path)
        content, searched = path.read_text(ANY_BYTES), [path.parent, *include]
    else:
        path, name = None, "source.hip"
        content, searched = source, [*include]
    own = re.search(r"^// flags: (.*)$", content, re.MULTILINE)  # of this source
    flags = [
        *FLAGS,
        *(own[1].split() if own else ()),
        opt,
        f"--offload-arch={arch}",
        *(f"-D{key}={value}" for key, value in (defines or {}).items()),
    ]
    headers = [header for where in searched for header in sorted(where.glob("*.h*"))]  # one source may include another
    headers += sorted(csrc.glob("*/*.h"))
    headers += sorted(path for path in (csrc / "include").rglob("*") if path.is_file())  # <cmath> and its like have no suffix
    key = "\0".join((tools.version, name, *flags, content, *(header.read_text(ANY_BYTES) for header in headers)))

    def make(out: Path) -> None:
        given = path or out.with_name(name)
        if path is None:
            given.write_text(content, "utf-8")
        # Names in the line table are relative to csrc, so that neither they nor the cache depend on where this checkout lies.
        maps = [f"-ffile-prefix-map={base}/=" for base in (csrc, out.parent)] + ["-fdebug-compilation-dir=."]
        folders = [f"-I{where}" for where in (*searched, csrc / "include", csrc)]
        done = subprocess.run([*tools.clang, *flags, *maps, *folders, "-o", out, given], capture_output=True, text=True)
        if done.returncode:
            raise CompileError(f"{name} did not compile for {arch}:\n{done.stderr.replace(f'{out.parent}/', '')}")

    text = cached("asm", key, make, ".s", what=f"{name} for {arch}", root=cache).read_text()
    return CodeObject(name, arch, text, compiler, cache)
