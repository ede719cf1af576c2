"""The oracle against other ways to say the same: loops over single numbers, torch's softmax, a case by hand."""

import math

import pytest
import torch

from sparse_mla.cache import PagedCache
from sparse_mla.kernels.case import CASES, DecodeInputs, Segment
from sparse_mla.kernels.reference import reference


def by_loops(inputs: DecodeInputs, row: int, head: int) -> tuple[list[float], float]:
    """Output and lse of one row and head, a number at a time."""
    tokens = []
    for segment in inputs.segments.values():
        for slot in segment.row(row).tolist():
            if 0 <= slot < segment.cache.num_slots:
                tokens.append(segment.cache.read([slot])[0].tolist())
    query = inputs.q[row, head].tolist()
    weights = [math.exp(inputs.scale * sum(a * b for a, b in zip(query, token, strict=True))) for token in tokens]
    total = sum(weights)
    sink = 0.0 if inputs.attn_sink is None else math.exp(float(inputs.attn_sink[head]))
    out = [sum(w * token[dim] for w, token in zip(weights, tokens, strict=True)) / (total + sink) for dim in range(512)]
    return out, math.log(total)


@pytest.mark.parametrize("name", ["mixed-invalid", "no-sink", "heads-5", "strided-q", "duplicates", "other-scale", "odd-blocks"])
def test_against_loops(name: str) -> None:
    inputs = CASES[name].inputs()
    expected = reference(inputs)
    for row, head in ((0, 0), (inputs.rows - 1, inputs.heads - 1)):
        out, lse = by_loops(inputs, row, head)
        torch.testing.assert_close(expected.out[row, head], torch.tensor(out, dtype=torch.float64), rtol=1e-10, atol=1e-12)
        assert float(expected.lse[row, head]) == pytest.approx(lse, rel=1e-12)


@pytest.mark.parametrize("name", sorted(CASES))
def test_against_torch_softmax_with_the_sink_as_a_column(name: str) -> None:
    inputs = CASES[name].inputs()
    expected = reference(inputs)
    for row in range(inputs.rows):
        tokens = torch.cat([segment.cache.read([s for s in segment.row(row).tolist() if 0 <= s < segment.cache.num_slots])
                            for segment in inputs.segments.values()]).double()  # fmt: skip
        if not len(tokens):
            assert (expected.out[row] == 0).all()
            assert (expected.lse[row] == -math.inf).all()
            continue
        logits = torch.einsum("hd,nd->hn", inputs.q[row].double(), tokens) * inputs.scale
        sink = torch.full((inputs.heads,), -math.inf) if inputs.attn_sink is None else inputs.attn_sink
        # softmax of +inf is NaN; anything that large crowds out the rest
        column = sink.double().clamp(max=1e6)[:, None]
        weights = torch.softmax(torch.cat([logits, column], dim=1), dim=1)[:, :-1]
        torch.testing.assert_close(expected.out[row], weights @ tokens, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(expected.lse[row], torch.logsumexp(logits, dim=1), rtol=1e-12, atol=1e-12)


def test_a_case_worked_by_hand() -> None:
    """Two tokens with logits 0 and ln 3: weights 1/4 and 3/4; with a sink of ln 4, 1/8 and 3/8."""
    cache = PagedCache.empty(1, 4)
    kv = torch.zeros(2, 512)
    kv[0, 0], kv[1, 1], kv[:, 500] = 8.0, 16.0, 2.0
    cache.write([1, 3], kv)
    q = torch.zeros(1, 1, 512, dtype=torch.bfloat16)
    q[0, 0, 1] = 1.0
    segment = Segment(cache, torch.tensor([3, -1, 1, 4], dtype=torch.int32), torch.tensor([0, 4], dtype=torch.int32))
    plain = reference(DecodeInputs(q, segment, None, math.log(3) / 16, None))
    assert plain.out[0, 0, [0, 1, 2, 500]].tolist() == pytest.approx([2.0, 12.0, 0.0, 2.0])
    assert plain.lse.item() == pytest.approx(math.log(4))
    sunk = reference(DecodeInputs(q, segment, None, math.log(3) / 16, torch.tensor([math.log(4)])))
    assert sunk.out[0, 0, [0, 1, 2, 500]].tolist() == pytest.approx([1.0, 6.0, 0.0, 1.0])
    assert sunk.lse.item() == pytest.approx(math.log(4))


def test_rows_of_a_segment() -> None:
    indices, indptr = (torch.tensor(values, dtype=torch.int32) for values in ([9, 1, 2, 3, 0], [1, 3, 3, 4]))
    segment = Segment(PagedCache.empty(1, 4), indices, indptr)
    assert segment.lens == (2, 0, 1)
    assert [segment.row(row).tolist() for row in range(3)] == [[1, 2], [], [3]]
