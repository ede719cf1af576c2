"""The gate for a changed kernel: the design itself passes, and each way to be worse fails in the row that is its own."""

from __future__ import annotations

import pandas as pd
import pytest

from sparse_mla.analyse.gate import changed, design, gate, part, registers
from sparse_mla.analyse.ladder import per_tile
from sparse_mla.errors import InputError

ONE = ("ragged-invalid",)
STORE = "out[2 * i] = dequantise(raw[i][0], raw[i][1], scale);"


def failing(table: pd.DataFrame) -> list[str]:
    return list(table[table.verdict == "fails"].check)


def test_the_design_passes_and_costs_what_the_ladder_counts() -> None:
    table = gate(design(), cases=ONE).set_index("check")
    assert (table.verdict == "ok").all()
    tile = per_tile("base")
    assert (table.now["wave instructions"], table.now["LDS passes"]) == (tile["instructions"], tile["lds"])
    assert table.now["workgroups a CU"] == 3
    assert table.kind["microseconds"] == "modelled"


@pytest.mark.parametrize(
    "old, new, fails, said",
    [
        ("log_sum_exp(state.max, state.sum)", "log_sum_exp(state.max, 2 * state.sum)", "case ragged-invalid", "lse is not"),
        (
            "valid ? scores[half][r] * scale_log2 : -__builtin_inff()",
            "scores[half][r] * scale_log2",
            "case ragged-invalid",
            "out[row",
        ),
        ("    __syncthreads();\n    if (wave == 0)", "    if (wave == 0)", "case ragged-invalid", "lds"),
        (
            "const bool valid = slot >= 0 && slot < segment.num_slots;",
            "const bool valid = true;",
            "case ragged-invalid",
            "outside",
        ),
        ("int valid[TILE_TOKENS];", "int valid[TILE_TOKENS + 2000];", "workgroups a CU", "at least 3"),
        (STORE, f'{STORE}\n      asm volatile("s_nop 0");', "wave instructions", "at most"),
        ("struct Online {", "struct Online }", "compiles", "source.hip:"),
    ],
)
def test_what_is_worse_fails_where_it_is_worse(old: str, new: str, fails: str, said: str) -> None:
    assert old in design()
    table = gate(design().replace(old, new), {"LDS bytes": 2}, cases=ONE)
    assert failing(table)[0] == fails, table
    row = table[table.check == fails].iloc[0]
    assert said in f"{row.now} {row.limit}"


def test_a_goal_asks_for_less() -> None:
    assert failing(gate(design(), {"LDS passes": 0.9}, cases=ONE)) == ["LDS passes"]
    with pytest.raises(InputError, match=r"goals are of wave instructions.*, not speed"):
        gate(design(), {"speed": 0.5})


def test_an_answer_takes_the_place_of_one_part_and_has_its_own_lines() -> None:
    struct = part(design(), "struct Shared")
    assert struct.startswith("struct Shared {\n")
    assert struct.endswith("};\n")
    assert changed("struct Shared", ...) == design()
    assert changed("struct Shared", struct).count("int valid[TILE_TOKENS];") == 1
    assert "answer:2:" in gate(changed("struct Shared", "struct Shared {\n  wrong;\n};"), cases=ONE).now[0]
    line = design().splitlines().index("struct Online {") + 1
    text = changed("struct Shared", struct.replace("int valid", "float scores2[1];\n  int valid")).replace(
        "struct Online {", "struct Online }"
    )
    assert f"source.hip:{line}:" in gate(text, cases=ONE).now[0]
    with pytest.raises(InputError, match="begins 0 functions"):
        part(design(), "struct Nothing")


def test_more_registers_cost_nothing_until_a_workgroup_no_longer_fits_but_the_budget_says_so_at_once() -> None:
    table = registers((0, 4, 10, 40)).set_index("more")
    most = 512 // 3 // 8 * 8  # of a lane, for three waves a SIMD, in eights
    assert table.VGPRs[40] > most >= table.VGPRs[10] == table.VGPRs[0] + 10
    assert list(table["workgroups a CU"]) == [3, 3, 3, 2]
    assert list(table.gate) == ["ok", "ok", "ok", "fails"]
    assert list(table.budget) == ["ok", "ok", "worse", "worse"]


def test_heads_that_are_missing_cost_a_tile_as_much_as_those_that_are_there() -> None:
    one, sixteen, more = (per_tile("base", heads=heads) for heads in (1, 16, 17))
    assert one == sixteen
    assert more == {name: 2 * value for name, value in sixteen.items()}
