"""Cases are what they say: DeepSeek-V4's shapes, hostile where they claim to be, and able to tell a wrong answer."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sparse_mla.kernels.case import CASES, Case, DecodeInputs, Segment, attended
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.reference import reference

NAMES = sorted(CASES)


def valid(segment: Segment) -> torch.Tensor:
    """Which entries of the lists (without the overhang) name a slot of the cache."""
    entries = segment.indices[: int(segment.indptr[-1])]
    return (entries >= 0) & (entries < segment.cache.num_slots)


@pytest.mark.parametrize(
    "layer, position, flash, pro",  # entries of main and extra
    [
        ("swa", 0, (1, 0), (1, 0)),
        ("swa", 126, (127, 0), (127, 0)),
        ("swa", 127, (128, 0), (128, 0)),
        ("swa", 10**6, (128, 0), (128, 0)),
        ("csa", 2, (3, 0), (3, 0)),
        ("csa", 3, (4, 1), (4, 1)),
        ("csa", 2047, (128, 512), (128, 512)),
        ("csa", 4095, (128, 512), (128, 1024)),
        ("csa", 10**6, (128, 512), (128, 1024)),
        ("hca", 126, (127, 0), (127, 0)),
        ("hca", 127, (128, 1), (128, 1)),
        ("hca", 999_999, (128, 7812), (128, 7812)),
    ],
)
def test_attended(layer: str, position: int, flash: tuple[int, int], pro: tuple[int, int]) -> None:
    assert (attended("flash", layer, position), attended("pro", layer, position)) == (flash, pro)


def test_the_named_cases_cover_the_model() -> None:
    assert {name.rsplit("-", 1)[0] for name in NAMES} >= {f"{m}-{k}" for m in ("pro", "flash") for k in ("swa", "csa", "hca")}
    assert {case.heads for case in CASES.values()} >= {1, 5, 8, 16, 17, 32, 64, 128}
    assert {(case.main_block, case.extra_block) for case in CASES.values()} >= {(64, 64), (256, 64), (64, 2), (3, 7), (1, 1)}
    assert (CASES["pro-csa-h16"].extra, CASES["pro-hca-1m-h16"].extra) == ((1024,) * 4, (7812,))
    assert all(1 <= case.rows <= 8 for case in CASES.values())


def test_all_cases_together_are_small_enough_to_emulate() -> None:
    groups = {name: -(-case.heads // 16) for name, case in CASES.items()}
    tiles = sum(
        groups[name] * (-(-main // 32) - (-extra // 32))
        for name, case in CASES.items()
        for main, extra in zip(case.main, case.extra_lens, strict=True)
    )
    assert tiles * 2_700 < 60e6  # wave instructions of the base design


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_the_same_every_time(name: str) -> None:
    first, second = CASES[name].inputs(), CASES[name].inputs()
    assert first.scale == second.scale
    for key, tensor in first.tensors().items():
        assert torch.equal(tensor.contiguous().view(torch.uint8), second.tensors()[key].contiguous().view(torch.uint8)), key
    other = replace(CASES[name], seed=1).inputs()
    assert not torch.equal(first.q, other.q)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_read_is_poisoned_and_what_is_read_is_not(name: str) -> None:
    inputs = CASES[name].inputs()
    for segment in inputs.segments.values():
        cache = segment.cache
        read = torch.zeros(cache.num_slots, dtype=torch.bool)
        read[segment.indices[: int(segment.indptr[-1])][valid(segment)].long()] = True
        kv = cache.read(range(cache.num_slots))
        assert torch.equal(kv.isfinite().all(dim=1), read)
        assert not read[0]
        data, scale = cache.read_records((~read).nonzero()[:, 0])
        assert {0x7F, 0xFF} <= set(data[(data[:, :448] & 0x7F == 0x7F).all(1), :448].flatten().tolist())
        parts = (data[:, :448] & 0x7F == 0x7F, scale == 255, kv[~read, 448:].isnan())
        kinds = {tuple(kind) for kind in torch.stack([part.all(1) for part in parts], 1).tolist()}
        assert kinds == {(True, True, True), (True, False, False), (False, True, False), (False, False, True)}
        assert segment.indices.numel() > int(segment.indptr[-1])
        assert (segment.indices[int(segment.indptr[-1]) :] == 0).all()
    assert inputs.q.isfinite().all()


ANSWERING = [name for name in NAMES if CASES[name].slots != "invalid"]


def differs(other: DecodeInputs, inputs: DecodeInputs) -> bool:
    return compare(reference(other).out, reference(inputs).out).rel_l2 > 0.02


@pytest.mark.parametrize("name", [name for name in ANSWERING if CASES[name].sink != "none"])
def test_the_answer_depends_on_the_sink(name: str) -> None:
    inputs = CASES[name].inputs()
    assert inputs.attn_sink is not None
    assert differs(replace(inputs, attn_sink=None), inputs)
    assert differs(replace(inputs, attn_sink=inputs.attn_sink + math.log(2)), inputs)  # added twice


Edit = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
WRONG_READS: dict[str, Edit] = {
    "scales of the next group": lambda data, scale: (data, torch.cat([scale[:, :7].roll(1, 1), scale[:, 7:]], dim=1)),
    "scales of the next token": lambda data, scale: (data, scale.roll(1, 0)),
    "a group lost": lambda data, scale: (data.index_fill(1, torch.arange(64, 128), 0), scale),
    "RoPE lost": lambda data, scale: (data.index_fill(1, torch.arange(448, 576), 0), scale),
}


@pytest.mark.parametrize("name", [name for name in ANSWERING if sum(CASES[name].main + CASES[name].extra_lens) < 1000])
def test_the_answer_depends_on_every_other_part_of_the_input(name: str) -> None:
    """A kernel that ignores a part, or takes the neighbour's, is far outside 3e-3."""
    case, inputs = CASES[name], CASES[name].inputs()
    for wrong, edit in WRONG_READS.items():
        other = case.inputs()
        for segment in other.segments.values():
            cache = segment.cache
            readable = torch.arange(cache.num_slots)[cache.read(range(cache.num_slots)).isfinite().all(1)]
            cache.write_records(readable, *edit(*cache.read_records(readable)))
        assert differs(other, inputs), wrong
    assert differs(replace(inputs, scale=inputs.scale * 1.2), inputs)
    assert differs(replace(inputs, q=inputs.q.flip(2)), inputs)
    assert inputs.heads == 1 or differs(replace(inputs, q=inputs.q.roll(1, dims=1)), inputs)
    assert not sum(case.extra_lens) or differs(replace(inputs, extra=None), inputs)


def test_rows_of_a_request_overlap() -> None:
    extra = CASES["pro-csa-mtp3-h16"].inputs().segments["extra"]
    rows = [extra.row(row).tolist() for row in range(8)]
    assert rows[1][:-1] == rows[0][1:]
    assert rows[1][-1] not in rows[0]
    assert rows[4] != rows[3][: len(rows[4])]


@pytest.mark.parametrize("name", ["mixed-invalid", "ragged-invalid"])
def test_mixed_invalid_slots(name: str) -> None:
    for segment in CASES[name].inputs().segments.values():
        slots, good = segment.cache.num_slots, valid(segment)
        assert set(segment.indices[: len(good)][~good].tolist()) == {-1, slots, slots + 1, -slots, 2**31 - 1, -(2**31)}
        assert good.any()


def test_invalid_tiles_come_first_and_later() -> None:
    for segment in CASES["invalid-tiles"].inputs().segments.values():
        good = valid(segment)[: int(segment.indptr[1])]
        assert not good[:32].any()
        assert good[32:64].all()
        assert not good[64:].any()


@pytest.mark.parametrize("name", ["all-invalid", "all-invalid-no-sink", "infinite-sink-invalid"])
def test_all_invalid_rows_have_entries(name: str) -> None:
    for segment in CASES[name].inputs().segments.values():
        assert int(segment.indptr[-1]) > 0
        assert not valid(segment).any()


def test_traits_of_single_cases() -> None:
    assert len(set(CASES["duplicates"].inputs().main.row(0).tolist())) <= 33 < len(CASES["duplicates"].inputs().main.row(0))
    assert (0, 0) in zip(CASES["empty-rows"].main, CASES["empty-rows"].extra_lens, strict=True)
    assert sum(CASES["empty-extra"].inputs().segments["extra"].lens) == 0
    assert CASES["odd-blocks"].inputs().main.cache.layout.block_stride % 16 == 8
    assert CASES["pro-csa-h32"].inputs().main.cache.layout.block_stride == 149_760  # padded
    sink = CASES["infinite-sink"].inputs().attn_sink
    assert sink is not None
    assert torch.isposinf(sink).any()
    assert torch.isneginf(sink).any()
    assert sink.isfinite().any()


def test_a_strided_q_lies_between_nan() -> None:
    q = CASES["strided-q"].inputs().q
    assert q.stride(1) > q.stride(0) > 512
    assert q.as_strided((32,), (1,), q.storage_offset() - 32).isnan().all()


def test_a_dominating_token_moves_the_maximum_late() -> None:
    inputs = CASES["dominating"].inputs()
    tokens = torch.cat([part.cache.read(part.row(0)) for part in inputs.segments.values()]).double()
    logits = inputs.scale * inputs.q[0].double() @ tokens.T
    assert logits.max() > 120
    assert logits.min() < -120
    assert logits[-1].topk(6).indices.sort().values.tolist() == [40, 80, 120, 160 + 80, 160 + 160, 160 + 240]
    assert logits[-1, 40] + 20 < logits[-1, 80] < logits[-1, 120] - 20  # ever larger, each in a later tile


def test_making_and_naming() -> None:
    case = Case.make(heads=16, rows=4, main=128, extra=1024, seed=7)
    assert (case.heads, case.rows, case.main, case.extra, case.seed) == (16, 4, (128,) * 4, (1024,) * 4, 7)
    assert Case.make(extra=0).inputs().extra is None
    assert Case.named("heads-17") is CASES["heads-17"]
    assert str(CASES["pro-csa-h32"]) == "pro-csa-h32: 2 rows x 32 heads, main 128, extra 1024"
