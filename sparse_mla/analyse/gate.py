"""The gate for a change of the decode kernel: a source text is compiled, run on hostile cases under the sanitizer and counted,
beside the design that it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pandas as pd
import torch

from sparse_mla.analyse.budget import SLACK, accepted
from sparse_mla.analyse.budget import compare as beside_budget
from sparse_mla.analyse.ladder import EXTRA, HEADS, MAIN, taken, tile_between
from sparse_mla.build import csrc_dir
from sparse_mla.errors import CompileError, InputError, KernelFault
from sparse_mla.execute.emulator import Prepared, outputs
from sparse_mla.execute.hip import Module, hip
from sparse_mla.execute.run import expected
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import Launched, Memory
from sparse_mla.gfx950.timing import device, simulate
from sparse_mla.gfx950.timing.model import limits
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.params import pack

# Whole, partial and empty tiles, invalid slots of all kinds, two head blocks, records aligned to 8 bytes only, large logits.
HOSTILE = ("ragged-invalid", "heads-17", "odd-blocks", "empty-rows", "dominating")
REL_L2, LSE = 3e-3, 2e-3  # as the tests of csrc/ allow
_KINDS = {"wave instructions": "emulated", "LDS passes": "emulated", "LDS bytes": "compiled", "workgroups a CU": "compiled",
          "spilled and scratch": "compiled", "microseconds": "modelled"}  # fmt: skip


def design() -> str:
    """The base design as one source text: csrc/decode/base_tile.h, and the kernel of fused.hip behind it."""
    tile, kernel = ((csrc_dir() / "decode" / name).read_text("utf-8") for name in ("base_tile.h", "fused.hip"))
    return tile.replace("#pragma once\n", "").replace('"common.h"', '"decode/common.h"') + kernel.replace(
        '#include "base_tile.h"', ""
    )


def part(source: str, head: str) -> str:
    """The function or struct of a source text whose first line holds `head`, to its closing brace."""
    lines = source.splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if head in line and line[0] not in " /}"]
    if len(starts) != 1:
        raise InputError(f"{head!r} begins {len(starts)} functions or structs of this source; it must begin one")
    end = next(i for i in range(starts[0], len(lines)) if lines[i].startswith("}"))
    return "".join(lines[starts[0] : end + 1])


def changed(head: str, answer: Any) -> str:
    """The base design with `answer` in place of the part that begins with `head`; messages count its lines as `answer:1` ...
    An answer of `...` leaves it as it is."""
    text = design()
    if answer is ...:
        return text
    old = part(text, head)
    after = text[: text.index(old)].count("\n") + old.count("\n") + 1
    return text.replace(old, f'#line 1 "answer"\n{answer}\n#line {after} "source.hip"\n')


def _launch(module: Module, case: Case, **options: Any) -> tuple[torch.Tensor, torch.Tensor, Launched]:
    """One whole decode by the only kernel of a module, of the base design's shape."""
    spec, inputs = kernel_named("base"), case.inputs()
    if len(module.kernels) != 1:
        raise InputError(f"the source has {len(module.kernels)} kernels; the gate is for one, which takes DecodeParams")
    [own] = module.kernels.values()
    made, memory = outputs(spec, inputs, 1, "fp32"), Memory()
    params = bytes(pack(inputs, out=made["out"], lse=made["lse"], place=memory.map))
    [at] = spec.launches(inputs.rows, inputs.heads)
    code = decode(own.kernel, **options)
    return made["out"], made["lse"], Prepared(at, code, params, memory, 0).run(threads=1)


def verdict(module: Module, name: str) -> str:
    """What a kernel makes of a named case: `right`, or what is wrong, in words."""
    try:
        out, lse, launched = _launch(module, CASES[name], sanitize=frozenset())
    except KernelFault as fault:
        return str(fault)
    truth = expected(CASES[name])
    if launched.findings:
        return str(launched.findings[0])
    found = compare(out, truth.out)
    if found.rel_l2 >= REL_L2:
        row, head, dim = found.worst
        return f"out[row {row}][head {head}][dim {dim}] is {found.worst_actual:.4g}\nexpected {found.worst_expected:.4g}"
    return "right" if torch.allclose(lse.double(), truth.lse, rtol=LSE, atol=LSE) else "out is right, lse is not"


@lru_cache(maxsize=64)
def figures(source: str) -> dict[str, float]:
    """What a kernel's source text costs: the figures of `gate`."""
    module = hip(source)
    short, long = (_launch(module, Case.make(heads=HEADS, rows=1, main=MAIN, extra=extra), trace=True)[2] for extra in EXTRA)
    tile, size = tile_between(short, long), taken(short)
    [need] = module.code.resources.values()
    return {
        "wave instructions": tile["instructions"],
        "LDS passes": tile["lds"],
        "LDS bytes": need.lds,
        "workgroups a CU": float(str(size["workgroups"])),
        "spilled and scratch": need.spill_vgpr + need.spill_sgpr + need.scratch,
        "microseconds": round(simulate([short], device("mi355x"), band=False).microseconds, 1),
    }


def gate(source: str, goals: Mapping[str, float] | None = None, *, cases: tuple[str, ...] = HOSTILE) -> pd.DataFrame:
    """Holds a changed base design, a whole source text with one kernel, against the design as it is.

    Rows: whether it compiles; each case, under the sanitizer; then wave instructions and LDS passes (of a tile of 32 tokens,
    conflicts included), LDS bytes, workgroups that fit a CU, spills, and microseconds of one row of 128 + 512 tokens.
    Columns: check, before, now, limit, verdict (`ok`, `fails`), kind. A figure may be as large as before and the budget's slack
    (workgroups: not fewer); one that `goals` names must come down to that share of it.
    """
    before = figures(design())
    unknown = {*(goals or {})} - {*before}
    if unknown:
        raise InputError(f"goals are of {', '.join(before)}, not {', '.join(sorted(unknown))}")
    found: list[tuple[str, Any, Any, str, bool, str]] = []
    try:
        module = hip(source)
        found.append(("compiles", "yes", "yes", "yes", True, "compiled"))
    except CompileError as error:
        found.append(("compiles", "yes", str(error), "yes", False, "compiled"))
    for name in cases if found[0][4] else ():
        said = verdict(module, name)
        found.append((f"case {name}", "right", said, "right", said == "right", "emulated"))
    now = figures(source) if all(row[4] for row in found) else {}
    for figure, old in before.items():
        new, least = now.get(figure, float("nan")), figure == "workgroups a CU"
        limit = old * ((goals or {}).get(figure) or 1 + SLACK.get(figure, 0.5) / 100 * (not least))
        kept = new >= limit if least else new <= limit + 1e-9
        found.append((figure, old, new, f"{'at least' if least else 'at most'} {limit:,.5g}", kept, _KINDS[figure]))
    frame = pd.DataFrame(found, columns=["check", "before", "now", "limit", "verdict", "kind"])
    return frame.assign(verdict=frame.verdict.map({True: "ok", False: "fails"}))


def registers(more: Sequence[int] = (0, 4, 10, 30)) -> pd.DataFrame:
    """What becomes of the base design if it takes so many VGPRs more: compiled with an empty statement that claims the last one.

    Columns: more, VGPRs, `workgroups a CU`, gate (`ok`, or `fails` where fewer fit than now), budget (its verdict on the VGPRs).
    """
    held, name, found = accepted(), "mla_decode_fused", []
    [now] = hip(design()).code.resources.values()
    for n in more:
        claimed = f'asm volatile("" ::: "v{now.vgpr + n - 1}");\n  const Online state = attend('
        [need] = hip(design().replace("const Online state = attend(", claimed, 1)).code.resources.values()
        room, before = (min(limits(x.vgpr + x.agpr, 4, x.lds, device("mi355x")).values()) for x in (need, now))
        row = pd.DataFrame([("base", name, "VGPR", need.vgpr, "compiled")], columns=["kernel", "of", "figure", "value", "kind"])
        figure = {"base": {name: {"VGPR": held["figures"]["base"][name]["VGPR"]}}}
        verdict = beside_budget(row, held | {"figures": figure}).verdict.iloc[0]
        found.append((n, need.vgpr, room, "ok" if room >= before else "fails", verdict))
    return pd.DataFrame(found, columns=["more", "VGPRs", "workgroups a CU", "gate", "budget"])
