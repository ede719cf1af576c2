"""The performance budget: the gate that runs on every `make test`, and what it does when figures change."""

import json
from pathlib import Path

import pandas as pd
import pytest

from sparse_mla.analyse import budget
from sparse_mla.build.toolchain import find_toolchain
from sparse_mla.cli import main
from sparse_mla.tables import tile_counts


@pytest.fixture(scope="module")
def now() -> pd.DataFrame:
    return budget.measure()


def test_the_kernels_are_within_their_budget(now: pd.DataFrame) -> None:
    given = budget.accepted()
    text, code = budget.report(budget.compare(now, given), find_toolchain().version, given)
    assert code == 0, text


def test_what_is_measured_is_what_others_count(now: pd.DataFrame) -> None:
    def value(figure: str, of: str) -> float:
        return float(now.query("kernel == 'base' and figure == @figure and of == @of").value.item())

    assert value("wave instructions", "a tile") == next(row["emulated"] for row in tile_counts() if row["unit"] == "total")
    assert value("LDS bytes", "mla_decode_fused") == 51_328
    assert 0 < value("LDS conflict cycles", "a tile") < value("LDS cycles", "a tile")
    assert set(now.kind) == {"compiled", "emulated", "modelled"}


def frame(**values: float) -> pd.DataFrame:
    rows = [("k", "a tile", name.replace("_", " "), value, "emulated") for name, value in values.items()]
    return pd.DataFrame(rows, columns=["kernel", "of", "figure", "value", "kind"])


GIVEN = {
    "compiler": "this",
    "slack": {"microseconds": 2.0, "VGPR": 0.0},
    "figures": {"k": {"a tile": {"microseconds": 100.0, "VGPR": 64, "spilled VGPR": 0}}},
}


@pytest.mark.parametrize(
    "change, verdict, code",
    [
        ({}, "ok", 0),
        ({"microseconds": 101.9}, "ok", 0),
        ({"microseconds": 102.1}, "worse", 1),
        ({"microseconds": 97.9}, "better", 0),
        ({"VGPR": 65}, "worse", 1),
        ({"spilled_VGPR": 1}, "worse", 1),
        ({"LDS_cycles": 1}, "new", 1),
    ],
)
def test_verdicts(change: dict[str, float], verdict: str, code: int) -> None:
    table = budget.compare(frame(**({"microseconds": 100.0, "VGPR": 64, "spilled_VGPR": 0} | change)), GIVEN)
    assert set(table.verdict) - {"ok"} == {verdict} - {"ok"}
    text, status = budget.report(table, "this", GIVEN)
    assert status == code
    assert (budget.ACCEPT in text) == (verdict != "ok")
    text, status = budget.report(table, "that", GIVEN)
    assert status == 0
    assert "not judged" in text


def test_a_figure_that_is_gone_fails() -> None:
    table = budget.compare(frame(microseconds=100.0, VGPR=64), GIVEN)
    assert table[table.verdict == "gone"].figure.tolist() == ["spilled VGPR"]
    assert budget.report(table, "this", GIVEN)[1] == 1


def test_accept_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(budget, "folder", lambda name: tmp_path)
    (tmp_path / "budget.json").write_text(json.dumps(GIVEN | {"compiler": find_toolchain().version}))
    monkeypatch.setattr(budget, "measure", lambda: frame(microseconds=150.5, VGPR=64, spilled_VGPR=0))
    assert main(["budget"]) == 1
    assert "150.5" in capsys.readouterr().out
    assert main(["budget", "--accept"]) == 0
    assert main(["budget", "--json"]) == 0
    kept = json.loads((tmp_path / "budget.json").read_text())
    assert kept["figures"]["k"]["a tile"] == {"microseconds": 150.5, "VGPR": 64, "spilled VGPR": 0}
    assert kept["slack"] == GIVEN["slack"]
