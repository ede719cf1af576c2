"""Merging parts of a softmax, and the parts that an executed kernel leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparse_mla.analyse.merge import executed_parts, merge
from sparse_mla.errors import InputError
from sparse_mla.kernels.case import Case
from sparse_mla.plot.splits import splits_figure
from sparse_mla.widgets.splits import split_figure


def test_parts_of_any_size_give_the_whole() -> None:
    rng = np.random.default_rng(1)
    scores, values = rng.normal(0, 30, 40), rng.standard_normal((40, 8))
    cuts = np.split(np.arange(40), [1, 7, 30])
    tops = np.array([scores[cut].max() for cut in cuts] + [-3e38])
    sums = np.array([np.exp2(scores[cut] - top).sum() for cut, top in zip(cuts, tops, strict=False)] + [0.0])
    accs = np.stack(
        [np.exp2(scores[cut] - top) @ values[cut] for cut, top in zip(cuts, tops, strict=False)] + [np.full(8, np.nan)]
    )
    top, total, acc = merge(tops, sums, accs)
    weights = np.exp2(scores - scores.max())
    assert top == scores.max()
    np.testing.assert_allclose(total, weights.sum())
    np.testing.assert_allclose(acc, weights @ values)


def test_executed_parts_merge_to_what_the_kernel_gives() -> None:
    inputs = replace(Case.make(rows=2, main=64, extra=160).inputs(), attn_sink=None)
    parts, out = executed_parts("base", inputs, 4)
    _, total, acc = merge(parts.max.swapaxes(1, 2), parts.sum.swapaxes(1, 2), parts.acc.swapaxes(1, 2))
    np.testing.assert_allclose(acc / total[..., None], out.double().numpy(), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("kernel, split_k, what", [("base", 1, "leaves no parts"), ("product", 4, "within its launch")])
def test_no_parts_to_see(kernel: str, split_k: int, what: str) -> None:
    with pytest.raises(InputError, match=what):
        executed_parts(kernel, Case.make(rows=1, main=64, extra=0).inputs(), split_k)


def test_split_figure_names_the_best_and_the_planned() -> None:
    figure = split_figure("base", "Pro CSA", 4, 16)
    best = figure.table.loc[figure.table.microseconds.idxmin()]
    assert figure.finding.startswith(f"{best.split_k:.0f} parts are fastest")
    assert (figure.table.workgroups == 4 * figure.table.split_k).all()
    with pytest.raises(InputError, match="no times are stored"):
        splits_figure(figure.table[:0], 1, 4, title="t", source="s")
    with pytest.raises(InputError, match="there are Flash CSA"):
        split_figure(layer="CSA")
