"""A recording small enough to add up by hand: one launch of 6 instructions by 2 waves, then one of 2 by 1 wave."""

import pandas as pd

from sparse_mla.execute.timing import traced_launches
from sparse_mla.gfx950.machine import Launched
from sparse_mla.kernels.case import Case
from sparse_mla.record.schema import CAUSES, Manifest, Recording

HIP = """\
float twice(float x) { return x + x; }
float load(float* p) { // phase: gather
  return twice(*p);
}
float product(float a) { // phase: QK
  return mfma(a);
} // phase: none
void kernel(float* p) {
  product(load(p));
}
"""
_NAMES = ("dispatch", "kernel", "pc", "text", "file", "line", "inlined_at", "hit", "latency", "stall", "idle", "executed")
_INSTRUCTIONS = [  # the columns of _NAMES, then causes that are not 0
    (0, "k", 0, "global_load_dword v0, v1, s[0:1]", "k.hip", 3, "k.hip:9", 2, 40, 32, 8, 4, {"issue": 16, "bandwidth": 80}),
    (0, "k", 1, "s_waitcnt vmcnt(0)", "k.hip", 3, "k.hip:9", 2, 1000, 1000, 0, 4, {"memory": 1900, "bandwidth": 100}),
    (0, "k", 2, "v_add_f32_e32 v0, v0, v0", "k.hip", 1, "k.hip:3 -> k.hip:9", 2, 8, 0, 0, 4, {"issue": 16}),
    (0, "k", 3, "v_mfma_f32_16x16x32_bf16 a[0:3], v[0:3], v[4:7], a[0:3]", "k.hip", 6, "k.hip:9", 1, 20, 16, 0, 2,
     {"issue": 8, "mfma": 32}),
    (0, "k", 4, "s_barrier", "shim.h", 7, "k.hip:9", 2, 300, 300, 4, 4, {"barrier": 600, "issue": 8}),
    (0, "k", 5, "s_endpgm", "k.hip", 10, "", 2, 40, 0, 0, 4, {"launch": 80}),
    (1, "reduce", 0, "ds_read_b32 v0, v1", "", 0, "", 1, 4, 0, 0, 1, {"lds": 4}),
    (1, "reduce", 1, "s_endpgm", "", 0, "", 1, 20, 0, 0, 1, {"launch": 20}),
]  # fmt: skip

INSTRUCTIONS = pd.DataFrame(
    [dict(zip(_NAMES, row[:-1], strict=True)) | dict.fromkeys(CAUSES, 0) | row[-1] for row in _INSTRUCTIONS]
)
KINDS = {"instructions": "modelled", "instructions.hit": "emulated", "sources": "emulated"}


def recording(**tables: pd.DataFrame) -> Recording:
    """The sample with other tables put in, or put in place of its own; theirs are measured."""
    own = {"instructions": INSTRUCTIONS, "sources": pd.DataFrame({"path": ["k.hip"], "text": [HIP]})}
    return Recording(Manifest(KINDS | {name: "measured" for name in tables if name not in own}), own | tables)


def traced(case: Case, split_k: int, banks: bool = False) -> tuple[Launched, ...]:
    """The launches of a decode by the base kernel, executed and traced."""
    return traced_launches("base", case.inputs(), split_k, banks=banks)
