"""Code objects back to assembly text, by LLVM's own disassembler: the bundled compiler has none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from sparse_mla.build.toolchain import OLDEST_CLANG
from sparse_mla.errors import InputError, ToolchainError

_LABEL = re.compile(r"^(?:[0-9a-f]+ )?<([^>]+)>:$")


@lru_cache
def find_objdump() -> str:
    """The llvm-objdump of ROCm, or a new enough one on PATH."""
    folders = [Path(root) / sub for root in (os.environ.get("ROCM_PATH", "/opt/rocm"),) for sub in ("llvm/bin", "lib/llvm/bin")]
    names = ["llvm-objdump", *(f"llvm-objdump-{n}" for n in range(OLDEST_CLANG + 10, OLDEST_CLANG - 1, -1))]
    for tool in filter(None, (shutil.which(name, path=path) for path in (*map(str, folders), None) for name in names)):
        said = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout
        version = re.search(r"LLVM version (\d+)", said)
        if version and int(version[1]) >= OLDEST_CLANG and "amdgcn" in said:
            return tool
    raise ToolchainError(
        f"no llvm-objdump {OLDEST_CLANG} or newer for AMDGPU: ROCm has one; so has the package llvm-22 of Debian and Ubuntu, and "
        "llvm-tools of conda-forge. Or give the assembly (.s) instead of the code object"
    )


def disassemble(path: Path) -> str:
    """The kernels of a code object (.co, .hsaco) as the text that a compiler prints: code, descriptors, metadata. Data that the
    code reads is not in it."""
    tool = find_objdump()

    def ask(*options: str, tool: str = tool) -> str:
        done = subprocess.run([tool, *options, str(path)], capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"{path} is no code object for AMDGPU: {done.stderr.strip()}")
        return done.stdout

    notes = ask("--notes", tool=str(Path(tool).with_name(Path(tool).name.replace("objdump", "readelf"))))
    if not (metadata := re.search(r"^ *---\n(amdhsa\.kernels:.*?)^\.\.\.$", notes, re.DOTALL | re.MULTILINE)):
        raise InputError(f"{path} has no kernels for AMDGPU")
    symbols = set(re.findall(r"^    \.name: +(\S+)$", metadata[1], re.MULTILINE))
    lines, kernel = [], ""
    for line in ask("-d", "--symbolize-operands", "--no-show-raw-insn", "--section=.text").splitlines():
        if m := _LABEL.match(line.strip()):
            kernel = m[1] if m[1] in symbols else kernel
            lines += [f"\t.type\t{kernel},@function", f"{kernel}:"] if m[1] in symbols else [f"{m[1]}:"]
        elif kernel and line.startswith("\t"):
            lines.append(line.split("//")[0].rstrip())
    while lines and lines[-1].split()[0] in ("s_nop", "s_code_end"):  # padding
        lines.pop()
    if any("s_getpc_b64" in line for line in lines):
        raise InputError(f"{path} reads data of its own, or calls functions: give its assembly (.s), which has them")
    descriptors = re.findall(r"^\.amdhsa_kernel.*?^\.end_amdhsa_kernel", ask("-D", "--section=.rodata"), re.DOTALL | re.MULTILINE)
    end = ["\t.amdgpu_metadata", "---", metadata[1].rstrip(), "...", "\t.end_amdgpu_metadata", ""]
    return "\n".join([*lines, "\t.size", *descriptors, *end])
