"""What an assembler says about a text: hand-written instructions may have forms that no GPU has."""

from __future__ import annotations

import re
import subprocess

from sparse_mla.build.toolchain import find_toolchain
from sparse_mla.errors import AssemblyError

_ERROR = re.compile(r"^<stdin>:(\d+):\d+: error: (.*)$", re.MULTILINE)


def check_assembly(text: str, arch: str, name: str) -> None:
    """Raises AssemblyError where the bundled assembler refuses an instruction of `text` for `arch`, with its words.

    Directives are not its business here: other compilers' may be newer.
    """
    flags = f"--target=amdgcn-amd-amdhsa -mcpu={arch} -x assembler -c - -o /dev/null"
    said = subprocess.run([*find_toolchain().clang, *flags.split()], input=text, capture_output=True, text=True).stderr
    lines = text.splitlines()
    found = [(int(m[1]), lines[int(m[1]) - 1].strip(), m[2]) for m in _ERROR.finditer(said)]
    found = [x for x in found if re.match(r"(s|v|ds|t?buffer|flat|global|scratch)_", x[1])]
    if found:
        first = "; ".join(f"line {number}: `{line}`: {words}" for number, line, words in found[:3])
        raise AssemblyError(f"{name} is not code for {arch}: {first}" + f", and {len(found) - 3} more" * (len(found) > 3))
