"""Assembly text to a program: instructions with their operands, labels, source lines and each kernel's descriptor.

The text is what `clang -S` and Triton print for AMDGPU. Nothing here knows what an instruction means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import PurePosixPath

from sparse_mla.errors import AssemblyError, InputError
from sparse_mla.gfx950.data import CODE, Data

_SPECIAL = {"vcc": (106, 2), "vcc_lo": (106, 1), "vcc_hi": (107, 1), "m0": (124, 1), "exec": (126, 2), "exec_lo": (126, 1),
            "exec_hi": (127, 1), "flat_scratch": (102, 2), "flat_scratch_lo": (102, 1), "flat_scratch_hi": (103, 1)}  # fmt: skip
_HARDWARE = {"MODE": 1, "TRAPSTS": 3, "HW_ID": 4, "XCC_ID": 20}  # hardware registers that code may read
_INDEXED = ("SRC0", "SRC1", "SRC2", "DST")
_REGISTER = re.compile(r"([vsa])(?:(\d+)|\[(\d+)(?::(\d+))?\])$")
# A flat address in one of these 4 GiB is LDS or scratch; the registers that name them are read-only.
_APERTURES = {"src_shared_base": 1 << 48, "src_shared_limit": (1 << 48) + 0xFFFFFFFF,
              "src_private_base": 2 << 48, "src_private_limit": (2 << 48) + 0xFFFFFFFF}  # fmt: skip
_CONDITIONS = {"scc": 0, "vccz": 1, "execz": 2}
_NUMBER = re.compile(r"-?(0x[0-9a-f]+|\d+)$", re.I)
_FLOAT = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?$")
_MODIFIER = re.compile(r"([a-z_0-9]+)(?::(\[[^\]]*\]|\w+\([^)]*\)|[^\s,]+))?$", re.I)
_LOC = re.compile(r"\.loc\s+(\d+)\s+(\d+)")
_TARGET = re.compile(r'\.amdgcn_target\s+"[\w-]+--(gfx\w+)')
_FILE = re.compile(r'\.file\s+(\d+)\s+(?:"([^"]*)"\s+)?"([^"]*)"')
_CALLER = re.compile(r"@\[ (\S+):(\d+):\d+")  # in the comment behind a .loc: through which calls the line was inlined


@dataclass(frozen=True, slots=True)
class Arg:
    """One operand as written. kind: v, a, s (registers), int, float, condition, label, off. `first`/`count`: which registers."""

    kind: str
    first: int = 0
    count: int = 1
    value: int | float | str = 0
    neg: bool = False
    abs: bool = False
    sext: bool = False


@dataclass(frozen=True, slots=True)
class Instruction:
    """One static instruction. `mnemonic` is as written, `source` is (file, line) or None, `line` counts lines of the text.
    `callers`: the (file, line) of the calls that `source` was inlined through, innermost first."""

    mnemonic: str
    args: tuple[Arg, ...]
    modifiers: dict[str, str]
    text: str
    line: int
    source: tuple[str, int] | None
    callers: tuple[tuple[str, int], ...] = ()

    @property
    def source_line(self) -> str:
        """`file:line`, or `asm:line` where the compiler gave none."""
        return f"{self.source[0]}:{self.source[1]}" if self.source else f"asm:{self.line}"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a kernel: its bytes in the argument segment and the metadata's `value_kind`; `name` may be empty."""

    name: str
    offset: int
    size: int
    value_kind: str

    @property
    def hidden(self) -> bool:
        """True for what the runtime fills in, not the caller."""
        return self.value_kind.startswith("hidden_")


@dataclass
class Kernel:
    """One kernel: its processor, instructions, labels (name -> index), the `.amdhsa_*` directives of its descriptor and, where
    the text has metadata, its arguments. `data` is shared by all kernels of a text."""

    name: str
    arch: str = "gfx950"
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    descriptor: dict[str, int] = field(default_factory=dict)
    arguments: list[Argument] = field(default_factory=list)
    data: Data | None = None
    first_address: int = CODE  # of its first instruction; where a text has functions, they lie behind every kernel's own code

    @property
    def explicit_arguments(self) -> list[Argument]:
        """What a caller gives, in order."""
        return [argument for argument in self.arguments if not argument.hidden]

    @property
    def lds_bytes(self) -> int:
        """Statically allocated LDS of a workgroup, bytes."""
        return self.descriptor.get("group_segment_fixed_size", 0)

    @property
    def registers(self) -> dict[str, int]:
        """How many registers of each file the instructions name: {'v': ..., 'a': ..., 's': ...}."""
        used = {"v": 0, "a": 0, "s": 0}
        for instruction in self.instructions:
            for arg in instruction.args:
                if arg.kind in used and not (arg.kind == "s" and arg.first >= 102):
                    used[arg.kind] = max(used[arg.kind], arg.first + arg.count)
        return used


@dataclass(frozen=True)
class Program:
    """All kernels of one assembly text, by symbol."""

    kernels: dict[str, Kernel]
    text: str

    def __getitem__(self, name: str) -> Kernel:
        try:
            return self.kernels[name]
        except KeyError:
            raise InputError(f"no kernel {name!r} in this assembly; it has {', '.join(self.kernels) or 'none'}") from None


def parse_arg(text: str) -> Arg:
    """One operand; raises ValueError for what is not one."""
    neg = absolute = False
    if text.startswith("-") and not _NUMBER.match(text) and not _FLOAT.match(text):
        neg, text = True, text[1:]
    if text.startswith("|") and text.endswith("|"):
        absolute, text = True, text[1:-1]
    if m := re.match(r"(hwreg|gpr_idx|sendmsg)\(([\w, ]*)\)$", text):
        return Arg("int", value=_encoded(m[1], [x.strip() for x in m[2].split(",")]))
    if text.startswith("neg(") and text.endswith(")"):  # of a constant, where `-1` would be another constant
        return replace(parse_arg(text[4:-1]), neg=True)
    if text.startswith("sext(") and text.endswith(")"):
        inner = parse_arg(text[5:-1])
        return Arg(inner.kind, inner.first, inner.count, sext=True)
    if m := _REGISTER.match(text):
        first = int(m[2] or m[3])
        return Arg(m[1], first, int(m[4] or first) - first + 1, neg=neg, abs=absolute)
    if text in _SPECIAL:
        return Arg("s", *_SPECIAL[text], neg=neg, abs=absolute)
    if text.removeprefix("src_") in _CONDITIONS:
        return Arg("condition", value=_CONDITIONS[text.removeprefix("src_")])
    if text in _APERTURES:
        return Arg("int", value=_APERTURES[text])
    if _NUMBER.match(text):
        return Arg("int", value=int(text, 0), neg=neg, abs=absolute)
    if _FLOAT.match(text):
        return Arg("float", value=float(text), neg=neg, abs=absolute)
    if text == "off":
        return Arg("off")
    if re.match(r"[.\w$]+$", text) and not text[0].isdigit():
        return Arg("label", value=text)
    raise ValueError(text)


def _encoded(kind: str, parts: list[str]) -> int:
    """The number that `hwreg(name, first bit, bits)`, `gpr_idx(SRC0,DST)` or a message stands for."""
    if kind == "hwreg" and parts[0].removeprefix("HW_REG_") in _HARDWARE:
        first, bits = (int(x, 0) for x in parts[1:]) if len(parts) == 3 else (0, 32)
        return _HARDWARE[parts[0].removeprefix("HW_REG_")] | first << 6 | bits - 1 << 11
    if kind == "gpr_idx" and set(parts) <= {*_INDEXED, ""}:
        return sum(1 << _INDEXED.index(part) for part in parts if part)
    if kind == "sendmsg":
        return 0
    raise ValueError(", ".join(parts))


def parse_instruction(
    text: str, line: int = 0, source: tuple[str, int] | None = None, callers: tuple[tuple[str, int], ...] = ()
) -> Instruction:
    """One instruction line (comments already removed)."""
    mnemonic, _, rest = text.strip().partition(" ")
    args: list[Arg] = []
    modifiers: dict[str, str] = {}
    if mnemonic.startswith("s_waitcnt"):  # `vmcnt(0) lgkmcnt(0)` is not an operand list
        return Instruction(mnemonic, (), {"wait": rest.strip()}, text.strip(), line, source, callers)
    # Commas part operands; behind the last one, spaces part modifiers.
    parts = re.split(r",(?![^\[]*\])(?![^(]*\))", rest) if rest.strip() else []
    tokens = [part.strip() for part in parts]
    if tokens:
        *head, last = tokens
        words = re.findall(r"[^\s\[]*\[[^\]]*\]\|?|\w+\([^)]*\)|\S+", last)
        tokens = head + words[:1]
        extra = words[1:]
        # `v_mul v0, v1, v2 clamp`: the first word is an operand unless it is itself a modifier (`ds_nop gds`).
    else:
        extra = []
    try:
        args = [parse_arg(token) for token in tokens]
    except ValueError as bad:
        raise AssemblyError(f"line {line}: cannot read operand {str(bad)!r} of `{text.strip()}`") from None
    for word in extra:
        if not (m := _MODIFIER.match(word)):
            raise AssemblyError(f"line {line}: cannot read modifier {word!r} of `{text.strip()}`")
        modifiers[m[1]] = m[2] or ""
    return Instruction(mnemonic, tuple(args), modifiers, text.strip(), line, source, callers)


def parse(text: str) -> Program:
    """Parse a whole assembly file.

    Raises AssemblyError, with the line, for an operand or modifier that is not AMDGPU syntax.
    """
    files: dict[int, str] = {}
    bodies: dict[str, Kernel] = {}
    kernels: dict[str, Kernel] = {}
    functions = set(re.findall(r"\.type\s+([\w.$]+),\s*@function", text))
    body: Kernel | None = None
    arch = m[1] if (m := _TARGET.search(text)) else "gfx950"
    source: tuple[str, int] | None = None
    callers: tuple[tuple[str, int], ...] = ()
    chains: dict[str, tuple[tuple[str, int], ...]] = {}
    descriptor: Kernel | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split(";", 1)[0].split("//", 1)[0].strip()
        if not line:
            continue
        if line.endswith(":"):
            label = line[:-1]
            if label in functions:
                body, source = bodies.setdefault(label, Kernel(label, arch)), None
                callers = ()
            elif body is not None:
                body.labels[label] = len(body.instructions)
        elif line[0] == ".":
            word, *tail = line.split(maxsplit=1)
            rest = tail[0] if tail else ""
            if m := _LOC.match(line):
                source = (files.get(int(m[1]), f"file {m[1]}"), int(m[2])) if int(m[2]) else None
                _, _, chain = raw.partition("@")
                if chain not in chains:
                    chains[chain] = tuple((_named(file, files), int(at)) for file, at in _CALLER.findall("@" + chain))
                callers = chains[chain]
            elif m := _FILE.match(line):
                files[int(m[1])] = m[3] if m[1] == "0" or not m[2] else str(PurePosixPath(m[2]) / m[3])
            elif word == ".amdhsa_kernel":
                name = rest.strip()
                descriptor = kernels[name] = bodies.get(name, Kernel(name, arch))
            elif word == ".end_amdhsa_kernel":
                descriptor = None
            elif descriptor is not None and word.startswith(".amdhsa_"):
                value = rest.strip()
                descriptor.descriptor[word.removeprefix(".amdhsa_")] = int(value, 0) if _NUMBER.match(value) else 0
            elif word == ".size":
                body = None  # what follows a function is data
        elif body is not None:
            body.instructions.append(Instruction("", (), {}, line.replace("\t", " "), number, source, callers))
    called = [body for name, body in bodies.items() if name not in kernels]
    starts = accumulate((len(body.instructions) for body in called), initial=0)
    data = Data(text, {body.name: CODE + 4 * start for body, start in zip(called, starts, strict=False)})
    for body in bodies.values():
        body.instructions = [_resolved(ins, data) for ins in body.instructions]
    for kernel in kernels.values():
        kernel.data = data
        kernel.first_address = CODE - 4 * len(kernel.instructions)
        for body in called if data.calls else ():
            at = len(kernel.instructions)
            kernel.labels |= {body.name: at} | {label: at + i for label, i in body.labels.items()}
            kernel.instructions += body.instructions
    for name, arguments in _arguments(text):
        if name in kernels:
            kernels[name].arguments = arguments
    return Program(kernels, text)


def _resolved(ins: Instruction, data: Data) -> Instruction:
    """An instruction of which only the text is known, read with addresses in place of symbols."""
    return replace(parse_instruction(data.resolve(ins.text), ins.line, ins.source, ins.callers), text=ins.text)


def _named(file: str, files: dict[int, str]) -> str:
    """A file as .file names it, of which a comment may have the last part only."""
    return next((path for path in files.values() if path == file or path.endswith(f"/{file}")), file)


def _arguments(text: str) -> Iterator[tuple[str, list[Argument]]]:
    """Each kernel's symbol and arguments, from the metadata."""
    block = re.search(r"\.amdgpu_metadata\n(.*?)\.end_amdgpu_metadata", text, re.DOTALL)
    for kernel in re.split(r"^  - ", block[1], flags=re.MULTILINE)[1:] if block else ():
        arguments = [_fields(entry, 8) for entry in re.split(r"^      - ", kernel, flags=re.MULTILINE)[1:]]
        made = [Argument(x.get("name", ""), int(x["offset"]), int(x["size"]), x["value_kind"]) for x in arguments]
        yield _fields(kernel, 4).get("name", ""), made


def _fields(entry: str, indent: int) -> dict[str, str]:
    """The fields of one entry of a YAML list: its own are indented alike, those of what it holds by more."""
    return dict(re.findall(rf"^(?: {{{indent}}})?\.(\w+): +(\S+)$", entry, re.MULTILINE))
