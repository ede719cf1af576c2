"""`sparse-mla record` as a user meets it."""

import json
from pathlib import Path

import pytest

from sparse_mla import cli
from sparse_mla.record import att, rocpd, rocprof_csv, store
from sparse_mla.record.schema import CAUSES
from tests.record.test_att import identities

SMALL = ["record", "base", "--rows", "1", "--main", "32", "--extra", "32", "--split-k", "2"]
KERNELS = ["mla_decode_split_partial_f32", "mla_decode_split_reduce_f32"]


def recorded(folder: Path, form: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert cli.main([*SMALL, "--out", str(folder), "--format", form, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["result"]["low"] <= said["result"]["microseconds"] <= said["result"]["high"]
    assert (said["kernel"], said["result"]["split_k"], said["case"]["rows"]) == ("base", 2, 1)
    assert said["command"].startswith("sparse-mla record base --rows 1 --main 32")
    assert all(Path(file).exists() for file in said["files"])
    files: list[str] = said["files"]
    return files


def test_each_format_is_written_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path / "native", "native", capsys)
    one = store.load(tmp_path / "native")
    assert list(one["dispatches"].kernel) == KERNELS
    assert (one["waves"][list(CAUSES)].sum(axis=1) == one["waves"].end - one["waves"].begin).all()
    assert {"decode/split_partial.hip", "decode/base_tile.h"} <= set(one["sources"].path)
    sources = {path: text.splitlines() for path, text in zip(one["sources"].path, one["sources"].text, strict=True)}
    lines = one["instructions"][one["instructions"].file.isin(sources)]
    assert len(lines) > 0.9 * len(one["instructions"])
    assert all(0 <= line <= len(sources[file]) for file, line in zip(lines.file, lines.line, strict=True))

    folders = recorded(tmp_path / "att", "att", capsys)
    assert sum(identities(Path(folder)) for folder in folders) == len(one["events"])
    assert list(att.read(tmp_path / "att")["dispatches"].kernel) == KERNELS

    recorded(tmp_path / "csv", "csv", capsys)
    assert rocprof_csv.read(tmp_path / "csv")["counters"].equals(one["counters"])
    (path,) = recorded(tmp_path / "rocpd", "rocpd", capsys)
    assert rocpd.read(path)["dispatches"].equals(one["dispatches"])
    (path,) = recorded(tmp_path / "chrome", "chrome", capsys)
    assert {e["args"]["name"] for e in json.loads(Path(path).read_text())["traceEvents"] if e["name"] == "process_name"} >= {
        "kernels (modelled)"
    }


def test_without_json_it_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SMALL, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{KERNELS[0]}: " in said
    assert "us (modelled)" in said
    assert str(tmp_path / "manifest.json") in said


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["record", "bose", "--out", str(tmp_path / "x")]) == 2
    assert "bose" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
