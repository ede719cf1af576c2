"""What `pack` puts where is proved by every run; this is about the two statements of the same struct."""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sparse_mla.kernels.params import DecodeParams

INCLUDE = Path(__file__).parents[2] / "csrc" / "include"


def fields(structure: type[ctypes.Structure], prefix: str = "", base: int = 0) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every member, nested ones included."""
    for name, kind in ((field[0], field[1]) for field in structure._fields_):
        offset = base + getattr(structure, name).offset
        yield prefix + name, offset, ctypes.sizeof(kind)
        if issubclass(kind, ctypes.Structure):
            yield from fields(kind, f"{prefix}{name}.", offset)


def test_the_header_declares_the_same_bytes(tmp_path: Path) -> None:
    members = list(fields(DecodeParams))
    assert len(members) == 22 + 2 * 2 + 2 + 2 * 7  # and of the two lists, the divisor, the two segments
    lines = ['#include "decode_params.h"', "DecodeParams p;"]
    lines += [f"static_assert(sizeof(DecodeParams) == {ctypes.sizeof(DecodeParams)});"]
    lines += [
        f"static_assert(__builtin_offsetof(DecodeParams, {name}) == {offset} && sizeof(p.{name}) == {size});"
        for name, offset, size in members
    ]
    source = tmp_path / "probe.hip"
    source.write_text("\n".join(lines) + "\n")
    flags = [
        "-x",
        "hip",
        "--cuda-device-only",
        "--offload-arch=gfx950",
        "-nogpulib",
        "-nogpuinc",
        "-fsyntax-only",
        f"-I{INCLUDE}",
    ]
    done = subprocess.run([sys.executable, "-m", "ziglang", "clang", *flags, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
