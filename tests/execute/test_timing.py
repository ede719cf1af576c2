"""Modelled times of the base kernel: what they are made of, their trends beside published ones, and the table of both."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from sparse_mla.cli import main
from sparse_mla.errors import InputError
from sparse_mla.execute.hip import hip
from sparse_mla.execute.published import PAIRS, beside_published, published
from sparse_mla.execute.timing import TimedResult, own_slots, time_kernel
from sparse_mla.gfx950.timing import CAUSES, device
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.reference import reference


@lru_cache(maxsize=64)
def microseconds(rows: int, split_k: int = 1, main_len: int = 128, extra: int = 128) -> float:
    case = Case.make(rows=rows, main=main_len, extra=extra)
    return time_kernel("base", case, split_k=split_k, band=False).microseconds


@pytest.mark.parametrize("name", ["pro-csa-mtp3-h16", "pro-csa-early-h16", "mixed-invalid", "duplicates", "flash-swa-h8"])
def test_own_slots_ask_for_the_same_answer_of_other_slots(name: str) -> None:
    case = Case.named(name)
    shared = case.inputs()
    own = own_slots(shared, case.rows_per_request)
    torch.testing.assert_close(reference(own).out, reference(shared).out, equal_nan=True)
    requests = -(-case.rows // case.rows_per_request)
    seen: list[set[int]] = [set() for _ in range(requests)]
    for row in range(case.rows):
        slots = own.main.row(row)
        valid = slots[(slots >= 0) & (slots < own.main.cache.num_slots)].tolist()
        assert len(valid) == int(((shared.main.row(row) >= 0) & (shared.main.row(row) < shared.main.cache.num_slots)).sum())
        seen[row // case.rows_per_request] |= set(valid)
    assert sum(len(x) for x in seen) == len(set().union(*seen)), "no slot of two requests"
    assert own.main.cache.num_slots == requests * shared.main.cache.num_slots


def test_a_timed_decode_says_what_it_is() -> None:
    result = time_kernel("base", Case.make(rows=2, extra=0), split_k=2)
    assert result.kind == "modelled"
    assert result.band[0] < result.microseconds < result.band[1]
    assert set(result.timing.split) == set(CAUSES)
    assert sum(result.timing.split.values()) == pytest.approx(1)
    names = [one.launched.kernel.name for one in result.timing.kernels]
    assert names == ["mla_decode_split_partial_f32", "mla_decode_split_reduce_f32"]
    given = json.loads(json.dumps(result.as_dict()))
    assert [x["workgroups"] for x in given["launches"]] == [4, 32]
    assert given["microseconds"] >= sum(x["microseconds"] for x in given["launches"]), "and the gap between them"
    assert "modelled" in str(result)
    assert "modelled" in result._repr_html_()


def test_counters_of_a_decode_are_what_it_must_read() -> None:
    """Each row reads 128 tokens of 584 bytes, wherever they lie: at least 5 lines each, at most 6 and one of scales."""
    rows = 4
    result = time_kernel("base", Case.make(rows=rows, extra=0), split_k=1, band=False)
    counters = result.timing.kernels[0].counters
    assert counters["SQ_WAVES"] == 4 * rows
    assert counters["SQ_INSTS"] == result.timing.kernels[0].launched.wave_instructions
    assert 5 * 128 * rows <= counters["TCC_MISS_sum"] <= 7 * 128 * rows + 200 * rows
    assert counters["TCC_EA0_WRREQ_64B_sum"] >= rows * 16 * 512 * 2 / 64, "the output, once"
    assert counters["TCC_EA0_WRREQ_64B_sum"] <= 1.1 * rows * 16 * 512 * 2 / 64
    one = time_kernel("base", Case.make(rows=rows, extra=0), split_k=1, band=False, shared=True).timing.kernels[0].counters
    assert one["TCC_MISS_sum"] <= counters["TCC_MISS_sum"]


def test_rows_are_free_until_every_cu_has_one() -> None:
    assert microseconds(256) == pytest.approx(microseconds(4), rel=0.05)
    assert microseconds(320) > 1.15 * microseconds(256), "the knee: some CUs have two"
    assert microseconds(512) < 1.1 * microseconds(320), "then all have"


def test_beyond_saturation_twice_the_rows_take_twice_the_time() -> None:
    once, twice = (microseconds(rows, main_len=64, extra=0) for rows in (768, 1536))  # 768: as many workgroups as fit
    assert twice == pytest.approx(2 * once, rel=0.15)


def test_splitting_helps_few_rows_and_hurts_many() -> None:
    few = [microseconds(4, split, extra=1024) for split in (1, 2, 4, 8, 16)]
    assert few == sorted(few, reverse=True)
    assert 5 < few[0] / few[-1] < 16, "published: eightfold at up to 16 rows"
    assert microseconds(256, 4, extra=0) > microseconds(256, 1, extra=0), "parts of one tile cost more to merge than they save"


def test_what_if_a_constant_were_another() -> None:
    case, on = Case.make(rows=8, extra=256), device("mi355x")
    was = time_kernel("base", case, split_k=1, band=False).microseconds
    for faster in (on.changed(mall_hit=400), on.changed(clock=2.4e9), on.changed(tlb_miss=0)):
        assert time_kernel("base", case, split_k=1, band=False, device=faster).microseconds < was
    cold = time_kernel("base", case, split_k=1, band=False, device=on.changed(warm=0)).microseconds
    assert cold > was, "from HBM instead of the MALL"


def test_what_cannot_be_timed_is_refused() -> None:
    with pytest.raises(InputError, match="no device 'mi999'"):
        time_kernel("base", Case.make(rows=1), device="mi999")
    with pytest.raises(InputError, match="split_k is 3"):
        time_kernel("base", Case.make(rows=1), split_k=3)
    with pytest.raises(InputError, match="there is no kernel"):
        time_kernel("bass", Case.make(rows=1))
    with pytest.raises(InputError, match="nothing published"):
        beside_published("bass")


def test_the_table_beside_published_times() -> None:
    asked: list[Any] = []

    def timed(kernel: str, case: Case, **options: Any) -> TimedResult:
        asked.append((kernel, case.rows, case.heads, case.main[0], case.extra_lens[0], options["split_k"]))
        return time_kernel(kernel, Case.make(rows=1, extra=0), split_k=2, band=False)

    table = beside_published("base", (4, 512), timed=timed)
    assert asked == [("base", rows, 16, 128, 1024, split) for split in (1, "auto") for rows in (4, 512)]
    assert [line["published_us"] for line in table] == [277, 860, 35, 432]
    for line in table:
        assert line["modelled/published"] == pytest.approx(line["modelled_us"] / line["published_us"], abs=0.02)
    assert len(published(PAIRS["base"][0][1])) == len(published(PAIRS["base"][1][1])) == 9


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["time", "base", "--rows", "2", "--extra", "0", "--split-k", "1", "--json"]) == 0
    given = json.loads(capsys.readouterr().out)
    assert given["kind"] == "modelled"
    assert given["low"] < given["microseconds"] < given["high"]
    assert set(given["split"]) == set(CAUSES)
    assert main(["time", "base", "--device", "mi999"]) == 2
    assert "mi999" in capsys.readouterr().err


STRIDED = """#include <hip/hip_runtime.h>
__global__ void copy(const float* in, float* out, int stride) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[i * stride];
}
"""


def test_a_kernel_of_ones_own() -> None:
    """A copy that reads a line a lane takes longer than one that reads whole lines, and reads 32 times as many."""
    copy, n, given = hip(STRIDED).copy, 1 << 17, np.zeros(1 << 22, np.float32)
    near, far = (copy.time(n // 256, 256, given, np.zeros(n, np.float32), stride, band=False) for stride in (1, 32))
    assert near.low == near.microseconds < far.microseconds
    reads = [x.kernels[0].counters["TCP_TCC_READ_REQ_sum"] for x in (near, far)]
    assert reads == [n * 4 // 128, n]
    assert near.kernels[0].counters["TCC_EA0_WRREQ_64B_sum"] == n * 4 // 64
