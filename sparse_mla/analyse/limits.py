"""What holds a kernel back: room for its waves, how busy units are, and where it stands under the roofs of the device."""

from __future__ import annotations

import pandas as pd

from sparse_mla.analyse.traffic import levels
from sparse_mla.errors import InputError
from sparse_mla.gfx950.timing import Device, device
from sparse_mla.gfx950.timing.model import limits
from sparse_mla.record.counters import MFMA_PEAKS, Chip, derive
from sparse_mla.record.schema import Recording

DEVICES = {"gfx950": "mi355x", "gfx942": "mi300x"}  # whose constants are meant where a recording names its processor only
BUSY = ("MFMA utilisation", "VALU busy", "LDS utilisation", "issuing", "waiting for dependencies", "waiting to issue", "L1 hits",
        "L2 hits")  # fmt: skip
LEVELS = {"LDS": "LDS", "lanes": "L1", "L2": "L2", "fabric": "MALL", "HBM": "HBM"}  # of traffic.levels: whose roof it meets


def device_of(recording: Recording) -> Device:
    """The constants of the recording's device. Raises InputError where its manifest does not name a processor that is
    known."""
    arch = str(recording.manifest.device.get("arch", ""))
    if arch not in DEVICES:
        raise InputError(f"the recording's device has arch {arch!r}; known are {', '.join(DEVICES)}: give on=device(...)")
    return device(DEVICES[arch])


def occupancy(recording: Recording, on: Device | None = None) -> pd.DataFrame:
    """By launch and resource: how many workgroups of it a compute unit has room for.

    Columns: dispatch, kernel, resource (waves: slots; VGPRs of a lane; LDS; grid: workgroups that there are for each CU),
    needs (of one workgroup), has (a CU; of VGPRs a lane of a SIMD), unit, workgroups, waves (of a CU), limits (True for the
    scarcest), kind; and the row `reached`: mean waves of a CU, where counters tell."""
    on = on or device_of(recording)
    of, chip, rows = on.cycles, _chip(on), []
    known = derive(recording, chip) if len(recording["counters"]) else pd.DataFrame({"metric": [], "dispatch": []})
    for d in recording["dispatches"].to_dict("records"):
        if missing := [name for name in ("grid_x", "workgroup_x", "lds", "vgpr") if name not in d]:
            raise InputError(f"the launches of this recording do not say {', '.join(missing)}; a kernel trace does")
        items, grid = (d[f"{x}_x"] * d.get(f"{x}_y", 1) * d.get(f"{x}_z", 1) for x in ("workgroup", "grid"))
        waves, groups, agpr = -(-items // 64), grid // items, d.get("agpr", 0)
        vgprs = -(-d["vgpr"] // 4) * 4 + agpr if agpr else d["vgpr"]
        room = limits(vgprs, waves, d["lds"], on)
        uses = {"waves": (waves, 4 * of("wave_slots"), "waves"), "VGPRs": (vgprs, of("vgprs"), "of a lane"),
                "LDS": (d["lds"], of("lds_bytes"), "bytes"), "grid": (1, -(-groups // chip.cus), "workgroups")}  # fmt: skip
        room["grid"] = -(-groups // chip.cus)
        least = min(room.values())
        first = next(name for name in ("waves", "VGPRs", "LDS", "grid") if room.get(name) == least)
        here = (d["dispatch"], d["kernel"])
        rows += [(*here, name, *uses[name], n, n * waves, name == first, "modelled") for name, n in room.items()]
        for row in known[(known.metric == "occupancy") & (known.dispatch == d["dispatch"])].itertuples():
            rows.append((*here, "reached", waves, 4 * of("wave_slots"), "waves", row.value / waves, row.value, False, row.kind))
    names = ["dispatch", "kernel", "resource", "needs", "has", "unit", "workgroups", "waves", "limits", "kind"]
    return pd.DataFrame(rows, columns=names)


def utilisation(recording: Recording, chip: Chip | None = None) -> pd.DataFrame:
    """How busy the units were, by launch: those of BUSY that the counters give, and shares of matrix peaks that were used
    at all. Columns as of record.counters.derive: dispatch, kernel, metric, unit, value, kind, formula."""
    known = derive(recording, chip)
    used = known.metric.str.endswith("of peak") & (known.value > 0)
    found = known[known.metric.isin(BUSY) | used]
    order = found.metric.map({name: i for i, name in enumerate(BUSY)}).fillna(-1)
    return found.assign(order=order).sort_values(["dispatch", "order"], kind="stable", ignore_index=True).drop(columns="order")


def roofs(on: Device) -> pd.DataFrame:
    """The roofs of a device. Columns: roof, unit (B/s or FLOP/s), value, low, high (as the constants' ranges imply), source.

    Bandwidths of levels are those of the whole chip at its shader clock: LDS two ports of a CU, L1 its address unit, L2
    what it fills into every CU. Matrix peaks are those of the counters' formulae."""
    cus, ends = _chip(on).cus, (on, on.low(), on.high())
    found: list[tuple[str, str, list[float], str]] = []
    for name, key, times in (("LDS", "lds_bytes_per_clock", 2), ("L1", "address_bytes", 1), ("L2", "fill_bytes", 1)):
        found.append((name, "B/s", [end.value(key) * times * cus * end.value("clock") for end in ends], on.constants[key].source))
    for name, key in (("MALL", "mall_bandwidth"), ("HBM", "hbm_bandwidth")):
        found.append((name, "B/s", [end.value(key) for end in ends], on.constants[key].source))
    for kind, flop in MFMA_PEAKS.get(on.arch, {}).items():
        peak = [flop * cus * end.value("clock") for end in ends]
        found.append((f"MFMA {kind}", "FLOP/s", peak, "FLOP of a CU in a clock: counters' formulae"))
    rows = [(*what, at[0], min(at), max(at), source) for *what, at, source in found]
    return pd.DataFrame(rows, columns=["roof", "unit", "value", "low", "high", "source"])


def roofline(recording: Recording, on: Device | None = None) -> pd.DataFrame:
    """Where each launch stands under each roof: one row for each level that its bytes are known of.

    Columns: dispatch, kernel, level (LDS, L1, L2, MALL, HBM), flop (of matrix instructions), bytes, ns, low, high (the
    duration's band in ns, where there is one), intensity (FLOP/B), rate (FLOP/s), bandwidth (B/s), share (of that level's
    roof), matrix (which types), peak (FLOP/s of the slowest of them), of_peak, kind. A launch without matrix instructions
    has rate 0."""
    on = on or device_of(recording)
    roof = roofs(on).set_index("roof").value
    dispatches = recording["dispatches"].set_index("dispatch")
    counters = recording["counters"]
    mops = counters[counters.name.str.startswith("SQ_INSTS_VALU_MFMA_MOPS_") & (counters.value > 0)]
    rows = []
    for row in levels(recording, _chip(on)).itertuples():
        if row.level not in LEVELS or not row.bytes:
            continue
        d, mine = dispatches.loc[row.dispatch], mops[mops.dispatch == row.dispatch]
        ns, flop = float(d.end - d.start), 512 * float(mine.value.sum())
        types = [name.rsplit("_", 1)[-1] for name in mine.name]
        peak = roof.get([f"MFMA {x}" for x in types if f"MFMA {x}" in roof] or roof.filter(like="MFMA").nlargest(1).index).min()
        level = LEVELS[row.level]
        kind = recording.kind("dispatches")
        rows.append(
            (row.dispatch, row.kernel, level, flop, row.bytes, ns, d.get("low"), d.get("high"), flop / row.bytes, flop / ns * 1e9,
             row.bytes / ns * 1e9, row.bytes / ns * 1e9 / roof[level], " ".join(types), peak, flop / ns * 1e9 / peak,
             "modelled" if "modelled" in (kind, row.kind) else kind)
        )  # fmt: skip
    names = "dispatch kernel level flop bytes ns low high intensity rate bandwidth share matrix peak of_peak kind"
    return pd.DataFrame(rows, columns=names.split())


def _chip(on: Device) -> Chip:
    return Chip(on.arch, on.cycles("xcds"), on.cycles("xcds") * on.cycles("ses") * on.cycles("cus"), on.value("clock") / 1e6)
