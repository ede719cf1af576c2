"""Pictures of limits name the limit, and place launches where their numbers are."""

import numpy as np
import pandas as pd

from sparse_mla.analyse.limits import occupancy, roofline, roofs, utilisation
from sparse_mla.gfx950.timing import device
from sparse_mla.plot.limits import occupancy_figure, roofline_figure, utilisation_figure
from tests.analyse.test_limits import made

RECORDING = made(vgpr=141)


def test_occupancy_names_the_limiter() -> None:
    figure = occupancy_figure(occupancy(RECORDING), title="t", source="s")
    assert figure.finding == "k: 12 of 32 waves, limited by VGPRs, 6.0 on average."
    assert [text.get_text() for text in figure.canvas.axes[0].texts] == ["32", "12", "64", "6"]
    assert figure.kind == "modelled"


def test_utilisation_in_words() -> None:
    figure = utilisation_figure(utilisation(RECORDING), title="t", source="s")
    assert "MFMA utilisation 25 %" in figure.finding
    assert figure.canvas.axes[0].get_xlabel() == "% (modelled)"


def test_a_launch_stands_under_the_roofs() -> None:
    rows, table = roofline(RECORDING), roofs(device("mi355x"))
    figure = roofline_figure(rows, table, title="t", source="s")
    axis = figure.canvas.axes[0]
    points = [np.asarray(line.get_xydata()) for line in axis.lines]
    marks = {(float(x[0, 0]), float(x[0, 1])) for x in points if len(x) == 1}
    assert marks == set(zip(rows.intensity, rows.rate, strict=True))
    legend = axis.get_legend()
    assert legend is not None
    assert [text.get_text().split()[0] for text in legend.get_texts()] == ["L2", "LDS", "L1", "MALL", "HBM"]
    assert figure.finding.startswith("k takes 0.14 of the HBM roof, its highest, 0.044 of the BF16 matrix peak. It is near none")
    assert figure.png.startswith(b"\x89PNG")
    assert "$" not in str([*axis.get_xticklabels(), *axis.get_yticklabels()]), "formulae would be shown as they are"


def test_a_launch_without_matrix_work_has_its_shares() -> None:
    rows = roofline(RECORDING).assign(rate=0.0, flop=0.0, intensity=0.0, matrix="")
    figure = roofline_figure(rows, roofs(device("mi355x")), title="t", source="s")
    assert "matrix peak" not in figure.finding
    assert isinstance(figure.table, pd.DataFrame)
    assert figure.png.startswith(b"\x89PNG")
