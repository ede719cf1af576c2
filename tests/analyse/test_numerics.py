"""Rounding errors: the stored table against runs of today, its formulas against plain ones, and what it teaches."""

import numpy as np
import pandas as pd
import pytest
import torch

from sparse_mla.analyse.numerics import ALONE, INPUTS, KERNELS, SPLITS, alone, inputs, maxima, measure, stored
from sparse_mla.kernels.reference import reference
from sparse_mla.plot.numerics import maxima_figure, numerics_figure


@pytest.mark.parametrize("name, split_k", [("wide range", 1), ("near ties", 4), ("rising", 16)])
def test_some_cells_again(name: str, split_k: int) -> None:
    now, then = measure((name,), (split_k,)), stored().query("input == @name and split_k == @split_k")
    key = ["input", "what", "partials", "split_k", "kind"]
    both = now.merge(then, on=key, validate="one_to_one")
    assert len(both) == len(now) == len(then)
    for figure in ("rel_l2", "max_abs", "worst_head", "lse_abs"):
        np.testing.assert_allclose(both[f"{figure}_x"], both[f"{figure}_y"], rtol=0.02)


def test_the_table_is_complete() -> None:
    table = stored()
    assert set(table.input) == set(INPUTS)
    whole, split = 5 + 2, 1 + len(KERNELS)  # formulas and kernels
    assert len(table) == len(INPUTS) * (whole + split * (len(SPLITS) - 1))
    assert set(table[table.kind == "modelled"].what) == {f"only {what}" for what in ALONE}
    assert table.rel_l2.between(0, 0.004).all()


@pytest.mark.parametrize("name", INPUTS)
def test_formulas(name: str) -> None:
    given = inputs(name)
    right = reference(given).out
    torch.testing.assert_close(alone(given, "output", 1), right.bfloat16().double(), rtol=0, atol=0)
    torch.testing.assert_close(alone(given, "nothing", 8), right, rtol=1e-9, atol=1e-12)
    assert not torch.equal(alone(given, "partials", 8), right)


def test_inputs_are_what_they_say() -> None:
    def logits(name: str) -> torch.Tensor:
        given = inputs(name)
        kv = torch.cat([part.cache.read(part.row(0)) for part in given.segments.values()]).double()
        return given.scale * (given.q[0].double() @ kv.T)

    assert 1 < logits("gaussian").std() < 4
    assert logits("near ties").std() < 0.05
    rising = logits("rising")
    assert (rising[:, 1000:].mean() - rising[:, :100].mean()).item() == pytest.approx(60 * 0.9, rel=0.1)
    assert logits("dominating").abs().max() > 100
    values = torch.cat([part.cache.read(part.row(0))[:, :448] for part in inputs("wide range").segments.values()])
    sizes = values.double().abs().flatten()
    assert sizes.max() / sizes[sizes > 0].quantile(0.01) > 2**15


def test_what_it_teaches() -> None:
    table = stored().set_index(["input", "what", "partials", "split_k"]).rel_l2
    for name in INPUTS:
        output = table[name, "only output", "-", 1]
        for split_k in SPLITS[1:]:
            fp32, bf16 = table[name, "base", "fp32", split_k], table[name, "base", "bf16", split_k]
            assert fp32 <= 1.3 * output, "splitting with fp32 parts costs nothing that shows"
            assert bf16 == pytest.approx(np.hypot(fp32, table[name, "only partials", "-", split_k]), rel=0.1)
            assert table[name, "product", "fp32", split_k] <= 1.25 * fp32
    wide, plain = (table[name, "product", "-", 1] / table[name, "only output", "-", 1] for name in ("wide range", "gaussian"))
    for name in INPUTS:
        only = table[name, "only weights", "-", 1]
        assert table[name, "only folded scales", "-", 1] <= 1.01 * only, "a power of two moves no bit of the weight"
        assert table[name, "only deferred rescale", "-", 1] <= 1.5 * only, "nor does a maximum that lags"
    assert wide <= plain, "powers of two are folded exactly, whatever their range"


def test_figure() -> None:
    figure = numerics_figure(stored(), title="Errors", source="base and product on the emulator")
    assert figure.png.startswith(b"\x89PNG")
    names = {"exact result rounded to bf16 (formula)", "product", "base, parts in fp32", "base, parts in bf16"}
    assert set(figure.table.shown) == names
    mean = stored().query("what == 'only output'").rel_l2.mean()
    assert f"{1e3 * mean:.2f} from rounding" in figure.finding
    assert isinstance(figure.table, pd.DataFrame)
    assert "near ties" in figure.text


def test_running_maximum() -> None:
    rising, plain = maxima("rising"), maxima("gaussian")
    assert len(rising) == len(plain) == 36
    assert rising.rescaled.sum() == 36 > 3 * rising.deferred.sum() > 9
    assert plain.deferred.sum() <= plain.rescaled.sum() <= 8, "a maximum of random scores settles soon"
    for frame in (rising, plain):
        assert (frame.maximum == frame.tile_max.cummax()).all()
        assert (frame.tile_max <= frame.held + 8).all()
    assert "deferred until" in maxima_figure(rising, title="t", source="s").finding
