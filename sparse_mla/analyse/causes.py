"""What an instruction probably waited for, where a recording says how long but not why.

A thread trace of a device gives stall and idle only. The instruction that stalled tells most of the cause: a barrier or a wait
says what it is for, a matrix, LDS or memory instruction stalls at the unit that it goes to. It cannot tell a lost port from a
dependency (a vector or scalar instruction's stall counts as `dependency`), latency from bandwidth in a wait, nor whose data
`lgkmcnt` waits for other than by what stands before it. Frames mark what is `inferred` so.
"""

from __future__ import annotations

import pandas as pd

_BY_UNIT = {"BARRIER": "barrier", "MFMA": "mfma", "LDS": "lds", "SMEM": "memory", "VMEM": "bandwidth"}
_DATA = {"LDS": "lds", "SMEM": "memory", "VMEM": "memory"}


def likely_causes(frame: pd.DataFrame) -> list[str]:
    """The cause of each instruction's stalls. Takes dispatch, pc, text and unit of static instructions in order."""
    causes, dispatch, before = [], None, "lds"
    for row in frame.itertuples():
        if row.dispatch != dispatch:
            dispatch, before = row.dispatch, "lds"
        if row.unit in ("LDS", "SMEM"):
            before = _DATA[row.unit]
        if row.text.startswith("s_waitcnt"):
            causes.append("memory" if "vmcnt" in row.text else before)
        elif row.text.startswith("s_endpgm"):
            causes.append("launch")
        else:
            causes.append(_BY_UNIT.get(row.unit, "dependency"))
    return causes
