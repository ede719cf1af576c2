"""Sums of counts, on a small frame whose answers can be done by hand."""

import pandas as pd

from sparse_mla.analyse.counts import by_one_wave, by_unit, difference, hottest_lines
from sparse_mla.build import csrc_dir

FRAME = pd.DataFrame(
    [
        ("k", 0, "VALU", "decode/base_tile.h", 1, 0, 5),
        ("k", 0, "VALU", "decode/base_tile.h", 1, 1, 5),
        ("k", 1, "MFMA", "elsewhere.h", 7, 0, 9),
        ("k", 1, "MFMA", "elsewhere.h", 7, 1, 0),
        ("k", 2, "ODD", "decode/base_tile.h", 1, 0, 0),
        ("k", 2, "ODD", "decode/base_tile.h", 1, 1, 2),
    ],
    columns=["kernel", "pc", "unit", "file", "line", "wave", "count"],
)


def test_by_unit_keeps_every_wave_and_unit_known_or_not() -> None:
    assert by_unit(FRAME).to_dict() == {"MFMA": {0: 9, 1: 0}, "VALU": {0: 5, 1: 5}, "ODD": {0: 0, 1: 2}}


def test_by_one_wave_is_what_no_other_wave_executed() -> None:
    assert by_one_wave(FRAME, 0)["pc"].tolist() == [1]
    assert by_one_wave(FRAME, 1)["pc"].tolist() == [2]


def test_difference_matches_instruction_and_wave() -> None:
    shuffled = FRAME.assign(count=FRAME["count"] * 3).sample(frac=1, random_state=1)
    assert difference(shuffled, FRAME, 2)["count"].sum() == FRAME["count"].sum()


def test_hottest_lines_carry_the_text_of_the_source() -> None:
    lines = hottest_lines(FRAME, 2)
    assert lines["count"].tolist() == [12, 9]
    assert lines["share"].sum() == 1
    assert lines["source"][0] == (csrc_dir() / "decode/base_tile.h").read_text().splitlines()[0].strip()
    assert lines["source"][1] == ""
