"""doctor must describe a broken machine, never break on it."""

from functools import partial
from importlib import metadata

import pytest

from sparse_mla import doctor


def examine_with(monkeypatch: pytest.MonkeyPatch, **broken: Exception) -> doctor.Report:
    """A report where looking at the named parts (spaces as underscores) raises, and at every other part succeeds."""

    def look(name: str) -> str:
        if name.replace(" ", "_") in broken:
            raise broken[name.replace(" ", "_")]
        return "fine"

    parts = tuple((name, needed, partial(look, name), *rest) for name, needed, _, *rest in doctor.PARTS)
    monkeypatch.setattr(doctor, "PARTS", parts)
    return doctor.examine()


def test_this_machine_can_emulate() -> None:
    report = doctor.examine()
    assert report.modes["emulator"]
    assert not [check.name for check in report.checks if check.status == "missing"]
    assert "gfx950" in next(check.found for check in report.checks if check.name == "HIP compiler")


def test_a_missing_part_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine_with(monkeypatch, HIP_compiler=metadata.PackageNotFoundError("ziglang"))
    assert not report.modes["emulator"]
    assert "missing  HIP compiler      not installed" in str(report)
    assert "HIP compiler, for everything but the reference: run `make venv`" in str(report)


def test_an_optional_part_is_only_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    report = examine_with(monkeypatch, gfx950_GPU=OSError("none that torch can use"))
    assert (report.modes["emulator"], report.modes["gpu"]) == (True, False)
    assert "absent   gfx950 GPU" in str(report)
    assert "What to do:" not in str(report)


@pytest.mark.parametrize("problem", [ValueError("a part that fails oddly"), ImportError("no such library"), TimeoutError()])
def test_no_part_can_stop_the_page(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    report = examine_with(monkeypatch, **{name.replace(" ", "_"): problem for name, *_ in doctor.PARTS})
    assert len(report.checks) == len(doctor.PARTS)
    assert not any(check.ok for check in report.checks)
    assert all(check.found for check in report.checks)
    assert not report.as_dict()["modes"]["emulator"]
