"""Exercises of 09_reading_profiles: what counters say of time, what a trace knows, and three recordings with a planted fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sparse_mla.widgets.exercise import Exercise, Observations, Report, Wrong, calls, choice, items, value

CASE, HEALTHY = "pro-csa-h16", "ladder/prefetch"
WORDS = ("bank conflicts", "spilled registers", "loads one at a time", "more bytes read", "too many barriers", "uneven waves")


def _kept(name: str) -> Any:
    from sparse_mla.record.store import kept

    return kept(name, CASE)


def _busy() -> float:
    from sparse_mla.analyse.evidence import matrix_busy

    return round(float(matrix_busy(_kept(HEALTHY)).busy_units.iloc[0]), 1)


def _sections(name: str) -> Iterator[tuple[str, Any]]:
    from sparse_mla.analyse.evidence import by_mnemonic, moved_counters
    from sparse_mla.analyse.hot import hot_lines, phase_split
    from sparse_mla.analyse.instructions import instructions

    one, healthy = _kept(name), _kept(HEALTHY)
    frame = instructions(one)
    launch = one["dispatches"][["grid_x", "workgroup_x", "vgpr", "agpr", "lds", "scratch"]]
    yield "The launch (lds: bytes of a workgroup, scratch: bytes of a lane)", launch
    yield "Phases", phase_split(frame)[["phase", "share", "main"]].nlargest(5, "share")
    yield (
        "Source lines",
        hot_lines(frame, n=4)[["phase", "file", "line", "source", "share", "main"]].assign(source=lambda x: x.source.str[:60]),
    )
    yield "Instructions by mnemonic", by_mnemonic(one, 5)
    yield f"Counters that moved most (before: {HEALTHY})", moved_counters(healthy, one, n=6)


def evidence(name: str) -> Report:
    """A suspect's profile beside the healthy kernel's, as text."""
    times = [_kept(kernel).manifest.result["microseconds"] for kernel in (HEALTHY, name)]
    head = f"{name}: {times[1]:.1f} us, {HEALTHY}: {times[0]:.1f} us (modelled); shares are of all waves' time (modelled)"
    tables = (f"{title}\n{table.to_string(index=False, float_format=lambda x: f'{x:.4g}')}" for title, table in _sections(name))
    return Report("\n\n".join([head, *tables]))


def _cause(one: Any) -> str:
    """The fault, from numbers that none of the tables above shows."""
    counts = one["counters"].set_index("name").value
    if counts.SQ_LDS_BANK_CONFLICT > 0.5 * counts.SQ_LDS_IDX_ACTIVE:
        return "bank conflicts"
    if one["memory"].space.eq("scratch").any():
        return "spilled registers"
    times = one["instructions"].assign(wait=one["instructions"].text.str.startswith("s_waitcnt vmcnt(0)"))
    return "loads one at a time" if times[times.wait].hit.sum() > 5 * times[times.wait].hit.max() else "more bytes read"


def _truth(name: str, key: str, look: Callable[[Any], Any]) -> Observations:
    one = _kept(name)
    yield "cause", _cause(one)
    yield key, look(one)


def _slowest(one: Any) -> str:
    from sparse_mla.analyse.evidence import by_mnemonic

    return str(by_mnemonic(one, 1).mnemonic.iloc[0])


def _scratch(one: Any) -> int:
    return int(one["dispatches"].scratch.max())


def _phase(one: Any) -> str:
    from sparse_mla.analyse.hot import phase_split
    from sparse_mla.analyse.instructions import instructions

    frame = phase_split(instructions(one))
    return str(frame.phase[frame.share.idxmax()])


def _case(
    number: int, key: str, means: str, truth: Any, look: Callable[[Any], Any], hint: str, *wrong: tuple[Any, Any, str]
) -> Exercise:
    """One suspect. `wrong`: cause, value of `key`, and why not."""
    name, right = f"suspect/{number}", ("bank conflicts", "spilled registers", "loads one at a time")[number - 1]
    return Exercise(
        name=f"09.case{number}",
        ask=f"Suspect {number}: give the `cause` in words of the list, and the `{key}`: {means}.",
        hint=hint,
        kind="fault",
        given=partial(evidence, name),
        observe=items("cause", key),
        expect=lambda: _truth(name, key, look),
        right={"cause": right, key: truth},
        wrong=[Wrong({"cause": cause, key: other}, why) for cause, other, why in wrong],
    )


def utilisation(busy: float, active: float, dies: int, units: int) -> float:
    return 100 * busy / (active / dies * units * 4)


EXERCISES = [
    Exercise(
        name="09.utilisation",
        ask="Return how busy, in per cent, the matrix pipes of a device were. `busy`: SQ_VALU_MFMA_BUSY_CYCLES, summed over its "
        "SIMDs. `active`: GRBM_GUI_ACTIVE, the launch's cycles, summed over its `dies`. `units`: its compute units, of 4 SIMDs.",
        hint="Cycles that there were for pipes: those of the launch, once, times the number of pipes.",
        observe=calls(
            "busy {}, active {}, {} dies, {} units", (4096.0, 8000.0, 8, 256), (1e6, 80_000.0, 8, 256), (1e6, 9e4, 6, 228)
        ),
        right=utilisation,
        solution="100 * busy / (active / dies * units * 4)",
        tolerance=1e-6,
        wrong=[
            Wrong(lambda b, a, d, u: 100 * b / (a * u * 4), "`active` counts every die: the device looks 8 times less busy."),
            Wrong(lambda b, a, d, u: 100 * b / (a / d * u), "There are four pipes in a unit; this may exceed 100 %."),
            Wrong(lambda b, a, d, u: 100 * b / (a / d * u / d * 4), "`units` are all of the device's, as `busy` is."),
        ],
    ),
    Exercise(
        name="09.busy",
        ask=f"The counters say that matrix pipes of the device were busy for 0.26 % of the time of {HEALTHY}. It had 4 "
        "workgroups on 256 compute units, each on one of its own. How busy, in per cent, were the pipes of those 4 units?",
        hint="252 units add nothing to what was busy, but they are in what is divided by.",
        kind="predict",
        tolerance=0.1,
        observe=value("per cent"),
        expect=lambda: [("per cent", _busy())],
        right=16.5,
        wrong=[
            Wrong(0.26, "That is the mean over 256 units, of which 252 had nothing to do."),
            Wrong(100, "QK and PV take a third of the waves' time, and most of that is not MFMA."),
            Wrong(1.04, "That is four times the mean; but 64 times as many units are counted as had work."),
        ],
    ),
    choice(
        "09.kinds",
        "A thread trace of a device has `s_waitcnt vmcnt(0)` with 1,200 cycles of stall. What is known of it?",
        "Which columns has an event of a thread trace?",
        right="b",
        options={
            "a": ("That memory took too long; both the cycles and the cause are measured.", "A trace has no column for causes."),
            "b": "The cycles are measured. That it waited for memory follows from the instruction; whether latency or a full "
            "queue held the data back, and whose data, does not.",
            "c": (
                "Nothing certain: waits are modelled.",
                "On a device they are measured. Modelled are those of our recordings, and these know the cause.",
            ),
            "d": ("That 1,200 cycles would be saved without it.", "Then the use of the data would wait, or a later instruction."),
        },
    ),
    _case(
        1, "instruction", "the mnemonic that takes the most time", "ds_read_b64_tr_b16", _slowest,
        "Which unit do the waves wait for? Which counter of that unit has grown without more accesses?",
        ("bank conflicts", "ds_write_b128", "It has conflicts too, but takes less time."),
        ("spilled registers", "s_waitcnt", "The launch has 0 bytes of scratch."),
        ("more bytes read", "ds_read_b64_tr_b16", "No counter of memory or of LDS accesses has moved: only cycles."),
    ),
    _case(
        2, "bytes", "how many a lane keeps in memory for want of registers", 492, _scratch,
        "Four counters of writes have grown, yet the output is the same. What else is written?",
        ("loads one at a time", 0, "They are asked for together, as before. PV and softmax wait: look at the launch."),
        ("spilled registers", 148480, "That is LDS, of a workgroup, as before."),
        ("more bytes read", 492, "Lists and records are the same. What is read more was written by the kernel itself."),
    ),
    _case(
        3, "phase", "the one with most of the time", "gather", _phase,
        "No counter of work has moved, only waiting. At which line do waves wait, and how often does it come to a wait?",
        ("spilled registers", "gather", "The launch has 0 bytes of scratch; neither reads nor writes have grown."),
        ("loads one at a time", "PV", "PV uses what is in LDS already, and takes less of the time than before."),
        ("more bytes read", "gather", "Counters of reads have not moved: the same loads, each waited for before the next."),
        ("bank conflicts", "gather", "Hardly a wave waits for LDS: SQ_LDS_BANK_CONFLICT has not moved."),
    ),
    choice(
        "09.tell",
        "In suspects 2 and 3 half of all wave time or more is `SQ_WAIT_ANY`, and both wait in `s_waitcnt`. What tells them "
        "apart at the least cost?",
        "One of the two can be told from something that every launch says of itself.",
        right="c",
        options={
            "a": ("A second counter pass with SQ_WAIT_INST_LDS.", "Neither of them waits for LDS."),
            "b": ("Ten more runs, for the mean.", "Repeating takes noise out. What is ambiguous stays so."),
            "c": "The kernel trace: its row of a launch has the bytes of scratch, 0 for one of them; it costs no counter pass.",
            "d": ("The utilisation of the matrix pipes.", "It falls with any delay. It says how much is lost, not by what."),
        },
    ),
]  # fmt: skip
