"""A tile's code: counts by line and meaning, two kernels' difference, and a Triton statement's way to machine code."""

from __future__ import annotations

import pandas as pd
import pytest

from sparse_mla.analyse import twin
from sparse_mla.analyse.ladder import STEPS, about, per_tile, stored_times
from sparse_mla.analyse.tile_code import BY, cost_table, functions, listing, meaning, source_diff, tile_code, tile_difference
from sparse_mla.build import csrc_dir
from sparse_mla.errors import InputError


@pytest.mark.parametrize("by", BY)
def test_a_difference_adds_up_to_that_of_the_tiles(by: str) -> None:
    rows = tile_difference("base", "ladder/swizzle", by)
    assert rows.before.sum() == per_tile("base")["instructions"]
    assert rows.after.sum() == per_tile("ladder/swizzle")["instructions"]
    assert (rows.difference == rows.after - rows.before).all()


def test_the_products_of_pv_belong_to_the_line_that_asks_for_them() -> None:
    """8 output tiles for each of four waves, inlined from another file; QK's 32 are wave 0's alone."""
    found = listing("base", "state.acc[n] = mfma")
    text = (csrc_dir() / "decode/base_tile.h").read_text().splitlines()
    assert "state.acc[n] = mfma" in text[int(found["where"][0].split(":")[1]) - 1]
    assert found.text.str.startswith("v_mfma").all()
    assert found["count"].tolist() == [4.0] * 8
    assert listing("base", found["where"][0]).equals(found)
    assert tile_code("base").query("phase == 'QK' and unit == 'MFMA'").hit.tolist().count(1.0) == 32


def test_what_is_not_there_is_refused_and_named() -> None:
    with pytest.raises(InputError, match=r"no instruction of a line 'nowhere'; .*base_tile\.h:\d+"):
        listing("base", "nowhere")
    with pytest.raises(InputError, match="unit, phase, mnemonic, line"):
        tile_difference("base", "product", "colour")
    with pytest.raises(InputError, match="no tile of 'basic'"):
        tile_code("basic")
    with pytest.raises(InputError, match="no line of _attend"):
        twin.statement_named("import")
    with pytest.raises(InputError, match="tells no step"):
        about("triton")


def test_the_diff_of_a_step_is_the_function_that_it_changes() -> None:
    assert "read_transposed" in functions("ladder/transposed")["accumulate"]
    diff = source_diff("ladder/packed", "ladder/transposed").splitlines()
    assert {line.split()[2] for line in diff if line.startswith("+++")} == {"accumulate", "kernel"}
    assert any(line.startswith("-") and "at<bf16>(lds.kv" in line for line in diff)
    assert source_diff("base", "base") == ""


def test_meanings_are_those_of_the_instruction_set() -> None:
    assert meaning("v_add_u32_e32") == "d = a + b"
    assert "transposed" in meaning("ds_read_b64_tr_b16")
    assert "d = a b + c" in meaning("v_mfma_f32_16x16x32_bf16")
    assert meaning("v_unheard_of") == ""
    codes = [tile_code(kernel) for kernel in ("base", "triton", "product")]
    assert not pd.concat(codes).query("hit > 0").mnemonic.map(meaning).str.startswith(("@", " ")).any()


def test_each_step_tells_its_idea_and_has_a_stored_time() -> None:
    times = stored_times()
    assert set(times.kernel) == set(STEPS.values())
    assert (times.low < times.microseconds).all()
    assert (times.microseconds < times.high).all()
    for kernel in STEPS.values():
        assert {"idea", "layout", "price"} <= set(about(kernel))


def test_a_triton_statement_has_its_operations_and_instructions() -> None:
    line = twin.statement_named("score = _dot(q0")
    assert twin.statements()[line].startswith("score = _dot(q0")
    operations = twin.ttgir().query("statement == @line").op.tolist()
    assert [op for op in operations if op != "scf.yield"] == ["tt.trans", "ttg.local_alloc", "ttg.local_load", "tt.dot"]
    code = twin.triton_code()
    assert code[(code.statement == line) & (code.unit == "MFMA")].hit.sum() == 32  # 8 a wave, in all four
    assert "warpsPerCTA = [4, 1]" in twin.layouts()["mma1"]
    assert cost_table("triton").loc["waves of a workgroup", "triton"] == "4"
