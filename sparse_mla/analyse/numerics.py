"""What rounding costs: kernels against float64 on easy and hard inputs, and each rounding alone.

`python -m sparse_mla.analyse.numerics` makes profiles/emulated/numerics.csv. Kernels ran on the emulator (kind: emulated). Lines
named `only ...` are float64 with a single rounding put in, by formula (kind: modelled).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import pandas as pd
import torch

from sparse_mla.cache.layout import GROUP_DIM, GROUPS, HEAD_DIM, NOPE_DIM
from sparse_mla.cache.quantise import scale_values
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import Partials, kernel_named
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.inputs import DecodeInputs, Segment
from sparse_mla.kernels.reference import reference, valid_tokens
from sparse_mla.record.store import table

FILE = "emulated/numerics.csv"
SPLITS = (1, 2, 4, 8, 16)
KERNELS: tuple[tuple[str, Partials], ...] = (("base", "fp32"), ("base", "bf16"), ("product", "fp32"))
ALONE = ("output", "weights", "weights and their sum", "folded scales", "deferred rescale", "partials")
RESCALE_AT = 8 * math.log(2)  # a weight may grow to 2^8 before the maximum is raised (csrc/decode/shared_tile.h)
INPUTS = {
    "gaussian": "normal q and tokens, scales of groups from 1/4 to 2: logits of deviation about 2",
    "heavy tails": "tokens of Student's t with 2 degrees of freedom, q halved",
    "wide range": "scales of groups from 2^-20 to 1, at random",
    "near ties": "q of a hundredth: all weights alike, and the output a mean of 1,152 random tokens",
    "dominating": "logits to +-140: ever larger tokens late in the list for some heads, ever more negative ones for others",
    "rising": "logits that rise along the list by 60 in all: the maximum is always the newest token",
}


def inputs(name: str) -> DecodeInputs:
    """A decode of one row, 16 heads and 128 + 1024 tokens with these numbers in it; equal on every call."""
    tokens = Case.make(rows=1)
    if name == "dominating":
        return Case("dominating", 16, tokens.main, tokens.extra, dominating=True).inputs()
    made, generator = tokens.inputs(), torch.Generator().manual_seed(1)
    if name == "gaussian":
        return made
    q, done, total = made.q.float(), 0, tokens.main[0] + tokens.extra_lens[0]
    direction = torch.randn(HEAD_DIM, generator=generator)
    for segment in made.segments.values():
        slots = segment.row(0).long()
        kv = torch.randn(len(slots), HEAD_DIM, generator=generator)
        if name == "heavy tails":
            kv /= (torch.randn(2, *kv.shape, generator=generator).square().mean(dim=0)).sqrt()
        elif name == "wide range":
            exponent = torch.randint(-20, 1, (len(slots), GROUPS), generator=generator)
            kv[:, :NOPE_DIM] *= exponent.exp2().repeat_interleave(GROUP_DIM, dim=1)
        elif name == "rising":
            position = torch.arange(done, done + len(slots)) / total
            kv = 0.3 * kv + position[:, None] * direction
        segment.cache.write(slots, kv)
        done += len(slots)
    if name == "rising":
        q = 0.1 * q + direction * 60 / (made.scale * direction.square().sum())
    q *= {"heavy tails": 0.5, "near ties": 0.01}.get(name, 1.0)
    return DecodeInputs(q.bfloat16(), made.main, made.extra, made.scale, None)


def alone(given: DecodeInputs, what: str, split_k: int) -> torch.Tensor:
    """The float64 decode of row 0 with one thing rounded to bf16: `output`; the softmax's `weights` as they are multiplied by V,
    `weights and their sum` alike in the denominator; weights with the `folded scales` of the cache's groups, or relative to a
    maximum that lags (`deferred rescale`); or the `partials` of `split_k` parts. float64 [1, heads, 512]."""
    kv = torch.cat([valid_tokens(segment, 0) for segment in given.segments.values()])
    logits = given.scale * (given.q[0].double() @ kv.T)
    sink = torch.full((given.heads,), -torch.inf) if given.attn_sink is None else given.attn_sink
    most = logits.max(dim=1, keepdim=True).values
    weights = torch.exp(logits - most)
    rounded = weights.bfloat16().double() if what.startswith("weights") else weights
    if what == "deferred rescale":
        held = torch.full_like(most, -torch.inf)
        for tile in range(0, kv.shape[0], 32):
            now = logits[:, tile : tile + 32].max(dim=1, keepdim=True).values
            held = torch.where(now > held + RESCALE_AT, now, held)
            late = torch.exp(logits[:, tile : tile + 32] - held).bfloat16().double()
            rounded[:, tile : tile + 32] = late * torch.exp(held - most)
    tiles = -(-kv.shape[0] // 32)
    ends = [min(kv.shape[0], 32 * (part * tiles // split_k)) for part in range(split_k)] + [kv.shape[0]]
    out = torch.zeros(given.heads, HEAD_DIM, dtype=torch.float64)
    if what == "folded scales":
        scale = torch.cat([_group_scales(segment) for segment in given.segments.values()])
        for group in range(GROUPS + 1):  # the last is RoPE, which has no scale
            dims, by = slice(group * GROUP_DIM, (group + 1) * GROUP_DIM), scale[:, min(group, GROUPS)]
            out[:, dims] = (weights * by).bfloat16().double() @ (kv[:, dims] / by[:, None])
        ends = []
    for first, last in pairwise(ends):
        if first < last:
            own = weights[:, first:last].max(dim=1, keepdim=True).values  # a part is kept relative to its own maximum
            part = rounded[:, first:last] @ kv[first:last] / own.clamp_min(1e-300)
            out += own * (part.bfloat16().double() if what == "partials" else part)
    denominator = (rounded if what == "weights and their sum" else weights).sum(dim=1) + torch.exp(sink.double() - most[:, 0])
    out /= denominator[:, None]
    return (out.bfloat16().double() if what == "output" else out)[None]


def maxima(name: str, head: int = 0) -> pd.DataFrame:
    """The running maximum of a head over the tiles of 32 tokens of `inputs(name)`, float64. Columns: tile, tile_max, maximum
    (both in the log2 domain, up to and with the tile), rescaled (the maximum rose: accumulators are scaled), held (that of a
    deferred rescale) and deferred (that one rose), kind."""
    given = inputs(name)
    kv = torch.cat([valid_tokens(segment, 0) for segment in given.segments.values()])
    scores = (given.scale / math.log(2)) * (kv @ given.q[0, head].double())
    rows, most, held = [], -math.inf, -math.inf
    for tile in range(-(-len(scores) // 32)):
        now = float(scores[32 * tile : 32 * tile + 32].max())
        late = now > held + RESCALE_AT / math.log(2)
        rescaled, most, held = now > most, max(most, now), now if late else held
        rows.append((tile, now, most, rescaled, held, late, "modelled"))
    return pd.DataFrame(rows, columns=["tile", "tile_max", "maximum", "rescaled", "held", "deferred", "kind"])


def _group_scales(segment: Segment) -> torch.Tensor:
    """Scales of row 0's tokens by group, and 1 for RoPE: float64 [tokens, 8]."""
    slots = segment.row(0)
    _, scale = segment.cache.read_records(slots[(slots >= 0) & (slots < segment.cache.num_slots)])
    return torch.nn.functional.pad(scale_values(scale[:, :GROUPS]).double(), (0, 1), value=1.0)


def measure(names: tuple[str, ...] = tuple(INPUTS), splits: tuple[int, ...] = SPLITS) -> pd.DataFrame:
    """Columns: input, what (kernel, or the only rounding), partials, split_k, rel_l2, max_abs (both against float64), worst_head
    (the largest rel_l2 of a head), lse_abs (largest error of lse; NaN for formulas), kind."""
    return pd.DataFrame([row for name in names for row in _rows(name, splits)])


def _rows(name: str, splits: tuple[int, ...]) -> Iterator[dict[str, object]]:
    given = inputs(name)
    right = reference(given)

    def row(what: str, partials: str, split_k: int, out: torch.Tensor, lse: float, kind: str) -> dict[str, object]:
        found, heads = compare(out, right.out), range(given.heads)
        worst = max(compare(out[:, head], right.out[:, head]).rel_l2 for head in heads)
        numbers = {"rel_l2": found.rel_l2, "max_abs": found.max_abs, "worst_head": worst, "lse_abs": lse}
        cells = {key: float(f"{value:.3g}") for key, value in numbers.items()}
        return {"input": name, "what": what, "partials": partials, "split_k": split_k} | cells | {"kind": kind}

    for split_k in splits:
        for what in ALONE:
            if (split_k > 1) == (what == "partials"):
                yield row(f"only {what}", "-", split_k, alone(given, what, split_k), math.nan, "modelled")
        for kernel, partials in KERNELS:
            if split_k > 1 or partials == "fp32":
                spec = kernel_named(kernel)
                out, lse, _ = decode_on_emulator(spec, given, split_k=split_k, partials=partials)
                off = float((lse.double() - right.lse).abs().max())
                yield row(kernel, partials if split_k > 1 else "-", split_k, out, off, "emulated")


def stored() -> pd.DataFrame:
    """The table of profiles/, with the columns of `measure`."""
    return table(FILE)


if __name__ == "__main__":
    head = "# Errors against float64; 1 row, 16 heads, 128 + 1024 tokens. Made by: python -m sparse_mla.analyse.numerics\n"
    (folder("profiles") / FILE).write_text(head + measure().to_csv(index=False, lineterminator="\n"))
