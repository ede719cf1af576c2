"""The HIP kernels on the emulator, where the named cases do not look: exact dequantisation, addresses beyond 4 GiB, strided and
absent outputs, stale workspace, and rows that must not notice the batch around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from sparse_mla.cache.layout import DATA_BYTES, HEAD_DIM, NOPE_DIM, ROPE_DIM, SCALE_BYTES, TOKEN_BYTES
from sparse_mla.cache.paging import PagedCache
from sparse_mla.execute.emulator import decode_on_emulator, load
from sparse_mla.gfx950.machine import Memory, launch
from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.catalogue import CATALOGUE, Partials
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.inputs import DecodeInputs, Segment
from sparse_mla.kernels.params import Divisor, pack
from sparse_mla.kernels.reference import reference

HIP = ("base", "product", "few")
SPLITS = [(kernel, split_k) for kernel in HIP for split_k in CATALOGUE[kernel].splits]
SOME = [(kernel, split_k) for kernel in HIP for split_k in (1, 4, 16)]


def segment(cache: PagedCache, *rows: list[int]) -> Segment:
    ends = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    return Segment(cache, torch.tensor([slot for row in rows for slot in row], dtype=torch.int32), ends.int())


def query(rows: int, heads: int) -> torch.Tensor:
    return torch.randn(rows, heads, HEAD_DIM, generator=torch.Generator().manual_seed(1)).bfloat16()


def decode(inputs: DecodeInputs, kernel: str, split_k: int = 1, partials: Partials = "fp32") -> tuple[torch.Tensor, torch.Tensor]:
    return decode_on_emulator(CATALOGUE[kernel], inputs, split_k=split_k, partials=partials)[:2]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.int32)


@pytest.mark.parametrize("kernel", HIP)
def test_every_byte_under_every_scale_is_dequantised_exactly(kernel: str) -> None:
    """A row that attends one token gives back that token: its weight is exactly one."""
    tokens = 247  # scale bytes 0 to 246: under 247 the largest byte, 448, passes the end of fp32
    cache = PagedCache.empty(8, 32)
    data = torch.arange(DATA_BYTES, dtype=torch.uint8).repeat(tokens, 1)
    data[data % 128 == 127] = 0  # NaN, as fp8
    data[:, NOPE_DIM:] = query(tokens, 1)[:, 0, :ROPE_DIM].contiguous().view(torch.uint8)
    scale = torch.arange(tokens, dtype=torch.uint8)[:, None].repeat(1, SCALE_BYTES)
    cache.write_records(range(tokens), data, scale)
    slots = segment(cache, *([slot] for slot in range(tokens)))
    out = decode(DecodeInputs(torch.zeros_like(query(tokens, 1)), slots, None, 1.0, None), kernel)[0][:, 0]
    expected = cache.read(range(tokens)).bfloat16()
    assert torch.equal(out, expected)
    assert expected[0, 8] == 2.0**-133  # down to the smallest bf16
    data[0, 0] = 0x7F
    scale[1, 3] = 0xFF
    cache.write_records(range(tokens), data, scale)
    assert decode(DecodeInputs(query(2, 1), segment(cache, [0], [1]), None, 1.0, None), kernel)[0].isnan().all()


@pytest.mark.parametrize("gib", [3, 5])
@pytest.mark.parametrize("kernel, split_k", SOME)
def test_blocks_beyond_4_gib(kernel: str, split_k: int, gib: int, tmp_path: Path) -> None:
    stride = (gib << 30) + 8 * TOKEN_BYTES
    # A sparse file: what nobody writes takes neither memory nor disk.
    memory = torch.from_file(str(tmp_path / "cache"), shared=True, size=4 * stride, dtype=torch.uint8)
    cache = PagedCache(memory.as_strided((4, 3, TOKEN_BYTES), (stride, TOKEN_BYTES, 1)))
    cache.write(range(12), torch.randn(12, HEAD_DIM, generator=torch.Generator().manual_seed(2)))
    inputs = DecodeInputs(query(1, 16), segment(cache, [0, 5, 11, 7, -1, 9, 12, 2, 10, 8] * 5), None, HEAD_DIM**-0.5, None)
    assert compare(decode(inputs, kernel, split_k)[0], reference(inputs).out).rel_l2 < 3e-3


@pytest.mark.parametrize("kernel, split_k", SPLITS)
@pytest.mark.parametrize("name", ["ragged-invalid", "heads-17"])
def test_a_row_does_not_notice_its_batch(name: str, kernel: str, split_k: int) -> None:
    inputs = CASES[name].inputs()
    out, lse = decode(inputs, kernel, split_k)
    for row in range(inputs.rows):
        parts = {key: segment(part.cache, part.row(row).tolist()) for key, part in inputs.segments.items()}
        alone = replace(inputs, q=inputs.q[row : row + 1], main=parts["main"], extra=parts.get("extra"))
        assert all(torch.equal(bits(a[0]), bits(b[row])) for a, b in zip(decode(alone, kernel, split_k), (out, lse), strict=True))


@pytest.mark.parametrize("kernel, split_k", SPLITS)
@pytest.mark.parametrize("name", ["ragged-invalid", "heads-17"])
def test_any_order_of_workgroups_and_waves_gives_the_same_bits(name: str, kernel: str, split_k: int) -> None:
    """Whoever of a row comes last merges it, and no wave counts on another's being before it."""
    inputs = CASES[name].inputs()
    expected = decode(inputs, kernel, split_k)
    for seed in range(4):
        spec, threads = CATALOGUE[kernel], 1 + seed % 2
        shuffled = decode_on_emulator(spec, inputs, split_k=split_k, partials="fp32", seed=seed, threads=threads)[:2]
        assert all(torch.equal(bits(a), bits(b)) for a, b in zip(shuffled, expected, strict=True)), seed


@pytest.mark.parametrize("scale", [-0.05, 0.0])
@pytest.mark.parametrize("kernel, split_k", SOME)
def test_scale_may_be_negative_or_zero(kernel: str, split_k: int, scale: float) -> None:
    inputs = replace(CASES["ragged-invalid"].inputs(), scale=scale)
    assert compare(decode(inputs, kernel, split_k)[0], reference(inputs).out).rel_l2 < 3e-3


@pytest.mark.parametrize("kernel, split_k", SOME)
def test_scores_may_rise_beyond_any_exponent(kernel: str, split_k: int) -> None:
    """From tile to tile, for some heads: weights counted with the maximum before would be infinite."""
    q, kv = query(1, 16), query(400, 1)[:, 0].float() / 8
    for token, factor in ((50, 0.5), (200, 2.0), (300, 8.0)):
        kv[token] = factor * q[0, token % 16].float()
    cache = PagedCache.empty(8, 64)
    cache.write(range(400), kv)
    inputs = DecodeInputs(q, segment(cache, list(range(400))), None, 1.0, None)
    assert compare(decode(inputs, kernel, split_k)[0], reference(inputs).out).rel_l2 < 3e-3


@pytest.mark.parametrize("kernel, split_k", SOME)
def test_out_may_be_strided(kernel: str, split_k: int) -> None:
    """By an odd number of elements even, and what lies between stays as it was."""
    inputs = CASES["heads-17"].inputs()
    out = torch.full((inputs.rows, inputs.heads + 2, HEAD_DIM + 3), 7.0, dtype=torch.bfloat16)
    view = out[:, 1:-1, 2:-1]
    decode_on_emulator(CATALOGUE[kernel], inputs, split_k=split_k, partials="fp32", out=view)
    assert torch.equal(bits(view), bits(decode(inputs, kernel, split_k)[0]))
    view.fill_(7.0)
    assert (out == 7.0).all()


@pytest.mark.parametrize("kernel, split_k", SOME)
def test_lse_may_be_absent(kernel: str, split_k: int) -> None:
    inputs = CASES["no-sink"].inputs()
    expected = decode(inputs, kernel, split_k)[0]
    out = torch.full_like(expected, torch.nan)
    workspace = {"partial_acc": torch.empty(2, split_k, 16, HEAD_DIM), "partial_ml": torch.empty(8, split_k, 16, 2)}
    workspace["arrivals"] = torch.zeros(2, 1, dtype=torch.int32)
    for step in CATALOGUE[kernel].launches(inputs.rows, inputs.heads, split_k):
        memory = Memory()
        params = pack(inputs, out=out, split_k=split_k, place=memory.map, **workspace)
        if split_k > CATALOGUE[kernel].one_launch:
            params.arrivals = 0
        launch(load(step.source)[step.symbol], step.grid, (step.block,), bytes(params), memory)
    assert torch.equal(bits(out), bits(expected))


@pytest.mark.parametrize("partials", get_args(Partials))
@pytest.mark.parametrize("stale", [torch.nan, torch.inf, -3.0])
def test_stale_partials_do_not_leak(stale: float, partials: Partials) -> None:
    """The reduction alone: three splits of four attended nothing, and somebody else's numbers lie where theirs would be."""
    inputs = CASES["no-sink"].inputs()
    rows, heads, active = inputs.rows, inputs.heads, 2
    acc = torch.full((rows, 4, heads, HEAD_DIM), stale, dtype=torch.float32 if partials == "fp32" else torch.bfloat16)
    ml = torch.tensor([torch.finfo(torch.float32).min, 0.0]).repeat(rows, 4, heads, 1)
    acc[:, active] = query(rows, heads) * 4
    ml[:, active] = torch.tensor([1.0, 4.0])
    out, lse = torch.full_like(inputs.q, torch.nan).contiguous(), torch.full((rows, heads), torch.nan)
    step = CATALOGUE["base"].launches(rows, heads, 4, partials)[1]
    memory = Memory()
    params = pack(inputs, out=out, lse=lse, partial_acc=acc, partial_ml=ml, split_k=4, place=memory.map)
    launch(load(step.source)[step.symbol], step.grid, (step.block,), bytes(params), memory)
    assert torch.equal(bits(out), bits(query(rows, heads)))
    torch.testing.assert_close(lse, torch.full_like(lse, torch.log(torch.tensor(8.0)).item()))


@pytest.mark.parametrize("kernel", ["product", "few"])
def test_one_launch_leaves_its_workspace_ready(kernel: str) -> None:
    """Counters are zero again, and what lies in the partials, of another decode or anybody's, does not matter."""
    spec, split_k = CATALOGUE[kernel], 4
    first, second = CASES["ragged-invalid"].inputs(), CASES["no-sink"].inputs()
    rows, heads = max(first.rows, second.rows), max(first.heads, second.heads)
    arrivals = torch.zeros(rows, -(-heads // 16), dtype=torch.int32)
    acc, ml = torch.full((rows, split_k, heads, HEAD_DIM), torch.nan), torch.full((4 * rows, split_k, heads, 2), torch.inf)
    for inputs in (first, second, first):
        out = torch.full_like(inputs.q, torch.nan).contiguous()
        [step] = spec.launches(inputs.rows, inputs.heads, split_k)
        memory = Memory()
        params = pack(inputs, out=out, partial_acc=acc, partial_ml=ml, arrivals=arrivals, split_k=split_k, place=memory.map)
        launch(load(step.source)[step.symbol], step.grid, (step.block,), bytes(params), memory)
        assert torch.equal(bits(out), bits(decode(inputs, kernel, split_k)[0]))
        assert not arrivals.any()


@pytest.mark.parametrize("split_k", [4, 16])
def test_rows_choose_their_parts_when_a_launch_is_replayed(split_k: int) -> None:
    """The same arguments, workspace and grid again and again, as in a captured graph, while the lists change under them. The
    host's guess of their lengths is right only for the first."""
    cache = PagedCache.empty(16, 64)
    cache.write(range(1024), torch.randn(1024, HEAD_DIM, generator=torch.Generator().manual_seed(3)))
    slots = torch.randperm(1024, generator=torch.Generator().manual_seed(4)).int()
    indptr, q = torch.tensor([0, 500, 1000], dtype=torch.int32), query(2, 17)
    inputs = DecodeInputs(q, Segment(cache, slots, indptr), None, HEAD_DIM**-0.5, None)
    acc, ml = torch.full((2, split_k, 17, HEAD_DIM), torch.nan), torch.full((8, split_k, 17, 2), torch.nan)
    arrivals, out, memory = torch.zeros(2, 2, dtype=torch.int32), torch.empty_like(q), Memory()
    tensors = {"out": out, "partial_acc": acc, "partial_ml": ml, "arrivals": arrivals}
    [step] = CATALOGUE["few"].launches(2, 17, split_k)
    params = bytes(pack(inputs, **tensors, split_k=split_k, place=memory.map))
    lengths = [(500, 500), (1000, 0), (0, 1), (128, 129), (3, 900), (500, 500), *((n, 1000 - n) for n in range(0, 1000, 37))]
    for first, second in lengths:
        indptr.copy_(torch.tensor([0, first, first + second]))
        out.fill_(torch.nan)
        launch(load(step.source)[step.symbol], step.grid, (step.block,), params, memory)
        lists = segment(cache, slots[:first].tolist(), slots[first : first + second].tolist())
        now = replace(inputs, main=lists)
        assert torch.equal(bits(out), bits(decode(now, "few", split_k)[0]))
        assert compare(out, reference(now).out).rel_l2 < 3e-3
        assert not arrivals.any()
    arrivals.fill_(1)  # as a launch leaves it that did not end: the host writes zeros, or parts are merged too early
    acc.fill_(torch.nan)
    launch(load(step.source)[step.symbol], step.grid, (step.block,), params, memory)
    assert not torch.equal(bits(out), bits(decode(now, "few", split_k)[0]))


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 64, 255, 256, 641, 65_537, 2**30 + 1, 2**31 - 1])
def test_division_by_magic(divisor: int) -> None:
    magic = Divisor.by(divisor)
    numbers = {0, 1, divisor - 1, divisor, divisor + 1, 2**31 - 1, 2**31 - 2, (2**31 - 1) // divisor * divisor - 1, 2**31 // 3}
    for n in (n for n in numbers if 0 <= n < 2**31):
        assert (2 * n * magic.magic >> 32) >> magic.shift == n // divisor
    assert magic.magic < 2**32
