"""`decode()`: one call for every device, and the torch op `sparse_mla::decode` behind it. docs/decode.md tells how to use it.

All that Python does with tensors happens inside the op, so that torch.compile sees one node. Nothing there reads a device's
memory, and nothing is allocated where `out` and `workspace` are given: a decode can be captured in a graph.
"""

from __future__ import annotations

from itertools import chain
from typing import Literal, NamedTuple

import torch

from sparse_mla.cache.layout import HEAD_DIM
from sparse_mla.cache.paging import PagedCache
from sparse_mla.errors import InputError
from sparse_mla.execute.backends import BACKENDS, Cut, Scratch, choose
from sparse_mla.execute.workspace import Plan, Workspace, plan_decode
from sparse_mla.kernels.hopper import check
from sparse_mla.kernels.inputs import DecodeInputs, Segment


class DecodeOutput(NamedTuple):
    """`plan` is None where torch.compile traced a decode without one: then the op makes it, each time that it runs."""

    out: torch.Tensor  # bf16 [rows, heads, 512]
    lse: torch.Tensor | None  # f32 [rows, heads], natural log, without the sink; -inf for a row with nothing to attend
    backend: str
    plan: Plan | None


def decode(
    q: torch.Tensor,
    main: Segment,
    extra: Segment | None = None,
    *,
    scale: float | None = None,
    attn_sink: torch.Tensor | None = None,
    out: torch.Tensor | None = None,
    workspace: Workspace | None = None,
    plan: Plan | Literal["batch_invariant"] | None = None,
    return_lse: bool = False,
    backend: str = "auto",
) -> DecodeOutput:
    """Sparse-MLA decode attention of `q`, bf16 `[rows, heads, 512]` of any row and head stride, over slots of paged caches.

    A row is a query token. It attends what `main` and `extra` list for it; a slot id outside the cache stands for nothing, and a
    row with nothing to attend gives 0. `scale` (default 512**-0.5) multiplies q . k. `attn_sink`, f32 `[heads]`, natural-log
    domain, enters the denominator once. `out`, bf16 of q's shape with any row and head stride, is written in place.

    `plan` comes from `plan_decode`. Without one, every row is taken to list as many slots as the index buffers have for each row:
    right for any lists, slow where buffers are much longer than lists. "batch_invariant" makes a row's bits the same in any
    batch; lists on a device cannot be measured from here, so there it takes `plan_decode(..., batch_invariant=True)`.

    Raises InputError for what no kernel takes, BackendError where the backend does not decode on q's device.
    """
    if isinstance(plan, str):
        plan = _batch_invariant(plan, q, main, extra, backend)
    if plan is None and not torch.compiler.is_compiling():
        plan = _planned(q, main, extra, backend)
    name = plan.backend if plan else choose(backend, q.device)
    if backend not in ("auto", name):
        raise InputError(f"backend is {backend!r} and the plan is for {name!r}; leave backend out, or plan for {backend!r}")
    out = torch.empty(q.shape, dtype=torch.bfloat16, device=q.device) if out is None else out
    lse = torch.empty(q.shape[:2], dtype=torch.float32, device=q.device) if return_lse else None
    scratch: tuple[torch.Tensor | None, ...] = (None, None, None)
    if workspace is not None and plan is not None:
        scratch = workspace.fit(plan, q.shape[1])
    lists = (None, None, None) if extra is None else (extra.cache.storage, extra.indices, extra.indptr)
    torch.ops.sparse_mla.decode(
        q, main.cache.storage, main.indices, main.indptr, *lists, attn_sink, out, lse, *scratch,
        HEAD_DIM**-0.5 if scale is None else scale, name, [] if plan is None else list(chain(*plan.cuts)),
    )  # fmt: skip
    return DecodeOutput(out, lse, name, plan)


def _planned(q: torch.Tensor, main: Segment, extra: Segment | None, backend: str) -> Plan:
    """By the room in the index buffers."""
    rows = q.shape[0]
    room = [None if part is None else [-(-part.indices.numel() // rows)] * rows if rows else [] for part in (main, extra)]
    return plan_decode(room[0] or [], room[1], q.shape[1], device=q.device, backend=backend)


def _batch_invariant(plan: str, q: torch.Tensor, main: Segment, extra: Segment | None, backend: str) -> Plan:
    if plan != "batch_invariant":
        raise InputError(f"plan is {plan!r}; it may be a Plan, 'batch_invariant' or None")
    if not main.indptr.is_cpu:
        raise InputError(
            f"plan is 'batch_invariant' and the lists are on {main.indptr.device}, where their lengths cannot be read without a "
            "wait; give plan_decode(main_lens, extra_lens, heads, batch_invariant=True)"
        )
    lens = None if extra is None else extra.lens
    return plan_decode(main.lens, lens, q.shape[1], device=q.device, backend=backend, batch_invariant=True)


torch.library.define(
    "sparse_mla::decode",
    "(Tensor q, Tensor main_cache, Tensor main_indices, Tensor main_indptr, Tensor? extra_cache, Tensor? extra_indices, "
    "Tensor? extra_indptr, Tensor? attn_sink, Tensor(a!) out, Tensor(b!)? lse, Tensor(c!)? partial, Tensor(d!)? partial_ml, "
    "Tensor(e!)? words, float scale, str backend, int[] cuts) -> ()",
)


@torch.library.register_fake("sparse_mla::decode")  # type: ignore[untyped-decorator]
def _fake(q: torch.Tensor, *others: object) -> None:
    """Nothing is returned: `out` and `lse` are there already."""


def _decode(
    q: torch.Tensor,
    main_cache: torch.Tensor,
    main_indices: torch.Tensor,
    main_indptr: torch.Tensor,
    extra_cache: torch.Tensor | None,
    extra_indices: torch.Tensor | None,
    extra_indptr: torch.Tensor | None,
    attn_sink: torch.Tensor | None,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    partial: torch.Tensor | None,
    partial_ml: torch.Tensor | None,
    words: torch.Tensor | None,
    scale: float,
    backend: str,
    cuts: list[int],
) -> None:
    """`cuts` are those of a Plan, one after another; none: made here. Scratch not given is allocated for this call."""
    extra = None
    if extra_cache is not None and extra_indices is not None and extra_indptr is not None:
        extra = Segment(PagedCache(extra_cache), extra_indices, extra_indptr)
    inputs = DecodeInputs(q, Segment(PagedCache(main_cache), main_indices, main_indptr), extra, scale, attn_sink)
    choose(backend, q.device)
    width = len(Cut._fields)
    given = tuple(Cut(*cuts[at : at + width]) for at in range(0, len(cuts), width))
    plan = Plan(backend, given) if given else _planned(q, inputs.main, extra, backend)
    if plan.rows != inputs.rows:
        raise InputError(f"plan is for {plan.rows} rows and q has {inputs.rows}; make one with plan_decode for these rows")
    if not inputs.rows:
        return
    check(inputs, out, lse)
    if partial is None or partial_ml is None or words is None:
        scratch = Workspace(q.device, plan, inputs.heads).scratch
    else:
        scratch = Scratch(partial, partial_ml, words)
        needed, have = plan.sizes(inputs.heads), tuple(tensor.numel() for tensor in scratch)
        if any(want > size for want, size in zip(needed, have, strict=True)):
            raise InputError(f"scratch has {have} elements; {inputs.heads} heads by {plan} need {needed}: Workspace.fit")
    elsewhere = [str(tensor.device) for tensor in (out, lse, *scratch) if tensor is not None and tensor.device != q.device]
    if elsewhere:
        raise InputError(f"out, lse or workspace lies on {elsewhere[0]} and q on {q.device}; they must lie on one device")
    try:
        with torch.cuda.device(q.device.index if q.is_cuda else -1):
            for cut in plan.cuts:
                part = inputs if cut.last - cut.first == inputs.rows else _rows(inputs, cut)
                rows = slice(cut.first, cut.last)
                BACKENDS[backend].start(part, out[rows], None if lse is None else lse[rows], scratch, cut)
    except BaseException:
        scratch.words.zero_()  # a launch that did not end may have left arrivals
        raise


def _rows(inputs: DecodeInputs, cut: Cut) -> DecodeInputs:
    """Some rows, as views."""
    main, extra = (
        part and Segment(part.cache, part.indices, part.indptr[cut.first : cut.last + 1]) for part in (inputs.main, inputs.extra)
    )
    assert main is not None
    return DecodeInputs(inputs.q[cut.first : cut.last], main, extra, inputs.scale, inputs.attn_sink)


torch.library.impl("sparse_mla::decode", "CompositeExplicitAutograd", _decode)
