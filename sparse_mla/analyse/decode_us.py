"""How long a decode takes, for every kernel and device that somebody timed or modelled, each number with its kind."""

from __future__ import annotations

import json

import pandas as pd

from sparse_mla.files import folder
from sparse_mla.record.store import table

COLUMNS = ("device", "series", "kind", "heads", "rows", "extra", "us", "source")
MAIN = 128  # entries of the window in every row of the table
FLOOR, OURS, PEER = "reads alone", "ours", "FlashMLA"


def decode_us() -> pd.DataFrame:
    """Microseconds of one decode with 128 main entries a row. Columns: device, series, kind, heads, rows, extra, us, source.

    From profiles/measured (ours, the peer and the read floor on the same device), profiles/tuned (the Triton decode), and
    profiles/published (others' kernels, where rows are said to hold 128 + 1024 entries).
    """
    parts = []
    for path in sorted((folder("profiles") / "measured").glob("*/decode_us.csv")):
        about = json.loads((path.parent / "manifest.json").read_text())[path.name]
        said = {"device": about["device"], "kind": about["kind"], "source": f"profiles/measured/{path.parent.name}"}
        rows = table(path).assign(**said)
        columns = {
            series: column for series, column in ((OURS, "us"), (PEER, "flashmla_us"), (FLOOR, "floor_us")) if column in rows
        }
        parts.append(
            pd.concat([rows.assign(series=x, us=rows[column]) for x, column in columns.items()]).sort_index(kind="stable")
        )
    tuned, theirs = table("tuned/triton.csv"), table("published/mi355x_decode_us.csv")
    parts.append(tuned.assign(series="ours, Triton", extra=tuned.tokens - MAIN, source="profiles/tuned/triton.csv"))
    theirs = theirs[theirs.lens.str.startswith("128+1024", na=False) & theirs.rows.notna()]
    parts.append(theirs.assign(series=theirs.kernel, kind="published", extra=1024))
    frame = pd.concat([part[[*COLUMNS]] for part in parts]).dropna(subset="us", ignore_index=True)
    return frame.astype(dict.fromkeys(("heads", "rows", "extra"), int) | {"us": float})
