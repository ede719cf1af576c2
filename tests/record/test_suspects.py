"""The planted faults: none changes a bit of the result, and each shows where it should."""

import pytest
import torch

from sparse_mla.errors import InputError
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.record import suspects
from sparse_mla.record.store import kept

CASE = CASES["ragged-invalid"]


def scratch(name: str) -> int:
    return int(kept(name, "pro-csa-h16")["dispatches"].scratch.sum())


def conflicts(name: str) -> int:
    return int(kept(name, "pro-csa-h16")["memory"].conflicts.sum())


def most_on_their_way(name: str) -> int:
    """Vector loads of a traced wave that no wait of its own lies behind."""
    recording, most = kept(name, "pro-csa-h16"), 0
    texts = recording["instructions"].set_index("pc").text
    for _, events in recording["events"].sort_values(["wave", "time"]).groupby("wave"):
        flying = 0
        for text in events.pc.map(texts):
            if "vmcnt(" in text:
                flying = min(flying, int(text.split("vmcnt(")[1].split(")")[0]))
            flying += text.startswith(("global_load", "scratch_load"))
            most = max(most, flying)
    return most


@pytest.mark.parametrize("name", suspects.CHANGES)
def test_a_suspect_computes_the_same_bits_slower(name: str) -> None:
    right = decode_on_emulator(CATALOGUE[suspects.HEALTHY], CASE.inputs(), split_k=1, partials="fp32")[0]
    assert torch.equal(suspects.launch(name, CASE)[0].view(torch.int16), right.view(torch.int16))
    healthy, slow = (kept(kernel, "pro-csa-h16").manifest.result["microseconds"] for kernel in (suspects.HEALTHY, name))
    assert slow > 1.5 * healthy


def test_each_has_one_fault_and_another() -> None:
    healthy, one, two, three = suspects.HEALTHY, *suspects.CHANGES
    assert [scratch(name) > 0 for name in (healthy, one, two, three)] == [False, False, True, False]
    assert [conflicts(name) > 100_000 for name in (healthy, one, two, three)] == [False, True, False, False]
    assert [most_on_their_way(name) < 10 for name in (healthy, one, two, three)] == [False, False, False, True]


def test_a_change_that_no_longer_fits_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="there is no 'x'; there are suspect/1"):
        suspects.sources("x")
    monkeypatch.setitem(suspects.CHANGES, "suspect/1", (suspects.MAIN, {"gone": ""}))
    with pytest.raises(InputError, match=r"10_prefetch\.hip no longer has 'gone'"):
        suspects.sources("suspect/1")
