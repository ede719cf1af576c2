"""The performance explorer: stored times come back, others' keep their kind, and constants do what they must."""

from typing import Any

import pytest

from sparse_mla.analyse.regret import times
from sparse_mla.errors import InputError
from sparse_mla.widgets.perf_explorer import decode_times, device_explorer, device_figure, perf_explorer, perf_figure, whole_rows


def test_the_best_split_is_the_least_stored_time_and_a_number_is_that_split() -> None:
    mine = times().query("kernel == 'base' and layer == 'Pro CSA' and heads == 16")
    best = decode_times("base", "Pro CSA", 16).set_index("rows")
    assert best.us.to_dict() == mine.groupby("rows").microseconds.min().to_dict()
    four = decode_times("base", "Pro CSA", 16, "4")
    assert set(four.split) == {4}
    assert set(four.us) == set(mine[mine.split_k == 4].microseconds)


def test_every_number_of_the_figure_has_its_kind() -> None:
    table = perf_figure("product", "Pro CSA", 64, 16).table.set_index("series")
    assert set(table.kind["triton-first, MI355X"]) == {"published"}
    assert table.query("rows == 64").us["triton-first, MI355X"] == 285
    assert set(table.kind["FlashMLA, H100"]) == {"measured"}
    assert set(table.kind["product, MI355X"]) == set(table.kind["bound: chain"]) == {"modelled"}
    assert "FlashMLA, H100" not in set(perf_figure("product", "HCA", 4, 16).table.series)  # no figures of these lengths


@pytest.mark.parametrize(
    "wrong",
    [{"layer": "MLA"}, {"split": "5"}, {"rows": 256, "heads": 128}, {"layer": "HCA", "rows": 256, "heads": 64, "kernel": "base"}],
)
def test_what_was_not_timed_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"there are|were|stored"):
        perf_figure(**{"split": "best"} | wrong)


def test_constants_act_on_the_time() -> None:
    def us(**constants: float) -> float:
        return float(device_figure("product", 1, 256, 1, **constants).table.microseconds.iloc[-1])

    now = us()
    assert us(clock_GHz=1.1) == pytest.approx(2 * now, rel=0.02)  # all but bandwidths are cycles
    assert us(launch_start_cycles=4000) == pytest.approx(now + 3000 / 2200, abs=0.01)
    assert us(HBM_TBps=1.75) == now  # caches are warm
    assert us(HBM_TBps=1.75, caches_warm=0) > now
    with pytest.raises(InputError, match="there are clock_GHz"):
        us(voltage=1.0)


def test_both_have_a_static_twin(capsys: pytest.CaptureFixture[str]) -> None:
    perf_explorer(static=True)
    device_explorer(rows=1, extra=256, split=1, static=True)
    out = capsys.readouterr().out
    assert "split = best" in out
    assert "clock_GHz = 2.2" in out


def test_whole_rows_are_counted_in_workgroups() -> None:
    table = whole_rows().table.set_index(["kernel", "layer", "workgroups"]).microseconds
    stored = times().query("kernel == 'base' and layer == 'Flash CSA' and rows == 64 and heads == 128 and split_k == 1")
    assert table["base", "Flash CSA", 512] == stored.microseconds.item()  # blocks of 16 heads
    assert table["product", "SWA", 512] > 1.3 * table["product", "SWA", 256] > 1.2 * table["product", "SWA", 1]
