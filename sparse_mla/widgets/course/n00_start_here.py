"""Exercises of 00_start_here: reading counts, judging an error, telling the four kinds of number apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparse_mla.widgets.exercise import Exercise, Observations, Wrong, calls, choice, items, value

# Two small count tables. Waves differ, counts differ within a wave, and the first wave issues neither most nor least
# rows of the table, so that every listed mistake gives another number.
_COUNTS = (
    pd.DataFrame({"wave": [0, 0, 1, 2, 3, 3], "count": [40, 25, 8, 9, 7, 11]}),
    pd.DataFrame({"wave": [1, 0, 1, 0, 2, 3, 0], "count": [5, 90, 30, 4, 20, 10, 41]}),
)

_VECTORS = (
    (np.array([3.0, 4.5, 0.0, -1.0]), np.array([3.0, 4.0, 0.0, -2.0])),
    (np.array([0.25, -8.0, 2.0]), np.array([0.5, -8.0, 1.0])),
)


def _wave0_share(frame: pd.DataFrame) -> float:
    return float(frame.loc[frame.wave == 0, "count"].sum() / frame["count"].sum())


def _relative_l2(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


# Letter: statement, kind of its number.
_STATEMENTS = {
    "a": ("The fused kernel issued 64 MFMAs a tile when its machine code ran here.", "emulated"),
    "b": ("An MI355X takes 35 us for this shape, says a pull request.", "published"),
    "c": ("8 TB/s carry at most 13.7 G tokens of 584 bytes a second.", "modelled"),
    "d": ("rocprofv3 on the MI355X in our rack reported 11 us.", "measured"),
    "e": ("Fed with emulated counts, the timing model gives 9 us.", "modelled"),
}
_KINDS = {letter: kind for letter, (_, kind) in _STATEMENTS.items()}


def tile_by_unit() -> pd.DataFrame:
    """Wave instructions of one tile of the base kernel, by wave and unit: a run of two tiles less a run of one."""
    from sparse_mla import Case, run
    from sparse_mla.analyse.counts import by_unit, difference
    from sparse_mla.execute import counts_frame

    short, long = (counts_frame(run("base", Case.make(rows=1, main=n, extra=0), split_k=1)) for n in (32, 64))
    return by_unit(difference(long, short))


def _mfma_share() -> Observations:
    tile = tile_by_unit()
    return [("MFMA in 100", round(100 * tile["MFMA"].sum() / tile.to_numpy().sum()))]


EXERCISES = [
    Exercise(
        name="00.mfma_share",
        ask="Of 100 wave instructions that the kernel executes for a tile of 32 tokens, how many are MFMA? A whole number.",
        hint="One MFMA multiplies 16 x 32 by 32 x 16 numbers. What must happen before and after it?",
        observe=value("MFMA in 100"),
        right=3,
        wrong=[
            Wrong(50, "An MFMA does 8,192 multiplications and additions, so few of them do all the matrix work of a tile."),
            Wrong(25, "Every number must be fetched, widened from fp8 and moved into place first, by many more instructions."),
            Wrong(10, "Nearer, but the softmax and the way through LDS take even more."),
        ],
        kind="predict",
        expect=_mfma_share,
    ),
    Exercise(
        name="00.wave0_share",
        ask="Return the share of all wave instructions that wave 0 issues, as a number between 0 and 1.",
        hint="One row is one static instruction of one wave; `count` says how often it was executed.",
        observe=lambda answer: ((f"table {n}", answer(frame)) for n, frame in enumerate(_COUNTS)),
        right=_wave0_share,
        solution='frame.loc[frame.wave == 0, "count"].sum() / frame["count"].sum()',
        tolerance=1e-9,
        wrong=[
            Wrong(
                lambda f: float((f.wave == 0).mean()), "That counts rows, static instructions; a row in a loop is executed often."
            ),
            Wrong(
                lambda f: float(f.loc[f.wave == 0, "count"].sum() / f.loc[f.wave != 0, "count"].sum()),
                "That divides by the other waves; a share divides by all of them, wave 0 too.",
            ),
            Wrong(
                lambda f: float(f.groupby("wave")["count"].sum().max() / f["count"].sum() * 100),
                "That is a percentage, and of the busiest wave, whichever it is.",
            ),
            Wrong(lambda f: float(f["count"].iloc[0] / f["count"].sum()), "That takes one row; wave 0 has several."),
        ],
    ),
    Exercise(
        name="00.relative_l2",
        ask="Return the relative L2 error of `actual`: the norm of its difference from `expected` over the norm of `expected`.",
        hint="np.linalg.norm gives the root of the sum of squares.",
        observe=calls("actual {}, expected {}", *_VECTORS),
        right=_relative_l2,
        solution="import numpy as np\n\nreturn np.linalg.norm(actual - expected) / np.linalg.norm(expected)",
        tolerance=1e-9,
        wrong=[
            Wrong(lambda a, e: float(np.abs(a - e).max()), "That is the largest absolute error: it grows with the data's scale."),
            Wrong(
                lambda a, e: float(np.linalg.norm(a - e) / np.linalg.norm(a)),
                "That divides by the result under test, which may be wrong.",
            ),
            Wrong(
                lambda a, e: float(np.sum((a - e) ** 2) / np.sum(e**2)), "That is the square of the error: the root is missing."
            ),
            Wrong(
                lambda a, e: float(np.mean(np.abs(a - e) / np.where(e == 0, 1, np.abs(e)))),
                "That averages element errors: an element near zero would dominate.",
            ),
        ],
    ),
    Exercise(
        name="00.kinds",
        ask='For each number say whether it is "measured", "emulated", "modelled" or "published".\n'
        + "\n".join(f"- **{letter}** {statement}" for letter, (statement, _) in _STATEMENTS.items()),
        hint="Ask what would have to be repeated to get the number again: a device, an execution, a calculation, or a search.",
        observe=items(*_KINDS),
        right=_KINDS,
        wrong=[
            Wrong(_KINDS | {"e": "emulated"}, "The counts are emulated; the microseconds come out of a model fed with them."),
            Wrong(_KINDS | {"b": "measured"}, "Somebody measured it, we did not: we can only cite it."),
            Wrong(_KINDS | {"c": "published"}, "The bandwidth is published, the quotient is our arithmetic."),
            Wrong(_KINDS | {"a": "measured"}, "No device was involved: it is an exact count of executed code."),
        ],
    ),
    choice(
        "00.counts",
        "Why may the emulator's counts be believed of an MI355X, but not the seconds that it takes?",
        "What is the same here and there, and what is not?",
        right="c",
        options={
            "a": (
                "Counts are averaged over many runs; the time is taken only once.",
                "One run gives exact counts: each is the same again.",
            ),
            "b": (
                "Both may be believed as soon as the output is right.",
                "A slow kernel gives a right output too: time is not in it.",
            ),
            "c": "Counts are of the machine code that the chip would execute; the seconds are those of this CPU.",
            "d": (
                "The emulator keeps the clock of the MI355X, but has one compute unit only.",
                "It knows no clock: it executes one instruction behind the other, as fast as this CPU can.",
            ),
        },
    ),
]
