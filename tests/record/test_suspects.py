"""The planted faults: none changes a bit of the result, and each shows where it should."""

import pytest
import torch

from sparse_mla.errors import InputError
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.record import suspects
from sparse_mla.record.from_emulator import record
from sparse_mla.record.schema import Recording
from sparse_mla.record.store import kept

CASE = CASES["ragged-invalid"]


def faults(recording: Recording) -> tuple[bool, bool, bool]:
    """Whether most LDS passes are conflicts, lanes keep something in scratch, and few loads at most are on their way."""
    memory, most = recording["memory"], 0
    texts = recording["instructions"].set_index("pc").text
    for _, events in recording["events"].sort_values(["wave", "time"]).groupby("wave"):
        flying = 0
        for text in events.pc.map(texts):
            if "vmcnt(" in text:
                flying = min(flying, int(text.split("vmcnt(")[1].split(")")[0]))
            flying += text.startswith(("global_load", "scratch_load"))
            most = max(most, flying)
    return memory.conflicts.sum() > memory.phases.sum() / 2, recording["dispatches"].scratch.sum() > 0, most < 10


@pytest.mark.parametrize("name", suspects.CHANGES)
def test_a_suspect_computes_the_same_bits_slower(name: str) -> None:
    right = decode_on_emulator(CATALOGUE[suspects.HEALTHY], CASE.inputs(), split_k=1, partials="fp32")[0]
    assert torch.equal(suspects.launch(name, CASE)[0].view(torch.int16), right.view(torch.int16))
    healthy, slow = (kept(kernel, "pro-csa-h16").manifest.result["microseconds"] for kernel in (suspects.HEALTHY, name))
    assert slow > 1.5 * healthy


@pytest.mark.parametrize("name", [suspects.HEALTHY, *suspects.CHANGES])
def test_each_has_one_fault_and_another_as_kept_and_made_now(name: str) -> None:
    expected = tuple(name == one for one in suspects.CHANGES)
    assert faults(kept(name, "pro-csa-h16")) == expected
    assert faults((record if name == suspects.HEALTHY else suspects.record_suspect)(name, CASE)) == expected


def test_a_change_that_no_longer_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no 'x'; there are suspect/1"):
        suspects.sources("x")
    monkeypatch.setitem(suspects.CHANGES, "suspect/1", (suspects.MAIN, {"gone": ""}))
    with pytest.raises(InputError, match=r"10_prefetch\.hip no longer has 'gone'"):
        suspects.sources("suspect/1")
