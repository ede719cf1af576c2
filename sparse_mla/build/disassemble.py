"""Code objects back to assembly text, by LLVM's own disassembler: the bundled compiler has none."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from functools import lru_cache
from pathlib import Path

from sparse_mla.build.toolchain import OLDEST_CLANG
from sparse_mla.errors import InputError, ToolchainError

_ADDRESS = re.compile(r"(s_getpc_b64|s_add_u32|s_addc_u32) s\[?(\d+)(?::\d+\]|, s\d+, (?:lit\()?(-?\w+)\)?) *// ([0-9A-F]+):")
_IMAGE = ".loaded"  # everything that a loader puts into memory, as one object
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
    """The kernels of a code object (.co, .hsaco) as the text that a compiler prints: code, descriptors, metadata.

    Where code reads data relative to its own address, all that lies in memory is one object of it. Raises InputError for calls.
    """
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
    lines, kernel, reads = [], "", _Addresses(path)
    for line in ask("-d", "--symbolize-operands", "--no-show-raw-insn", "--section=.text").splitlines():
        if m := _LABEL.match(line.strip()):
            kernel = m[1] if m[1] in symbols else kernel
            lines += [f"\t.type\t{kernel},@function", f"{kernel}:"] if m[1] in symbols else [f"{m[1]}:"]
        elif kernel and line.startswith("\t"):
            lines.append(reads.resolved(line))
    while lines and lines[-1].split()[0] in ("s_nop", "s_code_end"):  # padding
        lines.pop()
    descriptors = re.findall(r"^\.amdhsa_kernel.*?^\.end_amdhsa_kernel", ask("-D", "--section=.rodata"), re.DOTALL | re.MULTILINE)
    end = ["\t.amdgpu_metadata", "---", metadata[1].rstrip(), "...", "\t.end_amdgpu_metadata", ""]
    return "\n".join([*lines, "\t.size", *descriptors, *(reads.image() if reads.used else ()), *end])


class _Addresses:
    """The addresses that code forms: s_getpc_b64, and two additions of the distance."""

    def __init__(self, path: Path) -> None:
        self.path, self.elf, self.used = path, path.read_bytes(), False
        self.begun: list[int] = []  # the register and what it holds, the distance's low half

    def resolved(self, line: str) -> str:
        """A line of the disassembly without its comment, and with a symbol for the address that it is a part of."""
        plain = line.split("//")[0].rstrip()
        if not (m := _ADDRESS.match(line.strip())) or (m[1] != "s_getpc_b64" and not self.begun):
            if self.begun or "s_getpc_b64" in plain:
                raise InputError(
                    f"{self.path} forms an address in a way that is not known (`{plain.strip()}`): give its assembly (.s)"
                )
            return plain
        first, distance = int(m[2]), int(m[3] or "0", 0) & 0xFFFFFFFF
        if m[1] == "s_getpc_b64":
            self.begun, self.used = [first, int(m[4], 16) + 4], True
            return plain
        register, base, *low = self.begun
        half = "hi" if low else "lo"
        if first != register + len(low):
            raise InputError(
                f"{self.path} forms an address in a way that is not known (`{plain.strip()}`): give its assembly (.s)"
            )
        self.begun = [] if low else [register, base, distance]
        # Both halves are of one number: the low one alone says where it is, as code and data are within 2 GiB.
        signed = ((low or [distance])[0] ^ 1 << 31) - (1 << 31)
        if self.section(b".text")[0] <= base + signed < sum(self.section(b".text")):
            raise InputError(f"{self.path} calls functions: give its assembly (.s), which names them")
        return plain.rsplit(",", 1)[0] + f", {_IMAGE}@rel32@{half}+{base + signed + (12 if low else 4)}"

    def headers(self) -> list[tuple[int, ...]]:
        """The ELF's section headers: name, type, flags, address, offset, size, link, ..."""
        at, each, count, names = (*struct.unpack_from("<Q", self.elf, 40), *struct.unpack_from("<3H", self.elf, 58))
        return [struct.unpack_from("<2I4Q2I2Q", self.elf, at + each * i) for i in (*range(count), names)]

    def section(self, name: bytes) -> tuple[int, int]:
        """Address and size of a section."""
        *sections, names = self.headers()
        text = self.elf[names[4] :]
        return next((x[3], x[5]) for x in sections if text[x[0] :].startswith(name + b"\0"))

    def image(self) -> list[str]:
        """All that is loaded, from address 0 on, as directives; what a loader fills in refers to the object itself."""
        *sections, _ = self.headers()
        loaded = [x for x in sections if x[2] & 2]  # SHF_ALLOC
        words: dict[int, str] = {}
        image = bytearray(max(x[3] + x[5] for x in loaded) + 15 & ~15)
        for kind, address, offset, size, link in ((x[1], *x[3:7]) for x in loaded if x[1] != 8):  # SHT_NOBITS is zeros
            image[address : address + size] = self.elf[offset : offset + size]
            for at in range(offset, offset + size if kind == 4 else offset, 24):  # SHT_RELA
                place, info, addend = struct.unpack_from("<QQq", self.elf, at)
                symbol, what = info >> 32, info & 0xFFFFFFFF
                if what not in (3, 13):  # R_AMDGPU_ABS64, R_AMDGPU_RELATIVE64
                    raise InputError(f"{self.path} has a relocation of type {what}, which is not known: give its assembly (.s)")
                value = struct.unpack_from("<Q", self.elf, sections[link][4] + 24 * symbol + 8)[0] if what == 3 else 0
                words[place] = f"\t.quad\t{_IMAGE}+{value + addend}"
        body, at = [], 0
        while at < len(image):
            body.append(words.get(at) or f"\t.long\t{int.from_bytes(image[at : at + 4], 'little')}")
            at += 8 if at in words else 4
        return [f"{_IMAGE}:", *body, f"\t.size\t{_IMAGE}, {len(image)}"]
