"""What a recording's manifest says of a device, from what profilers say of it: CSV, JSON and SQLite use the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sparse_mla.errors import RecordingError
from sparse_mla.record.schema import Skips, unmarked
from sparse_mla.record.tabular import number

# Key of `Manifest.device`: name that rocprofv3 has for it, and rocprof-compute's sysinfo.
ROCPROF = {
    "arch": "name", "product": "product_name", "target": "gfx_target_version", "xcds": "num_xcc", "cus": "cu_count",
    "ses": "array_count", "mhz": "max_engine_clk_fcompute", "lds_kb": "lds_size_in_kb",
}  # fmt: skip
SYSINFO = {
    "arch": "gpu_arch", "product": "gpu_model", "xcds": "num_xcd", "cus": "cu_per_gpu", "ses": "se_per_gpu", "mhz": "max_sclk",
}  # fmt: skip


def device(fields: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """What `fields` say, by our keys; what is empty or 0 is left out. Raises RecordingError, naming `where`, for no number."""
    found: dict[str, Any] = {}
    for ours, theirs in names.items():
        if (value := fields.get(theirs)) in (None, "", 0):
            continue
        if ours in ("arch", "product"):
            found[ours] = unmarked(str(value))[0]
            continue
        try:
            read = number(value)
        except (ValueError, TypeError, OverflowError):
            raise RecordingError(f"{where}: {theirs} is {value!r:.60}; it is a number") from None
        if read:
            found[ours] = int(read) if read.is_integer() else read
    return found


def choose(agents: Sequence[Mapping[str, Any]], dispatches: pd.DataFrame | None, where: str, skips: Skips) -> dict[str, Any]:
    """The GPU that ran the dispatches, by the number they give, else the first one. The others are reported as skipped."""
    used = dispatches["agent"].iloc[0] if dispatches is not None and len(dispatches) and "agent" in dispatches else None
    gpus = [a for a in agents if str(a.get("agent_type", a.get("type"))) in ("GPU", "2")]
    found = next((a for a in gpus if used is not None and str(a.get("logical_node_id")) == str(used)), gpus[0] if gpus else None)
    if others := len(agents) - (found is not None):
        skips.add(where, f"{others} agents that are not the GPU of the dispatches")
    return device(found, ROCPROF, where) if found is not None else {}
