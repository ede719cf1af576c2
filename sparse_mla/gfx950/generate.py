"""Rows to C: one handler function an instruction, and the table through which the decoder finds them."""

from __future__ import annotations

import re

from sparse_mla.gfx950.isa import ARCHES, MICRO, ROWS
from sparse_mla.gfx950.isa.row import Operand, Row

SCALAR_TYPES = {"u": "u32", "i": "i32", "U": "u64", "I": "i64"}
VECTOR_TYPES = {"u": "uv", "i": "iv", "f": "fv", "q": "qv", "p": "pv", "w": "uv", "j": "iv", "h": "fv", "b": "fv",
                "g": "uv", "y": "uv", "X": "fv", "U": "Uv", "I": "Iv", "F": "Fv", "m": "iv", "M": "u64"}  # fmt: skip


def all_rows() -> list[Row]:
    """Instructions and micro-operations, in the order of the handler table."""
    return [*ROWS.values(), *(row for arch in ARCHES.values() for row in arch.instead.values()), *MICRO.values()]


def slots(row: Row) -> list[tuple[Operand, int]]:
    """Each operand with its first index in `Op.o`: a read pair of fp32 takes two, so that op_sel can pick its halves."""
    out, at = [], 0
    for operand in row.operands:
        out.append((operand, at))
        at += 2 if operand.value == "P" else 1
    assert at <= 8, f"{row.mnemonic}: too many operands"
    return out


_PLACE = "(u8*)w + ({o} & ~1u)"
# By type: its declaration, how it is read and written. {n} is its name, {t} its C type, {k} its letter, {o} and {p} its slots.
_TEMPLATES = {
    "s": ("{t} {n};", f"__builtin_memcpy(&{{n}}, {_PLACE}, sizeof {{n}});", f"__builtin_memcpy({_PLACE}, &{{n}}, sizeof {{n}});"),
    "P": ("fv {n}0, {n}1;", "{n}0 = get_f(w, {o}); {n}1 = get_f(w, {p});", "put_f(w, {o}, {n}0); put_f(w, {p}, {n}1);"),
    "HE": ("fv {n}0, {n}1;", "get_{k}(w, {o}, &{n}0, &{n}1);", "put_{k}(w, {o}, {n}0, {n}1);"),
    "": ("{t} {n};", "{n} = get_{k}(w, {o});", "put_{k}(w, {o}, {n});"),
}


def _operand(operand: Operand, at: int, step: int) -> str:
    """C that declares (0), reads (1) or writes (2) an operand."""
    kind, types = operand.value, SCALAR_TYPES if operand.type[0] == "s" else VECTOR_TYPES
    found = next(x for letters, x in _TEMPLATES.items() if operand.type[0] in letters or not letters)
    letter = "f" if kind == "X" else kind
    return found[step].format(n=operand.name, t=types.get(kind), k=letter, o=f"o->o[{at}]", p=f"o->o[{at + 1}]")


def _statements(row: Row) -> str:
    """The effect as statements; an expression becomes the first operand's value, done for both halves of a pair."""
    effect, first = row.effect, row.operands[0]
    assigns = re.search(r"(^|[;\s])(\w+) = ", effect) is not None
    if assigns:
        return effect + ";"
    if first.value not in "PH":
        return f"{first.name} = {effect};"
    names = "|".join(operand.name for operand in row.operands if operand.value in "PHE")
    return " ".join(re.sub(rf"\b({names})\b", rf"\g<1>{half}", f"{first.name} = {effect};") for half in (0, 1))


def handler(row: Row) -> str:
    """The C function of one row."""
    head = f"const Op* {row.handler}(const Op* o, Wave* w) {{"
    if row.effect.startswith("@"):
        return f"{head} {row.effect[1:]}; }}"
    body = [_operand(x, at, step) for x, at in slots(row) for step in (0, 1)[: 1 + x.read]]
    effect = _statements(row)
    if "SCC" in effect:
        body.append("u32 SCC = w->scc;")
    body.append(effect)
    body += [_operand(x, at, 2) for x, at in slots(row) if x.write]
    if "SCC = " in effect:
        body.append("w->scc = SCC;")
    return f"{head} {' '.join(body)} NEXT; }}"


def sources() -> list[tuple[str, str]]:
    """The generated translation units, name and text: the handlers of each execution unit, and the table of all of them."""
    rows, headers = all_rows(), ("matrix", "access", "formats", "sanitize", "trace")
    head = "".join(["// Generated from the rows in isa/ by generate.py.\n", *(f'#include "{name}.h"\n' for name in headers)])
    functions = {row.handler: row for row in rows}
    units = [
        (f"handlers_{unit.lower()}", "\n".join([head, *(handler(row) for row in functions.values() if row.unit == unit), ""]))
        for unit in sorted({row.unit for row in rows})
    ]
    table = [
        head,
        *(f"const Op* {name}(const Op*, Wave*);" for name in functions),
        f"const Handler engine_handlers[{len(rows)}] = {{{', '.join(row.handler for row in rows)}}};",
        f"const u32 engine_handler_count = {len(rows)};\n",
    ]
    return [*units, ("handlers", "\n".join(table))]
