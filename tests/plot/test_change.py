"""Pictures of differences say which way they go, and of what kinds the two sides are."""

import pandas as pd

from sparse_mla.gfx950.timing import CAUSES
from sparse_mla.plot.change import compare_figure, sensitivity_figure, what_if_figure

TIME = pd.DataFrame(
    [("gather", 1000.0, 400.0), ("PV", 100.0, 300.0), ("QK", 50.0, 50.0)], columns=["phase", "before", "after"]
).assign(
    difference=[-600.0, 200.0, 0.0], ratio=[0.4, 3.0, 1.0], unit="cycles of a wave", kind_before="modelled", kind_after="measured"
)
COUNTERS = pd.DataFrame(
    [("k", "SQ_WAVES", 8.0, 4.0, "waves"), ("k", "TCC_HIT_sum", 0.0, 5.0, "requests")],
    columns=["kernel", "name", "before", "after", "unit"],
).assign(difference=[-4.0, 5.0], ratio=[0.5, float("nan")], kind_before="emulated", kind_after="measured")
SCENARIOS = pd.DataFrame(
    [("as it is", 20.0, 18.0, 30.0, 0.0, 1.0), ("no conflicts", 15.0, 14.0, 25.0, -5.0, 0.75)],
    columns=["scenario", "microseconds", "low", "high", "change", "ratio"],
).assign(**dict.fromkeys(CAUSES, 0.0) | {"lds": 0.25, "memory": 0.75}, kind="modelled")
CONSTANTS = pd.DataFrame(
    [("tlb_miss", 700.0, 0.0, 1500.0, "cycles", "C", 16.0, 22.0), ("fp64", 4.0, 4.0, 8.0, "cycles", "C", 20.0, 20.0)],
    columns=["constant", "value", "low", "high", "unit", "certainty", "fast", "slow"],
).assign(swing=[6.0, 0.0], kind="modelled")


def test_time_goes_left_where_it_is_saved() -> None:
    figure = compare_figure(TIME, title="t", source="s")
    assert figure.finding == (
        "In all 1,150 cycles of a wave before and 750 after (-34.8 %). "
        "Most is added by PV (+200), most is saved by gather (-600)."
    )
    axis = figure.canvas.axes[0]
    assert axis.get_xlabel() == "after − before, cycles of a wave (modelled → measured)"
    assert [text.get_text() for text in axis.texts] == ["-600", "+200", "+0"]
    ends = {round(bar.get_path().get_extents(bar.get_transform() - axis.transData).width) for bar in axis.patches}
    assert ends == {600, 200}
    assert figure.kind == "modelled"


def test_nothing_differs() -> None:
    same = TIME.assign(after=TIME.before, difference=0.0, ratio=1.0)
    assert compare_figure(same, title="t", source="s").finding.endswith("(+0.0 %). Nothing differs.")


def test_counters_of_several_units_are_compared_in_per_cent() -> None:
    figure = compare_figure(COUNTERS, title="t", source="s")
    assert figure.finding == "k  SQ_WAVES differs most: 8 before, 4 after."
    assert [text.get_text() for text in figure.canvas.axes[0].texts] == ["-50", "new"]
    assert "% (emulated → measured)" in figure.canvas.axes[0].get_xlabel()
    assert figure.kind == "emulated"


def test_launches_are_named_by_their_kernels() -> None:
    launches = TIME.drop(columns="phase").assign(kernel=["partial", "reduce", "other"], unit="ns")
    figure = compare_figure(launches, title="t", source="s")
    assert "most is added by reduce (+200), most is saved by partial (-600)" in figure.finding.lower()


def test_scenarios_with_their_bands() -> None:
    figure = what_if_figure(SCENARIOS, title="t", source="s")
    assert figure.finding == "20.00 us as it is; of these, 'no conflicts' would be fastest: 15.00 us (-25.0 %)."
    assert [text.get_text() for text in figure.canvas.legends[0].get_texts()] == ["lds", "memory"]
    assert "15.00 (-25.0 %)" in [text.get_text() for text in figure.canvas.axes[0].texts]
    assert figure.png.startswith(b"\x89PNG")


def test_constants_by_what_they_do() -> None:
    figure = sensitivity_figure(CONSTANTS, 20.0, title="t", source="s")
    assert figure.finding == (
        "Of 2 uncertain constants tlb_miss matters most: 16.00 to 22.00 us, 20.00 us with its value of 700 cycles; "
        "1 move the time by less than 1 %."
    )
    assert [label.get_text() for label in figure.canvas.axes[0].get_yticklabels()] == ["tlb_miss [C]", "fp64 [C]"]
