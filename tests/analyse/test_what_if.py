"""Launches timed again: with what is known of them, with the model asked directly, and with the band's definition."""

import numpy as np
import pytest

from sparse_mla.analyse.what_if import sensitivity, what_if, with_conflicts
from sparse_mla.errors import InputError
from sparse_mla.gfx950.accesses import accesses
from sparse_mla.gfx950.timing import CAUSES, Timing, device, simulate
from sparse_mla.kernels.case import Case
from tests.analyse.samples import traced
from tests.gfx950.test_launch import PROLOGUE
from tests.gfx950.test_trace import LANE, on_lds
from tests.gfx950.test_trace import traced as traced_snippet


@pytest.fixture(scope="module")
def timing() -> Timing:
    return simulate(traced(Case.make(rows=1, main=128, extra=0), 2), device("mi355x"), band=False)


def test_each_row_is_what_the_model_says_of_that_device(timing: Timing) -> None:
    frame = what_if(timing, {"slow LDS": {"lds_read": 300}, "slow L2": {"l2_hit": 900, "mall_hit": 1800}})
    launches = [one.launched for one in timing.kernels]
    assert frame.scenario.tolist() == ["as it is", "slow LDS", "slow L2"]
    assert frame.microseconds[0] == timing.microseconds
    assert frame.microseconds[1] == simulate(launches, device("mi355x").changed(lds_read=300), band=False).microseconds
    assert (frame.microseconds[1:] > timing.microseconds).all()
    assert frame.ratio[2] == frame.microseconds[2] / timing.microseconds
    assert frame.change[1] == frame.microseconds[1] - timing.microseconds
    assert frame[[*CAUSES]].sum(axis=1).tolist() == pytest.approx([1, 1, 1])
    assert frame.lds[1] > frame.lds[0]
    assert frame.low.isna().all()


def test_an_instruction_may_cost_more() -> None:
    """100 transcendentals one after the other, of 8 cycles each, among other instructions."""
    body = PROLOGUE + 50 * "v_exp_f32_e32 v3, v0\nv_log_f32_e32 v3, v0\nv_add_f32_e32 v4, v0, v0\n"
    alone = simulate([traced_snippet(body, np.zeros(1, np.uint32))], device("mi355x"), band=False)
    frame = what_if(
        alone, {"same": {"v_exp*": 1}, "thrice": {"v_exp_f32_e32": 3}, "both": {"v_exp*": 3, "v_log*": 3}, "none": {"v_exp*": 0}}
    )
    cycles = (frame.change * 1e-6 * device("mi355x").value("clock")).round().tolist()
    assert cycles == [0, 0, 50 * 16, 100 * 16, -50 * 4]  # an instruction keeps its slot of 4


def test_fewer_conflicts() -> None:
    launch = on_lds("ds_read_b32 v3, v2", 256 * (LANE % 16))
    for share, extra in ((1, 15), (0.5, 7), (0, 0)):
        changed = with_conflicts(launch, share)
        assert changed.trace is not None
        found = accesses(changed.trace)
        assert found.extra[found.phases > 0].tolist() == [extra]
        assert found.phases[found.phases > 0].tolist() == [1 + extra]
        assert found.lanes.tolist() == accesses(launch.trace).lanes.tolist()  # type: ignore[arg-type]
    assert accesses(launch.trace).extra.max() == 15  # type: ignore[arg-type]


def test_without_conflicts_less_time_goes_to_lds(timing: Timing) -> None:
    frame = what_if(timing, {"none": {"lds_conflicts": 0}})
    assert frame.microseconds[1] < frame.microseconds[0]
    assert frame.lds[1] * frame.microseconds[1] < 0.6 * frame.lds[0] * frame.microseconds[0]


def test_sensitivity_is_the_time_at_each_constants_ends(timing: Timing) -> None:
    frame = sensitivity(timing, ["l2_hit", "mall_hit", "slot"])
    assert set(frame.constant) == {"l2_hit", "mall_hit"}  # slot is certain
    assert frame.swing.is_monotonic_decreasing
    launches = [one.launched for one in timing.kernels]
    row = frame.set_index("constant").loc["l2_hit"]
    ends = [simulate(launches, device("mi355x").changed(l2_hit=int(x)), band=False).microseconds for x in (row.low, row.high)]
    assert [row.fast, row.slow] == sorted(ends)
    assert row.swing == row.slow - row.fast
    assert (row.value, row.kind) == (device("mi355x").value("l2_hit"), "modelled")


def test_a_band_is_given_where_asked(timing: Timing) -> None:
    frame = what_if(timing, {}, band=True)
    assert frame.low[0] < frame.microseconds[0] < frame.high[0]


@pytest.mark.parametrize(
    "change, words",
    [
        (
            {"hbm_bandwith": 1e12},
            "'hbm_bandwith' is no constant of AMD Instinct MI355X, no mnemonic of these kernels and not lds",
        ),
        ({"v_mfma*": -1.0}, "factor -1.0; times do not get negative"),
        ({"lds_conflicts": 2.0}, "from 0 to 1, not 2.0"),
    ],
)
def test_what_cannot_be_changed_is_named(timing: Timing, change: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words.replace("*", r"\*")):
        what_if(timing, {"x": change})
