"""Who writes the output: waves that share dims out, and waves that share heads out."""

from __future__ import annotations

import pytest

from sparse_mla.analyse.owners import owners
from sparse_mla.errors import InputError
from sparse_mla.execute.timing import traced_launches
from sparse_mla.gfx950.machine import Launched
from sparse_mla.kernels.case import Case
from sparse_mla.plot.owners import owners_figure


def one_row(kernel: str, heads: int = 16) -> Launched:
    [launch] = traced_launches(kernel, Case.make(rows=1, heads=heads, main=64, extra=0).inputs(), 1)
    return launch


def test_base_shares_dims_and_private_tiles_share_heads() -> None:
    base, private = owners(one_row("base")), owners(one_row("ladder/private"))
    assert len(base) == len(private) == 16 * 8
    assert (base.wave == base["first"] // 128).all()
    assert (private.wave == private["head"] // 4).all()
    figure = owners_figure(base, title="t", source="s")
    assert figure.finding.startswith("Wave 0 writes dims 0-127 of heads 0-15; wave 1 writes dims 128-255 of heads 0-15;")
    assert figure.kind == "emulated"


def test_another_output_is_refused() -> None:
    with pytest.raises(InputError, match="out has 17,408 bytes; one row of 16 heads"):
        owners(one_row("base", heads=17))
