"""How long a decode takes, for every kernel and device that somebody timed or modelled, each number with its kind."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd

from sparse_mla.files import folder

COLUMNS = ("device", "series", "kind", "heads", "rows", "extra", "us", "source")
MAIN = 128  # entries of the window in every row of the table
FLOOR, OURS, PEER = "reads alone", "ours", "FlashMLA"


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def decode_us() -> pd.DataFrame:
    """Microseconds of one decode with 128 main entries a row. Columns: device, series, kind, heads, rows, extra, us, source.

    From profiles/measured (ours, the peer and the read floor on the same device), profiles/tuned (the Triton decode), and
    profiles/published (others' kernels, where rows are said to hold 128 + 1024 entries).
    """
    found: list[tuple[object, ...]] = []
    for path in sorted((folder("profiles") / "measured").glob("*/decode_us.csv")):
        about = json.loads((path.parent / "manifest.json").read_text())[path.name]
        source = f"profiles/measured/{path.parent.name}"
        for x in _lines(path):
            problem = int(x["heads"]), int(x["rows"]), int(x["extra"])
            for series, column in ((OURS, "us"), (PEER, "flashmla_us"), (FLOOR, "floor_us")):
                if x.get(column):
                    found.append((about["device"], series, about["kind"], *problem, float(x[column]), source))
    for x in _lines(folder("profiles") / "tuned/triton.csv"):
        problem = int(x["heads"]), int(x["rows"]), int(x["tokens"]) - MAIN
        found.append((x["device"], "ours, Triton", x["kind"], *problem, float(x["us"]), "profiles/tuned/triton.csv"))
    for x in _lines(folder("profiles") / "published/mi355x_decode_us.csv"):
        if x["lens"].startswith("128+1024") and x["rows"]:
            problem = int(x["heads"]), int(x["rows"]), 1024
            found.append((x["device"], x["kernel"], "published", *problem, float(x["us"]), x["source"]))
    return pd.DataFrame(found, columns=list(COLUMNS))
