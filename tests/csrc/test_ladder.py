"""The ladder: every version is right on every case, the sanitizer is silent, and each step gives what its text claims."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch

from sparse_mla.analyse.ladder import STEPS, counts, counts_table, per_tile, renew, times
from sparse_mla.build import csrc_dir
from sparse_mla.errors import InputError
from sparse_mla.execute.run import expected, run
from sparse_mla.execute.timing import time_kernel, traced_launches
from sparse_mla.files import PACKAGE
from sparse_mla.gfx950.accesses import accesses
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.catalogue import CATALOGUE

# base and product have tests of their own, for all cases too
OURS = [kernel for kernel in STEPS.values() if kernel.startswith("ladder/")]
SPLITS = [(kernel, split_k) for kernel in OURS for split_k in CATALOGUE[kernel].splits]
# For every split. These have what takes a path of its own: whole, partial and empty tiles, both segments and none, invalid slots
# of all kinds, two head blocks one of which is nearly empty, records aligned to 8 bytes only.
CHECKED = ("ragged-invalid", "heads-17", "odd-blocks", "empty-rows")
PAGE = PACKAGE.parent / "docs" / "ladder.md"


@pytest.fixture(scope="module")
def ladder() -> pd.DataFrame:
    return counts().set_index("version")


@pytest.mark.parametrize("name", CASES)
def test_every_version_decodes_every_case(name: str) -> None:
    case = CASES[name]
    for kernel, split_k in SPLITS:
        if split_k in (1, 4):
            result = run(kernel, case, split_k=split_k, sanitize=True)
            assert not result.findings, (kernel, split_k, "\n".join(map(str, result.findings)))
            assert result.comparison.rel_l2 < 3e-3, (kernel, split_k, str(result.comparison))  # inf where not finite
            torch.testing.assert_close(result.lse.double(), expected(case).lse, rtol=2e-3, atol=2e-3, msg=f"{kernel} lse")


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.parametrize("kernel, split_k", SPLITS)
def test_the_sanitizer_finds_nothing(kernel: str, split_k: int, name: str) -> None:
    result = run(kernel, CASES[name], split_k=split_k, sanitize=True)
    assert result.comparison.rel_l2 < 3e-3
    assert not result.findings, "\n".join(map(str, result.findings))


def test_each_source_says_what_it_is_about() -> None:
    """And each rung of the catalogue has its own, numbered in the order of the steps."""
    numbers = [f"{step:02}" for step, kernel in enumerate(STEPS.values(), 1) if kernel in OURS]
    sources = sorted((csrc_dir() / "ladder").glob("*.hip"))
    assert [path.name[:2] for path in sources] == numbers
    assert [CATALOGUE[kernel].sources[0] for kernel in OURS] == [f"ladder/{path.name}" for path in sources]
    for path in sources:
        prose = path.read_text().split("#if")[0]
        assert re.match(rf"// Step {int(path.name[:2])}, .*[:.]", prose)
        assert all(f"// The {part}." in prose for part in ("idea", "layout", "price", "gain")), path.name


def test_scores_on_the_matrix_unit_serve_16_heads(ladder: pd.DataFrame) -> None:
    assert ladder.instructions["scalar"] > 8 * ladder.instructions["MFMA"] > 24 * ladder.instructions["LDS"]


def test_from_the_swizzle_on_no_access_to_lds_conflicts(ladder: pd.DataFrame) -> None:
    assert (ladder.conflicts["LDS":"four waves"] > 3000).all()
    assert (ladder.conflicts["no bank conflicts":] == 0).all()
    assert ladder.lds["no bank conflicts"] < ladder.lds["four waves"] / 4


@pytest.mark.parametrize("kernel", list(STEPS.values())[4:8])
def test_reads_of_16_bytes_take_four_phases(kernel: str) -> None:
    """64 lanes of 16 bytes over 64 banks of 4: four phases at best, outside the loop too. (Later versions merge waves there.)"""
    [launched] = traced_launches(kernel, Case.make(rows=1, main=128, extra=128).inputs(), 1)
    trace = launched.trace
    assert trace is not None
    names = [ins.mnemonic for ins in launched.kernel.instructions]
    every = accesses(trace)
    reads = zip(every.pc, every.phases, every.extra, strict=True)
    found = {(names[pc], phases, extra) for pc, phases, extra in reads if names[pc].startswith("ds_read_b")}
    assert {x for x in found if x[0] == "ds_read_b128"} == {("ds_read_b128", 4, 0)}
    assert all(extra == 0 for _, _, extra in found)


def test_packed_conversion_saves_the_products_and_the_roundings(ladder: pd.DataFrame) -> None:
    """A tile has 32 * 448 fp8: 64 lanes convert one at a time, multiply two and round two; then only two at a time."""
    before, after = 32 * 448 / 64 * (1 + 1 / 2 + 1 / 2), 32 * 448 / 64 / 2
    saved = ladder.instructions["no bank conflicts"] - ladder.instructions["packed conversion"]
    assert saved == pytest.approx(before - after, rel=0.2)
    assert ladder.lds["packed conversion"] == ladder.lds["no bank conflicts"]


def test_transposed_reads_replace_eight_by_two(ladder: pd.DataFrame) -> None:
    """PV has 4 * 8 operands a tile: 8 reads of 2 bytes (a phase each) become 2 of 8 (two each), and need no v_perm."""
    assert ladder.lds["packed conversion"] - ladder.lds["transposed reads"] == 32 * (8 * 1 - 2 * 2)
    assert ladder.instructions["packed conversion"] - ladder.instructions["transposed reads"] >= 32 * (8 - 2 + 4)


def test_barriers_go(ladder: pd.DataFrame) -> None:
    assert (ladder.barriers["four waves":"transposed reads"] == 3).all()
    assert ladder.barriers["direct K"] == 1
    assert (ladder.barriers["private tiles":"split-K"] == 0).all()
    assert 0.5 <= ladder.barriers["product"] < 0.6  # two for 128 tokens, and one where a maximum rises


def test_private_tiles_do_the_softmax_once(ladder: pd.DataFrame) -> None:
    assert ladder.instructions["private tiles"] < ladder.instructions["direct K"] / 2
    assert ladder.instructions["product"] <= 500 < ladder.instructions["prefetch"]


def test_room(ladder: pd.DataFrame) -> None:
    assert ladder.workgroups["four waves":"direct K"].tolist() == [3] * 5
    assert ladder.workgroups["private tiles":].tolist() == [1] * 4
    assert (ladder.vgprs["private tiles":"split-K"] > 256).all()
    assert ladder.waves["product"] == 8
    assert ladder.vgprs["product"] <= 256  # two waves a SIMD


def test_each_step_is_faster_for_one_row() -> None:
    """Left whole; so split-K gains nothing, and is not asked. None of it is measured."""
    kernels = [kernel for kernel in STEPS.values() if kernel != "ladder/split"]
    case = Case.make(rows=1)
    taken = [time_kernel(kernel, case, split_k=1, band=False).microseconds for kernel in kernels]
    assert taken == sorted(taken, reverse=True)


def test_the_fastest_split_is_taken() -> None:
    frame = times(["ladder/split"], [1])
    assert frame.split_k.tolist() == [1, 16]
    assert frame.microseconds[1] < frame.microseconds[0] / 2
    assert frame.microseconds.between(frame.low, frame.high).all()
    assert frame.kind.eq("modelled").all()


def test_the_page_has_the_counts_of_these_kernels() -> None:
    page = PAGE.read_text("utf-8")
    assert renew(page, "counts", counts_table()) == page, "run python -m sparse_mla.analyse.ladder docs/ladder.md"


def test_a_page_without_a_place_for_the_table() -> None:
    with pytest.raises(InputError, match="lacks a place"):
        renew("no place", "counts", "| table |")


def test_what_is_counted_is_the_difference_of_two_runs() -> None:
    """Of a kernel that is known: the base design meets three times a tile, and multiplies 32 times each for QK and PV."""
    assert per_tile("base") == {"instructions": 2044.0, "barriers": 3.0, "lds": 4810.0, "conflicts": 3760.0}
