"""Exercises of 13_on_real_hardware: how near the reads, bytes a second, runs of a profiler, a fault that comes late, kinds."""

from __future__ import annotations

from collections.abc import Mapping

from sparse_mla.widgets.exercise import Exercise, Observations, Report, Wrong, calls, choice, items, value

SLOTS = {"SQ": 8, "TCP": 4, "TCC": 4, "GRBM": 2}  # of one pass, as profiles/recipes/rocm.toml has them; a test compares
ELEMENTS, GROUPS = 320, (5, 2, 4, 6, 3, 5)  # ints, and the workgroups of each launch
RECORD = 584  # bytes of a token


def _over_floor(heads: int = 16, rows: int = 256, extra: int = 1024) -> float:
    from sparse_mla.analyse.decode_us import FLOOR, OURS, decode_us

    frame = decode_us()
    here = frame[(frame.heads == heads) & (frame.rows == rows) & (frame.extra == extra) & frame.source.str.endswith("h100")]
    us = here.set_index("series").us
    return round(float(us[OURS] / us[FLOOR]), 2)


def log() -> Report:
    """What the host saw."""
    from sparse_mla.execute.hip_log import SOURCE, call_log

    frame = call_log(ELEMENTS, GROUPS)[0]
    lines = (f"{row.number:2}  {row.call:58} {row.returned}" for row in frame.itertuples())
    return Report(SOURCE + "\n" + "\n".join(lines))


def _fault() -> Observations:
    """The launch that fails when the host waits for each, and the element of the emulator's own report."""
    from sparse_mla.execute.hip_log import BLOCK, call_log

    frame, fault = call_log(ELEMENTS, GROUPS, wait=True)
    assert fault is not None  # of a kernel: it says whose work-item
    assert fault.workgroup is not None
    assert fault.lane is not None
    failed = frame.index[frame.returned != "hipSuccess"][0]  # the wait behind the launch
    launched = frame.call[: failed + 1].str.startswith("hipModuleLaunchKernel").sum()
    yield "call", 1 + int(launched)  # hipMalloc is call 1
    yield "element", fault.workgroup[0] * BLOCK + fault.lane


def _runs(counters: Mapping[str, int]) -> int:
    return max(-(-number // SLOTS[block]) for block, number in counters.items())


EXERCISES = [
    Exercise(
        name="13.floor",
        ask="256 rows of 16 heads, 128 + 1,024 tokens, on the H100: how many times as long as only reading the same records does "
        "our kernel take?",
        hint="A perfect overlap of everything with the reads would be 1.",
        kind="predict",
        tolerance=0.15,
        observe=value("times"),
        expect=lambda: [("times", _over_floor())],
        right=1.3,
        wrong=[
            Wrong(4.0, "That is a decode of one row, where launching and merging take longer than reading."),
            Wrong(1.0, "Then all else would hide behind the reads. The pipe of L1 and shared memory is needed by both."),
            Wrong(10.0, "With 256 rows all multiprocessors read at once, and reading is the larger part of the time."),
        ],
    ),
    Exercise(
        name="13.bandwidth",
        ask="Return the TB/s (10^12 bytes a second) at which a decode of `rows` rows reads records, if each row lists "
        "128 + `extra` tokens of 584 bytes, all of them different, and the decode takes `us` microseconds.",
        hint="Bytes over microseconds are MB/s.",
        observe=calls("{} rows, {} extra, {} us", (1, 0, 8.0), (64, 1024, 30.0), (256, 1024, 68.4), (256, 2048, 130.0)),
        right=lambda rows, extra, us: rows * (128 + extra) * RECORD / us / 1e6,
        solution="rows * (128 + extra) * 584 / us / 1e6",
        tolerance=1e-6,
        wrong=[
            Wrong(lambda r, e, us: r * e * RECORD / us / 1e6, "The 128 tokens of the window are read too."),
            Wrong(lambda r, e, us: r * (128 + e) * 576 / us / 1e6, "576 bytes are data; 8 more hold the scales."),
            Wrong(lambda r, e, us: r * (128 + e) * RECORD / us / 1e3, "That is GB/s."),
            Wrong(lambda r, e, us: r * (128 + e) * 1024 / us / 1e6, "1,024 bytes has a token in bf16; it is stored as fp8."),
        ],
    ),
    Exercise(
        name="13.runs",
        ask="Return the fewest runs of a program in which rocprofv3 can collect `counters`: how many of each block, such as "
        "{'SQ': 9, 'TCC': 3}. One run holds 8 of SQ, 4 of TCP, 4 of TCC, 2 of GRBM, side by side.",
        hint="Blocks do not take each other's slots.",
        observe=calls("{}", ({"SQ": 8},), ({"SQ": 9, "TCC": 3},), ({"SQ": 20, "TCP": 7, "TCC": 4},), ({"TCP": 9, "GRBM": 2},)),
        right=_runs,
        solution='max(-(-number // {"SQ": 8, "TCP": 4, "TCC": 4, "GRBM": 2}[block]) for block, number in counters.items())',
        wrong=[
            Wrong(
                lambda counters: sum(-(-number // SLOTS[block]) for block, number in counters.items()),
                "A run collects of all blocks at once.",
            ),
            Wrong(lambda counters: -(-sum(counters.values()) // 8), "The 8 slots are those of SQ; other blocks have their own."),
            Wrong(lambda counters: max(n // SLOTS[block] for block, n in counters.items()), "What does not fit needs a run too."),
        ],
    ),
    Exercise(
        name="13.fault",
        ask="Which call is to blame for the error in the log below? Give the number of the `call`, and the index of the first "
        "`element` outside of the buffer that it touches.",
        hint="A launch only queues. How many work-items has each launch, and how many ints has the buffer?",
        kind="fault",
        given=log,
        observe=items("call", "element"),
        expect=_fault,
        right={"call": 5, "element": 320},
        wrong=[
            Wrong({"call": 9, "element": 320}, "That call waits for all before it, and is the first that can report."),
            Wrong({"call": 7, "element": 320}, "5 workgroups of 64 are just the 320 ints of the buffer."),
            Wrong({"call": 5, "element": 384}, "That is the first behind the last that it touches."),
            Wrong({"call": 10, "element": 320}, "The error stays: every later call returns it."),
        ],
    ),
    choice(
        "13.kinds",
        "The figure has our kernel and FlashMLA on an H100, and published times of an MI355X; the course has modelled times of "
        "our kernels on an MI355X. Which sentence may be written?",
        "Same device, same method, same kind?",
        right="d",
        options={
            "a": (
                "On an MI355X our product kernel is faster than the Hopper kernel on an H100.",
                "One is modelled, the other measured, on another device: the difference may be the model's.",
            ),
            "b": (
                "Since the H100's times were measured, the model of the MI355X is confirmed.",
                "They are of another kernel on another chip; no constant of the model comes from there.",
            ),
            "c": (
                "Our kernel on an MI355X takes half of the published kernels' time.",
                "The model gives half of it for the published kernels' own design too: its microseconds are off.",
            ),
            "d": "On one H100 our Hopper kernel takes a measured share of FlashMLA's measured time. How long the product kernel "
            "takes on an MI355X nobody has measured; the model gives a band, and what changes between two kernels.",
        },
    ),
]
