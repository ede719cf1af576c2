"""Every named case, whole and split, on the emulator against the float64 oracle; and what `run` refuses."""

from __future__ import annotations

import json

import pytest
import torch

from sparse_mla.errors import BackendError, InputError, KernelFault
from sparse_mla.execute import counts_frame, run
from sparse_mla.execute.bench import bench_emulator
from sparse_mla.execute.emulator import load
from sparse_mla.execute.run import expected
from sparse_mla.gfx950.machine import Memory, launch
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.catalogue import CATALOGUE, Partials
from sparse_mla.kernels.params import pack

REL_L2 = 3e-3  # bf16 outputs of the base kernel, on every case
FORMS: list[tuple[int, Partials]] = [(1, "fp32"), *((s, "fp32") for s in (2, 4, 8, 16)), *((s, "bf16") for s in (2, 16))]


@pytest.mark.parametrize("name", CASES)
def test_every_case_whole_and_split(name: str) -> None:
    case = CASES[name]
    lse = expected(case).lse
    for split_k, partials in FORMS:
        result = run("base", case, split_k=split_k, partials=partials)
        assert result.comparison.rel_l2 <= REL_L2, f"split {split_k} {partials}: {result.comparison}"  # inf where not finite
        assert torch.equal(result.lse.isneginf(), lse.isneginf()), f"split {split_k} {partials}"
        error = (result.lse.double() - lse)[lse.isfinite()].abs()
        assert error.numel() == 0 or error.max() < 2e-3, f"split {split_k} {partials}: lse off by {error.max()}"


def test_a_wrong_answer_is_seen() -> None:
    """One key's probability moved to another's by exchanging two slots of different rows' lists."""
    case = CASES["pro-swa-h16"]
    inputs = case.inputs()
    inputs.main.indices[[0, 200]] = inputs.main.indices[[200, 0]]
    out = torch.empty_like(inputs.q)
    memory = Memory()
    step = CATALOGUE["base"].launches(inputs.rows, inputs.heads)[0]
    kernarg = bytes(pack(inputs, out=out, place=memory.map))
    launch(load(step.source)[step.symbol], step.grid, (step.block,), kernarg, memory)
    wrong = (out.double() - expected(case).out).norm() / expected(case).out.norm()
    assert wrong > 3 * REL_L2


def test_counts_are_exact_and_repeatable() -> None:
    """A tile more costs the same whatever the batch, the data and the number of host threads."""
    result = {n: run("base", Case.make(rows=2, main=128, extra=n, seed=n), split_k=1, threads=1 + n % 3) for n in (256, 288, 320)}
    first, second, third = (result[n].wave_instructions for n in (256, 288, 320))
    assert second - first == third - second > 0
    frame = counts_frame(result[288])
    assert frame["count"].sum() == second
    mfma = frame[frame.unit == "MFMA"].groupby("wave")["count"].sum()
    tiles = 2 * (128 + 288) // 32
    assert mfma.to_dict() == {0: 40 * tiles, 1: 8 * tiles, 2: 8 * tiles, 3: 8 * tiles}  # 32 for QK, and 8 for PV in each wave


def test_auto_splits_lonely_rows_only() -> None:
    assert run("base", CASES["pro-csa-h16"]).split_k > 1
    assert run("base", CASES["pro-swa-h16"], on="reference").kind == "modelled"


def test_result_speaks_json_and_html() -> None:
    result = run("base", CASES["heads-5"], split_k=2)
    data = json.loads(json.dumps(result.as_dict()))
    assert data["kind"] == "emulated"
    assert data["split_k"] == 2
    assert len(data["launches"]) == 2
    assert "emulated" in str(result)
    assert "<table>" in result._repr_html_()


def test_refusals_say_what_to_do() -> None:
    case = CASES["heads-5"]
    with pytest.raises(InputError, match=r"no kernel 'bass'.*base"):
        run("bass", case)
    with pytest.raises(InputError, match="split_k is 3; allowed: 1, 2, 4, 8, 16"):
        run("base", case, split_k=3)
    with pytest.raises(InputError, match="may be emulator, reference, gpu"):
        run("base", case, on="cpu")  # type: ignore[arg-type]
    if torch.version.hip is None:
        with pytest.raises(BackendError, match=r"not a ROCm build.*emulator"):
            run("base", case, on="gpu")


def test_a_fault_names_everything() -> None:
    """The output buffer is one head short: the store of the last head must be caught, in the first workgroup that does it."""
    inputs = CASES["heads-5"].inputs()
    memory = Memory()
    out = torch.empty(inputs.rows, 4, 512, dtype=torch.bfloat16)
    params = pack(inputs, out=out, place=memory.map)
    step = CATALOGUE["base"].launches(inputs.rows, inputs.heads)[0]
    with pytest.raises(KernelFault, match="bytes past the end of out") as caught:
        launch(load(step.source)[step.symbol], step.grid, (step.block,), bytes(params), memory, threads=1)
    fault = caught.value
    assert fault.kernel == "mla_decode_fused"
    assert str(fault.instruction).startswith("global_store_short")
    assert str(fault.source_line).startswith("decode/fused.hip:")
    assert fault.workgroup == (inputs.rows - 1, 0, 0)
    assert fault.lane is not None
    assert fault.address is not None


def test_bench_reports_a_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_mla.execute.bench.REPEATS", 1)
    result = bench_emulator()
    assert result.ratio == pytest.approx(result.wave_instructions_per_second / result.calibration_operations_per_second)
    assert "M wave instructions/s" in str(result)


@pytest.mark.parametrize("name", CASES)
def test_the_sanitizer_finds_nothing_in_the_base_kernel(name: str) -> None:
    for split_k, partials in FORMS[:2] + FORMS[-1:]:
        findings = run("base", CASES[name], split_k=split_k, partials=partials, sanitize=True).findings
        assert not findings, "\n".join(map(str, findings))
