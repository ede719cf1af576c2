"""The planner against the best of all splits, in the stored times; and that those are what the model says."""

from pathlib import Path

import pandas as pd
import pytest

from sparse_mla.analyse import regret as module
from sparse_mla.analyse.regret import KERNELS, against, cells, fit, mean_regret, regret, time_missing, times
from sparse_mla.execute.timing import time_kernel
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.split_k import COSTS, plan_split

DOC = Path(__file__).parents[2] / "docs/planner.md"


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_the_planner_is_close_to_the_best_split(kernel: str) -> None:
    table = regret(times())
    mine = table[table.kernel == kernel]
    assert set(mine.layer) == set(module.LAYERS)
    assert mine.regret.min() >= 0
    assert mean_regret(mine) <= 3
    assert mine.regret.max() <= 15


@pytest.mark.parametrize("kernel", sorted(KERNELS))
def test_its_constants_are_those_that_fit_the_times(kernel: str) -> None:
    assert fit(times(), kernel) == COSTS[kernel]


def test_the_times_are_those_of_the_grid() -> None:
    keys = ["kernel", "layer", "rows", "heads", "split_k"]
    assert set(times()[keys].itertuples(index=False, name=None)) == set(cells())
    assert not times().duplicated(keys).any()


@pytest.mark.parametrize(
    "kernel, layer, rows, heads, split_k",
    [("product", "SWA", 4, 16, 1), ("product", "Pro CSA", 4, 16, 4), ("product", "HCA", 1, 16, 16), ("base", "SWA", 16, 16, 4)],
)
def test_a_few_times_again(kernel: str, layer: str, rows: int, heads: int, split_k: int) -> None:
    """Not to the last digit: profiles/budget.json holds that. This says when the table is of another kernel or model."""
    stored = times().query("kernel == @kernel and layer == @layer and rows == @rows and heads == @heads and split_k == @split_k")
    case = Case.make(heads, rows, *module.LAYERS[layer])
    now = time_kernel(kernel, case, split_k=split_k, band=False).microseconds
    assert stored.microseconds.item() == pytest.approx(now, rel=0.1), "python -m sparse_mla.analyse.regret says how to renew it"


def frame(kernel: str, us: dict[int, float]) -> pd.DataFrame:
    rows = [(kernel, "SWA", 1, 16, split_k, time) for split_k, time in us.items()]
    return pd.DataFrame(rows, columns=["kernel", "layer", "rows", "heads", "split_k", "microseconds"])


def test_regret_is_of_the_planned_split() -> None:
    planned = plan_split([128], [0], 16, "base")
    given = frame("base", {split_k: 10.0 + 2 * (split_k == planned) for split_k in (1, 2, 4, 8, 16)})
    (row,) = regret(given).itertuples()
    assert (row.planned, row.planned_us, row.best_us) == (planned, 12, 10)
    assert row.regret == pytest.approx(20)
    assert mean_regret(regret(given)) == pytest.approx(20)
    (both,) = against(pd.concat([given, frame("product", {1: 4.0, 2: 5.0})], ignore_index=True)).itertuples()
    assert (both.split_k_product, both.ratio) == (1, 2.5)


def test_what_is_missing_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cells", lambda: [("product", "SWA", 1, 16, split_k) for split_k in (1, 2)])
    path = tmp_path / "splits.csv"
    time_missing(path)
    text = path.read_text()
    assert times(path).split_k.tolist() == [1, 2]
    assert times(path).microseconds.tolist() == sorted(times(path).microseconds)
    time_missing(path)
    assert path.read_text() == text


def test_the_document_has_these_tables() -> None:
    text = DOC.read_text()
    assert module.regret_table(times()) in text
    assert module.against_table(times()) in text
    for kernel, costs in COSTS.items():
        assert f"| {kernel} | {' | '.join(f'{x:g}' for x in costs)} |" in text
