"""Exercises of 11_from_kernel_to_serving: Amdahl's law both ways, numbers that cannot both be right, MTP, and one number "
"for four."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pandas as pd

from sparse_mla.widgets.exercise import Exercise, Observations, Wrong, calls, choice, items, value


def _gain(share: float, speed_up: float) -> float:
    return 1 / (1 - share + share / speed_up)


def _by_simulation() -> Observations:
    """Steps of 1,000 units of time, `share` of them in the kernel: tokens a unit after over before."""
    for share, speed_up in CASES:
        kernel, rest = 1000 * share, 1000 * (1 - share)
        yield f"share {share}, {speed_up} times as fast", (1 / (rest + kernel / speed_up)) / (1 / (rest + kernel))


CASES = ((0.1, 2.0), (0.1, 8.0), (0.25, 1.5), (0.5, 1e12), (1.0, 3.0))


def _tokens(accepted: float, drafts: int) -> float:
    return sum(accepted**n for n in range(drafts + 1))


def _least_share() -> Observations:
    from sparse_mla.analyse.serving import gains

    (point,) = gains().query("workload == '8k1k' and concurrency == 4").itertuples()
    yield "percent", round(float(point.least_share))


@lru_cache
def beside_the_ceiling() -> pd.DataFrame:
    """What serving gained, beside what a kernel of no cost could give by the modelled times as they are."""
    from sparse_mla.analyse.serving import attention, gains, shares

    frame = shares(gains(), attention())[["workload", "concurrency", "gain", "step_before", "ms", "share", "ceiling"]]
    return frame.round(1)


def _contradiction() -> Observations:
    from sparse_mla.analyse.serving import attention, calibration, gains, shares

    plain, scaled = (shares(gains(), attention(), scale=scale) for scale in (1.0, calibration()))
    yield "points", int((plain.gain > plain.ceiling).sum())
    yield "column", "ms" if not (scaled.gain > scaled.ceiling).any() else "another"


def _answer(points: int, column: str) -> dict[str, Any]:
    return {"points": points, "column": column}


EXERCISES = [
    Exercise(
        name="11.amdahl",
        ask="Return how many times the throughput gets (1.1 for +10 %), if `share` (0 to 1) of a step is the kernel's and the "
        "kernel gets `speed_up` times as fast.",
        hint="Write the step after as a part of the step before: what stays, and the kernel's part, divided.",
        observe=calls("share {}, {:g} times as fast", *CASES),
        expect=_by_simulation,
        right=_gain,
        solution="1 / (1 - share + share / speed_up)",
        tolerance=1e-9,
        wrong=[
            Wrong(lambda f, s: 1 + f - f / s, "That is the time saved. Throughput is one over the time that is left."),
            Wrong(lambda f, s: f * s + 1 - f, "That makes the kernel's part of the time longer."),
            Wrong(lambda f, s: s, "Only the kernel got faster; the rest of the step stays."),
            Wrong(lambda f, s: 1 - f + f / s, "That is the step's time after, over before. Throughput is its inverse."),
        ],
    ),
    Exercise(
        name="11.least",
        ask="8k1k at concurrency 4: 618 tokens a second before, 710 after. At least what percentage of a step was the kernel's "
        "before, to the nearest whole number?",
        hint="Suppose that the new kernel takes no time at all.",
        kind="predict",
        observe=value("percent"),
        expect=_least_share,
        right=13,
        wrong=[
            Wrong(15, "710 / 618 is 1.15: that is gained, of the throughput before. What is saved is 1 - 618 / 710 of the time."),
            Wrong(7, "That needs another thing to get faster too: 7 % of the time cannot give 13 % back."),
            Wrong(100, "It may be all, but it need not be: with 13 % and a kernel of no cost it comes out too."),
        ],
    ),
    Exercise(
        name="11.ceiling",
        ask="The table holds published and modelled columns, and they contradict each other. Give at how many `points` more was "
        "gained than a kernel of no cost could give, and the `column` that must be too small to agree with the published "
        "ones: `gain`, `step_before` or `ms`.",
        hint="`gain` and `step_before` follow from published throughputs. Where does `ms` come from, and what does lesson 10 "
        "say of such microseconds?",
        kind="fault",
        observe=items("points", "column"),
        expect=_contradiction,
        right=_answer(3, "ms"),
        given=beside_the_ceiling,
        wrong=[
            Wrong(_answer(3, "gain"), "A gain is a quotient of two published throughputs; a larger one would contradict more."),
            Wrong(_answer(3, "step_before"), "A longer step makes the kernel's share smaller still, and the ceiling lower."),
            Wrong(_answer(1, "ms"), "Compare each `gain` with the `ceiling` of its own line."),
            Wrong(_answer(4, "ms"), "At one of the points the gain is below the ceiling."),
        ],
    ),
    Exercise(
        name="11.tokens",
        ask="Return how many tokens a request gets from a step on average, if `drafts` tokens are drafted and each is accepted "
        "with probability `accepted`, provided that all before it were.",
        hint="One token comes in any case. The first draft counts with probability a, the second only if the first did too.",
        observe=calls("accepted {}, {} drafts", (0.0, 3), (0.5, 1), (0.8, 3), (1.0, 3)),
        right=_tokens,
        solution="sum(accepted**n for n in range(drafts + 1))",
        tolerance=1e-9,
        wrong=[
            Wrong(lambda a, k: 1 + a * k, "The second draft counts only if the first was accepted: a times a."),
            Wrong(lambda a, k: sum(a**n for n in range(1, k + 1)), "The step's own token comes in any case."),
            Wrong(lambda a, k: k + 1, "That many rows are computed; only accepted ones are tokens."),
            Wrong(lambda a, k: 1 + a**k, "A step whose third draft is refused still keeps the first two."),
        ],
    ),
    choice(
        "11.six",
        "The gains were summarised as about 6 %. Which of these is the best reading?",
        "Print the four gains beside the ways to make one number of them.",
        right="b",
        options={
            "a": (
                "A server becomes about 6 % faster with this kernel.",
                "No server runs the mixture that this is a mean of: the points lie between about 1 and 15 %.",
            ),
            "b": "It is the ratio of the summed throughputs, so mostly the point with the most tokens; what a server gains "
            "depends on context, concurrency, and on the kernel that it had before.",
            "c": (
                "It is the geometric mean, as it should be for ratios.",
                "The geometric mean of the four is larger: print the summaries.",
            ),
            "d": (
                "The kernel takes 6 % of the time.",
                "A gain is not a share: 6 % gained needs at least 5.7 % of the time, and more unless the new kernel is free.",
            ),
        },
    ),
]
