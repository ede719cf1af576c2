"""The picture of waves over time shows every wave with the causes it has, and says how much each takes."""

import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgba_array

from sparse_mla.analyse.timeline import timeline
from sparse_mla.plot.style import CAUSE_LOOK
from sparse_mla.plot.timeline import ROWS, timeline_figure
from tests.analyse.samples import recording
from tests.analyse.test_timeline import EVENTS, WAVES


def test_each_wave_is_a_row_in_the_colours_of_its_causes() -> None:
    frame = timeline(recording(waves=WAVES, events=EVENTS))
    figure = timeline_figure(frame, title="t", kind="measured", source="s")
    axis = figure.canvas.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["simd 0 slot 5  wave 0", "simd 3 slot 0  wave 1"]
    drawn = {to_hex(to_rgba_array(bars.get_facecolor())[0]) for bars in axis.collections}
    assert drawn == {CAUSE_LOOK[cause][0] for cause in ("issue", "memory", "dependency", "barrier", "bandwidth")}
    wide = [path.get_extents().width for bars in axis.collections for path in bars.get_paths()]
    assert sum(wide) == pytest.approx(52 + 24, rel=0.1)  # what the two waves lived, in pieces
    assert "memory 58%" in figure.finding  # 44 of 76 cycles
    assert "2 waves is" in figure.finding
    assert "56 cycles. Causes are inferred" in figure.finding
    assert figure.table.memory.tolist() == [32, 12]


def test_of_many_waves_the_first_are_shown() -> None:
    waves = pd.DataFrame({"wave": range(ROWS + 8), "cu": 1, "simd": 0, "slot": 0, "begin": 0, "duration": 8, "stall": 6})
    figure = timeline_figure(waves.assign(cause="lds"), title="t", kind="modelled", source="s")
    assert f"these {ROWS} waves (of {ROWS + 8} traced) is lds 75%, issue 25%" in figure.finding
    assert "inferred" not in figure.finding
