"""What the decode kernel is worth in serving: published end-to-end gains beside modelled kernel times, by Amdahl's law.

With a share f of the time in the kernel, a kernel s times as fast raises throughput to g = 1 / (1 - f + f / s). So a published
gain g implies f = (1 - 1/g) / (1 - 1/s); f is at least 1 - 1/g (s without bound), and g at most 1 / (1 - f).

profiles/published/serving.csv has the gains, profiles/modelled/serving_us.csv the modelled times of the layers at the published
points (`python -m sparse_mla.analyse.serving` models them again, in a minute). A point's contexts all stand at their middle:
position input + output / 2. Layer counts of V4-Pro: ATOM pull request 1865 (30 CSA and 31 HCA; the draft layer is not counted).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sparse_mla.execute.published import published
from sparse_mla.execute.timing import time_kernel
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case, attended
from sparse_mla.record.store import table

LAYERS = {"csa": 30, "hca": 31}
HEADS = 16  # of a GPU, of eight
# What each stands for: the published baseline gave a workgroup to a row, as triton unsplit; base has the published HIP design.
KERNELS = {"triton": 1, "base": "auto", "product": "auto"}
SPEED_UPS = (1.5, 2.0, 4.0, 8.0, np.inf)
FILE = "modelled/serving_us.csv"
_HEAD = """# Microseconds of a decode of one layer of V4-Pro on an MI355X, 16 heads, at the points of published/serving.csv.
# kind: modelled (docs/timing.md). Made by: python -m sparse_mla.analyse.serving
"""
_POINT = ["workload", "concurrency"]


def gains() -> pd.DataFrame:
    """The published points: workload, input, output (tokens of a request), concurrency, before, after (total tok/s), gain
    (percent), step_before, step_after, saved (ms), least_share (percent of the time before: 1 - 1/g), kind.

    A step is the mean time in which every request gets a token: concurrency * (input + output) / output / throughput. Reading
    the inputs is in it, so it is longer than a decode step alone."""
    every = table("published/serving.csv")
    found = every[(every.metric == "total token throughput") & every.input.notna()].reset_index(drop=True)
    found = found.astype({"input": int, "output": int, "concurrency": int})
    per_step = 1000 * found.concurrency * (found.input + found.output) / found.output
    steps = {"step_before": per_step / found.before, "step_after": per_step / found.after}
    found = found[[*_POINT, "input", "output", "before", "after"]].assign(gain=100 * (found.after / found.before - 1), **steps)
    saved = found.step_before - found.step_after
    return found.assign(saved=saved, least_share=100 * saved / found.step_before, kind="published")


def summaries(points: pd.DataFrame) -> dict[str, float]:
    """One number for the gains, in percent, each of several ways; `points` as of `gains`."""
    g = points.after / points.before
    return {
        "arithmetic mean": 100 * (g.mean() - 1),
        "geometric mean": 100 * float(np.expm1(np.log(g).mean())),
        "ratio of summed throughputs": 100 * (points.after.sum() / points.before.sum() - 1),
        "median": 100 * (g.median() - 1),
    }


def implied(points: pd.DataFrame, speed_ups: Sequence[float] = SPEED_UPS) -> pd.DataFrame:
    """The share of the time before, in percent, that each gain implies for a kernel so many times as fast; NaN where it would be
    more than all. Columns: workload, concurrency, gain, one a speed-up, kind."""
    shares = {f"x{s:g}": points.least_share / (1 - 1 / s) for s in speed_ups}
    frame = points[[*_POINT, "gain"]].assign(**{name: share.where(share <= 100) for name, share in shares.items()})
    return frame.assign(kind="published")


def model_times() -> pd.DataFrame:
    """The modelled times: workload, concurrency, layer, main, extra (entries a row), kernel, split_k, us, low, high."""
    rows = []
    for p in gains().itertuples():
        for layer in LAYERS:
            main, extra = attended("pro", layer, p.input + p.output // 2)
            case = Case.make(HEADS, p.concurrency, main, extra)
            for kernel, split in KERNELS.items():
                timed = time_kernel(kernel, case, split_k=split)  # type: ignore[arg-type]
                us = [round(x, 2) for x in (timed.microseconds, *timed.band)]
                rows.append((p.workload, p.concurrency, layer, main, extra, kernel, timed.split_k, *us))
    return pd.DataFrame(rows, columns=[*_POINT, "layer", "main", "extra", "kernel", "split_k", "us", "low", "high"])


def layer_times() -> pd.DataFrame:
    """The stored modelled times, columns as of `model_times`."""
    return table(FILE)


def attention() -> pd.DataFrame:
    """Milliseconds of decode attention in a step, all layers: workload, concurrency, kernel, ms, low, high, kind."""
    times = layer_times()
    layers = times.layer.map(LAYERS)
    summed = times.assign(**{name: times[of] * layers / 1000 for name, of in (("ms", "us"), ("low", "low"), ("high", "high"))})
    found = summed.groupby([*_POINT, "kernel"], sort=False)[["ms", "low", "high"]].sum()
    return found.reset_index().assign(kind="modelled")


def calibration() -> float:
    """How many times longer the published baseline takes than the model gives our kernel of the same plan: both at 64 rows of
    128 + 1024 entries, the row of profiles/modelled/serving_us.csv with the longest CSA lists."""
    times = layer_times()
    (ours,) = times.query("workload == '8k1k' and concurrency == 64 and layer == 'csa' and kernel == 'triton'").us
    return published("triton-first")[64] / float(ours)


def shares(points: pd.DataFrame, times: pd.DataFrame, before: str = "triton", *, scale: float = 1.0) -> pd.DataFrame:
    """What Amdahl's law makes of the modelled times, the kernel before being `scale` times as slow as modelled.

    Columns: workload, concurrency, gain (published), ms (of attention before), share (percent of the published step before),
    ceiling (percent gained were the kernel free), and for each other kernel its ms and the gain that it would bring, kind."""
    ms = times.pivot(index=_POINT, columns="kernel", values="ms")
    frame = points.merge(ms, left_on=_POINT, right_index=True)
    was = scale * frame[before]
    out = frame[[*_POINT, "gain", "step_before"]].assign(ms=was, share=100 * was / frame.step_before)
    out["ceiling"] = 100 * (1 / (1 - out.share / 100) - 1)
    for kernel in (name for name in KERNELS if name != before):
        out[f"{kernel}_ms"] = frame[kernel]
        out[f"{kernel}_gain"] = 100 * (frame.step_before / (frame.step_before - was + frame[kernel]) - 1)
    return out.assign(kind="modelled")


def arithmetic() -> str:
    """All of it line by line, each number with its kind."""
    points, times, by_layer, scale = gains(), attention(), layer_times(), calibration()
    plain, scaled = (shares(points, times, scale=x).itertuples() for x in (1.0, scale))
    factor = f"{published('triton-first')[64]:g} us published / {published('triton-first')[64] / scale:.1f} us modelled"
    lines = [f"Factor of the baseline: {factor} = {scale:.2f}: 64 rows of 128 + 1024 entries, a workgroup a row", ""]
    layers = sum(LAYERS.values())
    for p, a, b in zip(points.itertuples(), plain, scaled, strict=True):
        here = by_layer.query("workload == @p.workload and concurrency == @p.concurrency and kernel == 'triton'")
        us = " + ".join(f"{LAYERS[x.layer]} x {x.us:.1f} us" for x in here.itertuples())
        lines += [
            f"{p.workload}, concurrency {p.concurrency}: {p.before:g} -> {p.after:g} tok/s = +{p.gain:.1f} % [published]",
            f"  a step: {p.concurrency} x ({p.input} + {p.output}) / {p.output} / {p.before:g} s = {p.step_before:.1f} ms, then "
            f"{p.step_after:.1f} ms: {p.saved:.2f} ms saved = {p.least_share:.1f} %, {1000 * p.saved / layers:.0f} us a layer "
            "[published]",
            f"  attention, a workgroup a row: {us} = {a.ms:.2f} ms = {a.share:.1f} % of the step; were it free: "
            f"1 / (1 - {a.share / 100:.3f}) = +{a.ceiling:.1f} % [modelled]",
            f"  the same x {scale:.2f} [published / modelled]: {b.ms:.2f} ms = {b.share:.1f} %; were it free: "
            f"+{b.ceiling:.1f} %; with base {b.base_ms:.2f} ms: +{b.base_gain:.1f} %, "
            f"with product {b.product_ms:.2f} ms: +{b.product_gain:.1f} % "
            "[modelled]",
        ]
    head = "Share of the time before that each gain implies, in percent, for a kernel so many times as fast [published]:"
    lines += ["", head, implied(points).drop(columns="kind").round(1).to_string(index=False), ""]
    lines += ["One number for the gains [published]: " + ", ".join(f"{k} +{v:.1f} %" for k, v in summaries(points).items())]
    return "\n".join([*lines, "", 'What "~6 %" hides:', *(f"- {line}" for line in hidden(points))])


def hidden(points: pd.DataFrame) -> list[str]:
    """What one number for the gains does not say, in sentences with their numbers; `points` as of `gains`."""
    every, trace, accuracy = (table(f"published/{name}.csv") for name in ("serving", "shares", "gsm8k"))
    least, most, heaviest = (points.loc[i] for i in (points.gain.idxmin(), points.gain.idxmax(), points.before.idxmax()))
    rebased = every[(every.workload == "rebased") & (every.metric == "output token throughput")]
    (mtp,) = every[every.mtp == "yes"].itertuples()
    whole, split = (published(f"triton-{name}") for name in ("first", "split"))
    in_trace = trace.share[trace.part.isin(["partial", "reduce"])].sum()
    read = heaviest.input / (heaviest.input + heaviest.output)
    later = " and ".join(f"+{100 * (x.after / x.before - 1):.1f} %" for x in rebased.itertuples())
    return [
        f"The spread: +{least.gain:.1f} % ({least.workload}, concurrency {least.concurrency}) to +{most.gain:.1f} % "
        f"({most.workload}, concurrency {most.concurrency}) [published]. Long contexts give the kernel work; more requests "
        "lengthen the rest of the step, and filled the baseline's idle compute units.",
        f"The weights: in the ratio of sums, {heaviest.workload} at concurrency {heaviest.concurrency} is "
        f"{100 * heaviest.before / points.before.sum():.0f} % of the tokens, and {100 * read:.0f} % of its tokens are read, not "
        "written [published].",
        f"The baseline: {whole[4]:g} us for 4 rows, a workgroup each. Triton with rows split takes {split[4]:g} us [published]; "
        f"rebased onto such a one, the same HIP kernel gained {later} at concurrency 1 and 2 [published].",
        f"Other models: in a trace of V4.1-Flash with a later Triton kernel, decode attention was {in_trace:.2f} % of kernel "
        f"time [published]: no kernel can gain more than +{100 / (1 - in_trace / 100) - 100:.1f} % there.",
        f"MTP: {mtp.before:g} -> {mtp.after:g} tok/s is x{mtp.after / mtp.before:.2f} [published]. From the kernel alone it "
        f"would take {100 * (1 - mtp.before / mtp.after):.0f} % of the time at least; what else differs is not stated.",
        f"The noise: no spread of any throughput is stated, so +{least.gain:.1f} % may be none. Accuracy has one: "
        + ", ".join(f"{x.value} +- {x.stderr}" for x in accuracy.itertuples())
        + " [published], all within one standard error of each other.",
    ]


def renew() -> Path:
    """Models the times again, and writes them to profiles/; gives the file."""
    path = folder("profiles") / FILE
    path.write_text(_HEAD + model_times().to_csv(index=False))
    return path


if __name__ == "__main__":
    renew()
