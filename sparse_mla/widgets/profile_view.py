"""One recording, looked at by one instrument after the other: a figure for each question."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sparse_mla.analyse.compare import compare_counters, compare_time
from sparse_mla.analyse.hot import hot_instructions, hot_lines, phase_split
from sparse_mla.analyse.instructions import instructions
from sparse_mla.analyse.limits import occupancy, utilisation
from sparse_mla.analyse.timeline import timeline as waves_of
from sparse_mla.analyse.traffic import levels
from sparse_mla.errors import InputError
from sparse_mla.plot.change import compare_figure
from sparse_mla.plot.hot import hot_figure, phases_figure
from sparse_mla.plot.limits import occupancy_figure, utilisation_figure
from sparse_mla.plot.memory import levels_figure
from sparse_mla.record.schema import Recording
from sparse_mla.record.store import kept
from sparse_mla.record.suspects import HEALTHY
from sparse_mla.widgets.timeline import timeline

CASE = "pro-csa-h16"


def workgroup(recording: Recording) -> Any:
    """The timeline (analyse.timeline) of the first traced workgroup of a recording."""
    frame, waves = waves_of(recording), recording["waves"]
    group = waves[waves.wave == frame.wave.min()].workgroup.iloc[0]
    return frame[frame.wave.isin(waves[waves.workgroup == group].wave)].reset_index(drop=True)


@lru_cache(maxsize=8)
def _stored(kernel: str) -> Recording:
    return kept(kernel, CASE)


# What each question is answered by; `what` holds the figure's title and source.
VIEWS: dict[str, Callable[[Recording, dict[str, Any]], Any]] = {
    "phases": lambda one, what: phases_figure(phase_split(instructions(one)), **what),
    "hot lines": lambda one, what: hot_figure(hot_lines(instructions(one), n=8), **what),
    "hot instructions": lambda one, what: hot_figure(hot_instructions(instructions(one), n=12), **what),
    "busy units": lambda one, what: utilisation_figure(utilisation(one), **what),
    "room for waves": lambda one, what: occupancy_figure(occupancy(one), **what),
    "bytes by level": lambda one, what: levels_figure(levels(one), **what),
    "time against healthy": lambda one, what: compare_figure(compare_time(_stored(HEALTHY), one, by="phase"), **what),
    "counters against healthy": lambda one, what: compare_figure(compare_counters(_stored(HEALTHY), one), **what),
    "waves": lambda one, what: timeline(workgroup(one), kind=one.kind("events"), **what),
}

_drawn: dict[tuple[int, str], tuple[Recording, Any]] = {}  # figures by recording, which is kept so that its id stays its own


def profile_view(recording: str | Recording, question: str) -> Any:
    """The figure (of waves in a live session: the timeline) that answers one of VIEWS. `recording`: one, or the name of a kernel
    whose stored recording of pro-csa-h16 is meant. Raises InputError for another question."""
    if question not in VIEWS:
        raise InputError(f"question is {question!r}; it may be {', '.join(VIEWS)}")
    one = _stored(recording) if isinstance(recording, str) else recording
    if (known := _drawn.get((id(one), question))) and question != "waves":  # which may be a widget, with a state of its own
        return known[1]
    figure = VIEWS[question](
        one, {"title": f"{one.manifest.kernel}: {question}", "source": f"{one.manifest.case.get('name', CASE)}, MI355X model"}
    )
    if len(_drawn) >= 64:
        _drawn.clear()
    _drawn[id(one), question] = one, figure
    return figure
