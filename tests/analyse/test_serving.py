"""The serving view against a simulation of requests, Amdahl's law the other way round, and the published figures themselves."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sparse_mla import cli
from sparse_mla.analyse import serving
from sparse_mla.errors import InputError
from sparse_mla.execute.timing import time_kernel
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case, attended
from sparse_mla.plot.serving import amdahl_figure, serving_figure

POINTS, TIMES = serving.gains(), serving.attention()


def test_the_published_gains_and_what_becomes_of_them() -> None:
    assert POINTS.gain.round(1).tolist() == [9.1, 1.4, 14.9, 5.7]
    assert {name: round(value, 1) for name, value in serving.summaries(POINTS).items()} == {
        "arithmetic mean": 7.8, "geometric mean": 7.6, "ratio of summed throughputs": 5.6, "median": 7.4,
    }  # fmt: skip


def test_a_step_is_the_time_in_which_every_request_gets_a_token() -> None:
    for p in POINTS.itertuples():  # a batch of requests from begin to end
        seconds = p.output * p.step_before / 1000
        assert p.concurrency * (p.input + p.output) / seconds == pytest.approx(p.before)
        assert p.step_before / p.step_after == pytest.approx(1 + p.gain / 100)


def test_implied_shares_give_the_gains_back() -> None:
    table = serving.implied(POINTS, speed_ups=(1.05, 2.0, np.inf))
    for name, speed_up in (("x2", 2.0), ("xinf", np.inf)):
        f = table[name] / 100
        assert (100 * (1 / (1 - f + f / speed_up) - 1)).tolist() == pytest.approx(table.gain.tolist())
    assert table["x1.05"].isna().tolist() == [True, False, True, True]  # 5 % faster cannot have given 9.1 %


def test_shares_follow_the_law_at_both_ends() -> None:
    free = TIMES.assign(ms=TIMES.ms.where(TIMES.kernel == "triton", 0.0))
    table = serving.shares(POINTS, free)
    assert table.base_gain.tolist() == pytest.approx(table.ceiling.tolist())
    same = TIMES.assign(ms=3.0)
    assert serving.shares(POINTS, same).product_gain.tolist() == pytest.approx([0] * 4)
    twice = serving.shares(POINTS, TIMES, scale=2.0)
    assert twice.share.tolist() == pytest.approx((2 * serving.shares(POINTS, TIMES).share).tolist())


@pytest.mark.parametrize("kernel", serving.KERNELS)
def test_stored_times_are_those_of_the_model(kernel: str) -> None:
    times = pd.read_csv(folder("profiles") / serving.FILE, comment="#")
    assert len(times) == len(POINTS) * len(serving.LAYERS) * len(serving.KERNELS)
    (row,) = times.query("workload == '8k1k' and concurrency == 4 and layer == 'hca' and kernel == @kernel").itertuples()
    assert (row.main, row.extra) == attended("pro", "hca", 8192 + 512) == (128, 68)
    now = time_kernel(kernel, Case.make(16, 4, 128, 68), split_k=serving.KERNELS[kernel], band=False)  # type: ignore[arg-type]
    assert (row.split_k, row.us) == (now.split_k, pytest.approx(now.microseconds, rel=0.1)), (
        "python -m sparse_mla.analyse.serving"
    )
    assert row.low <= row.us <= row.high


def test_points_are_modelled_with_their_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = SimpleNamespace(microseconds=1.0, band=(1.0, 1.0), split_k=1)
    monkeypatch.setattr(serving, "time_kernel", lambda kernel, case, split_k: timed)
    made, stored = serving.model_times(), pd.read_csv(folder("profiles") / serving.FILE, comment="#")
    assert made.iloc[:, :6].equals(stored.iloc[:, :6])
    # Half of 1024 tokens behind 1024 and 8192: a group of 4 each, at most 1024 of them; a group of 128 each.
    assert made.drop_duplicates(["workload", "layer"]).extra.tolist() == [384, 12, 1024, 68]


def test_the_arithmetic_is_shown_and_every_number_has_its_kind() -> None:
    text = serving.arithmetic()
    for words in (
        "154 -> 168 tok/s = +9.1 % [published]", "4 x (8192 + 1024) / 1024 / 618 s = 58.3 ms", "x2.20", "0.9515 +- 0.0059",
        "277 us for 4 rows", "+0.6 % and +0.5 %", "4.76 % of kernel time",
    ):  # fmt: skip
        assert words in text
    for line in text.replace('"~6 %"', "").splitlines():
        assert not re.search(r"\d (%|us|ms|tok/s)", line) or re.search(r"\[(published|modelled)|published / ", line), line


def test_the_documentation_has_the_numbers_of_now() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs/capture.md").read_text().split())
    plain, scaled = (serving.shares(POINTS, TIMES, scale=x) for x in (1.0, serving.calibration()))
    *first, last = (f"{x:.1f}" for x in plain.share)
    assert f"attention {', '.join(first)} and {last} % of a step" in text
    assert f"`base` gain {', '.join(f'+{x:.1f}' for x in scaled.base_gain)} %" in text
    assert f"285 us where the model has {285 / serving.calibration():.0f}" in text


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serving"]) == 0
    assert capsys.readouterr().out == serving.arithmetic() + "\n"
    assert cli.main(["serving", "--json"]) == 0
    assert [round(row["gain"], 1) for row in json.loads(capsys.readouterr().out)] == [9.1, 1.4, 14.9, 5.7]


@pytest.mark.parametrize("scale, words", [(1.0, "More was gained than it could give: 1k1k at 4"), (9.0, "No gain is")])
def test_the_figure_says_what_it_shows(scale: float, words: str) -> None:
    figure = serving_figure(serving.shares(POINTS, TIMES, scale=scale), title="Serving", source="formula")
    assert figure.kind == "modelled"
    assert words in figure.finding
    assert "14.89" in figure.text
    assert figure.png.startswith(b"\x89PNG")


def test_the_curve_of_a_share_ends_at_the_kernel_of_no_cost() -> None:
    figure = amdahl_figure(20.0, 4.0)
    curve = figure.table.set_index("speed-up")["share 20 %"]
    assert curve[4.0] == pytest.approx(100 * (100 / (80 + 20 / 4) - 1), abs=0.01)
    assert curve[1.0] == 0
    assert "gains 17.6 %, one of no cost 25.0 %" in figure.finding
    with pytest.raises(InputError, match="between 0 and 100"):
        amdahl_figure(100.0, 2.0)
