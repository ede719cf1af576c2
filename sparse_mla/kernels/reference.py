"""The oracle: sparse-MLA decode attention in float64, from the numbers that the cache's bytes stand for, one row at a time.

Keys and values are the same 512 numbers of a cached token, shared by all heads. For a row with valid tokens kv[n, 512]:

    logits = scale * q @ kv.T                  [heads, n]
    lse    = log(sum(exp(logits)))             [heads], without the sink
    out    = exp(logits - log(exp(lse) + exp(sink))) @ kv

The sink is one more entry of the softmax that has no value: it only enlarges the denominator, so a sink of +inf gives 0 and one
of -inf changes nothing. A row with nothing valid gives 0, and an lse of -inf, whatever the sink.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sparse_mla.kernels.inputs import DecodeInputs, Segment


@dataclass(frozen=True)
class Reference:
    """What a decode should give. A kernel's output is bf16; its lse is f32."""

    out: torch.Tensor  # float64 [rows, heads, 512]
    lse: torch.Tensor  # float64 [rows, heads], natural log


def valid_tokens(segment: Segment, row: int) -> torch.Tensor:
    """The latents of one row's valid slots in list order, float64 `[n, 512]`; a slot listed twice counts twice."""
    slots = segment.row(row)
    return segment.cache.read(slots[(slots >= 0) & (slots < segment.cache.num_slots)]).double()


def reference(inputs: DecodeInputs) -> Reference:
    """The decode of every row and head, in float64."""
    out = torch.zeros(inputs.q.shape, dtype=torch.float64)
    lse = torch.full(inputs.q.shape[:2], -torch.inf, dtype=torch.float64)
    sink = torch.full((inputs.heads,), -torch.inf) if inputs.attn_sink is None else inputs.attn_sink
    for row in range(inputs.rows):
        kv = torch.cat([valid_tokens(segment, row) for segment in inputs.segments.values()])
        logits = inputs.scale * (inputs.q[row].double() @ kv.T)
        lse[row] = torch.logsumexp(logits, dim=1)
        denominator = torch.logaddexp(lse[row], sink.double())
        out[row] = torch.exp(logits - denominator[:, None]) @ kv
    return Reference(out, lse)
