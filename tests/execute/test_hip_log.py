"""What the host sees of a fault: later, at the call that waits, and from then on; and nothing is left behind."""

import os
import tomllib

import pytest

from sparse_mla.errors import BackendError, HipError
from sparse_mla.execute.hip_device import runtime
from sparse_mla.execute.hip_log import BLOCK, call_log, emulated_runtime
from sparse_mla.files import folder
from sparse_mla.widgets.course.n13_on_real_hardware import SLOTS

GOOD, BAD = "hipSuccess", "hipErrorIllegalAddress"


def test_a_fault_is_told_by_the_call_that_waits_and_by_all_after_it() -> None:
    frame, fault = call_log(2 * BLOCK, (2, 3, 1))
    assert (
        frame.returned.tolist() == [GOOD] * 5 + [BAD] * 2
    )  # hipMalloc, three launches, hipGetLastError; then the wait, the copy
    assert fault is not None
    assert (fault.kernel, fault.workgroup, fault.lane) == ("add", (2, 0, 0), 0)
    waiting, _ = call_log(2 * BLOCK, (2, 3, 1), wait=True)
    assert waiting.returned.tolist() == [GOOD] * 4 + [BAD] * 6
    assert waiting.call[4] == "hipDeviceSynchronize()"


def test_without_a_fault_nothing_is_told_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARSE_MLA_HIP", raising=False)
    for _ in range(2):  # a fault before it does no harm
        assert call_log(BLOCK, (2,))[1] is not None
        frame, fault = call_log(2 * BLOCK, (2, 1))
        assert (set(frame.returned), fault) == ({GOOD}, None)
    assert "SPARSE_MLA_HIP" not in os.environ
    monkeypatch.setenv("SPARSE_MLA_HIP", "")
    with emulated_runtime() as hip, pytest.raises(HipError, match="hipErrorOutOfMemory"):
        hip.make("hipMalloc", 1 << 60)
    assert os.environ["SPARSE_MLA_HIP"] == ""
    with pytest.raises(BackendError, match="not a ROCm build"):
        runtime()


def test_slots_of_the_exercise_are_those_of_the_recipe() -> None:
    slots = tomllib.loads((folder("profiles") / "recipes/rocm.toml").read_text())["slots"]
    assert SLOTS.items() <= slots.items()
