"""Exercises of 06_online_softmax_and_numerics: the update, the first maximum, the sink, and what each rounding costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from sparse_mla.widgets.exercise import Exercise, Observations, Report, Wrong, choice, items, listing, value

TILES = [np.array(x) for x in ([1.0, -2.0], [5.0, 4.0], [-1.0, 0.5], [9.0, -3.0])]  # scores, log2 domain
VALUES = [np.array(x) for x in ([1.0, 2.0], [-1.0, 0.5], [3.0, 1.0], [0.25, 8.0])]
START = (-3.402823466e38, 0.0, 0.0)


def _step(m: float, total: float, a: float, scores: Any, values: Any) -> tuple[float, float, float]:
    top = max(m, float(scores.max()))
    weights = np.exp2(scores - top)
    return top, total * 2.0 ** (m - top) + float(weights.sum()), a * 2.0 ** (m - top) + float(weights @ values)


def _observe_steps(step: Callable[..., Any]) -> Observations:
    state = START
    for tile, (scores, values) in enumerate(zip(TILES, VALUES, strict=True)):
        state = step(*state, scores, values)
        if state is ...:
            yield f"tile {tile}", ...
            return
        for name, number in zip(("m", "l", "a"), state, strict=True):
            yield f"after tile {tile}, {name}", float(number)


def _at_once() -> Observations:
    """The same by the plain softmax over all tokens up to the tile."""
    for tile in range(len(TILES)):
        scores, values = np.concatenate(TILES[: tile + 1]), np.concatenate(VALUES[: tile + 1])
        weights = np.exp2(scores - scores.max())
        for name, number in zip(("m", "l", "a"), (scores.max(), weights.sum(), weights @ values), strict=True):
            yield f"after tile {tile}, {name}", float(number)


def _factor(m: float, total: float, sink: float) -> float:
    return 0.0 if total == 0 else float(1 / (total + np.exp2(sink / np.log(2) - m)))


SINKS = [(3.0, 2.0, 0.0), (3.0, 2.0, 5.0), (3.0, 2.0, -np.inf), (3.0, 2.0, np.inf), (START[0], 0.0, -np.inf), (-20.0, 1.5, -10.0)]


def _observe_factor(factor: Callable[[float, float, float], Any]) -> Observations:
    with np.errstate(all="ignore"):
        for at in SINKS:
            yield "m {:.3g}, total {:.3g}, sink {:.3g}".format(*at), factor(*at)


def _factors() -> Observations:
    """By the softmax with one more, valueless entry; a row with nothing to attend gives 0."""
    for m, total, sink in SINKS:
        with np.errstate(all="ignore"):
            yield (
                f"m {m:.3g}, total {total:.3g}, sink {sink:.3g}",
                0.0 if total == 0 else 1 / (total + float(np.exp2(sink / np.log(2) - m))),
            )


FAULTY = """#include <hip/hip_runtime.h>
// scores[tiles][64], -inf where a token is invalid; weights' sum and maximum of each tile so far
__global__ void online(const float* scores, float* sums, int tiles) {
  float max = -INFINITY, sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    const float score = scores[64 * tile + threadIdx.x];
    const float top = fmaxf(max, score);
    sum = sum * exp2f(max - top) + exp2f(score - top);
    max = top;
    sums[64 * tile + threadIdx.x] = sum;
  }
}
"""


def _sums(source: str) -> Any:
    from sparse_mla.execute.hip import hip

    scores = np.array([[-np.inf] * 64, [1.0] * 64, [2.0] * 64], np.float32)
    sums = np.zeros_like(scores)
    hip(source).online[1, 64](scores, sums, 3)
    return sums


@lru_cache
def _report() -> Report:
    told = "scores of lane 0 in three tiles: -inf, 1, 2", f"sums of lane 0 after each: {_sums(FAULTY)[:, 0]}"
    return listing(FAULTY, *told)


def _truth() -> Observations:
    """The line whose start value, made finite, mends every sum."""
    lines = FAULTY.splitlines()
    mended = {n: _sums("\n".join(lines).replace(line, line.replace("-INFINITY", "-3.4e38f"))) for n, line in enumerate(lines, 1)
              if "-INFINITY" in line}  # fmt: skip
    [line] = [n for n, sums in mended.items() if np.isfinite(sums).all()]
    yield "line", line
    yield "cause", "inf - inf" if np.isnan(_sums(FAULTY)[0, 0]) else "something else"


def _dearer() -> str:
    from sparse_mla.analyse.numerics import stored

    mine = stored().query("input == 'gaussian' and what == 'base' and split_k == 8").set_index("partials").rel_l2
    ratio = mine["bf16"] / mine["fp32"]
    return "a third" if 1.2 < ratio < 1.5 else f"{ratio:.2f} times"


EXERCISES = [
    Exercise(
        name="06.step",
        ask="Return the new (m, l, a) after a tile: m is the largest score so far (log2 domain), l (here `total`) the sum of "
        "2^(score - m), a that of 2^(score - m) * value.",
        hint="Bring what is there to the new maximum, then add the tile.",
        observe=_observe_steps,
        expect=_at_once,
        right=_step,
        tolerance=1e-12,
        solution="""
            top = max(m, float(scores.max()))
            weights = np.exp2(scores - top)
            return top, total * 2.0 ** (m - top) + weights.sum(), a * 2.0 ** (m - top) + weights @ values
        """,
        wrong=[
            Wrong(
                lambda m, total, a, s, v: (top := max(m, s.max()), total + np.exp2(s - top).sum(), a + np.exp2(s - top) @ v),
                "What was added up before is still relative to the old maximum.",
            ),
            Wrong(
                lambda m, total, a, s, v: (s.max(), *_step(m, total, a, s, v)[1:]),
                "The maximum is that of all tiles so far, not of this one.",
            ),
            Wrong(
                lambda m, total, a, s, v: (*_step(m, total, a, s, v)[:2], a + np.exp2(s - max(m, s.max())) @ v),
                "Scale a as well as l.",
            ),
            Wrong(
                lambda m, total, a, s, v: (
                    (
                        top := max(m, s.max()),
                        total * 2.0 ** (top - m) + np.exp2(s - top).sum(),
                        a * 2.0 ** (top - m) + np.exp2(s - top) @ v,
                    )
                    if m > -1e38
                    else _step(m, total, a, s, v)
                ),
                "The other way round: the old sums get smaller when the maximum rises.",
            ),
        ],
    ),
    Exercise(
        name="06.first_maximum",
        ask="The first tile of this row has no valid token. Give the `line` whose start value is wrong, and the `cause` (inf "
        "- inf, overflow or division by zero).",
        hint="What are `max` and `top` in the first tile, and what is their difference?",
        kind="fault",
        observe=items("line", "cause"),
        right={"line": 4, "cause": "inf - inf"},
        expect=_truth,
        given=_report,
        wrong=[
            Wrong({"line": 8, "cause": "inf - inf"}, "It happens there; but what must be another number for it not to?"),
            Wrong({"line": 4, "cause": "overflow"}, "Nothing is too large: exp2f(-inf) is 0. But max - top is not -inf."),
            Wrong({"line": 7, "cause": "overflow"}, "fmaxf of two -inf is -inf, as it should be."),
        ],
    ),
    Exercise(
        name="06.sink",
        ask="Return the factor that turns a into the output: one over the denominator with the sink in it. `sink` is a logit "
        "in the natural-log domain. A row that attended nothing (`total` = 0) gives 0.",
        hint="The sink is one more entry of the softmax: 2^(sink / ln 2 - m) relative to m.",
        observe=_observe_factor,
        expect=_factors,
        right=_factor,
        tolerance=1e-12,
        solution="0.0 if total == 0 else 1 / (total + np.exp2(sink / np.log(2) - m))",
        wrong=[
            Wrong(
                lambda m, total, s: 0.0 if total == 0 else 1 / (total + np.exp2(s - m)),
                "The sink is a natural logarithm, m one to base 2.",
            ),
            Wrong(
                lambda m, total, s: 0.0 if total == 0 else 1 / (total + np.exp2(s / np.log(2))),
                "total is relative to m; the sink must be too.",
            ),
            Wrong(
                lambda m, total, s: 1 / (total + np.exp2(s / np.log(2) - m)),
                "Nothing attended: 1 / (0 + ...) may be anything, or infinite.",
            ),
            Wrong(lambda m, total, s: 0.0 if total == 0 else 1 / total, "Without the sink."),
        ],
    ),
    Exercise(
        name="06.partials",
        ask="Storing parts as bf16 instead of fp32: by how much does the error of the whole decode grow, on normal inputs "
        'with 8 parts? Answer "nothing", "a third", "twice" or "tenfold".',
        hint="Roundings that know nothing of each other add up like the sides of a right-angled triangle. The output is "
        "rounded anyway.",
        kind="predict",
        observe=value("the error grows by"),
        expect=lambda: [("the error grows by", _dearer())],
        right="a third",
        wrong=[
            Wrong("twice", "Two equal, independent roundings make sqrt(2) of one, not 2."),
            Wrong("nothing", "A part is rounded to 8 bits, like the output itself: that shows."),
            Wrong("tenfold", "Each rounding is of one part in 256 at most, and they do not pile up in one direction."),
        ],
    ),
    choice(
        "06.sum",
        "The kernels add up the **rounded** weights for the denominator. Why not the exact ones?",
        "Look at the line of `rising` in the table: which weights does it have?",
        right="a",
        options={
            "a": "Then the weights that multiply V add up to exactly one: an error that all weights share cancels in the "
            "division.",
            "b": ("Because bf16 sums are faster.", "The sum is fp32 all the same."),
            "c": (
                "Because the exact ones are gone by then.",
                "They are in the register beside; rounding is one instruction later.",
            ),
            "d": ("It makes no difference.", "Compare `only weights` with `only weights and their sum`."),
        },
    ),
    choice(
        "06.fold",
        "The product kernel multiplies weights, not keys, by the cache's scales before PV. Why does that lose nothing?",
        "What does multiplying by 2^k change in a bf16 number?",
        right="d",
        options={
            "a": ("Scales are close to 1.", "They reach from 2^-13 upwards: they are what the data need."),
            "b": ("The accumulator is fp32.", "The rounding of a weight to bf16 happens before it."),
            "c": ("It loses a little, but nobody sees it.", "Compare the two lines of the table: the same digits."),
            "d": "Scales are powers of two: they change the exponent of a weight and none of its 8 bits, so it rounds as it "
            "would have.",
        },
    ),
]
