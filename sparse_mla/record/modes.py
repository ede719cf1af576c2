"""The three modes of a notebook: kernels run on the emulator, stored profiles stand in for runs, or a device runs them."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import torch

from sparse_mla.errors import BackendError, InputError
from sparse_mla.execute import counts_frame, run
from sparse_mla.gfx950.decode import row_of
from sparse_mla.kernels.case import Case
from sparse_mla.record import store
from sparse_mla.record.from_emulator import record
from sparse_mla.record.schema import Recording

Place = Literal["emulator", "reference", "gpu"]
MODES: dict[str, Place] = {"emulator": "emulator", "recorded": "reference", "gpu": "gpu"}


def place(mode: str) -> Place:
    """Where `run(..., on=)` computes in a mode; recorded: the float64 reference, because a profile holds no outputs.

    Raises InputError for another mode, BackendError for gpu where torch sees none.
    """
    if mode not in MODES:
        raise InputError(f"mode is {mode!r}; it may be {', '.join(MODES)}")
    if mode == "gpu" and not torch.cuda.is_available():
        raise BackendError("mode gpu: torch sees no GPU here; use emulator, which executes the same machine code, or recorded")
    return MODES[mode]


def recording_of(kernel: str, case: str, mode: str) -> Recording:
    """The recording of a kernel on a named case: made now on the emulator and the timing model, or the stored one.

    Raises RecordingError, listing those stored, where none is; BackendError for gpu, whose profiler runs outside a notebook.
    """
    if place(mode) == "gpu":
        raise BackendError("mode gpu: capture with `sparse-mla profile` outside, then open_profile (docs/capture.md)")
    return store.kept(kernel, case) if mode == "recorded" else record(kernel, Case.named(case))


def counts_of(kernel: str, case: str, mode: str) -> pd.DataFrame:
    """Executed instructions, in the columns of `counts_frame`: of all waves, or, recorded, of the traced ones."""
    if place(mode) == "reference":
        return traced_counts(store.kept(kernel, case))
    return counts_frame(run(kernel, Case.named(case), on=place(mode)))


def traced_counts(recording: Recording) -> pd.DataFrame:
    """Executed instructions of the traced waves, in the columns of `counts_frame`; `wave` is the place in a workgroup."""
    waves = recording["waves"].rename(columns={"part": "position"})[["dispatch", "wave", "position"]]
    did = recording["events"].merge(waves).groupby(["dispatch", "pc", "position"], as_index=False).size()
    every = recording["instructions"].merge(did[["dispatch", "position"]].drop_duplicates())
    frame = every.merge(did, how="left").rename(columns={"position": "wave", "size": "count"}).fillna({"count": 0})
    frame["mnemonic"] = frame.text.str.split().str[0]
    units = {name: found[0].unit if (found := row_of(name)) else "" for name in set(frame.mnemonic)}
    frame = frame.assign(unit=frame.mnemonic.map(units), count=frame["count"].astype(int))
    return frame[["kernel", "pc", "mnemonic", "text", "unit", "file", "line", "wave", "count"]]
