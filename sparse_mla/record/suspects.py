"""The detective case of the course: recordings of a ladder step with one fault planted in its source.

Each suspect is `ladder/prefetch` with a line or two changed, as a hurried change might have them. Its results are the same to the
bit; only its profile tells. profiles/emulated has one recording of each, made again by `sparse-mla profiles renew`.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.errors import InputError
from sparse_mla.execute.emulator import prepared
from sparse_mla.execute.timing import own_slots
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing import device, simulate
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.record.from_emulator import from_timing, shape_of
from sparse_mla.record.schema import Recording

HEALTHY = "ladder/prefetch"
PARTS, MAIN = "ladder/09_private.hip", "ladder/10_prefetch.hip"  # the second includes the first
# What was changed: a file, and texts in it with what stands there now.
CHANGES: dict[str, tuple[str, dict[str, str]]] = {
    "suspect/1": (PARTS, {" ^ bank_key(at.m)": "", " ^ bank_key(row)": ""}),
    "suspect/2": (MAIN, {"__launch_bounds__(256, 1)": "__launch_bounds__(256, 1) __attribute__((amdgpu_num_vgpr(160)))"}),
    "suspect/3": (PARTS, {"    load(raw, source, n);\n}": "    load(raw, source, n), __builtin_amdgcn_s_waitcnt(0x0f70);\n}"}),
}


def sources(name: str) -> dict[str, str]:
    """The two files of a suspect, by their names under csrc/. Raises InputError for one that there is not."""
    if name not in CHANGES:
        raise InputError(f"there is no {name!r}; there are {', '.join(CHANGES)}")
    texts = {file: (csrc_dir() / file).read_text("utf-8") for file in (PARTS, MAIN)}
    file, changes = CHANGES[name]
    for old, new in changes.items():
        if old not in texts[file]:
            raise InputError(f"{file} no longer has {old!r}, which {name} changes: mend record/suspects.py")
        texts[file] = texts[file].replace(old, new)
    return texts


def launch(name: str, case: Case) -> tuple[torch.Tensor, Launched]:
    """Runs a suspect on the emulator, traced. Gives its output, bf16 [rows, heads, 512], and the launch."""
    spec, texts = kernel_named(HEALTHY), sources(name)
    include = f'#include "{PARTS.rpartition("/")[2]}"\n'
    above = texts[MAIN].partition(include)[0].count("\n")
    inlined = f'#line 1 "{PARTS}"\n{texts[PARTS]}\n#line {above + 2} "{MAIN}"\n'
    text = f'#line 1 "{MAIN}"\n{texts[MAIN].replace(include, inlined)}'
    code = decode(parse(compile_hip(text).text).kernels[spec.fused[0]], trace=True)
    inputs = own_slots(case.inputs(), case.rows_per_request)
    out, _, (step,) = prepared(spec, inputs, split_k=1, partials="fp32", trace=True)
    return out, step._replace(code=code).run()


def record_suspect(name: str, case: Case, command: str = "") -> Recording:
    """The recording of a suspect on a case; as `record` for a kernel of the catalogue."""
    timing = simulate([launch(name, case)[1]], device("mi355x"))
    made = from_timing(timing, kernel=name, case=shape_of(case), result={"split_k": 1, "partials": "fp32"}, command=command)
    here = made["sources"].assign(text=[sources(name).get(row.path, row.text) for row in made["sources"].itertuples()])
    return replace(made, tables={**made.tables, "sources": here})
