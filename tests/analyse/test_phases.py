"""Phases: comments in the source, followed through inlining, for HIP and for Triton."""

import pandas as pd
import pytest
import torch

from sparse_mla import triton_on_gfx950
from sparse_mla.analyse.instructions import instructions
from sparse_mla.analyse.phases import marks, phases_of
from sparse_mla.execute import run
from sparse_mla.kernels.case import Case
from tests.analyse.samples import HIP, recording

ROWS = [  # unit, file, line, calls: phase
    ("VALU", "k.hip", 3, "k.hip:9", "gather"),
    ("VALU", "k.hip", 1, "k.hip:3 -> k.hip:9", "gather"),  # a helper is part of what called it
    ("VALU", "k.hip", 1, "k.hip:6 -> k.hip:9", "QK"),
    ("MFMA", "k.hip", 6, "k.hip:3 -> k.hip:9", "QK"),  # innermost first
    ("VALU", "k.hip", 1, "gone.h:3 -> k.hip:9", "other"),
    ("SALU", "k.hip", 9, "", "other"),
    ("SALU", "", 0, "", "other"),
    ("BARRIER", "k.hip", 3, "", "barrier"),
]


def test_a_mark_holds_from_its_line_to_the_next() -> None:
    assert marks(HIP) == ["", *3 * ["gather"], *2 * ["QK"], *4 * [""]]
    assert marks("x = 1\n# phase: load q\ny = 2  # no phase here\nz = 3  # phase: PV \n") == ["", "load q", "load q", "PV"]


@pytest.mark.parametrize("unit, file, line, calls, phase", ROWS)
def test_the_innermost_line_that_is_marked_decides(unit: str, file: str, line: int, calls: str, phase: str) -> None:
    frame = pd.DataFrame([{"unit": unit, "file": file, "line": line, "calls": calls}])
    assert phases_of(frame, {"k.hip": HIP, "gone.h": "", "": ""}.__getitem__) == [phase]


def test_a_recording_carries_its_own_source() -> None:
    frame = instructions(recording())
    assert frame.phase.tolist() == ["gather", "gather", "gather", "QK", "barrier", "other", "other", "other"]
    assert frame.source[2] == "float twice(float x) { return x + x; }"
    assert frame.unit.tolist() == ["VMEM", "WAIT", "VALU", "MFMA", "BARRIER", "BRANCH", "LDS", "BRANCH"]
    assert set(zip(frame.counted, frame.timed, strict=True)) == {("emulated", "modelled")}


@pytest.mark.parametrize("split_k", [1, 4])
def test_the_base_kernel_does_in_each_phase_what_the_design_says(split_k: int) -> None:
    frame = instructions(run("base", Case.make(rows=2, main=128, extra=512), split_k=split_k))
    tiles = 2 * (128 + 512) // 32

    def executed(phase: str, mnemonic: str) -> int:
        return int(frame[(frame.phase == phase) & frame.mnemonic.str.startswith(mnemonic)].hit.sum())

    assert executed("QK", "v_mfma") == 32 * tiles  # by wave 0
    assert executed("PV", "v_mfma") == 4 * 8 * tiles
    assert executed("PV", "ds_read_u16") == 4 * 64 * tiles  # a value at a time: 8 tokens of 8 tiles
    assert executed("dequantise", "v_cvt_f32_fp8") == 4 * 64 * tiles
    assert executed("barrier", "s_barrier") == 4 * 3 * tiles
    assert executed("gather", "global_load_dwordx4") > 0
    assert frame[frame.mnemonic.str.startswith("v_mfma")].phase.isin(["QK", "PV"]).all()
    assert ("merge" in set(frame.phase)) == (split_k > 1)
    merged = frame[frame.kernel.str.contains("reduce") & (frame.line > 0)]
    assert set(merged.phase) <= {"merge"}
    assert frame[frame.phase == "other"].hit.sum() < 0.12 * frame.hit.sum()


@pytest.mark.parametrize("kernel", ["base", "triton"])
def test_kernels_of_the_catalogue_name_their_phases(kernel: str) -> None:
    pytest.importorskip("triton", reason="Triton is for Linux")
    frame = instructions(run(kernel, Case.make(rows=1, main=64, extra=64), split_k=2))
    hits = frame.groupby("phase").hit.sum()
    assert set(hits[hits > 0].index) >= {"load q", "gather", "dequantise", "QK", "softmax", "PV", "barrier", "store", "merge"}
    assert set(frame[frame.unit == "MFMA"].phase) == {"QK", "PV"}


def test_a_triton_kernel_is_marked_the_same_way() -> None:
    pytest.importorskip("triton", reason="Triton is for Linux")
    from tests.analyse.triton_phases import weigh

    x, out = torch.randn(256), torch.zeros(256)
    frame = instructions(triton_on_gfx950(weigh)[(1,)](x, out, BLOCK=256, num_warps=1))
    torch.testing.assert_close(out, torch.softmax(x, 0))
    by_phase = frame.groupby("phase").mnemonic.agg(list)
    assert any("_load_dword" in name for name in by_phase["gather"])
    assert any(name.startswith("v_exp") for name in by_phase["softmax"])  # tl.exp and tl.sum lie in files of Triton's
    assert any("_store_dword" in name for name in by_phase["store"])
    assert not any("_load_dword" in name or "_store_dword" in name for name in by_phase["softmax"])
