"""`decode()` on the CPU: the checks of test_ops_gpu on the emulator, and what can be seen without a GPU of the paths to one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sparse_mla.cache.paging import PagedCache
from sparse_mla.errors import BackendError, InputError
from sparse_mla.execute import cuda_device, hip_device, ops
from sparse_mla.execute.backends import BACKENDS, Cut, Scratch, choose
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.execute.triton_emulated import triton_on_gfx950
from sparse_mla.execute.vllm import vllm_rocm_sparse_decode
from sparse_mla.execute.workspace import Plan, Workspace, allowed_splits, plan_decode, tuned
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.catalogue import CATALOGUE
from sparse_mla.kernels.inputs import DecodeInputs, Segment
from sparse_mla.kernels.split_k import modelled_cost, tiles_of
from tests.execute import test_ops_gpu as gpu


@pytest.mark.parametrize("name", gpu.ANYWHERE)
def test_promises_on_the_emulator(name: str) -> None:
    good, said = gpu.ANYWHERE[name]("emulator")
    assert good, said


@pytest.mark.parametrize("name", ["ragged-invalid", "empty-rows", "vLLM's arguments"])
def test_promises_of_the_reference(name: str) -> None:
    good, said = gpu.ANYWHERE[name]("reference")
    assert good, said


@contextmanager
def taken(name: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Iterator[None]:
    """A backend that takes tensors of any device."""
    with monkeypatch.context() as patch:
        patch.setitem(BACKENDS, name, BACKENDS[name]._replace(refusal=lambda device: None, **more))
        yield


class Quiet(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses every operation that makes a tensor or reads one's numbers, inside our op too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.sparse_mla.decode.default:
            with self:
                return ops._decode(*args, **(kwargs or {}))
        made = [given for given in func._schema.returns if given.alias_info is None]
        assert not made, f"{func} makes a tensor or reads one"
        return func(*args, **(kwargs or {}))


META = CASES["pro-csa-mtp3-h16"].inputs()


class Recorder:
    """In a Triton kernel's place: writes down with what it is launched."""

    def __init__(self, kernel: Any, launches: list[Any]) -> None:
        self.arg_names, self.launches, self.name = kernel.arg_names, launches, kernel.fn.__name__

    def __getitem__(self, grid: Any) -> Any:
        return lambda **options: self.launches.append((self.name, grid, options))


@pytest.mark.parametrize("invariant", [False, True])
@pytest.mark.parametrize("backend", ["triton", "hopper"])
def test_nothing_is_read_or_allocated_before_a_gpu_launch(backend: str, invariant: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On meta tensors, which have no numbers to read, with launches written down instead of started."""
    triton_kernels = pytest.importorskip("sparse_mla.kernels.triton_kernels", reason="Triton is for Linux")
    launches: list[Any] = []
    for name in ("decode_whole", "decode_split", "decode_merge"):
        monkeypatch.setattr(triton_kernels, name, Recorder(getattr(triton_kernels, name), launches))
    monkeypatch.setattr(cuda_device, "decode", lambda *args, **more: launches.append((args, more)))
    main, extra = (
        Segment(PagedCache(part.cache.storage.to("meta")), part.indices.to("meta"), part.indptr.to("meta"))
        for part in META.segments.values()
    )
    there = DecodeInputs(META.q.to("meta"), main, extra, META.scale, torch.empty(16, device="meta"))
    with taken(backend, monkeypatch):
        main_lens, extra_lens = (part.lens for part in META.segments.values())
        plan = plan_decode(main_lens, extra_lens, 16, device="meta", backend=backend, batch_invariant=invariant)
        workspace, out = Workspace("meta", plan, 16), torch.empty_like(there.q)
        with Quiet():  # type: ignore[no-untyped-call]
            got = gpu.call(there, "auto", plan=plan, out=out, workspace=workspace)
            gpu.adapter(there, out, "auto", plan=plan, workspace=workspace)
        assert got[2:] == (backend, plan)
        steps = sum(1 + (backend == "triton" and cut.splits > 1) for cut in plan.cuts)
        assert len(launches) == 2 * steps
        assert len(plan.cuts) == (2 if invariant else 1)
        # The test would see it: an allocation, and each way to read a tensor.
        for slip in (torch.zeros_like, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.cpu):
            start = lambda inputs, out, lse, scratch, cut, slip=slip: slip(inputs.main.indptr[0])  # noqa: E731
            with (
                taken(backend, monkeypatch, start=start),
                Quiet(),  # type: ignore[no-untyped-call]
                pytest.raises(AssertionError, match="makes a tensor"),
            ):
                gpu.call(there, "auto", plan=plan, out=out)


@pytest.mark.parametrize("backend", ["triton", "emulator"])
def test_a_decode_takes_the_room_of_the_index_buffers_without_a_plan(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = CASES["ragged-invalid"].inputs()
    assert inputs.extra is not None
    room = [-(-part.indices.numel() // inputs.rows) for part in inputs.segments.values()]
    with taken(backend, monkeypatch):
        expected = plan_decode([room[0]] * inputs.rows, [room[1]] * inputs.rows, 16, backend=backend)
        assert ops._planned(inputs.q, inputs.main, inputs.extra, backend) == expected


@pytest.fixture
def emulated_triton(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The `triton` backend on CPU tensors: its launches as they are, of kernels whose machine code runs in the emulator."""
    triton_kernels = pytest.importorskip("sparse_mla.kernels.triton_kernels", reason="Triton is for Linux")
    for name in ("decode_whole", "decode_split", "decode_merge"):
        kernel = getattr(triton_kernels, name)
        launcher = triton_on_gfx950(kernel, arch=getattr(request, "param", "gfx950"))
        launcher.arg_names = kernel.arg_names  # type: ignore[attr-defined]
        monkeypatch.setattr(triton_kernels, name, launcher)
    monkeypatch.setattr(gpu, "place", lambda backend: torch.device("cpu"))
    with taken("triton", monkeypatch):
        yield


@pytest.mark.parametrize(
    "emulated_triton, name",
    [("gfx950", "every byte"), ("gfx950", "pages 2 256 padded"), ("gfx942", "every byte"), ("gfx942", "heads-17")],
    indirect=["emulated_triton"],
)
def test_promises_of_tritons_machine_code(name: str, emulated_triton: None) -> None:
    good, said = gpu.ANYWHERE[name]("triton")
    assert good, said


@pytest.mark.parametrize("form", [Cut(0, 4, 4), Cut(0, 4, 2, 16, 16, 8), Cut(0, 4, 1, 16, 32, 4)], ids=str)
def test_tuned_forms_of_triton(form: Cut, emulated_triton: None) -> None:
    inputs = CASES["empty-rows"].inputs()
    got = gpu.call(inputs, "auto", plan=Plan("triton", (form,)), return_lse=True)
    good, said = gpu.agrees(got.out, inputs, got.lse)
    assert good, said
    assert got.backend == "triton"


def test_hip_through_the_emulated_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launches of the `hip` backend on host memory that HIP knows: the emulator's bits."""
    monkeypatch.setenv("SPARSE_MLA_HIP", "emulated")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=0))
    inputs = CASES["ragged-invalid"].inputs()
    # Whole rows, one launch that merges, two launches; shares, whole and in parts.
    for splits, shares in ((1, 1), (4, 1), (8, 1), (1, 4), (8, 4)):
        cuts = tuple(Cut(*ends, splits, shares=shares) for ends in ((0, 3), (3, inputs.rows)))
        workspace, out = Workspace("cpu", Plan("emulator", cuts), 16), torch.full_like(inputs.q, torch.nan)
        tensors = (out, *workspace.scratch, *inputs.tensors().values())
        places = [(x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()) for x in tensors if x.numel()]
        for at, size in places:
            hip_device.runtime()("hipHostRegister", at, size, 0)
        with taken("hip", monkeypatch):
            got = gpu.call(inputs, "auto", plan=Plan("hip", cuts), workspace=workspace, out=out)
            hip_device.runtime()("hipDeviceSynchronize")
        for at, _ in places:
            hip_device.runtime()("hipHostUnregister", at)
        assert got.backend == "hip"
        assert torch.equal(out, gpu.call(inputs, "auto", plan=Plan("emulator", cuts)).out)
        assert not workspace.scratch.words.any()


@pytest.mark.parametrize("rows, kernel", [(1, "few"), (300, "product")])
def test_the_plan_takes_the_kernel_of_least_modelled_time(rows: int, kernel: str) -> None:
    case = Case.make(rows=rows, extra=512 if rows == 1 else 0)
    inputs = case.inputs()
    plan = gpu.planned(inputs, "emulator")
    (cut,) = plan.cuts
    assert plan.kernels == (kernel,)
    assert cut.shares == CATALOGUE[kernel].shares
    costs = {
        (name, split_k): modelled_cost(name, tiles_of(CATALOGUE[name], case.main, case.extra_lens), 16, split_k)
        for name in ("product", "few")
        for split_k in CATALOGUE[name].splits
    }
    assert costs[kernel, cut.splits] == min(costs.values())
    if rows == 1:
        got = gpu.call(inputs, "auto", plan=plan)
        assert got.plan is plan
        assert got.plan.kernels == ("few",)
        assert torch.equal(got.out, decode_on_emulator(CATALOGUE["few"], inputs, split_k=cut.splits, partials="fp32")[0])
    invariant = gpu.planned(inputs, "emulator", batch_invariant=True)
    assert set(invariant.kernels) == {"product"}, "a choice that the number of rows decides"


def test_the_op_keeps_torchs_rules() -> None:
    inputs = CASES["heads-17"].inputs()
    plan = gpu.planned(inputs, "emulator")
    lists = list(chain(*((x.cache.storage, x.indices, x.indptr) for x in inputs.segments.values())))
    out, lse, scratch = torch.empty_like(inputs.q), torch.empty(2, 17), Workspace("cpu", plan, 17).scratch
    options: tuple[Any, ...]
    for options in (
        (lse, *scratch, inputs.scale, "emulator", list(chain(*plan.cuts))),
        (None, None, None, None, 1.0, "emulator", []),
    ):
        torch.library.opcheck(torch.ops.sparse_mla.decode.default, (inputs.q, *lists, inputs.attn_sink, out, *options))


def test_a_launch_that_did_not_end_leaves_the_workspace_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters as the middle of a launch has them, then an exception; the decode after it must not believe them."""
    inputs = CASES["ragged-invalid"].inputs()
    plan = Plan("emulator", (Cut(0, inputs.rows, 4),))  # parts merged by the one that comes last
    workspace, start = Workspace("cpu", plan, 16), BACKENDS["emulator"].start
    wanted = gpu.call(inputs, "auto", plan=plan, workspace=workspace).out

    def aborted(inputs: DecodeInputs, out: torch.Tensor, lse: torch.Tensor | None, scratch: Scratch, cut: Cut) -> None:
        start(inputs, out, lse, scratch, cut)
        scratch.words.fill_(2)
        scratch.partial.fill_(torch.nan)
        raise KeyboardInterrupt

    with taken("emulator", monkeypatch, start=aborted), pytest.raises(KeyboardInterrupt):
        gpu.call(inputs, "auto", plan=plan, workspace=workspace)
    assert torch.equal(gpu.call(inputs, "auto", plan=plan, workspace=workspace).out, wanted)
    workspace.scratch.words.fill_(2)  # what the above guards against
    workspace.scratch.partial.fill_(torch.nan)
    assert not torch.equal(gpu.call(inputs, "auto", plan=plan, workspace=workspace).out, wanted)


def test_a_workspace_grows_but_not_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (Plan("emulator", (Cut(0, rows, 4),)) for rows in (2, 3))
    workspace = Workspace("cpu", small, 16)
    before = workspace.scratch
    # 2 rows in 4 parts of 16 heads: 512 sums, a maximum and a sum a head; a counter a row and block of 16 heads.
    assert [tensor.numel() for tensor in before] == [2 * 4 * 16 * 512, 2 * 4 * 16 * 2, 2]
    assert workspace.fit(small, 16) is before
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(workspace, "device", torch.device("cuda"))
    assert workspace.fit(small, 16) is before
    with pytest.raises(InputError, match="before capture"):
        workspace.fit(large, 16)
    monkeypatch.undo()
    after = workspace.fit(large, 17)
    assert all(new.numel() >= want for new, want in zip(after, large.sizes(17), strict=True))
    assert not after.words.any()
    assert workspace._kept[-1] is before  # a graph may still use it
    assert Plan("emulator", (Cut(0, 9, 1),)).sizes(128) == (0, 0, 0)


def test_a_batch_invariant_plan_knows_each_rows_own_length_only(monkeypatch: pytest.MonkeyPatch) -> None:
    main, extra = [128, 128, 0, 7], [1024, 1024, 0, 8000]
    for backend in BACKENDS:
        with taken(backend, monkeypatch):
            plan = plan_decode(main, extra, 64, backend=backend, batch_invariant=True)
            alone = [
                plan_decode([m], [e], 64, backend=backend, batch_invariant=True).cuts[0] for m, e in zip(main, extra, strict=True)
            ]
        each = [cut for cut in plan.cuts for _ in range(cut.first, cut.last)]
        assert [cut[2:] for cut in each] == [cut[2:] for cut in alone]
        assert all(cut.splits in allowed_splits(backend) for cut in plan.cuts)
    emulated = plan_decode(main, extra, 64, backend="emulator", batch_invariant=True)
    assert [tuple(cut[:3]) for cut in emulated.cuts] == [(0, 2, 3), (2, 3, 1), (3, 4, 16)]


def test_tuned_cuts_are_the_kernels_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gfx950",):
        for _, cut in tuned(name):
            assert cut.splits in allowed_splits("triton")
            assert cut.tile in (16, 32, 64)
            assert cut.warps in (4, 8)
    monkeypatch.setattr("sparse_mla.execute.workspace.arch", lambda device: "gfx950")
    with taken("triton", monkeypatch):
        few, many = (plan_decode([128] * rows, [1024] * rows, 16, backend="triton").cuts[0] for rows in (1, 300))
        monkeypatch.setattr("sparse_mla.execute.workspace.arch", lambda device: "gfx942")  # nothing tuned: by the planner
        other = plan_decode([128], [1024], 16, backend="triton").cuts[0]
    assert few.splits > many.splits
    assert few.warps
    assert other == Cut(0, 1, other.splits)


@pytest.mark.parametrize(
    "given, said",
    [
        ({"backend": "cuda"}, "backend is 'cuda'; it may be auto, hopper, hip, triton, emulator, reference"),
        (
            {"backend": "reference", "plan": Plan("emulator", (Cut(0, 2, 1),))},
            "backend is 'reference' and the plan is for 'emulator'",
        ),
        ({"plan": Plan("emulator", (Cut(0, 3, 1),))}, "plan is for 3 rows and q has 2"),
        ({"plan": "fast"}, "plan is 'fast'"),
        ({"out": torch.empty(2, 5, 512)}, "out is torch.float32"),
        ({"attn_sink": torch.zeros(4)}, r"attn_sink is torch.float32 \[4\]"),
    ],
)
def test_refusals(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        gpu.call(CASES["heads-5"].inputs(), **{"backend": "auto"} | given)


def test_refusals_of_devices_and_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = Segment(PagedCache(META.main.cache.storage), META.main.indices.to("meta"), META.main.indptr.to("meta"))
    with pytest.raises(InputError, match=r"lists are on meta.*plan_decode"):
        ops.decode(META.q, meta, plan="batch_invariant")
    for name in ("hopper", "hip", "triton"):
        with pytest.raises(BackendError, match=f"backend '{name}' with tensors on cpu"):
            choose(name, torch.device("cpu"))
    with pytest.raises(BackendError, match=r"no backend decodes tensors on meta.*emulator: it takes CPU tensors"):
        choose("auto", torch.device("meta"))
    plan, out = gpu.planned(META, "emulator"), torch.empty_like(META.q)
    here, there = (Workspace(device, plan, 16) for device in ("cpu", "meta"))
    for given, workspace in ((out.to("meta"), here), (out, there)):
        with Quiet(), pytest.raises(InputError, match="lies on meta and q on cpu"):  # type: ignore[no-untyped-call]
            gpu.call(META, "auto", plan=plan, out=given, workspace=workspace)
    with pytest.raises(InputError, match="lengths the host already has"):
        plan_decode(torch.ones(3, device="meta"), None, 16, backend="emulator")
    with pytest.raises(InputError, match="main_lens has 1 rows and extra_lens 2"):
        plan_decode([1], [1, 2], 16, backend="emulator")
    for cuts, said in (
        ((Cut(1, 2, 1),), "each begins"),
        ((Cut(0, 2, 5),), "splits a row into 1, 2, 3, 4, 6"),
        ((Cut(0, 2, 0),), "splits"),
        ((Cut(0, 2, 4, shares=2),), "no kernel with that many shares"),
    ):
        with pytest.raises(InputError, match=said):
            Plan("emulator", cuts)
    monkeypatch.setattr("sparse_mla.execute.vllm.arch", lambda device: "gfx942")
    with pytest.raises(BackendError, match="e4m3fnuz"):
        gpu.adapter(META, torch.empty_like(META.q), "auto")


@pytest.mark.parametrize(
    "change, said",
    [({"head_dim": 576}, "576, 448, 64"), ({"swa_ragged_indptr": None}, "window: give"), ({"kv_cache": None}, "top-k")],
)
def test_refusals_of_the_adapter(change: dict[str, Any], said: str) -> None:
    main, extra = META.segments.values()
    arguments: dict[str, Any] = {
        "q": META.q, "kv_cache": extra.cache.storage, "swa_k_cache": main.cache.storage, "swa_only": False, "topk_indices": None,
        "topk_lens": None, "swa_indices": None, "swa_lens": None, "swa_ragged_indices": main.indices,
        "swa_ragged_indptr": main.indptr, "topk_ragged_indices": extra.indices, "topk_ragged_indptr": extra.indptr,
        "attn_sink": None, "scale": 1.0, "head_dim": 512, "nope_head_dim": 448, "rope_head_dim": 64,
        "output": torch.empty_like(META.q),
    }  # fmt: skip
    with pytest.raises(InputError, match=said):
        vllm_rocm_sparse_decode(**arguments | change)


def test_no_rows_are_no_work() -> None:
    inputs = CASES["heads-5"].inputs()
    nothing = Segment(inputs.main.cache, inputs.main.indices, torch.zeros(1, dtype=torch.int32))
    got = ops.decode(inputs.q[:0], nothing, return_lse=True)
    assert got.out.shape == (0, 5, 512)
    assert got.plan == Plan("emulator", ())
    with pytest.raises(InputError, match="heads is 0"):
        ops.decode(Case.make(rows=1).inputs().q[:, :0], nothing)
