"""The catalogue of profiles: whole as it is, and every kind of damage is found and named."""

import json
import re
import shutil
from pathlib import Path

import pytest

from sparse_mla import cli
from sparse_mla.files import folder
from sparse_mla.record import profiles, store
from tests.record import foreign


def test_every_manifest_and_recording_is_whole_and_all_are_small(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profiles", "verify"]) == 0
    assert capsys.readouterr().out == "all profiles are whole\n"
    assert sum(path.stat().st_size for path in folder("profiles").rglob("*")) < 20_000_000


def test_they_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profiles", "list", "--json"]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["emulated/mi355x/base/pro-csa-h16"]["kind"] == "modelled"
    assert rows["published/serving.csv"]["kind"] == "published"
    assert {"measured/h100/decode_us.csv", "published/gsm8k.csv", "published/mi355x_decode_us.csv"} <= set(rows)
    assert cli.main(["profiles", "show", "emulated/mi355x/base/pro-csa-h16"]) == 0
    assert "share of memory: 0." in capsys.readouterr().out
    assert cli.main(["profiles", "show", "published/serving.csv"]) == 0
    assert re.search(r" 618 +710 tok/s ", capsys.readouterr().out)
    assert cli.main(["profiles", "show", "published/serving"]) == 2
    assert "there is no profile 'published/serving'" in capsys.readouterr().err
    assert cli.main(["profiles", "show"]) == 2


def test_published_rows_are_those_of_their_sources() -> None:
    serving = store.table("published/serving.csv")
    total = serving[serving.metric.eq("total token throughput") & serving.input.notna()]
    assert list(zip(total.before, total.after, strict=True)) == [(154, 168), (1702, 1725), (618, 710), (5331, 5636)]
    accuracy = store.table("published/gsm8k.csv")
    assert accuracy.value.tolist() == [0.9538, 0.9545, 0.9515, 0.9522]
    # The standard error of a mean of 1,319 answers that are right or wrong.
    assert ((accuracy.value * (1 - accuracy.value) / 1318) ** 0.5).round(4).tolist() == accuracy.stderr.tolist()
    times = store.table("published/mi355x_decode_us.csv")
    assert times.source.notna().all()
    for name, us, calls in (("triton-gfx950 partial", 4707.3, 430), ("inverse RoPE", 1965.5, 430)):
        assert times[times.kernel == name].us.iloc[0] == str(round(us / calls, 2))


FAULTS = {
    "emulated/mi355x/base/pro-csa-h16/waves.npz": (None, "waves.npz is missing; the manifest has its table"),
    "emulated/mi355x/base/pro-csa-h16/events.npz": (b"PK", "events.npz cannot be read"),
    "emulated/mi355x/base/pro-csa-h16/manifest.json": (None, "is in no recording: a manifest.json is missing beside it"),
    "measured/h100/decode_us.csv": (None, "manifest.json: it names decode_us.csv, which is not there"),
    "published/new.csv": (b"# kind: published\na\n1\n", "published/new.csv: it is published; each row has its source"),
    "published/some.csv": (
        b"# kind: published\na,source\n1,x\n2,\n",
        "published/some.csv: it is published; each row has its source",
    ),
    "modelled/new.csv": (b"a\n1\n", "new.csv does not say its kind (measured, emulated, modelled, published)"),
    "modelled/guess.csv": (b"# kind: guessed\na\n1\n", "guess.csv does not say its kind"),
    "modelled/empty.csv": (b"# kind: modelled\na\n", "modelled/empty.csv: it has no rows"),
    "modelled/none.csv": (b"", "none.csv is not a table"),
    "measured/new/one/trace.json": (b'{"traceEvents": [}', "measured/new/one/trace.json"),
    "recipes/rocm.toml": (b"[[", "rocm.toml"),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of some profiles, and a trace as a tool wrote it."""
    root = tmp_path / "profiles"
    for part in ("emulated/mi355x/base/pro-csa-h16", "measured/h100", "recipes", "published", "modelled"):
        shutil.copytree(folder("profiles") / part, root / part)
    foreign.write("Chrome trace", root / "measured/new/one")
    about = {"kind": "measured", "tool": "torch.profiler", "device": "NVIDIA H100"}
    (root / "measured/new/manifest.json").write_text(json.dumps({"one/trace.json": about}))
    monkeypatch.setattr(profiles, "folder", lambda _: root)
    monkeypatch.setattr(profiles, "KEPT", [("base", "pro-csa-h16")])
    return root


@pytest.mark.parametrize("name", FAULTS)
def test_damage_is_named(name: str, root: Path) -> None:
    assert list(profiles.verify()) == []
    data, words = FAULTS[name]
    (root / name).unlink(missing_ok=True)
    if data is not None:
        (root / name).write_bytes(data)
    found = list(profiles.verify())
    assert any(words in one for one in found), found


def test_too_much_and_too_little_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "LIMIT", 1000)
    monkeypatch.setattr(profiles, "KEPT", [("base", "ragged")])
    missing, large = profiles.verify()
    assert missing == "emulated/mi355x/base/ragged is missing: `sparse-mla profiles renew` makes it"
    assert large.endswith("1,000 are allowed")


def test_what_a_tool_wrote_is_listed_and_shown(root: Path) -> None:
    (row,) = [row for row in profiles.entries() if row["path"].endswith(".json")]
    assert (row["path"], row["kind"], row["holds"]) == ("measured/new/one/trace.json", "measured", "torch.profiler: 2 launches")
    assert "reduce: 3.00 us (measured)" in profiles.show(row["path"])


def test_renewing_makes_what_is_listed_and_removes_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder("profiles") / "emulated/mi355x/base/pro-csa-h16", tmp_path / "emulated/mi355x/base/old")
    monkeypatch.setattr(profiles, "folder", lambda _: tmp_path)
    monkeypatch.setattr(profiles, "KEPT", [("base", "heads-1")])
    (made,) = profiles.renew()
    assert made == tmp_path / "emulated/mi355x/base/heads-1"
    assert not (tmp_path / "emulated/mi355x/base/old").exists()
    command = "sparse-mla record base --case heads-1 --out profiles/emulated/mi355x/base/heads-1"
    assert store.load(made).manifest.command == command
