"""A notebook's modes: recorded stands in for runs with the same kind of data, gpu is refused where there is none."""

import pandas as pd
import pytest
import torch

from sparse_mla.errors import BackendError, InputError, RecordingError
from sparse_mla.execute import counts_frame, run
from sparse_mla.kernels.case import Case
from sparse_mla.record.from_emulator import record
from sparse_mla.record.modes import MODES, counts_of, place, recording_of, traced_counts

CASE = Case.make(rows=1, main=40, extra=0)  # two tiles, one of them ragged; one workgroup, which is traced


def test_a_recording_of_one_workgroup_counts_what_the_emulator_counted() -> None:
    counted = counts_frame(run("base", CASE, split_k=1))
    recorded = traced_counts(record("base", CASE, split_k=1))
    order = ["kernel", "pc", "wave"]
    assert len(recorded) == len(counted) > 1000
    both = (frame.sort_values(order).reset_index(drop=True) for frame in (recorded, counted))
    pd.testing.assert_frame_equal(*both, check_dtype=False)


def test_recorded_reads_what_is_kept_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_mla.record.modes.run", None)
    monkeypatch.setattr("sparse_mla.record.modes.record", None)
    assert recording_of("base", "pro-csa-h16", "recorded").manifest.kernel == "base"
    assert counts_of("base", "pro-csa-h16", "recorded")["count"].sum() > 10_000
    with pytest.raises(RecordingError, match="base/pro-csa-h16"):
        recording_of("base", "heads-5", "recorded")
    assert place("recorded") == "reference"


def test_a_mode_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=f"may be {', '.join(MODES)}"):
        place("real")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="no GPU here"):
        place("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert place("gpu") == "gpu"
    with pytest.raises(BackendError, match="sparse-mla profile"):
        recording_of("base", "pro-csa-h16", "gpu")
