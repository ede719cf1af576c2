"""The debugger: where it stops, what it reads there, and that going back is as if it had not gone on."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sparse_mla
from sparse_mla import cli
from sparse_mla.errors import InputError, KernelFault
from sparse_mla.execute import run
from sparse_mla.execute.debug import debug
from sparse_mla.gfx950.debug import Debugger
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import Memory, launch
from sparse_mla.kernels.case import Case
from sparse_mla.plot.debug import lds_figure, registers_figure
from tests.gfx950.test_launch import LOOP, PROLOGUE, kernel

# Every wave passes its lanes' numbers to the next one through LDS; s4 counts the wave's number down before.
RING = (
    PROLOGUE
    + """v_readfirstlane_b32 s4, v0
s_lshr_b32 s4, s4, 6
round:
s_sub_u32 s4, s4, 1
s_cbranch_scc0 round
ds_write_b32 v1, v0
s_waitcnt lgkmcnt(0)
s_barrier
v_xor_b32 v3, 0x100, v1
ds_read_b32 v2, v3
s_waitcnt lgkmcnt(0)
v_add_u32_e32 v2, 1.0, v2
global_store_dword v1, v2, s[6:7]"""
)
ONE = 0x3F800000
LAUNCHES: list[Any] = [(LOOP, 64, "x"), (RING, 128, "")]


def debugger(body: str, threads: int = 64, ids: str = "", words: int = 128, **options: Any) -> tuple[Debugger, Any]:
    out, memory = np.full(words, 7, np.int32), Memory()
    code = kernel(body, lds=512, ids=ids)
    return Debugger(code, (3,), (threads,), struct.pack("<Q", memory.map(out, "out")), memory, **options), out


def state(d: Debugger) -> bytes:
    """Everything that can be read, of all waves, without the engine's own pointers."""
    parts = []
    for wave in range(d.waves):
        d.wave = wave
        parts += [d.vgprs().tobytes(), d.read("s0:128").tobytes(), bytes([d.scc, d.pc & 255, d.pc >> 8])]
    return b"".join(parts) + d.lds.tobytes() + d.buffer("out").tobytes()


def test_finish_does_what_a_launch_does() -> None:
    d, out = debugger(RING, 128)
    assert d.finish().executed == d.step(5).executed
    assert [x["state"] for x in d.as_dict()["waves"]] == ["ended"] * 2
    np.testing.assert_array_equal(out, (np.arange(128) ^ 64) + ONE)
    codes = [decode(d.kernel), decode(d.kernel, debug=True)]
    assert len(codes[1].ops) - len(codes[0].ops) == len(d.kernel.instructions)  # nothing is there unless asked for
    for code in codes:  # outside of a debugger, places to stop do nothing
        memory, again = Memory(), np.zeros(128, np.int32)
        done = launch(code, (1,), (128,), struct.pack("<Q", memory.map(again, "out")), memory)
        assert done.counts.sum(1).tolist() == d.executed
        np.testing.assert_array_equal(again, out)


def test_each_step_is_one_instruction() -> None:
    d, _ = debugger(LOOP, ids="x", workgroup=(2, 0, 0))
    pcs = []
    while d.as_dict()["waves"][0]["state"] == "stopped":
        pcs.append(d.pc)
        d.step()
    assert pcs == [*range(8), *[8, 9, 10, 11] * 3, 12, 13]
    assert (d.position, d.instruction.mnemonic) == (len(pcs), "s_endpgm")
    d.goto(10)
    assert (d.pc, d.sgpr(4), d.scc, d.sgpr(2)) == (10, 2, 0, 2)
    np.testing.assert_array_equal(d.vgpr(2), 3)
    d.step().goto(13)  # beyond what was taken: on
    assert d.pc == 9
    np.testing.assert_array_equal(d.vgpr(0), np.arange(64))
    assert (d.exec, d.read("exec")) == (2**64 - 1, 2**64 - 1)


def test_runs_to_what_is_named() -> None:
    d, _ = debugger(LOOP, ids="x", workgroup=(1,))
    assert d.run_to("hand.s:10").pc == 8
    assert d.run_to("s_sub").pc == 9
    assert d.run_to("hand.s:10").pc == 8  # the second time round
    assert d.position == 12
    assert d.run_to(12).instruction.text == "global_store_dword v1, v2, s[6:7]"
    wrong: dict[str | int, str] = {
        "hand.s:10": "ends without coming to hand.s:10 again",
        "hand.s:109": r"nearest lines with instructions are \[11, 12, 13, 14\]",
        "band.s:2": "hand.s",
        "s_cbranch_scc2": "s_cbranch_scc1",
        "barrier": "s_",
        14: "0 to 13",
    }
    for target, words in wrong.items():
        with pytest.raises(InputError, match=words):
            d.run_to(target)
        assert (d.pc, d.position) == (12, 16)


def test_a_barrier_takes_the_other_waves_along() -> None:
    d, out = debugger(RING, 128)
    d.wave = 1
    d.run_to("barrier")
    assert d.executed == [0, 11]
    assert d.read("lds:0:512/u32").tolist() == [2**32 - 1] * 64 + [*range(64, 128)]
    d.step()
    assert d.executed == [10, 12]
    assert [x["pc"] for x in d.as_dict()["waves"]] == [10, 10]
    assert d.lds.view(np.uint32).tolist() == [*range(128)]
    d.step_workgroup(3)
    assert d.executed == [13, 15]
    np.testing.assert_array_equal(d.vgpr(2), np.arange(64))
    np.testing.assert_array_equal(d.step().vgpr(2, "i32"), np.arange(64) + ONE)
    assert d.history == [(1, 12), (0, 3), (1, 4)]
    assert np.all(out == 7)
    d.finish()
    assert out[0] == ONE + 64
    d.back(d.position - 14)
    assert (d.history, d.wave, out[0]) == ([(1, 12), (0, 2)], 0, 7)


@pytest.mark.parametrize("body, threads, ids", LAUNCHES)
def test_back_then_on_is_the_same(body: str, threads: int, ids: str) -> None:
    rng, d = np.random.default_rng(4), debugger(body, threads, ids)[0]
    states = [state(d)]
    for wave in rng.integers(d.waves, size=24):
        d.wave = int(wave)
        d.step()
        states.append(state(d))
    for position in reversed(range(d.position)):
        assert state(d.goto(position)) == states[position]
    end = state(d.step(7))
    assert state(d.back(5).step(5)) == end


def test_a_fault_can_be_looked_at_and_left() -> None:
    d, out = debugger(PROLOGUE + "s_mov_b32 s5, 3\nv_lshlrev_b32 v1, s5, v1\nglobal_store_dword v1, v0, s[6:7]", words=64)
    for _ in range(2):
        with pytest.raises(KernelFault, match="past the end of out") as caught:
            d.finish()
        assert (caught.value.source_line, caught.value.lane, caught.value.wave) == ("hand.s:6", 8, 0)
        assert d.instruction.mnemonic == "global_store_dword"
        assert d.as_dict()["waves"][0]["state"] == "faulted"
        assert str(d).endswith(str(caught.value))
        assert (d.sgpr(5), d.vgpr(1).tolist()) == (3, [32 * i for i in range(64)])
        with pytest.raises(KernelFault):
            d.step()
        assert (d.back().pc, d.as_dict()["waves"][0]["state"], out[0]) == (5, "stopped", 7)


@pytest.mark.parametrize("call, words", [
    (lambda d: d.read("v0:99"), "v0:4"), (lambda d: d.read("x0"), "lds:0:64"), (lambda d: d.vgpr(0, "f31"), "bf16"),
    (lambda d: setattr(d, "wave", 2), "waves 0 to 1"), (lambda d: d.back(), "0 steps"), (lambda d: d.buffer("in"), "out"),
    (lambda d: debugger(RING, workgroup=(3,)), r"grid \(3, 1, 1\)"),
])  # fmt: skip
def test_what_is_not_there(call: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(debugger(RING, 128)[0])


def test_it_shows_where_it_stands() -> None:
    d = debugger(RING, 128)[0].run_to("barrier")
    for part in (">     9  s_barrier", "hand.s:12", "wave 1", "after 9 steps", "exec 0xffffffffffffffff", "round:"):
        assert part in str(d), part
    assert "&gt;     9  s_barrier" in d._repr_html_()


def test_the_command_shows_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    there = ["debug", "base", "--case", "block-1", "--wave", "1", "--to", "barrier", "--to", "v_mfma", "--step", "3"]
    show = ["--show", "v0:2,exec,lds:0:8/bf16,s0:4,scc"]
    assert cli.main([*there, *show, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    d = debug("base", Case.named("block-1"))
    d.wave = 1
    d.run_to("barrier").run_to("v_mfma").step(3)
    assert (shown["pc"], shown["waves"][1]["executed"]) == (d.pc, d.executed[1])
    assert (shown["v0:2"], shown["lds:0:8/bf16"]) == (d.vgprs(range(2)).tolist(), d.read("lds:0:8/bf16").tolist())
    assert cli.main([*there, *show, "--back", "3"]) == 0
    text = capsys.readouterr().out
    d.back(3).watch = show[1].split(",")
    assert text == f"{d}\n"
    assert all(part in text for part in ("> ", "v_mfma_f32_16x16x32_bf16", "exec 0xffffffffffffffff", "      0,8 "))
    for wrong, words in ((["--to", "v_mfmb"], "v_mfma"), (["--wave", "7"], "waves 0 to 3"), (["--show", "q"], "lds:0:64")):
        assert cli.main(["debug", "base", *wrong]) == 2
        assert words in capsys.readouterr().err


CASE = Case.make(heads=16, rows=1, main=40, extra=33)


def test_the_base_kernels_tile_before_its_first_matrix_product() -> None:
    d = debug("base", CASE).run_to("v_mfma")
    inputs = CASE.inputs()
    begin, end = inputs.main.indptr[:2].tolist()
    rows = inputs.main.cache.read(inputs.main.indices[begin:end][:32].long()).bfloat16().float()
    tile = d.read(f"lds:{16 * 1024}:{48 * 1024}/bf16").reshape(32, 512)
    np.testing.assert_array_equal(tile, rows.numpy())
    q = d.read(f"lds:0:{16 * 1024}/bf16").reshape(16, 512)
    np.testing.assert_array_equal(q, inputs.q[0].float().numpy())
    a = d.instruction.args[1].first  # lane l holds Q of head l % 16, dims 8 (l / 16) and up
    held = d.vgprs(range(a, a + 4), "bf16").transpose(1, 0, 2).reshape(64, 8)
    lane = np.arange(64)[:, None]
    np.testing.assert_array_equal(held, q[lane % 16, 8 * (lane // 16) + np.arange(8)])
    assert d.source.startswith("return __builtin_amdgcn_mfma")


def test_a_kernel_of_ones_own() -> None:
    text = """#include <hip/hip_runtime.h>
__global__ void twice(const float* x, float* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = 2 * x[i];
}"""
    x, out = np.arange(128, dtype=np.float32), np.zeros(128, np.float32)
    d = sparse_mla.hip(text).twice.debug(2, 64, x, out, workgroup=(1,)).run_to("source.hip:4")
    assert d.source == "out[i] = 2 * x[i];"
    d.finish()
    np.testing.assert_array_equal(out, np.where(np.arange(128) < 64, 0, 2 * x))


def test_a_triton_kernel() -> None:
    pytest.importorskip("triton", reason="Triton is for Linux")
    from tests.execute import triton_kernels

    x, y, out = torch.arange(512.0), torch.ones(512), torch.zeros(512)
    d = sparse_mla.triton_on_gfx950(triton_kernels.add).debug(4, x, y, out, 512, BLOCK=128, num_warps=2, workgroup=(1,))
    line = next(n for n, text in enumerate(Path(triton_kernels.__file__).read_text().splitlines(), 1) if "tl.store(" in text)
    d.run_to(f"triton_kernels.py:{line}")
    assert d.source.startswith("tl.store(")
    assert not out.any()
    d.finish()
    at = torch.arange(512)
    assert torch.equal(out, torch.where((at >= 128) & (at < 256), x + 1, 0))


def test_the_lanes_private_memory() -> None:
    code = kernel("scratch_store_dword off, v0, off offset:4\ns_waitcnt vmcnt(0)")
    code.descriptor["private_segment_fixed_size"] = 16
    d = Debugger(code, (1,), (128,), struct.pack("<Q", 0), Memory())
    d.wave = 1
    d.step(2)
    np.testing.assert_array_equal(d.read("scratch:4:8/u32"), 64 + np.arange(64)[:, None])
    np.testing.assert_array_equal(d.scratch[:, :4], np.full((64, 4), 255))
    d.wave = 0
    np.testing.assert_array_equal(d.read("scratch:4:8"), np.full((64, 4), 255))
    with pytest.raises(InputError, match="outside of scratch:0:16"):
        d.read("scratch:0:17")


def test_pictures_say_what_they_show() -> None:
    d = sparse_mla.debug("base", CASE).run_to("v_mfma")
    figure = lds_figure(d, kind="bf16")
    assert "51,328 bytes; 4% of the values are NaN or infinite" in figure.finding  # scores: nobody has written them yet
    assert figure.table["not finite"].to_numpy().nonzero()[0].tolist() == [*range(192, 201)]
    d = debugger(RING + "\ns_mov_b64 exec, 3", 128)[0].run_to("s_endpgm")
    figure = registers_figure(d, 0, 4, "u32")
    assert figure.finding.startswith("0 of 4 hold one value in all lanes; 0% of the values are NaN")
    assert figure.finding.endswith("2 of 64 lanes are active.")
    assert figure.table[["min", "max", "distinct"]].to_numpy()[1].tolist() == [0, 252, 64]
    assert "before `s_endpgm` (" in figure.source
    for drawn in (figure, lds_figure(d, 8, 300, "u8")):
        assert drawn.png.startswith(b"\x89PNG")


@pytest.mark.parametrize("split_k, number", [(1, 0), (2, 1)])
def test_the_base_kernel_finishes_as_it_runs(split_k: int, number: int) -> None:
    d, result = debug("base", CASE, split_k=split_k, launch=number), run("base", CASE, split_k=split_k)
    d.run_to("s_endpgm").finish()
    out = torch.from_numpy(d.buffer("out").view(np.int16)).view(torch.bfloat16).view(result.out.shape)
    ours = slice(None) if number == 0 else slice(1)  # reducing, a workgroup has one head
    assert torch.equal(out[:, ours], result.out[:, ours])
    assert out[:, 1:].isnan().all() == (number == 1)
    if number == 0:
        assert d.executed == result.launches[0].counts.sum(1).tolist()
    with pytest.raises(InputError, match=f"launches 0 to {number}"):
        debug("base", CASE, split_k=split_k, launch=number + 1)
