"""Decode times: a frame in which every number says how it was obtained, its picture, and the command that measures them."""

import sys
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
import torch

from sparse_mla import cli
from sparse_mla.analyse.decode_us import COLUMNS, FLOOR, OURS, PEER, decode_us
from sparse_mla.plot.decode_us import decode_us_figure
from sparse_mla.plot.style import KINDS


def test_every_number_has_its_kind_and_its_home() -> None:
    rows = decode_us()
    assert list(rows) == list(COLUMNS)
    assert set(rows.kind) <= set(KINDS)
    assert (rows.us > 0).all()
    assert not rows.duplicated(["device", "series", "heads", "rows", "extra"]).any()
    on = rows.groupby("series").agg({"kind": set, "device": set})
    assert on.kind[[OURS, PEER, FLOOR]].tolist() == [{"measured"}] * 3
    assert on.kind["triton-split"] == {"published"}
    assert all("H100" in name or "H200" in name for name in on.device[OURS])
    # FlashMLA's 15.15 and a read floor of 3.2 at 16 heads, 1 row, 1024: as in profiles/measured/h100/peers.csv.
    one = rows[(rows.heads == 16) & (rows.rows == 1) & (rows.extra == 1024) & rows.device.str.contains("H100")]
    assert dict(zip(one.series, one.us, strict=True))[PEER] == pytest.approx(15.15, rel=0.1)


def test_the_picture_and_its_words() -> None:
    line = dict(zip(COLUMNS, ("G", OURS, "measured", 16, 1, 1024, 8.0, "here"), strict=True))
    more = [line | {"series": PEER, "us": 10.0}, line | {"series": FLOOR, "us": 4.0}, line | {"extra": 0, "us": 99.0}]
    foreign = line | {"series": "theirs", "kind": "published", "heads": 64, "rows": 64}
    rows = pd.DataFrame(
        [line, line | {"rows": 4, "us": 5.0}, more[0] | {"rows": 4, "us": 12.5}, more[1] | {"rows": 4}, *more, foreign]
    )
    figure = decode_us_figure(rows)
    # sqrt(0.8 * 0.4) = 0.57; 5 over 4 = 1.25
    assert figure.finding == "16 heads: ours 0.57 of FlashMLA's time on average, at best 1.2 times the reads alone."
    assert figure.kind == "published"  # the least certain
    assert 99.0 not in set(figure.table.us)
    assert [axis.get_title(loc="left") for axis in figure.canvas.axes] == ["16 heads", "64 heads"]
    (legend,) = figure.canvas.legends
    assert {text.get_text() for text in legend.get_texts()} >= {"ours · G · measured", "theirs · G · published"}
    assert figure.png.startswith(b"\x89PNG")


def test_timing_on_a_gpu_is_the_scripts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.main(["bench", "decode", "--on", "gpu"]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert cli.main(["bench", "decode"]) == 2
    assert "compute capability 9.0" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    asked: list[object] = []

    def script(command: list[object]) -> CompletedProcess[str]:
        asked.append(command)
        return CompletedProcess([], 3)

    monkeypatch.setattr("subprocess.run", script)
    assert cli.main(["bench", "decode", "--out", str(tmp_path)]) == 3
    assert asked == [[sys.executable, Path(cli.__file__).parents[1] / "scripts/bench_decode_gpu.py", "time", tmp_path]]
    monkeypatch.setattr("sparse_mla.execute.bench.folder", lambda name: tmp_path / name)
    assert cli.main(["bench", "decode"]) == 2
    assert "from a checkout" in capsys.readouterr().err
