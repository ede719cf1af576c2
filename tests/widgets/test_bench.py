"""The bench moves every control of a lesson. How long that takes is nothing that a test could hold."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sparse_mla.widgets import bench
from sparse_mla.widgets.slider import Slider


def test_every_control_of_a_lesson_is_moved_twice() -> None:
    run = "import json; from sparse_mla.widgets.bench import bench_widgets; print(json.dumps(bench_widgets(['03'])))"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)  # a process has one IPython
    rows = json.loads(done.stdout)
    assert [(row["lesson"], row["control"], row["tried"]) for row in rows] == [
        ("03_lds_usage", "instruction", 8),
        ("03_lds_usage", "address", 4),
    ]
    for row in rows:
        assert 0 < row["first_ms"] <= row["first_worst_ms"]


@pytest.mark.parametrize("first, again, ok", [(900, 150, True), (1100, 150, False), (900, 250, False)])
def test_one_slow_answer_misses_the_bar(monkeypatch: pytest.MonkeyPatch, first: int, again: int, ok: bool) -> None:
    times = iter([10.0, first, 10.0, again, 0.0])
    monkeypatch.setattr(bench, "_milliseconds", lambda *_: next(times))
    row = bench._moved(Slider("rows", [1, 2, 4], 1))
    assert (row["first_worst_ms"], row["again_worst_ms"], row["ok"]) == (first, again, ok)
