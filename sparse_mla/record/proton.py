"""Recordings from Triton's Proton: its JSON (hatchet) is a tree of scopes and kernels with summed metrics, without launches.

A list: trees `{frame: {name, type}, metrics: {...}, children: [...]}`, and a table of devices `{"HIP": {"0": {arch, ...}}}`.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from sparse_mla.errors import RecordingError
from sparse_mla.record.inputs import read_json
from sparse_mla.record.schema import Manifest, Recording, Skips
from sparse_mla.record.tabular import Rows, number

_WORDS = ("device_id", "device_type")  # metrics that are texts
_DEVICE = {"cus": ("num_sms", 1), "mhz": ("clock_rate", 1000)}  # the clock is in kHz


def read(path: str | Path) -> Recording:
    """The trees as the table `summaries`: a row for each metric of a node, with the names above it as `path`.

    Raises RecordingError, naming file and node, for what is no such tree.
    """
    path, skips = Path(path), Skips()
    rows, data, devices = Rows("summaries", path), read_json(path), []
    for item in data if isinstance(data, list) else [data]:
        if not isinstance(item, dict):
            raise RecordingError(f"{path}: {reprlib.repr(item)} is neither a tree nor a table of devices")
        if "frame" in item:
            _walk(item, path, rows, skips)
        else:
            devices += [x for table in item.values() if isinstance(table, dict) for x in table.values() if isinstance(x, dict)]
    device: dict[str, Any] = {}
    for one in devices[:1]:
        arch = str(one.get("arch", ""))
        device = {"arch": f"sm_{arch}" if arch.isdigit() else arch}
        for ours, (theirs, unit) in _DEVICE.items():
            if type(value := one.get(theirs)) is int:
                device[ours] = value // unit
    if len(devices) > 1:
        skips.add(path, f"{len(devices) - 1} more devices")
    return Recording(Manifest({"summaries": "measured"}, device, "Proton"), {"summaries": rows.frame()}, tuple(skips))


def _walk(tree: dict[str, Any], path: Path, rows: Rows, skips: Skips) -> None:
    """Adds the metrics of a tree, its root first; without recursion, since a tree may be deep."""
    todo: list[tuple[Any, str]] = [(tree, "")]
    while todo:
        node, above = todo.pop()
        frame = node.get("frame") if isinstance(node, dict) else None
        name = frame.get("name") if isinstance(frame, dict) else None
        if not isinstance(name, str):
            raise RecordingError(
                f"{path}, below {above or 'the root'}: {reprlib.repr(node)} is no node: it has no frame with a name"
            )
        metrics, children = node.get("metrics", {}), node.get("children", [])
        if not isinstance(metrics, dict) or not isinstance(children, list):
            raise RecordingError(f"{path}, node {name!r:.60}: metrics is an object and children is a list")
        for metric, value in metrics.items():
            try:
                rows.add(f"node {name!r:.60}", {"name": name, "path": above, "metric": metric, "value": number(value)})
            except (ValueError, TypeError, OverflowError):
                if metric not in _WORDS or not isinstance(value, str):
                    wrong = f"metric {metric!r:.60} is {reprlib.repr(value)}; it is a number"
                    raise RecordingError(f"{path}, node {name!r:.60}: {wrong}") from None
                skips.add(path, f"metric {metric}: a text")
        below = f"{above} / {name}" if above else name
        todo += [(child, below) for child in reversed(children)]
