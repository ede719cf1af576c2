"""The recordings of the repository: small, whole, and honest about their kinds."""

from pathlib import Path

import pandas as pd
import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.files import folder
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.record import profiles
from sparse_mla.record.counters import derive
from sparse_mla.record.schema import CAUSES
from sparse_mla.record.store import kept
from sparse_mla.record.suspects import CHANGES
from sparse_mla.record.trace import recount

ROOT = folder("profiles") / "emulated"
KEPT = sorted(path.parent.relative_to(ROOT) for path in ROOT.rglob("manifest.json"))


def test_there_is_one_of_every_kernel_and_they_are_small() -> None:
    assert {str(place) for place in KEPT} == {f"mi355x/{kernel}/{case}" for kernel, case in profiles.KEPT}
    assert {*CATALOGUE, *CHANGES} == {kernel for kernel, _ in profiles.KEPT}
    for place in KEPT:
        assert sum(path.stat().st_size for path in (ROOT / place).iterdir()) < 1_000_000


@pytest.mark.parametrize("place", KEPT, ids=str)
def test_each_is_whole_and_says_how_it_came_to_be(place: Path) -> None:
    device, kernel, case = place.parts[0], "/".join(place.parts[1:-1]), place.name
    recording = kept(kernel, case, device)
    assert kernel in (*CATALOGUE, *CHANGES)
    assert case in CASES
    manifest = recording.manifest
    assert (manifest.kernel, manifest.case["name"], manifest.case["heads"]) == (kernel, case, CASES[case].heads)
    recorded = f"sparse-mla record {kernel} --case {case} --out profiles/emulated/{place}"
    assert manifest.command == ("sparse-mla profiles renew" if kernel in CHANGES else recorded)
    assert len(manifest.commit) == 40
    assert manifest.result["low"] <= manifest.result["microseconds"] <= manifest.result["high"]
    assert "measured" not in {*manifest.kinds.values(), *recording["counters"].kind}
    waves, instructions = recording["waves"], recording["instructions"]
    assert (waves[list(CAUSES)].sum(axis=1) == waves.end - waves.begin).all()
    found = recount(recording["events"], waves)
    listed = instructions[instructions.hit > 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(listed[list(found)], found)
    executed = instructions.groupby("dispatch").executed.sum()
    total = recording["counters"].query("name == 'SQ_INSTS'").set_index("dispatch").value
    assert executed.to_dict() == total.to_dict()
    assert set(derive(recording).kind) == {"emulated", "modelled"}


def test_one_that_is_not_kept_is_asked_for_in_vain() -> None:
    with pytest.raises(RecordingError, match=r"no recording mi355x/bose/x is kept; there are: mi355x/base/"):
        kept("bose", "x")
