"""The Hopper decode: its arguments, its plan and its code's compilation here; its numbers where there is a Hopper GPU."""

import importlib
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch

from sparse_mla.errors import InputError
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.hopper import MAX_SPLITS, SHAPES, Plan, Workspace, check, decode, plan
from sparse_mla.kernels.reference import reference

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9


def test_importing_the_host_side_loads_no_triton() -> None:
    code = "import sparse_mla.kernels.hopper, sys; print('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


@pytest.mark.parametrize("rows, extra, heads", product((1, 4, 64, 256), (0, 512, 2048), (1, 5, 16, 17, 64, 128)))
def test_a_plan_fits_its_problem(rows: int, extra: int, heads: int) -> None:
    cut = plan([128] * rows, [extra] * rows if extra else None, heads)
    assert cut.head_block in SHAPES
    assert cut.head_block == 16 or cut.head_block < 2 * heads  # a smaller block would hold as many
    assert 1 <= cut.splits <= min(MAX_SPLITS, 2 + extra // 64)


def test_few_rows_are_split_and_many_are_not() -> None:
    assert plan([128], [1024], 16).splits > 8
    assert plan([128] * 256, [1024] * 256, 16).splits == 1
    assert plan([0], None, 16).splits == 1


def test_a_plan_does_not_exceed_one_program_a_multiprocessor_while_it_splits() -> None:
    for rows in (1, 2, 4, 8, 16, 32, 64):
        cut = plan([128] * rows, [1024] * rows, 16)
        assert rows * cut.splits <= 132


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


@pytest.mark.parametrize("block, splits", [(48, 1), (16, 0), (16, MAX_SPLITS + 1)])
def test_a_plan_that_cannot_be(block: int, splits: int) -> None:
    with pytest.raises(InputError, match=f"head_block {block} and {splits} splits"):
        Plan(block, splits)


def test_workspace_holds_what_is_written() -> None:
    # 3 rows of 17 heads: two blocks of 16; 5 splits of 512 sums, a maximum and a sum a head.
    assert Workspace.sizes(3, 17, Plan(16, 5)) == (3 * 2 * 5 * 512 * 16, 3 * 2 * 5 * 2 * 16, 3 * 2)
    assert Workspace.sizes(3, 17, Plan(16, 1)) == (0, 0, 0)
    space = Workspace.make(3, 17, Plan(16, 5), "cpu")
    assert not space.words.any()
    space.check(3, 17, Plan(16, 4))
    with pytest.raises(InputError, match=r"Workspace\.make"):
        space.check(4, 17, Plan(16, 5))


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


@pytest.mark.parametrize("block, splits", [(16, 1), (16, 18), (32, 1)])
def test_the_kernel_compiles_for_hopper_without_a_gpu(block: int, splits: int) -> None:
    pytest.importorskip("triton.experimental.gluon")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compile as compiled
    from triton.experimental.gluon._runtime import GluonASTSource

    from sparse_mla.kernels.gluon_hopper import hopper_decode

    shape, power = Plan(block, splits).shape, 1 << (splits - 1).bit_length()
    constants = {
        "MAIN_BLOCK": 64, "MAIN_STRIDE": 37440, "EXTRA_BLOCK": 64, "EXTRA_STRIDE": 37440,
        "BH": shape.heads, "WARPS": shape.warps, "PRODUCERS": shape.producers, "RING": shape.ring,
        "SPLITS": power, "SLICES": max(1, power // 2), "AHEAD": shape.ahead, "REGISTERS": shape.registers,
    }  # fmt: skip
    pointers = {"q": "*bf16", "out": "*bf16", "main_cache": "*u8", "extra_cache": "*u8"}
    pointers |= dict.fromkeys(("lse", "attn_sink", "partial", "partial_ml"), "*fp32")
    pointers |= dict.fromkeys(("main_indices", "main_indptr", "extra_indices", "extra_indptr", "words"), "*i32")
    names = hopper_decode.arg_names
    signature = {
        name: "constexpr" if name in constants else pointers.get(name, "fp32" if name == "scale" else "i32") for name in names
    }
    aligned = {(at,): [["tt.divisibility", 16]] for at, name in enumerate(names) if name in pointers or "stride" in name}
    source = GluonASTSource(hopper_decode, signature, {(names.index(name),): value for name, value in constants.items()}, aligned)
    made = compiled(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": shape.warps, "maxnreg": shape.registers})
    assert "wgmma.mma_async" in made.asm["ptx"]
    assert made.metadata.shared <= 227 * 1024


@pytest.mark.skipif(not HOPPER, reason="needs a Hopper GPU: scripts/bench_decode_gpu.py check runs all cases there")
@pytest.mark.parametrize("name, cut", product(sorted(CASES), (Plan(16, 1), Plan(16, 3), Plan(32, 2), Plan(64, 1))), ids=str)
def test_on_a_gpu(name: str, cut: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    on_gpu = importlib.import_module("bench_decode_gpu").on_gpu
    inputs = CASES[name].inputs()
    got = compare(decode(on_gpu(inputs), cut).cpu(), reference(inputs).out)
    assert got.finite
    assert got.rel_l2 < 4e-3
