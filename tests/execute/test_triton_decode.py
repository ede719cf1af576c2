"""The catalogue's Triton decode on the emulator: every named case, what those do not show, the sanitizer, and modelled times."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch

from sparse_mla import tables
from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.execute import run
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.execute.run import expected
from sparse_mla.execute.timing import time_kernel
from sparse_mla.execute.triton_decode import triton_launch
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.machine import Launched, launch
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.catalogue import CATALOGUE, KernelLaunch, Partials
from sparse_mla.kernels.inputs import DecodeInputs
from sparse_mla.record.from_emulator import from_timing
from tests.csrc import test_decode as hip

pytest.importorskip("triton", reason="Triton is for Linux")
TRITON = CATALOGUE["triton"]


def start(launched: KernelLaunch, inputs: DecodeInputs, split_k: int, **tensors: torch.Tensor | None) -> Launched:
    """One launch alone, on tensors of one's own."""
    code, kernarg, memory, lds = triton_launch(launched, inputs, split_k=split_k, **tensors)  # type: ignore[arg-type]
    return launch(code, launched.grid, (launched.block,), kernarg, memory, dynamic_lds=lds)


def check(name: str, split_k: int, partials: Partials) -> None:
    result, lse = run("triton", CASES[name], split_k=split_k, partials=partials), expected(CASES[name]).lse
    assert result.comparison.rel_l2 < 3e-3, result.comparison  # inf where not finite
    assert torch.equal(result.lse.isneginf(), lse.isneginf())
    error = (result.lse.double() - lse)[lse.isfinite()].abs()
    assert error.numel() == 0 or error.max() < 2e-3


@pytest.mark.parametrize("name", CASES)
def test_every_case_whole_and_split(name: str) -> None:
    check(name, 1, "fp32")
    check(name, 4, "fp32")


@pytest.mark.parametrize("split_k, partials", [(2, "fp32"), (8, "fp32"), (16, "fp32"), (2, "bf16"), (16, "bf16")])
def test_every_form(split_k: int, partials: Partials) -> None:
    check("ragged-invalid", split_k, partials)


def test_bytes_are_dequantised_exactly() -> None:
    hip.test_every_byte_under_every_scale_is_dequantised_exactly("triton")


@pytest.mark.parametrize("split_k", [1, 4])
def test_what_the_hip_kernels_promise(split_k: int, tmp_path: pytest.TempPathFactory) -> None:
    hip.test_blocks_beyond_4_gib("triton", split_k, 5, tmp_path)  # type: ignore[arg-type]
    hip.test_out_may_be_strided("triton", split_k)
    hip.test_a_row_does_not_notice_its_batch("heads-17", "triton", split_k)


@pytest.mark.parametrize("split_k", [1, 4])
def test_lse_may_be_absent(split_k: int) -> None:
    inputs = CASES["no-sink"].inputs()
    wanted = decode_on_emulator(TRITON, inputs, split_k=split_k, partials="fp32")[0]
    out = torch.full_like(wanted, torch.nan)
    acc, ml = torch.empty(2, split_k, 16, HEAD_DIM), torch.empty(2, split_k, 16, 2)
    for launched in TRITON.launches(inputs.rows, inputs.heads, split_k):
        start(launched, inputs, split_k, out=out, lse=None, partial_acc=acc, partial_ml=ml)
    assert torch.equal(hip.bits(out), hip.bits(wanted))


@pytest.mark.parametrize("partials", ["fp32", "bf16"])
@pytest.mark.parametrize("stale", [torch.nan, torch.inf, -3.0])
def test_stale_partials_do_not_leak(stale: float, partials: Partials) -> None:
    """The merge alone: three parts of four attended nothing, and somebody else's numbers lie where theirs would be."""
    inputs = CASES["no-sink"].inputs()
    rows, heads = inputs.rows, inputs.heads
    acc = torch.full((rows, 4, heads, HEAD_DIM), stale, dtype=torch.float32 if partials == "fp32" else torch.bfloat16)
    ml = torch.tensor([torch.finfo(torch.float32).min, 0.0]).repeat(rows, 4, heads, 1)
    acc[:, 2], ml[:, 2] = hip.query(rows, heads) * 4, torch.tensor([1.0, 4.0])
    out, lse = torch.full_like(inputs.q, torch.nan).contiguous(), torch.full((rows, heads), torch.nan)
    start(TRITON.launches(rows, heads, 4, partials)[1], inputs, 4, out=out, lse=lse, partial_acc=acc, partial_ml=ml)
    assert torch.equal(hip.bits(out), hip.bits(hip.query(rows, heads)))
    torch.testing.assert_close(lse, torch.full_like(lse, torch.log(torch.tensor(8.0)).item()))


@pytest.mark.parametrize("name", CASES)
def test_the_sanitizer_is_silent(name: str) -> None:
    assert not run("triton", CASES[name], split_k=1, sanitize=True).findings
    assert not run("triton", CASES[name], split_k=4, sanitize=True).findings


@lru_cache(maxsize=8)
def microseconds(rows: int, split_k: int) -> float:
    return time_kernel("triton", Case.make(rows=rows, extra=0), split_k=split_k, band=False).microseconds


def test_a_whole_row_takes_a_whole_cu() -> None:
    """Eight waves of so many registers that no SIMD holds four: a second round of workgroups waits for the first."""
    need = {row["function"]: row["workgroups/CU"] for row in tables.resources("triton")}
    assert list(need) == ["decode_whole", "decode_split", "decode_merge"]
    assert need["decode_whole"] == 1
    assert microseconds(256, 1) == pytest.approx(microseconds(4, 1), rel=0.05)
    assert 1.7 < microseconds(320, 1) / microseconds(256, 1) < 2.1, "published: 560 / 290"


def test_its_assembly_can_be_read() -> None:
    assert list(parse(tables.assembly("triton")).kernels) == ["decode_whole", "decode_split", "decode_merge"]


def test_lonely_rows_gain_from_being_split() -> None:
    assert microseconds(4, 4) < microseconds(4, 2) < microseconds(4, 1)


def test_recordings_name_no_path_of_this_machine() -> None:
    timed = time_kernel("triton", Case.make(rows=1, extra=0), split_k=2, band=False)
    recording = from_timing(timed.timing, kernel="triton", case={}, result={})
    files = set(recording["instructions"].file)
    assert files <= {"", "sparse_mla/kernels/triton_kernels.py", "triton/language/standard.py"}
    assert list(recording["sources"].path) == ["sparse_mla/kernels/triton_kernels.py"]
