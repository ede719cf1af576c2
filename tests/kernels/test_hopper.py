"""The Hopper decode: its arguments, its plan and its code's compilation here; its numbers where there is a Hopper GPU."""

from itertools import product

import pytest
import torch

from sparse_mla.errors import InputError
from sparse_mla.execute import cuda_device
from sparse_mla.execute.cuda_device import decode
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.hopper import SHAPES, Plan, check, defines, plan
from sparse_mla.kernels.reference import reference

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9


@pytest.mark.parametrize("rows, extra, heads", product((1, 4, 64, 256), (0, 512, 2048), (1, 5, 16, 17, 64, 128)))
def test_a_plan_fits_its_problem(rows: int, extra: int, heads: int) -> None:
    cut = plan([128] * rows, [extra] * rows if extra else None, heads)
    assert cut.head_block in SHAPES
    assert cut.head_block == 16 or cut.head_block < 2 * heads  # a smaller block would hold as many
    assert cut.splits < 2 * (2 + extra // 64)


def test_few_rows_are_split_and_many_are_not() -> None:
    assert plan([128], [1024], 16).splits > 8
    assert plan([128] * 256, [1024] * 256, 16).splits == 1
    assert plan([0], None, 16).splits == 1


def test_a_plan_does_not_split_beyond_what_runs_at_a_time() -> None:
    for rows, multiprocessors in product((1, 2, 4, 8, 16, 32, 64), (132, 66)):
        cut = plan([128] * rows, [1024] * rows, 16, multiprocessors)
        assert rows <= cut.resident(multiprocessors)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (([128], [1, 2], 16), "1 rows and extra_lens 2"),
        (([], None, 16), "at least one"),
        (([128], None, 0), "heads is 0"),
        (([-1], None, 16), r"\[-1\]"),
    ],
)
def test_a_plan_refuses(arguments: tuple[list[int], list[int] | None, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plan(*arguments)


@pytest.mark.parametrize("block, splits", [(48, 1), (16, 0), (16, 3), (16, 32)])
def test_a_plan_that_cannot_be(block: int, splits: int) -> None:
    with pytest.raises(InputError, match=f"head_block {block} and {splits} splits"):
        Plan(block, splits)


def test_refusals() -> None:
    inputs = Case.make(16, 2, 64, 0).inputs()
    good = torch.empty_like(inputs.q)
    check(inputs, good, None)
    wide = torch.empty(2, 16, 1024, dtype=torch.bfloat16)[:, :, ::2]
    for out, lse, said in (
        (good.float(), None, "out is torch.float32"),
        (good[:1], None, "out is"),
        (wide, None, "it must be 1"),
        (good, torch.empty(2, 16, dtype=torch.float64), "lse is torch.float64"),
        (good, torch.empty(16, 2).T, "must be contiguous"),
    ):
        with pytest.raises(InputError, match=said):
            check(inputs, out, lse)
    with pytest.raises(InputError, match="needs a Hopper GPU"):
        decode(inputs, Plan(16, 1))


@pytest.mark.parametrize(
    "name, cut", [("pro-csa-h16", Plan(16, 16)), ("odd-blocks", Plan(32, 1)), ("flash-csa-h64", Plan(64, 2))]
)
def test_the_kernel_compiles_without_a_gpu(name: str, cut: Plan) -> None:
    try:
        cuda_device.bindings()[1].nvrtcVersion()
    except Exception as missing:  # by the bindings' version another one
        pytest.skip(f"needs NVRTC: {missing}")
    code = cuda_device.compiled(cut.source, defines(CASES[name].inputs(), cut))
    assert code.read_bytes()[:4] == b"\x7fELF"


def test_it_is_compiled_for_where_records_lie() -> None:
    odd, even = (defines(CASES[name].inputs(), Plan(16, 1)) for name in ("odd-blocks", "flash-csa-h16"))
    assert (odd["ALIGNED"], odd["MAIN_BLOCK"], odd["EXTRA_STRIDE"]) == (0, 3, 7 * 584)
    assert (even["ALIGNED"], even["MAIN_BLOCK"], even["MAIN_STRIDE"]) == (1, 64, 65 * 576)


@pytest.mark.skipif(not HOPPER, reason="needs a Hopper GPU: scripts/bench_decode_gpu.py check runs all cases there")
@pytest.mark.parametrize("name, cut", product(sorted(CASES), (Plan(16, 1), Plan(16, 4), Plan(32, 2), Plan(64, 1))), ids=str)
def test_on_a_gpu(name: str, cut: Plan) -> None:
    inputs = CASES[name].inputs()
    got = compare(decode(inputs.to("cuda"), cut).cpu(), reference(inputs).out)
    assert got.finite
    assert got.rel_l2 < 4e-3
