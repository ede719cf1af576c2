"""Wait states that software must put between two instructions: the hardware does not hold the second one back.

Source: AMD CDNA4 ISA manual 4.5 (table 11) and 7.6 (table 38); where it is silent, what LLVM inserts. `find` walks every path of
a kernel once and lists the pairs that can come too close, so that the engine looks at those only; of a compiler's code none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sparse_mla.gfx950.assembly import Instruction, Kernel
from sparse_mla.gfx950.isa.row import Operand, Row

# Resources: vector register n is n; scalar registers, what an MFMA reads as C, what a store reads as data, and hardware registers
# follow in their own thousands.
SCALAR, AS_C, STORED, HARDWARE = 1000, 2000, 3000, 4000
_VCC, _M0, _EXEC = SCALAR + 106, SCALAR + 124, SCALAR + 126
_LONGEST = 5  # wait states, of all that do not begin with an MFMA
_M0_USERS = re.compile(r"s_movrel|s_sendmsg|ds_(read|write)_addtid|\w+_load_lds_")
Access = tuple[Operand, bool, int, int]  # operand, scalar or not, first register, how many


@dataclass
class Step:
    """What wait states are about, of one instruction."""

    name: str
    unit: str
    slots: int
    kinds: frozenset[str]
    passes: int = 0
    d: tuple[int, int] = (0, 0)  # of an MFMA: registers of the result, first and how many
    c: tuple[int, int] = (0, 0)
    reads: dict[int, set[str]] = field(default_factory=dict)  # resource: read as "ab", "c", "lane" (select) or "value"
    writes: set[int] = field(default_factory=set)
    makes: frozenset[int] = frozenset()  # resources that something may touch too soon after it
    minds: frozenset[int] = frozenset()  # resources that it may touch too soon


def slots(ins: Instruction) -> int:
    """Wait states that an instruction takes."""
    return 1 + int(ins.args[0].value) if ins.mnemonic == "s_nop" else 1


def implicit(row: Row, ins: Instruction) -> Iterator[Access]:
    """Scalar registers that the text does not name."""
    if row.mnemonic.startswith("v_div_fmas"):
        yield Operand("vcc", "M", True, False), True, 106, 2
    if _M0_USERS.match(row.mnemonic) or "lds" in dict(ins.modifiers):
        yield Operand("m0", "su", True, False), True, 124, 1


def step(row: Row, ins: Instruction, suffix: str, accesses: Sequence[Access]) -> Step:
    """An instruction as `find` takes it."""
    name, modifiers = row.mnemonic, dict(ins.modifiers)
    kinds = {suffix.lstrip("_"), row.latency}
    if row.unit == "MFMA":
        kinds.add("f64" if name.startswith("v_mfma_f64") else "sgemm" if name.endswith("_f32") else "xdl")
    if row.unit == "VALU":
        shown = {"v_readlane_b32": "readlane", "v_readfirstlane_b32": "readlane", "v_writelane_b32": "writelane"}
        kinds.add(shown.get(name, "swap" if name.startswith("v_permlane") else "dot" if name.startswith("v_dot") else ""))
        if _places_result(row, modifiers):
            kinds.add("placed")
    passes = int(re.sub(r"\D", "", row.latency)) if row.unit == "MFMA" else 0
    out = Step(name, row.unit, slots(ins), frozenset(kinds), passes)
    for operand, scalar, first, count in accesses:
        place = (SCALAR if scalar else 0) + first
        how = "value"
        if row.unit == "MFMA":
            how = "c" if operand.name == "c" or operand.write else "ab"
            if operand.write:
                out.d = (place, count)
            if how == "c" and operand.read:
                out.c = (place, count)
        elif scalar and name in ("v_readlane_b32", "v_writelane_b32") and operand.name == "b":
            how = "lane"
        elif "dot" in kinds and (operand.name == "c" or operand.write):
            how = "c"
        for resource in range(place, place + count):
            if operand.read:
                out.reads.setdefault(resource, set()).add(how)
            if operand.write:
                out.writes.add(resource)
    if name.startswith("v_cmpx_"):
        out.writes |= {_EXEC, _EXEC + 1}
    made = set(out.writes) if row.unit in ("VALU", "MFMA") else out.writes & {_M0} if row.unit == "SALU" else set()
    minded = {*out.reads, *out.writes}
    if row.unit == "MFMA":
        made |= {AS_C + x for x in range(out.c[0], sum(out.c))} if "f64" not in kinds else set()
        minded |= {STORED + x for x in out.writes}
    elif row.unit == "VALU":
        minded |= {base + x for x in out.writes for base in (AS_C, STORED)}
    elif "_store_" in name and row.unit == "VMEM":
        data, by_register = next(x for x in accesses if x[0].name == "a"), name.startswith("buffer") and ins.args[-1].kind == "s"
        made |= {STORED + x for x in range(data[2], data[2] + data[3])} if data[3] > 2 and not by_register else set()
    minded |= {_EXEC} if row.unit == "MFMA" or kinds & {"dpp", "swap", "readlane", "writelane"} else set()
    if name.startswith(("s_setreg", "s_getreg")):
        number = HARDWARE + _hardware_register(ins)
        made |= {number} if name.startswith("s_setreg") else set()
        minded.add(number)
    out.makes, out.minds = frozenset(made), frozenset(minded)
    return out


def _hardware_register(ins: Instruction) -> int:
    value = ins.args[1 if ins.mnemonic.startswith("s_getreg") else 0].value
    return int(value) & 63 if isinstance(value, int) else 0


def _places_result(row: Row, modifiers: dict[str, str]) -> bool:
    """Whether the result is shifted into a part of its register, which costs a wait state."""
    if "dst_sel" in modifiers:
        return modifiers["dst_sel"] != "DWORD"
    bits = modifiers.get("op_sel", "[]").strip("[]").split(",")
    sources = sum(operand.read and not operand.write for operand in row.operands)
    behind = 2 if row.operands[0].value == "y" else sources
    return row.operands[0].write and row.operands[0].value in "wjhgby" and "1" in bits[behind:]


def _after_matrix(p: Step, q: Step, resource: int, late: bool) -> int:
    """`late`: of gfx950, whose results take one slot more than gfx942's unless they take two passes."""
    n, more = p.passes, int(late and p.passes != 2)
    if resource >= AS_C:
        return n - 1 if q.unit == "VALU" else 0
    how, small = q.reads.get(resource, set()), "4x4x4" in p.name
    memory = q.unit in ("VMEM", "LDS")
    if q.unit == "MFMA":
        c = 0
        if "c" in how:
            if p.d == q.c:
                c = 4 if "f64" in p.kinds and small else 2 if n == 2 else 0
            elif "f64" in p.kinds:
                c = 0 if "xdl" in q.kinds else 4 if small else 17 if late else 9
            elif "xdl" in p.kinds:
                c = n + 1 + late
            else:
                c = n if "sgemm" in q.kinds else 0
        ab = (6 if small else 19 if late else 11) if "f64" in p.kinds else n + 3 + more if "xdl" in p.kinds else n + 2
        return max(c, ab if "ab" in how else 0)
    if q.unit != "VALU" and not memory:
        return 0
    if "f64" in p.kinds:
        return (9 if memory else 6) if small else 18 if memory else 19 if late else 11
    return n + 3 + more if "xdl" in p.kinds else n + 2


def _after_valu(p: Step, q: Step, resource: int) -> int:
    how, vector = q.reads.get(resource, set()), q.unit == "VALU"
    if resource in (_EXEC, _EXEC + 1):
        return 4 if q.unit == "MFMA" or q.kinds & {"swap", "readlane", "writelane"} else 5 if "dpp" in q.kinds else 0
    if resource >= SCALAR:
        if "lane" in how or (resource in (_VCC, _VCC + 1) and q.name.startswith("v_div_fmas")):
            return 4
        return 0 if not how else 5 if q.unit == "VMEM" else 2 if vector else 0
    wait = 0
    if how:
        if q.unit == "MFMA" or q.kinds & {"dpp", "swap"}:
            wait = 2
        elif "readlane" in q.kinds or (vector and (("trans" in p.kinds and "trans" not in q.kinds) or "placed" in p.kinds)):
            wait = 1
    if "dot" in p.kinds and (vector or q.unit in ("VMEM", "LDS")):
        wait = 3 if q.name != p.name or how - {"c"} else wait
    return wait


def need(p: Step, q: Step, resource: int, late: bool) -> int:
    """Wait states between p and q, for what q does with a resource of p."""
    if resource >= STORED:  # and hardware registers
        return 2
    if p.unit == "MFMA":
        return _after_matrix(p, q, resource, late)
    if p.unit == "VALU":
        return _after_valu(p, q, resource)
    return int(q.unit == "VMEM" or _M0_USERS.match(q.name) is not None)  # M0


def _successors(kernel: Kernel) -> list[list[int]]:
    """Instructions that may follow each one."""
    out, last = [], len(kernel.instructions) - 1
    for pc, ins in enumerate(kernel.instructions):
        targets = [kernel.labels[str(arg.value)] for arg in ins.args if arg.kind == "label" and str(arg.value) in kernel.labels]
        if ins.mnemonic.startswith(("s_setpc", "s_swappc")):
            calls = (i + 1 for i, x in enumerate(kernel.instructions) if x.mnemonic.startswith(("s_swappc", "s_call")))
            targets = sorted({*kernel.labels.values(), *calls})
        ends = ins.mnemonic.startswith(("s_endpgm", "s_branch", "s_setpc", "s_swappc", "s_call", "s_trap"))
        out.append([x for x in [*targets, *([] if ends else [pc + 1])] if x <= last])
    return out


def find(kernel: Kernel, steps: Sequence[Step]) -> tuple[dict[int, set[tuple[int, int, int]]], dict[int, set[int]]]:
    """What can come too close, by static instruction: (resource, first instruction, wait states needed) of the second one, and
    the resources that both, and what touches them in between, are to be recorded for."""
    needs: dict[int, set[tuple[int, int, int]]] = defaultdict(set)
    records: dict[int, set[int]] = defaultdict(set)
    follow, late = _successors(kernel), kernel.arch == "gfx950"
    for pc, p in enumerate(steps):
        if not p.makes:
            continue
        longest = p.passes + 4 if p.passes else _LONGEST if max(p.makes) >= SCALAR else 3 if "dot" in p.kinds else 2
        found, between = set(), set()
        todo, seen = [(q, 0, p.makes) for q in follow[pc]], set()
        while todo:
            at, have, live = todo.pop()
            if (at, have, live) in seen:
                continue
            seen.add((at, have, live))
            q = steps[at]
            for resource in live & q.minds:
                if (wait := need(p, q, resource, late)) > have:
                    needs[at].add((resource, pc, wait))
                    found.add(resource)
            between |= {(resource, at) for resource in live & q.makes}
            live, have = live - q.makes, have + q.slots
            if live and have < longest:
                todo += [(x, have, live) for x in follow[at]]
        for resource in found:
            records[pc].add(resource)
        for resource, at in between:
            if resource in found:
                records[at].add(resource)
    return needs, records
