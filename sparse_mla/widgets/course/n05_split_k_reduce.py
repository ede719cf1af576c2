"""Exercises of 05_split_k_reduce: the merge in Python and in HIP, the best split, and what the last to arrive must do first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sparse_mla.widgets.exercise import Exercise, Observations, Report, Wrong, choice, items, listing, value
from sparse_mla.widgets.source import hip_code

SCORES = np.array([2.0, -1.0, 9.0, 0.5, 3.0, -4.0, 7.5, 1.0])  # in the log2 domain
VALUES = np.arange(8.0) - 3


def _part(scores: Any, values: Any) -> tuple[float, float, float]:
    """Maximum, sum and accumulator of one part: scores in the log2 domain, one value a token."""
    top = scores.max()
    weights = np.exp2(scores - top)
    return float(top), float(weights.sum()), float(weights @ values)


def _merged(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    top = max(a[0], b[0])
    one, two = 2.0 ** (a[0] - top), 2.0 ** (b[0] - top)
    return top, a[1] * one + b[1] * two, a[2] * one + b[2] * two


CUTS = (1, 3, 4, 7)


def _observe_merge(merge: Callable[[Any, Any], Any]) -> Observations:
    """The same eight tokens, cut in two at several places: parts in either order give the whole softmax."""
    for cut in CUTS:
        first, second = (_part(SCORES[at], VALUES[at]) for at in (slice(0, cut), slice(cut, None)))
        found = merge(second, first)
        if found is ...:
            yield f"cut at {cut}", ...
            return
        for name, number in zip(("maximum", "sum", "acc"), found, strict=True):
            yield f"cut at {cut}, {name}", float(number)


def _whole() -> Observations:
    for cut in CUTS:
        for name, number in zip(("maximum", "sum", "acc"), _part(SCORES, VALUES), strict=True):
            yield f"cut at {cut}, {name}", number


_FRAME = """
#include <hip/hip_runtime.h>
// max[parts] (log2 domain) and sum[parts] of one head; acc[parts][64]; a thread takes one dim
__global__ void merge_parts(const float* max, const float* sum, const float* acc, float* out, int parts) {
  const int dim = threadIdx.x;
  @answer@
}
"""


def _parts() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    made = {"max": np.array([4.0, -3.0e38, 9.5, 9.0], np.float32), "sum": np.array([3.0, 0.0, 1.5, 2.0], np.float32)}
    return made | {
        "acc": np.stack([rng.standard_normal(64), np.full(64, np.nan), *rng.standard_normal((2, 64))]).astype(np.float32)
    }


def _launch(module: Any) -> tuple[dict[str, Any], Any]:
    given, out = _parts(), np.full(64, 7.0, np.float32)
    done = module.merge_parts[1, 64](given["max"], given["sum"], given["acc"], out, 4, sanitize=True)
    return {"out": out}, done.findings


def _merged_parts() -> dict[str, Any]:
    from sparse_mla.analyse.merge import merge

    given = _parts()
    _, total, acc = merge(given["max"], given["sum"], given["acc"])
    return {"out": acc / total}


_RIGHT = """float top = max[0];
for (int s = 1; s < parts; ++s)
  top = fmaxf(top, max[s]);
float total = 0, value = 0;
for (int s = 0; s < parts; ++s) {
  if (sum[s] == 0)
    continue;
  const float weight = exp2f(max[s] - top);
  total += weight * sum[s];
  value += weight * acc[64 * s + dim];
}
out[dim] = value / total;"""

LAST = """#include <hip/hip_runtime.h>
__global__ void column_sums(const float* x, float* parts, unsigned* arrivals, float* out) {
  __shared__ bool last;
  parts[64 * blockIdx.x + threadIdx.x] = x[64 * blockIdx.x + threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0)
    last = __hip_atomic_fetch_add(arrivals, 1u, __ATOMIC_RELEASE, __HIP_MEMORY_SCOPE_AGENT) + 1 == gridDim.x;
  __syncthreads();
  if (!last)
    return;
  float sum = 0;
  for (int part = 0; part < gridDim.x; ++part)
    sum += parts[64 * part + threadIdx.x];
  out[threadIdx.x] = sum;
}
"""


def _last(order: str) -> tuple[Any, ...]:
    """What the sanitizer finds in LAST with another memory order of the atomic."""
    from sparse_mla.execute.hip import hip

    x, parts, out = np.arange(320, dtype=np.float32), np.zeros(320, np.float32), np.zeros(64, np.float32)
    module = hip(LAST.replace("__ATOMIC_RELEASE", f"__ATOMIC_{order}"))
    return tuple(module.column_sums[5, 64](x, parts, np.zeros(1, np.uint32), out, sanitize=True).findings)


@lru_cache
def _report() -> Report:
    return listing(LAST, _last("RELEASE")[0])


def _truth() -> Observations:
    yield "kind", _last("RELEASE")[0].kind
    yield "order", next(order for order in ("RELAXED", "ACQUIRE", "ACQ_REL") if not _last(order))


def _fastest(rows: int) -> int:
    from sparse_mla.analyse.regret import times

    mine = times().query("kernel == 'base' and layer == 'Pro CSA' and heads == 16 and rows == @rows")
    return int(mine.loc[mine.microseconds.idxmin()].split_k)


EXERCISES = [
    Exercise(
        name="05.merge",
        ask="Return the (maximum, sum, acc) of two parts merged. A part is (m, l, a): the largest score in the log2 domain, "
        "the sum of 2^(score - m), and the sum of 2^(score - m) * value.",
        hint="Both sums were taken relative to their own maximum: bring them to the larger one first.",
        observe=_observe_merge,
        expect=_whole,
        right=_merged,
        tolerance=1e-12,
        solution="""
            top = max(a[0], b[0])
            one, two = 2.0 ** (a[0] - top), 2.0 ** (b[0] - top)
            return top, a[1] * one + b[1] * two, a[2] * one + b[2] * two
        """,
        wrong=[
            Wrong(lambda a, b: (max(a[0], b[0]), a[1] + b[1], a[2] + b[2]), "The sums are relative to different maxima."),
            Wrong(
                lambda a, b: (_merged(a, b)[0], _merged(a, b)[1], a[2] + b[2]),
                "The accumulator is as relative as the sum: scale it too.",
            ),
            Wrong(
                lambda a, b: (
                    top := max(a[0], b[0]),
                    a[1] * np.exp(a[0] - top) + b[1] * np.exp(b[0] - top),
                    a[2] * np.exp(a[0] - top) + b[2] * np.exp(b[0] - top),
                ),
                "Scores are in the log2 domain: powers of 2, not of e.",
            ),
            Wrong(
                lambda a, b: (_merged(a, b)[0], _merged(a, b)[1], _merged(a, b)[2] / _merged(a, b)[1]),
                "Division comes once, at the very end; a third part may still follow.",
            ),
            Wrong(
                lambda a, b: (_merged(a, b)[0], a[1] * 2.0 ** (a[0] - b[0]) + b[1], a[2] * 2.0 ** (a[0] - b[0]) + b[2]),
                "That is relative to b's maximum, whichever is larger.",
            ),
        ],
    ),
    Exercise(
        name="05.merge_hip",
        ask="Write the merge of one head as HIP: `out[dim]` is the softmax of all parts, divided by its sum. A part with a sum "
        "of 0 attended nothing, and its `acc` may hold anything.",
        hint="0 * NaN is NaN: leave such a part out instead of multiplying by 0. exp2f is 2^x.",
        right=_RIGHT,
        tolerance=1e-5,
        wrong=[
            Wrong(
                _RIGHT.replace("if (sum[s] == 0)\n    continue;\n", ""),
                "A part that attended nothing brings its NaN in, times 0.",
            ),
            Wrong(_RIGHT.replace("exp2f(max[s] - top)", "1.0f"), "Parts must be brought to one maximum first."),
            Wrong(_RIGHT.replace("value / total", "value"), "Divide by the sum, once, at the end."),
            Wrong(
                _RIGHT.replace("s = 0; s < parts", "s = 0; s <= parts"), "Parts count from 0: there is no part number `parts`."
            ),
        ],
        **hip_code(_FRAME, _launch, _merged_parts),
    ),
    Exercise(
        name="05.best",
        ask="64 rows of 16 heads, 128 + 1,024 tokens, base kernel: into how many parts (1, 2, 4, 8 or 16) is "
        "a row split fastest?",
        hint="256 compute units, three workgroups at a time on each; every part starts, loads Q, and is written and read again.",
        kind="predict",
        observe=value("parts"),
        expect=lambda: [("parts", _fastest(64))],
        right=8,
        wrong=[
            Wrong(16, "1,024 workgroups: more than the chip holds at a time, and twice as many parts to merge."),
            Wrong(
                4, "256 workgroups: one for every compute unit. But a unit has room for three, which hide each other's waiting."
            ),
            Wrong(1, "64 workgroups: three quarters of the chip idle."),
            Wrong(2, "128 workgroups: half of the chip idles."),
        ],
    ),
    choice(
        "05.over",
        "When does a split into 16 lose to one into 8?",
        "Compare 4 rows with 64 rows in the explorer: what does the second half of the workgroups do?",
        right="c",
        options={
            "a": ("Never: more parts mean more compute units at work.", "Look at 64 rows: 16 parts take longer than 8."),
            "b": (
                "When rows are short, because a part would have no tokens.",
                "Parts without tokens are legal, and end at once. With 36 tiles a row, 16 parts have at least two each.",
            ),
            "c": "When 8 already fill the chip: further workgroups only wait for their turn, and each brings a start, a load of "
            "Q, and one more part to be written, read and merged.",
            "d": (
                "When heads are more than 16.",
                "More heads are more workgroups, so they only move the point where the chip is full.",
            ),
        },
    ),
    Exercise(
        name="05.last",
        ask="The sums are right, and still the sanitizer complains. Give the `kind` of the fault, in its words, and the memory "
        "`order` (RELAXED, ACQUIRE, RELEASE or ACQ_REL) that the atomic needs.",
        hint="Writers must publish what they wrote before they count; the one who merges must not read anything older.",
        kind="fault",
        observe=items("kind", "order"),
        right={"kind": "global-race", "order": "ACQ_REL"},
        expect=_truth,
        given=_report,
        wrong=[
            Wrong(
                {"kind": "global-race", "order": "ACQUIRE"},
                "Then nobody publishes: parts may still lie in the writer's own cache.",
            ),
            Wrong({"kind": "global-race", "order": "RELAXED"}, "That orders nothing but the counter itself."),
            Wrong({"kind": "lds-race", "order": "ACQ_REL"}, "`last` is guarded by barriers; the parts lie in global memory."),
        ],
    ),
]
