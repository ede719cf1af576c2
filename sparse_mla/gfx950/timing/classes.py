"""Instructions to what the issue rules ask of them: `describe` gives one DESC (engine/timing.h) a static instruction.

What an instruction is follows from its row (unit, latency class, operands); how long things take, from the device's
constants. Recordings hold instructions that no row describes: those go by the prefix of their name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from sparse_mla.gfx950.assembly import Arg, Instruction
from sparse_mla.gfx950.decode import row_of
from sparse_mla.gfx950.isa.matrix import controls
from sparse_mla.gfx950.isa.memory import shape
from sparse_mla.gfx950.isa.row import Operand, Row
from sparse_mla.gfx950.timing.device import Device
from sparse_mla.gfx950.timing.native import STRUCTS

PORTS = ("VALU", "SALU", "LDS", "VMEM", "BRANCH", "NONE")  # one instruction a slot each, but NONE: waits and nops
VALU, SALU, LDS, VMEM, BRANCH, NONE = range(6)
# What an instruction is to the rules and to the time split.
KINDS = ("valu", "trans", "packed", "mfma", "salu", "smem", "lds", "load", "store", "atomic", "branch", "wait", "nop", "barrier",
         "end")  # fmt: skip
(K_VALU, K_TRANS, K_PACKED, K_MFMA, K_SALU, K_SMEM, K_LDS, K_LOAD, K_STORE, K_ATOMIC, K_BRANCH, K_WAIT, K_NOP, K_BARRIER,
 K_END) = range(len(KINDS))  # fmt: skip
DESC = np.dtype(STRUCTS["Desc"])
_NEVER, _WITH_ANY, _WITH_SIMPLE = 0, 1, 2  # pairing of two VALU instructions of different waves
_PREFIXES = (
    (r"v_s?mfma\w*", "MFMA", "mfma8"),
    (r"v_\w+", "VALU", "valu"),
    (r"(s_c?branch|s_setpc|s_swappc|s_call)\w*", "BRANCH", "branch"),
    (r"s_(load|buffer|scratch|store|atomic|memtime|dcache)\w*", "SMEM", "smem"),
    (r"s_barrier", "BARRIER", "barrier"),
    (r"s_(wait|nop|sleep|setprio|sendmsg|code_end|inc|dec|trap|sethalt)\w*", "WAIT", "wait"),
    (r"s_\w+", "SALU", "salu"),
    (r"ds_\w*(write|store)\w*", "LDS", "lds_write"),
    (r"ds_\w+", "LDS", "lds_read"),
    (r"(global|flat|scratch|buffer|tbuffer|image)_\w*store\w*", "VMEM", "store"),
    (r"(global|flat|scratch|buffer|tbuffer|image)_\w*atomic\w*", "VMEM", "atomic"),
)
# Pairs of these were never seen, each with a plain one was: comparisons, conversions, ldexp, wide products.
_HALF_PAIRING = re.compile(r"v_(cmpx?|ldexp|cvt|mul_(lo|hi)|mad_[ui]64)_")


def _row(ins: Instruction, arch: str) -> Row:
    """The row, its widths true; one made up from the name where there is none."""
    found = row_of(ins.mnemonic, arch)
    if found is None:
        known = ((unit, latency) for pattern, unit, latency in _PREFIXES if re.fullmatch(pattern, ins.mnemonic))
        unit, latency = next(known, ("VMEM", "load") if "_" in ins.mnemonic else ("WAIT", "wait"))
        return Row(ins.mnemonic, (), "@NEXT", unit, latency, frozenset())
    row = found[0]
    if row.unit == "MFMA":
        with suppress(ValueError):
            return controls(row, dict(ins.modifiers)).row
    return row


def _operands(row: Row, ins: Instruction) -> list[tuple[Operand, Arg]]:
    """Operands with what the text gives them. Those that the text may leave out are left out where the count says so."""
    operands = list(row.operands)
    if operands and operands[0].optional and len(ins.args) < len(operands):
        operands = operands[1:]
    return list(zip(operands, ins.args, strict=False))


def describe(instructions: Sequence[Instruction], device: Device, arch: str = "gfx950") -> np.ndarray:
    """DESC [instruction]. Never raises for an instruction: what is not known is taken for the plainest of its kind."""
    out = np.zeros(len(instructions), DESC)
    known: dict[str, np.ndarray] = {}
    address = 0
    for i, ins in enumerate(instructions):
        if ins.text not in known:
            known[ins.text] = _describe(ins, device, arch)
        out[i] = known[ins.text]
        out[i]["address"] = address
        address += int(out[i]["bytes"])
    return out


def _describe(ins: Instruction, device: Device, arch: str) -> np.ndarray:
    d = np.zeros((), DESC)
    row = _row(ins, arch)
    constant = device.cycles
    slot = constant("slot")
    d["next"], d["hold"], d["pair"], d["vm"], d["lgkm"], d["port_hold"] = slot, slot, _NEVER, 255, 255, slot
    d["bytes"], d["priority"] = _bytes(ins, row), 255
    name, pairs = row.mnemonic, _operands(row, ins)
    d["dwords"] = _dwords(row)
    if row.unit in ("VALU", "MFMA"):
        d["port"], d["kind"] = VALU, K_MFMA if row.unit == "MFMA" else K_VALU
        _vector(d, row, name, device)
        d["scalar"] = any(x.write and a.kind == "s" for x, a in pairs) or name.startswith("v_cmpx")
    elif row.unit == "SALU":
        d["port"], d["kind"] = SALU, K_SALU
        d["next"][[LDS, VMEM]] = constant("salu_to_memory")
        if "SCC = " in row.effect or not row.operands:
            d["next"][BRANCH] = constant("scc_to_branch")
    elif row.unit == "SMEM":
        d["port"], d["kind"] = SALU, K_SMEM
    elif row.unit == "LDS":
        d["port"], d["kind"] = LDS, K_LDS
        d["next"][VMEM] = constant("lds_to_vmem")
        _lds(d, row, name, device)
    elif row.unit == "VMEM":
        kind = {"store": K_STORE, "atomic": K_ATOMIC}.get(row.latency, K_LOAD)
        d["port"], d["kind"] = VMEM, kind
        d["to_lds"] = "lds" in ins.modifiers or "_lds_" in name
        d["buffer"] = name.startswith(("buffer_", "tbuffer_"))
    elif row.unit == "BRANCH":
        ends = name.startswith("s_endpgm")
        d["port"], d["kind"] = (NONE, K_END) if ends else (BRANCH, K_BRANCH)
        d["scalar"] = "vcc" in name or "exec" in name
    elif row.unit == "BARRIER":
        d["port"], d["kind"] = NONE, K_BARRIER
    else:
        _internal(d, name, ins, slot)
    return d


def _vector(d: np.ndarray, row: Row, name: str, device: Device) -> None:
    constant = device.cycles
    d["next"][[LDS, VMEM]] = constant("valu_to_memory")
    first = row.operands[0] if row.operands else None
    if row.unit == "MFMA":
        widest = max([x.width for x in row.operands if x.name in "ab"] or [4])
        d["pipe"] = 4 * int(re.sub(r"\D", "", row.latency) or 8)
        d["hold"] = min(constant("mfma_hold") * -(-widest // 2), constant("mfma_hold_most"))
        d["lead"] = constant("mfma_scale") if "_scale_" in name else 0
        d["shadow"] = d["pipe"] + constant("mfma_shadow_small" if d["lead"] or widest <= 2 else "mfma_shadow")
        d["hold"] += d["lead"]
        d["next"][:] = constant("slot") + d["lead"]
        d["next"][[LDS, VMEM]] = max(int(d["next"][VALU]), min(8, int(d["hold"])))
        return
    cost = constant("slot")
    if row.latency == "trans" or (row.latency == "lane" and "swap" in name):
        cost = constant("trans" if row.latency == "trans" else "swap")
        d["kind"] = K_TRANS
        d["next"][[LDS, VMEM]] = constant("trans_to_memory")
    elif first is not None and first.keep:
        cost = constant("half")
        d["kind"] = K_TRANS
    elif row.latency == "double":
        cost = constant("fp64")
    elif name.startswith("v_pk_") and name.endswith("_f32"):
        d["kind"] = K_PACKED
    elif row.latency != "lane":
        d["pair"] = _WITH_SIMPLE if _HALF_PAIRING.match(name) else _WITH_ANY
    d["hold"] = cost
    d["next"] = np.maximum(d["next"], cost)


def _lds(d: np.ndarray, row: Row, name: str, device: Device) -> None:
    constant = device.cycles
    dwords = int(d["dwords"])
    if row.latency == "lds_write":
        d["latency"] = constant("lds_write" if dwords == 1 else "lds_write_b64" if dwords < 4 else "lds_write_b128")
        d["next"] = d["port_hold"] = constant("lds_write_issue") * (1 + dwords)
    elif row.latency == "lds_permute":
        d["latency"] = constant("lds_b32" if "swizzle" in name else "lds_permute")
        d["next"] = d["port_hold"] = 2 * constant("slot") if "swizzle" not in name else constant("slot")
    elif row.latency == "lds_atomic":
        d["latency"] = constant("lds_atomic")
        d["next"] = d["port_hold"] = constant("lds_write_issue") * (1 + dwords)
    else:
        d["latency"] = constant("lds_b32" if dwords == 1 else "lds_read")
    d["next"][VMEM] = max(int(d["next"][VMEM]), constant("lds_to_vmem"))
    d["service"] = max(1, 256 * dwords // constant("lds_bytes_per_clock"))


def _internal(d: np.ndarray, name: str, ins: Instruction, slot: int) -> None:
    d["port"], d["kind"] = NONE, K_WAIT
    if name.startswith("s_waitcnt"):
        text = ins.modifiers.get("wait", ins.text)
        counts = dict(re.findall(r"(vmcnt|lgkmcnt)\((\d+)\)", text))
        if not counts and (m := re.match(r"(0x[0-9a-f]+|\d+)$", text.strip())):
            code = int(m[1], 0)
            counts = {"vmcnt": str(code & 15 | code >> 10 & 48), "lgkmcnt": str(code >> 8 & 15)}
        d["vm"], d["lgkm"] = int(counts.get("vmcnt", 255)), int(counts.get("lgkmcnt", 255))
    elif name in ("s_nop", "v_nop"):
        d["kind"] = K_NOP
        d["next"] = slot * (1 + _number(ins))
    elif name == "s_sleep":
        d["stall"] = 64 * _number(ins)
    elif name == "s_setprio":
        d["priority"] = _number(ins) & 3


def _number(ins: Instruction) -> int:
    return int(ins.args[0].value) if ins.args and isinstance(ins.args[0].value, int) else 0


def _dwords(row: Row) -> int:
    """Dwords of data a lane."""
    if row.unit not in ("LDS", "VMEM"):
        return 1
    if touched := shape(row):
        return touched.dwords * (2 if "cmpswap" in row.mnemonic else 1)
    m = re.search(r"dwordx(\d)|_x(2)|_b(\d+)|_[ui](64)|_f(64)", row.mnemonic)  # of a row made up from the name
    n = int(next(x for x in m.groups() if x)) if m else 1
    return n if n < 16 else max(1, n // 32)


def _bytes(ins: Instruction, row: Row) -> int:
    """Length of the encoding: 4, 8, or 16 for a scaled matrix instruction; a literal constant adds 4."""
    if row.unit == "MFMA":
        return 16 if "_scale_" in row.mnemonic else 8
    if row.unit in ("LDS", "VMEM", "SMEM"):
        return 8
    literal = any(
        (a.kind == "int" and isinstance(a.value, int) and not -16 <= a.value <= 64)
        or (a.kind == "float" and a.value not in _INLINE)
        for a in ins.args
    )
    if row.unit == "SALU":
        short = re.match(r"s_(movk|addk|mulk|cmovk|cmpk|getreg|setreg_b32)", row.mnemonic)
        return 8 if literal and not short else 4
    if row.unit == "VALU":
        wide = ins.mnemonic.endswith("_e64") or len(ins.args) > 3 or row.mnemonic.startswith("v_pk_")
        wide |= not ins.mnemonic.endswith(("_e32", "_e64")) and len(ins.args) == 4
        dpp = ins.mnemonic.endswith(("_dpp", "_sdwa"))
        return 8 if wide or dpp or literal else 4
    return 4


_INLINE = {0.0, 0.5, 1.0, 2.0, 4.0, -0.5, -1.0, -2.0, -4.0, 0.15915494, 0.15915494309189532}
