"""Each picture of the package says in words what it shows, from the numbers it was given."""

import pandas as pd
import pytest
import torch

from sparse_mla.cache.paging import PagedCache
from sparse_mla.kernels.case import Case
from sparse_mla.plot.cache import attended_figure, block_figure, quantisation_figure, slots_figure
from sparse_mla.plot.counts import mix_figure
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.hot import hot_figure

WAVES = pd.DataFrame({"MFMA": [40, 8], "VALU": [100, 90], "LDS": [10, 7]}, index=pd.Index([0, 1], name="wave"))
LINES = pd.DataFrame({"file": ["a.h", "b.h"], "line": [3, 9], "count": [30, 10], "share": [0.3, 0.1], "source": ["x = y;", ""]})


def filled() -> PagedCache:
    cache = PagedCache.empty(1, 2, 1728)
    cache.write([0, 1], torch.ones(2, 512))
    return cache


PICTURES = {
    "mix": (lambda: mix_figure(WAVES, title="t", source="s"), "emulated",
            "255 wave instructions: VALU 75%, MFMA 19%. Wave 0 issues most, 1.43 times as many as wave 1."),
    "lines": (lambda: hot_figure(LINES.assign(of="hit", kind="emulated"), title="t", source="s"), "emulated",
              "These 2 take 40%; a.h:3 alone takes 30%."),
    "block": (lambda: block_figure(filled()), "measured", "then 560 bytes of padding up to the block stride of 1728."),
    "quantisation": (lambda: quantisation_figure(torch.randn(8, 512, generator=torch.Generator().manual_seed(0))), "measured",
                     "RoPE loses at most 0.3"),
    "slots": (lambda: slots_figure(Case.named("ragged").inputs().main, "main"), "measured", "slots are read, scattered over"),
    "attended": (lambda: attended_figure(1_048_575), "modelled", "HCA 8,320 tokens (4,745 KiB)"),
}  # fmt: skip


@pytest.mark.parametrize("draw, kind, words", PICTURES.values(), ids=PICTURES)
def test_the_twin_says_what_is_drawn(draw, kind: str, words: str) -> None:  # type: ignore[no-untyped-def]
    figure: Figure = draw()
    assert figure.kind == kind
    assert words in figure.finding
    assert len(figure.table) >= 2
    assert figure.png.startswith(b"\x89PNG")
    assert len(figure.png) < 200_000
    assert "$" not in str([axis.get_xticklabels() + axis.get_yticklabels() for axis in figure.canvas.axes]), "no formulae"


def test_outliers_push_elements_to_the_bottom_of_the_format() -> None:
    kv = torch.randn(8, 512, generator=torch.Generator().manual_seed(0))
    small = []
    for outlier in (1.0, 100_000.0):
        kv[:, 0:448:64] = outlier
        table = quantisation_figure(kv).table.set_index("elements")["number"]
        small.append(int(table.get("NoPE, smaller (subnormal)", 0)))
    assert small[0] < 10 < 3000 < small[1]
