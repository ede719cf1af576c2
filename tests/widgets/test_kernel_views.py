"""Kernel diff, ISA browser and twins: what they show, and that every control keeps to what there is."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sparse_mla.analyse.ladder import stored_times
from sparse_mla.errors import InputError
from sparse_mla.execute.debug import debug
from sparse_mla.plot.figure import Figure
from sparse_mla.widgets.isa_browser import CASE, after, isa_browser, isa_explorer, twin_explorer, twins
from sparse_mla.widgets.kernel_diff import kernel_diff, kernel_explorer, rung
from sparse_mla.widgets.page import Page


def test_a_page_is_all_its_parts_in_words_and_in_html() -> None:
    page = Page(("Heading\n<b>&", Page(("alone",)), kernel_diff("base", "ladder/swizzle").parts[0]))
    assert repr(page).startswith("Heading\n<b>&\n\nalone\n\nbase → ladder/swizzle, by unit  [emulated: ")
    html = page._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<p>alone</p>" in html
    assert "<img alt=" in html


def test_a_diff_has_figure_costs_and_source() -> None:
    figure, costs, source = kernel_diff("ladder/packed", "ladder/transposed", "mnemonic").parts
    assert isinstance(figure, Figure)
    assert "most is saved by ds_read_u16 (-256)" in figure.finding
    assert "LDS phases a tile" in repr(costs)
    assert "read_transposed" in str(source)
    assert len(kernel_diff("base", "triton", phase="QK").parts) == 2


def test_a_step_speaks_for_itself() -> None:
    text = repr(rung("packed conversion"))
    assert "v_cvt_scalef32_pk_bf16_fp8" in text
    us = stored_times().query("kernel == 'ladder/packed' and rows == 1").microseconds.iloc[0]
    assert next(line for line in text.splitlines() if line.startswith("us, one whole row")).endswith(f" {us:g}")
    assert re.search(r"v_cvt_f32_fp8_sdwa +192.0 +0.0 +-192.0", text)
    assert re.search(r"^\+.*cvt_pk_bf16_fp8<0>\(low, scale\)", text, re.MULTILINE)
    assert "ladder/swizzle" in text


def test_the_register_shown_is_what_the_debugger_reads() -> None:
    page = isa_browser("base", "state.acc[n] = mfma", instruction=3, wave=2)
    table, figure = page.parts[2:]
    assert isinstance(figure, Figure)
    stopped = debug("base", CASE)
    stopped.wave = 2
    stopped.run_to(int(table.pc[3])).step()  # type: ignore[union-attr]
    first = int(figure.table.columns[1][1:])
    np.testing.assert_array_equal(figure.table.iloc[:, 1].to_numpy(), stopped.vgpr(first, "f32"))


def test_every_counted_instruction_of_triton_is_reached() -> None:
    for n in (2, 40, 90):  # which instructions these are depends on Triton's version: some may be waits or barriers
        shown = isa_browser("triton", "tl.dot(a, b", n, wave=3).parts[-1]
        assert isinstance(shown, Figure) or "names no register; wave 3 has executed" in str(shown), shown


def test_wave_2_never_scores() -> None:
    page = isa_browser("base", "scores[half] = mfma", wave=2)
    assert "wave 2 ends without coming to" in str(page.parts[-1])


def test_scalars_halves_and_what_names_no_register() -> None:
    assert "scalar: one for all lanes" in str(after("base", 5, register="s3", kind="u32"))
    halves = after("base", 5, register="v0", kind="f16")
    assert isinstance(halves, Figure)
    assert list(halves.table.columns) == ["lane", "v0.0", "v0.1"]
    pc = next(pc for pc, one in enumerate(debug("base", CASE).kernel.instructions) if one.mnemonic == "s_barrier")
    assert "names no register" in str(after("base", pc))


def test_twins_stand_beside_each_other() -> None:
    text = repr(twins("acc0 = _dot"))
    assert "tt.dot" in text
    assert "state.acc[n] = mfma_16x16x32(p, v, state.acc[n]);" in text
    with pytest.raises(InputError, match="executes nothing by itself"):
        twins("# phase: softmax")


def test_static_twins_of_the_explorers(capsys: pytest.CaptureFixture[str]) -> None:
    kernel_explorer(static=True)
    isa_explorer(static=True)
    twin_explorer(static=True)
    out = capsys.readouterr().out
    assert "by = unit   (live: unit, phase, mnemonic, line)" in out
    assert "instruction = 0   (live: 0, 1, ..., 63)" in out
