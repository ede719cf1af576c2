"""One LDS access, pass by pass: what was executed, said again by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_mla.analyse import lds as module
from sparse_mla.analyse.lds import INSTRUCTIONS, addresses, lds_access, transposed_read
from sparse_mla.errors import InputError, SparseMlaError
from sparse_mla.gfx950.trace import LDS_PATTERNS
from sparse_mla.plot.lds import passes_figure, runs


@pytest.mark.parametrize(
    "instruction, expression, passes, needed",
    [
        ("ds_read_b32", "4 * lane", 1, 1),
        ("ds_read_b32", "0", 1, 1),  # all lanes want one dword: one bank gives it to all
        ("ds_read_b32", "256 * lane", 64, 1),  # 64 dwords of bank 0
        ("ds_write_b32", "4 * lane", 2, 2),
        ("ds_write_b32", "128 * lane", 64, 2),  # stores go over 32 banks
        ("ds_read_b64", "8 * lane", 2, 2),
        ("ds_read_u16", "8192 * (lane // 16) + 2 * (lane % 16)", 4, 1),  # 16 columns of 2 bytes in each of four rows
        ("ds_read_b128", "16 * lane", 4, 4),
        ("ds_read_b128", "1024 * (lane % 16) + 16 * (lane // 16)", 32, 4),  # 16 rows of 1,024 bytes, four columns
        ("ds_read_b128", "1056 * (lane % 16) + 16 * (lane // 16)", 4, 4),  # padded by 32 bytes; 16 would not do
        ("ds_read_b128", "1024 * (lane % 16) + 16 * (lane // 16 ^ lane % 16)", 4, 4),  # or exchanged by XOR
    ],
)
def test_passes_are_those_of_the_executed_access(instruction: str, expression: str, passes: int, needed: int) -> None:
    frame = lds_access(instruction, expression)
    assert (frame.passes.unique().tolist(), frame.needed.unique().tolist()) == ([passes], [needed])
    assert set(frame.served) == set(range(passes))
    assert set(frame.kind) == {"emulated"}
    # in a pass a bank hands over one dword
    assert (frame.groupby(["served", "bank"]).dword.nunique() == 1).all()
    figure = passes_figure(frame, title="t", source="s")
    assert ("in place of" in figure.finding) == (passes > needed)
    assert len(figure.table) == passes


def test_any_address_agrees_with_execution() -> None:
    """Odd ones too: an access that begins inside a dword touches one more. lds_access compares its passes with those executed."""
    rng = np.random.default_rng(1)
    for a, b, c, d in rng.integers(0, 999, (40, 4)).tolist():
        for instruction in INSTRUCTIONS:
            frame = lds_access(instruction, f"({a} * lane ^ {b} * (lane // {1 + c % 9})) % {64 + d} * {1 + c % 5}")
            assert (frame.groupby("lane").dword.nunique() >= INSTRUCTIONS[instruction]).all()


def test_a_wrong_table_of_phases_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = {"gfx950": LDS_PATTERNS["gfx950"] | {"read128": (64, [lane // 16 for lane in range(64)])}}
    lds_access.cache_clear()
    monkeypatch.setattr(module, "LDS_PATTERNS", patterns)
    with pytest.raises(SparseMlaError, match="passes were executed, the table says"):
        lds_access("ds_read_b128", "512 * (lane // 4 % 2) + 16 * (lane % 4) + 64 * (lane // 8)")
    lds_access.cache_clear()


def test_addresses_are_arithmetic_and_nothing_else() -> None:
    np.testing.assert_array_equal(addresses(" -(~lane) * 4 | 2 "), [(lane + 1) * 4 | 2 for lane in range(64)])
    np.testing.assert_array_equal(addresses("7"), [7] * 64)
    for wrong in ("lane ** 2", "__import__('os')", "lane.x", "lane / 2", "1.5 * lane", "lane // 0", "1 << 2000", "1 << lane", "x",
                  "lane if 1 else 2", "", "(" * 150, "lane +", "9" * 40, "True", "lane\0"):  # fmt: skip
        with pytest.raises(InputError, match="it may hold whole numbers, lane"):
            addresses(wrong)
    for wrong, where in (("-lane", "lane 1 is at byte -1"), ("4000 * lane", "lane 41 is at byte 164000")):
        with pytest.raises(InputError, match=f"{where}; LDS has bytes 0 to 163839"):
            addresses(wrong)


def test_addresses_may_be_given() -> None:
    given = tuple(16 * lane for lane in range(64))
    assert lds_access("ds_read_b128", given).equals(lds_access("ds_read_b128", "16 * lane"))
    for wrong in (given[:-1], tuple(map(float, given)), ((0,) * 64, (0,) * 64)):
        with pytest.raises(InputError, match="give 64 whole numbers"):
            addresses(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="lane 0 is at byte -1"):
        addresses((-1, *given[1:]))


def test_runs() -> None:
    assert runs([5, 1, 2, 3, 9, 8, 1]) == "1-3, 5, 8-9"


def test_a_transposed_read_hands_out_columns() -> None:
    tile = np.random.default_rng(1).integers(0, 65_536, (16, 16))
    expected = [[tile[4 * (lane // 16) + i, lane % 16] for i in range(4)] for lane in range(64)]
    np.testing.assert_array_equal(transposed_read(tile).to_numpy(), expected)
