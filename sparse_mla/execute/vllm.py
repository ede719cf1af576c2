"""`decode` under the argument list of vLLM's sparse decode for ROCm, `rocm_sparse_attn_decode` in its
`vllm/v1/attention/ops/rocm_aiter_mla_sparse.py`: the same eighteen arguments in the same order, then our own by name.

What differs: nothing is allocated when ragged lists, a workspace and a plan are given, a NaN in an attended token of the window
cache is not replaced by 0, and the window cache that vLLM writes on a gfx942 (e4m3fnuz) is refused: kernels here read e4m3fn.
"""

from __future__ import annotations

import torch

from sparse_mla.cache.layout import HEAD_DIM, NOPE_DIM, ROPE_DIM
from sparse_mla.cache.paging import PagedCache
from sparse_mla.errors import BackendError, InputError
from sparse_mla.execute.backends import arch
from sparse_mla.execute.ops import DecodeOutput, decode
from sparse_mla.execute.workspace import Plan, Workspace
from sparse_mla.kernels.inputs import Segment


def _listed(
    name: str,
    rows: int,
    cache: torch.Tensor | None,
    dense: torch.Tensor | None,
    lens: torch.Tensor | None,
    ragged: torch.Tensor | None,
    indptr: torch.Tensor | None,
) -> Segment:
    """A cache with ragged lists, or with the first `lens` of each row of a table."""
    if cache is not None and ragged is not None and indptr is not None:
        return Segment(PagedCache(cache), ragged, indptr[: rows + 1])
    if cache is None or dense is None or lens is None:
        raise InputError(f"{name}: give its cache, and ragged indices with their indptr, or indices [rows, ...] with their lens")
    # Every list is as long as the table is wide, and -1 past its end: no list has to be measured, nor moved together.
    table = dense.reshape(rows, -1)
    width = table.shape[1]
    inside = torch.arange(width, device=table.device) < lens.reshape(-1, 1)
    ends = torch.arange(rows + 1, device=table.device, dtype=torch.int32) * width
    return Segment(PagedCache(cache), torch.where(inside, table, -1).to(torch.int32).reshape(-1), ends)


def vllm_rocm_sparse_decode(
    q: torch.Tensor,
    kv_cache: torch.Tensor | None,
    swa_k_cache: torch.Tensor,
    swa_only: bool,
    topk_indices: torch.Tensor | None,
    topk_lens: torch.Tensor | None,
    swa_indices: torch.Tensor | None,
    swa_lens: torch.Tensor | None,
    swa_ragged_indices: torch.Tensor | None,
    swa_ragged_indptr: torch.Tensor | None,
    topk_ragged_indices: torch.Tensor | None,
    topk_ragged_indptr: torch.Tensor | None,
    attn_sink: torch.Tensor | None,
    scale: float,
    head_dim: int,
    nope_head_dim: int,
    rope_head_dim: int,
    output: torch.Tensor,
    *,
    workspace: Workspace | None = None,
    plan: Plan | None = None,
    backend: str = "auto",
) -> DecodeOutput:
    """Writes `output`, bf16 `[rows, heads, 512]`, for `q` of that shape, the window cache `swa_k_cache` and, unless `swa_only`,
    the compressed cache `kv_cache`, both uint8 `[blocks, block size, 584]`. Slot ids are int32 in ragged lists, any integers
    in tables. `attn_sink` may be of more heads than q. Raises as `decode` does.
    """
    dims = head_dim, nope_head_dim, rope_head_dim
    if dims != (HEAD_DIM, NOPE_DIM, ROPE_DIM):
        raise InputError(f"head_dim, nope_head_dim, rope_head_dim are {dims}; this cache has {HEAD_DIM}, {NOPE_DIM}, {ROPE_DIM}")
    if arch(q.device) == "gfx942":
        raise BackendError(
            "on a gfx942 vLLM's window cache is e4m3fnuz; these kernels read OCP's e4m3fn: rewrite it, and call decode"
        )
    rows, heads = q.shape[:2]
    main = _listed("window", rows, swa_k_cache, swa_indices, swa_lens, swa_ragged_indices, swa_ragged_indptr)
    extra = None
    if not swa_only:
        extra = _listed("top-k", rows, kv_cache, topk_indices, topk_lens, topk_ragged_indices, topk_ragged_indptr)
    sink = None if attn_sink is None else attn_sink[:heads]
    return decode(q, main, extra, scale=scale, attn_sink=sink, out=output, workspace=workspace, plan=plan, backend=backend)
