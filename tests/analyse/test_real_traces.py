"""Frames and figures of thread traces that a real device wrote, against sums done straight on the files."""

import json
from collections import Counter
from pathlib import Path

import pytest

from sparse_mla.analyse.hot import hot_instructions, hot_lines, phase_split
from sparse_mla.analyse.instructions import instructions
from sparse_mla.analyse.timeline import timeline, wave_split
from sparse_mla.plot.hot import hot_figure, phases_figure
from sparse_mla.plot.timeline import timeline_figure
from sparse_mla.record import att
from sparse_mla.record.schema import CAUSES
from tests.record.samples import ATT, needed

pytestmark = needed


@pytest.mark.parametrize("folder", ATT, ids=lambda path: path.parent.name)
def test_everything_reads_a_real_trace(folder: Path) -> None:
    recording = att.read(folder)
    code = json.loads((folder / "code.json").read_text())["code"]
    frame = instructions(recording)
    rows = [row for row in code if not row[0].startswith("; ")]
    assert (frame.unit != "").all()
    assert frame.latency.sum() + frame.idle.sum() == sum(row[7] + row[9] for row in rows) == frame[list(CAUSES)].sum().sum()

    by_line = Counter[str]()
    for row in rows:
        by_line[row[3]] += row[7] + row[9]
    lines = hot_lines(frame, n=10**6).groupby(["file", "line"]).time.sum()
    assert sorted(lines) == sorted(by_line.values())
    hottest = max(rows, key=lambda row: row[7] + row[9])
    assert hot_instructions(frame, n=1).text[0] == hottest[0]
    barriers = sum(row[7] + row[9] for row in rows if row[0] == "s_barrier")
    split = phase_split(frame).set_index("phase")
    assert split.time.get("barrier", 0) == barriers

    events = timeline(recording)
    waves = wave_split(events)
    files = [json.loads(path.read_text())["wave"] for path in folder.glob("se*_sl*_wv*.json")]
    assert len(waves) == len([wave for wave in files if wave["instructions"]])
    busy = sum(wave["instructions"][-1][0] + wave["instructions"][-1][3] - wave["instructions"][0][0] for wave in files)
    assert waves[list(CAUSES)].sum().sum() == pytest.approx(busy, rel=0.001)
    figures = [
        hot_figure(hot_lines(frame), title="t", source="s"),
        phases_figure(split.reset_index(), title="t", source="s"),
        timeline_figure(events, title="t", kind="measured", source="s"),
    ]
    assert [figure.kind for figure in figures] == ["measured"] * 3
    assert all(len(figure.png) < 250_000 for figure in figures)
