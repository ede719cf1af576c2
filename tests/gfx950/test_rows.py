"""Every instruction row of the emulator against the independent statement of its meaning."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_mla.gfx950.isa import ROWS
from tests.gfx950.harness import FULL, check, dwords, random_words, samples
from tests.gfx950.statements import SALU, STATED, VALU

MASKS = (FULL, 0x0123456789ABCDEF, FULL, 1 << 63, 0)


def test_every_row_is_stated_and_every_statement_is_a_row() -> None:
    assert set(ROWS) == STATED


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.unit == "SALU"])
def test_scalar(name: str) -> None:
    row, rng = ROWS[name], np.random.default_rng(1)
    for i in range(60):
        columns = {x.name: random_words(rng, "u", (dwords(x), 1), only_edges=i < 30).repeat(64, 1) for x in row.operands}
        if i % 4 == 0 and "b" in columns:
            columns["b"][:] = columns["a"][: len(columns["b"])]
        if name == "s_bfe_u32":
            columns["b"] = columns["b"] & 0x1F | columns["b"] % 33 << 16
        check(row, SALU[name], columns, rng, scc=i % 2, exec_mask=MASKS[rng.integers(5)])


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.unit == "VALU" or name == "ds_bpermute_b32"])
def test_vector(name: str) -> None:
    row, rng = ROWS[name], np.random.default_rng(2)
    for i, columns in enumerate(samples(row, rng)):
        imm = int(rng.integers(256)) if name == "v_bitop3_b32" else 4 * i if name == "ds_bpermute_b32" else 0
        modifiers = f"bitop3:{imm:#x}" if name == "v_bitop3_b32" else f"offset:{imm}" if imm else ""
        masks = {x.name: "vcc" if i % 2 else "s" for x in row.operands if x.value == "m"}
        exec_mask = FULL if "swap" in name else MASKS[i % 5]   # the manual does not say what EXEC does to the swaps
        check(row, VALU[name], columns, rng, exec_mask=exec_mask, scc=i % 2, imm=imm, modifiers=modifiers, forms=masks)
