"""The replay: recordings that the model itself made come out exactly, real ones as far as docs/timing.md says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparse_mla.errors import InputError
from sparse_mla.gfx950.timing import Timed, simulate
from sparse_mla.gfx950.timing.__main__ import main
from sparse_mla.gfx950.timing.freerun import as_launch, loops
from sparse_mla.gfx950.timing.replay import folders, misses, read, replay, summary
from tests.gfx950.timing.micro import MI355X, timed

REAL = Path(__file__).parents[4] / "shared/data/rocprof/att"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no thread traces in {REAL}")

BODY = """
v_mov_b32 v0, 0
s_mov_b32 s0, 20
loop:
ds_read_b128 v[4:7], v0
ds_read_b128 v[8:11], v0
v_exp_f32 v12, v13
v_cmp_eq_u32 vcc, v0, v0
s_mov_b64 s[4:5], vcc
v_mfma_f32_32x32x16_bf16 v[16:31], v[32:35], v[36:39], v[16:31]
v_pk_mul_f32 v[40:41], v[42:43], v[44:45]
s_waitcnt lgkmcnt(0)
v_add_f32_e64 v48, v49, v50
v_add_f32_e64 v48, v49, v50
s_nop 3
s_barrier
s_sub_u32 s0, s0, 1
s_cmp_lg_u32 s0, 0
s_cbranch_scc1 loop
"""


def write(one: Timed, folder: Path) -> Path:
    """A `ui_output` folder of what the model says, as rocprofv3 lays it out; LineNumber counts from 1."""
    folder.mkdir(parents=True)
    lines = [ins.text for ins in one.launched.kernel.instructions]
    sizes = [8 if text.split()[0].endswith("_e64") or text.startswith(("ds_", "v_mfma", "v_pk")) else 4 for text in lines]
    code: list[list[Any]] = [["; micro", 0, 0, "", 1, 0, 0, 0, 0, 0]]
    code += [[text, 0, i + 1, "", 1, sum(sizes[:i]), 1, 4, 0, 0] for i, text in enumerate(lines)]
    (folder / "code.json").write_text(json.dumps({"code": code, "version": "3.0.0"}))
    for i, wave in enumerate(one.waves):
        events = one.events[one.events["wave"] == i]
        rows = [[int(e[x]) for x in ("time", "category", "stall", "duration")] + [int(e["pc"]) + 1] for e in events]
        begin, end, simd, slot = (int(wave[x]) for x in ("begin", "end", "simd", "slot"))
        data = {"cu": 0, "simd": simd, "slot": slot, "id": i, "begin": begin, "end": end, "instructions": rows}
        (folder / f"se0_sm{simd}_sl{slot}_wv{i}.json").write_text(json.dumps({"name": "SE0", "wave": data}))
    return folder


@pytest.mark.parametrize("waves", [1, 4, 8])
def test_what_the_model_records_is_what_it_predicts(tmp_path: Path, waves: int) -> None:
    done = replay(read(write(timed(BODY, waves=waves, lds=1024), tmp_path / "micro/ui_output")))
    assert done.waves_per_simd == max(1, waves // 4)
    assert summary(done)["exact"] > (0.999 if waves < 8 else 0.95)
    assert summary(done)["instructions"] > 200 * waves


def test_another_constant_is_seen(tmp_path: Path) -> None:
    recording = read(write(timed(BODY, waves=4, lds=1024), tmp_path / "micro/ui_output"))
    wrong = replay(recording, MI355X.changed(trans=16))
    assert summary(wrong)["exact"] < 0.98
    assert "valu" in misses(wrong)


def test_what_nobody_knows_is_taken_for_the_plainest_of_its_kind(tmp_path: Path) -> None:
    folder = write(timed("v_mov_b32 v0, 0\n" * 4), tmp_path / "micro/ui_output")
    code = json.loads((folder / "code.json").read_text())
    unknown = ["v_frobnicate_f32 v0, ttmp[3], !what", "zz", "", "image_sample v0, {1,2}"]
    for row, text in zip(code["code"][1:], unknown, strict=False):
        row[0] = text
    (folder / "code.json").write_text(json.dumps(code))
    assert summary(replay(read(folder)))["instructions"] > 0


def test_folders_that_lack_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(timed("v_mov_b32 v0, 0\n" * 4), tmp_path / "whole/ui_output")
    empty = write(timed("v_mov_b32 v0, 0\n" * 4), tmp_path / "empty/ui_output")
    (empty / "code.json").write_text('{"code": null}')
    assert folders([tmp_path]) == [empty, folder]
    (folder / "se9_sm0_sl0_wv9.json").write_text("{")  # a file that was cut off
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "no instructions were recorded" in out
    assert "whole" in out
    with pytest.raises(InputError, match="no readable code"):
        read(tmp_path)
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "no ui_output folder" in capsys.readouterr().out
    assert main([]) == 2


# What the issue rules must reach, and did when they were written; waits and barriers are not counted.
SHARES = {
    "flash_attn_func_gfx950": 0.95, "preshuffle_gemm_v2_gfx950": 0.95, "fused_rope_cache_gfx950": 0.95, "rmsnorm_gfx950": 0.95,
    "hgemm_splitk_gfx950": 0.85, "moe_blockscale_gfx950": 0.85, "vec_add_gfx950": 0.85,
}  # fmt: skip


@real
@pytest.mark.parametrize("name", SHARES)
def test_recordings_of_a_device(name: str) -> None:
    (folder,) = folders([REAL / name])
    done = summary(replay(read(folder)))
    assert done["exact"] >= SHARES[name]
    assert done["with_waits"] >= 0.85


@real
def test_the_loop_of_flash_attention_run_alone() -> None:
    (folder,) = folders([REAL / "flash_attn_func_gfx950"])
    unmasked = next(x for x in loops(read(folder)) if x.instructions == 1183)
    assert unmasked.recorded == pytest.approx(8468, rel=0.005)
    assert unmasked.modelled == pytest.approx(8468, rel=0.03)


@real
def test_a_second_wave_on_each_simd_costs_what_it_did_on_the_device() -> None:
    # Another recording of this kernel has two waves a SIMD: each is 1.22 times as slow, so that 1.63 times as much is done.
    recording = read(folders([REAL / "flash_attn_func_gfx950"])[0])
    waves = max(recording.cus.values(), key=lambda waves: len(waves[0]["instructions"]))
    cu = MI355X.changed(xcds=1, ses=1, cus=1)
    one, two = (
        simulate([as_launch(recording, waves, copies)], cu, band=False, memory="fixed").kernels[0].waves for copies in (1, 2)
    )
    alone, beside = (float(np.mean(x["end"] - x["begin"])) for x in (one, two))
    assert beside / alone == pytest.approx(1.22, rel=0.03)
    assert 2 * alone / (two["end"].max() - two["begin"].min()) == pytest.approx(1.63, rel=0.03)


def test_predictions_are_of_issue_times(tmp_path: Path) -> None:
    done = replay(read(write(timed("v_exp_f32 v0, v1\n" * 10), tmp_path / "micro/ui_output")))
    assert (np.diff(done.predicted[1:11]) == 8).all()
