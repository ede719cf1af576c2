"""What `decode()` promises, as checks for any backend, and as those that only a GPU shows: graphs, allocations, waits, far rows.

    pytest tests/execute/test_ops_gpu.py
    python tests/execute/test_ops_gpu.py FOLDER [PROCESSES]    without pytest: verdicts to FOLDER/decode_op.csv, and manifest.json

A check gives, for a backend, whether it held and what was seen; distances from the float64 oracle are relative L2.
"""

from __future__ import annotations

import csv
import datetime
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] * (__name__ in ("__main__", "__mp_main__"))
from sparse_mla.cache.layout import DATA_BYTES, HEAD_DIM, NOPE_DIM, SCALE_BYTES  # noqa: E402
from sparse_mla.cache.paging import PagedCache  # noqa: E402
from sparse_mla.execute.backends import BACKENDS  # noqa: E402
from sparse_mla.execute.ops import DecodeOutput, decode  # noqa: E402
from sparse_mla.execute.vllm import vllm_rocm_sparse_decode  # noqa: E402
from sparse_mla.execute.workspace import Plan, Workspace, plan_decode  # noqa: E402
from sparse_mla.kernels.case import CASES, Case  # noqa: E402
from sparse_mla.kernels.compare import compare  # noqa: E402
from sparse_mla.kernels.inputs import DecodeInputs, Segment  # noqa: E402
from sparse_mla.kernels.reference import reference  # noqa: E402

LIMIT, LSE_LIMIT = 4e-3, 1e-2
GPU = torch.device("cuda", 0)
Verdict = tuple[bool, str]


def place(backend: str) -> torch.device:
    return torch.device("cpu") if backend in ("emulator", "reference") else GPU


def call(inputs: DecodeInputs, backend: str, **more: Any) -> DecodeOutput:
    options: dict[str, Any] = {"scale": inputs.scale, "attn_sink": inputs.attn_sink, "backend": backend} | more
    return decode(inputs.q, inputs.main, inputs.extra, **options)


def planned(inputs: DecodeInputs, backend: str, **more: Any) -> Plan:
    """By the lengths of CPU inputs."""
    lens = None if inputs.extra is None else inputs.extra.lens
    return plan_decode(inputs.main.lens, lens, inputs.heads, device=place(backend), backend=backend, **more)


def agrees(out: torch.Tensor, inputs: DecodeInputs, lse: torch.Tensor | None = None) -> Verdict:
    want = reference(inputs)
    there = compare(out.cpu(), want.out)
    good, said = there.finite and there.rel_l2 < LIMIT, f"rel_l2 {there.rel_l2:.2e}"
    if lse is not None:
        far = compare(lse.cpu(), want.lse)
        good, said = good and far.finite and far.max_abs < LSE_LIMIT, f"{said}, lse off by {far.max_abs:.1e}"
    return good, said


def all_of(verdicts: list[Verdict]) -> Verdict:
    return all(good for good, _ in verdicts), "; ".join(said for _, said in verdicts)


def segment(cache: PagedCache, rows: list[torch.Tensor]) -> Segment:
    ends = torch.tensor([0, *map(len, rows)]).cumsum(0).int().to(rows[0].device)
    return Segment(cache, torch.cat(rows), ends)


def check_case(case: Case, backend: str) -> Verdict:
    """Without a plan, planned, and batch-invariant; into a strided output with NaN between its vectors."""
    inputs, found = case.inputs(), []
    there = inputs.to(place(backend))
    for plan in (None, planned(inputs, backend), planned(inputs, backend, batch_invariant=True)):
        memory = torch.full((inputs.heads, inputs.rows, HEAD_DIM + 40), torch.nan, dtype=torch.bfloat16, device=place(backend))
        got = call(there, backend, plan=plan, out=memory.transpose(0, 1)[:, :, 8 : 8 + HEAD_DIM], return_lse=True)
        good, said = agrees(got.out, inputs, got.lse)
        between = memory[..., :8].isnan().all() and memory[..., 8 + HEAD_DIM :].isnan().all()
        found.append((good and bool(between), said))
    return all_of(found)


def check_bytes(backend: str) -> Verdict:
    """Every fp8 byte under every scale byte to 254: a row that attends one token gives it back, exactly. NaN stays in its row."""
    cache, tokens = PagedCache.empty(8, 32), range(255)
    data = torch.arange(DATA_BYTES, dtype=torch.uint8).repeat(255, 1)
    scale = torch.arange(255, dtype=torch.uint8)[:, None].repeat(1, SCALE_BYTES)
    data[:, NOPE_DIM:] = torch.randn(255, 64, generator=torch.Generator().manual_seed(1)).bfloat16().view(torch.uint8)
    cache.write_records(tokens, data, scale)
    data[:, :NOPE_DIM][~cache.read(tokens)[:, :NOPE_DIM].bfloat16().isfinite()] = 0
    cache.write_records(tokens, data, scale)
    expected = cache.read(tokens).bfloat16()
    lists = Segment(cache, torch.arange(255, dtype=torch.int32), torch.arange(256, dtype=torch.int32))
    inputs = DecodeInputs(torch.zeros(255, 1, HEAD_DIM, dtype=torch.bfloat16), lists, None, 1.0, None)
    out = call(inputs.to(place(backend)), backend).out[:, 0].cpu()
    wrong = (out != expected).any(1).nonzero()[:, 0].tolist()
    data[0, 0], data[1, NOPE_DIM - 1], scale[2, 6] = 0x7F, 0xFF, 0xFF
    cache.write_records(tokens, data, scale)
    broken = call(inputs.to(place(backend)), backend).out[:, 0].cpu()
    kept = bool(broken[:3].isnan().any(1).all()) and torch.equal(broken[3:], out[3:])
    return not wrong and kept, f"{len(wrong)} scale bytes are wrong: {wrong[:8]}; NaN in its row alone: {kept}"


def check_many(backend: str) -> Verdict:
    """3,000 launches of two problems in one workspace (60 on the CPU): the same bits. What an aborted one left is reset."""
    both = [CASES[name].inputs() for name in ("ragged-invalid", "pro-csa-mtp3-h16")]
    plans = [planned(both[0], backend), planned(both[1], backend, batch_invariant=True)]
    there = [inputs.to(place(backend)) for inputs in both]
    workspace = Workspace(place(backend))
    for plan, inputs in zip(plans, both, strict=True):
        workspace.fit(plan, inputs.heads)
    workspace.scratch.partial.fill_(torch.nan)
    first = [call(inputs, backend, plan=plan, workspace=workspace).out for plan, inputs in zip(plans, there, strict=True)]
    outs, different = [torch.empty_like(out) for out in first], torch.zeros((), dtype=torch.int64, device=place(backend))
    for i in range(60 if place(backend).type == "cpu" else 3000):
        call(there[i % 2], backend, plan=plans[i % 2], workspace=workspace, out=outs[i % 2])
        different += (outs[i % 2] != first[i % 2]).any()
    good, said = all_of([agrees(out, inputs) for out, inputs in zip(first, both, strict=True)])
    clean = not bool(workspace.scratch.words.any())
    workspace.scratch.words.fill_(3)
    workspace.reset()
    again = torch.equal(call(there[1], backend, plan=plans[1], workspace=workspace).out, first[1])
    return good and clean and again and not different, f"{said}; {int(different)} differ; counters zero: {clean}; reset: {again}"


def check_batches(backend: str) -> Verdict:
    """Batch-invariant: rows alone, in another order and among others give the same bits."""
    inputs = Case("batch", 16, (128, 128, 3, 90, 128, 0, 128), (1024, 400, 0, 700, 1024, 0, 2000)).inputs()
    whole = call(inputs.to(place(backend)), backend, plan=planned(inputs, backend, batch_invariant=True)).out
    same = []
    for some in ([6], [4, 3, 2], [5, 1, 0, 6]):
        main, extra = (segment(part.cache, [part.row(row) for row in some]) for part in inputs.segments.values())
        few = replace(inputs, q=inputs.q[some], main=main, extra=extra)
        got = call(few.to(place(backend)), backend, plan=planned(few, backend, batch_invariant=True)).out
        same.append(torch.equal(got, whole[some]))
    good, said = agrees(whole, inputs)
    return good and all(same), f"{said}; the same bits: {same}"


def check_compiled(backend: str) -> Verdict:
    """torch.compile, fullgraph, with a plan and without, the segments made inside. On a GPU with Inductor."""
    inputs = CASES["pro-csa-mtp3-h16"].inputs()
    there, plan = inputs.to(place(backend)), planned(inputs, backend)
    main, extra = there.segments.values()
    workspace = Workspace(place(backend), plan, inputs.heads)

    def step(q: torch.Tensor, cache: torch.Tensor, given: Plan | None) -> tuple[torch.Tensor, str]:
        lists = Segment(PagedCache(cache), main.indices, main.indptr)
        options: dict[str, Any] = {"plan": given, "workspace": workspace} if given else {"backend": backend}
        got = decode(q * 2, lists, extra, scale=inputs.scale, attn_sink=there.attn_sink, **options)
        return got.out * 4, got.backend

    compiler = "inductor" if place(backend) == GPU else "aot_eager"
    found = []
    for given in (plan, None):
        out, name = torch.compile(step, fullgraph=True, backend=compiler)(there.q, there.main.cache.storage, given)
        good, said = agrees(out / 4, replace(inputs, q=inputs.q * 2))
        found.append((good and name == backend, said))
    return all_of(found)


def adapter(inputs: DecodeInputs, out: torch.Tensor, backend: str, **more: Any) -> DecodeOutput:
    main, extra = inputs.segments.values()
    return vllm_rocm_sparse_decode(
        inputs.q, extra.cache.storage, main.cache.storage, False, None, None, None, None, main.indices, main.indptr,
        extra.indices, extra.indptr, inputs.attn_sink, inputs.scale, 512, 448, 64, out, backend=backend, **more,
    )  # fmt: skip


def check_adapter(backend: str) -> Verdict:
    """vLLM's arguments: ragged lists; tables with their lengths, of int64 and with sinks for more heads; the window alone."""
    found = []
    for name in ("ragged-invalid", "infinite-sink", "all-invalid"):
        inputs = CASES[name].inputs()
        there = inputs.to(place(backend))
        main, extra = there.segments.values()
        out = torch.full_like(there.q, torch.nan)
        found.append(agrees(adapter(there, out, backend).out, inputs))
        tables = []
        for part in (extra, main):
            rows = [part.row(row).long() for row in range(inputs.rows)]
            lens = torch.tensor([len(row) for row in rows], device=place(backend))
            tables += [torch.nn.utils.rnn.pad_sequence(rows, True, 1), lens]
        sink = torch.cat([there.attn_sink, there.attn_sink + 1]) if there.attn_sink is not None else None
        for window in (False, True):
            out.fill_(torch.nan)
            caches = (None if window else extra.cache.storage, main.cache.storage, window)
            decoded: Any = vllm_rocm_sparse_decode
            decoded(there.q, *caches, *tables, *[None] * 4, sink, inputs.scale, 512, 448, 64, out, backend=backend)
            found.append(agrees(out, replace(inputs, extra=None) if window else inputs))
    return all_of(found)


def check_far(backend: str) -> Verdict:
    """Blocks of both caches 1.4 GB apart, rows of q and out 1.2 GB apart."""
    inputs = Case("far", 16, (300, 64, 9, 77), (500, 2, 0, 64)).inputs()
    there = inputs.to(GPU)

    def apart(tensor: torch.Tensor, stride: int) -> torch.Tensor:
        memory = torch.empty(stride * tensor.shape[0], dtype=tensor.dtype, device=GPU)
        return memory.as_strided(tensor.shape, (stride, *tensor.stride()[1:])).copy_(tensor)

    main, extra = (replace(part, cache=PagedCache(apart(part.cache.storage, 1_435_968_000))) for part in there.segments.values())
    there = replace(there, q=apart(there.q, 600_000_000), main=main, extra=extra)
    out = apart(torch.full_like(there.q[:, :, :], torch.nan).contiguous(), 600_000_000)
    return all_of([agrees(call(there, backend, out=out, plan=plan).out, inputs) for plan in (None, planned(inputs, backend))])


def check_graph(backend: str) -> Verdict:
    """Captured by a plan from capacities, replayed with other lengths, queries and -1 slots; one workspace for two graphs."""
    largest = Case("capacity", 16, (128,) * 6, (1024,) * 6, rows_per_request=6).inputs()
    buffers, found = largest.to(GPU), []
    plans = (planned(largest, backend), planned(largest, backend, batch_invariant=True))
    workspace = Workspace(GPU, plans[0], 16)
    workspace.fit(plans[1], 16)
    out, graphs = torch.empty_like(buffers.q), [torch.cuda.CUDAGraph() for _ in plans]
    for plan, graph in zip(plans, graphs, strict=True):
        call(buffers, backend, plan=plan, out=out, workspace=workspace)  # compiles
        with torch.cuda.graph(graph):
            call(buffers, backend, plan=plan, out=out, workspace=workspace)
    for lens in (((128,) * 6, (1024,) * 6), ((1, 128, 0, 64, 77, 3), (1000, 0, 0, 512, 33, 1)), ((0,) * 6, (0,) * 6)):
        parts = []
        for part, there, ends in zip(largest.segments.values(), buffers.segments.values(), lens, strict=True):
            rows = [part.row(row)[:end].clone() for row, end in enumerate(ends)]
            for row in rows:
                row[4::5] = -1
            parts.append(segment(part.cache, rows))
            there.indices.zero_()  # slot 0 is poisoned
            there.indices[: sum(ends)].copy_(parts[-1].indices)
            there.indptr.copy_(parts[-1].indptr)
        now = replace(largest, q=torch.roll(largest.q, sum(lens[0]), 0), main=parts[0], extra=parts[1])
        buffers.q.copy_(now.q)
        for graph in graphs:
            out.fill_(torch.nan)
            graph.replay()
            found.append(agrees(out, now))
    clean = not bool(workspace.scratch.words.any())
    good, said = all_of(found)
    return good and clean, f"{said}; counters zero: {clean}"


def check_quiet(backend: str) -> Verdict:
    """No allocation where out and workspace are given, counted by torch's allocator; no wait, by torch's sync debug mode."""
    inputs, found = CASES["pro-csa-mtp3-h16"].inputs(), []
    there = inputs.to(GPU)
    for plan in (planned(inputs, backend), planned(inputs, backend, batch_invariant=True)):
        out, workspace = torch.empty_like(there.q), Workspace(GPU, plan, inputs.heads)
        call(there, backend, out=out, workspace=workspace, plan=plan)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            before = torch.cuda.memory_stats()["allocation.all.allocated"]
            for _ in range(10):
                call(there, backend, out=out, workspace=workspace, plan=plan)
            adapter(there, out, backend, workspace=workspace, plan=plan)
            made = torch.cuda.memory_stats()["allocation.all.allocated"] - before
            free = call(there, backend).out  # allocates, but does not wait
        finally:
            torch.cuda.set_sync_debug_mode("default")
        good, said = all_of([agrees(out, inputs), agrees(free, inputs)])
        found.append((good and not made, f"{said}; {made} allocations"))
    return all_of(found)


def pages(main: int, extra: int, padded: bool) -> Case:
    name = f"pages {main} {extra}{' padded' if padded else ''}"
    return Case(name, 16, (128, 61, 0), (300, 77, 513), main_block=main, extra_block=extra, padded=padded, slots="mixed")


HOSTILE = (
    *("ragged-invalid", "empty-rows", "all-invalid", "heads-5", "heads-17", "strided-q-h20", "odd-blocks", "block-1"),
    *("infinite-sink", "no-sink", "dominating", "pro-hca-h16", "pro-csa-mtp3-h16", "flash-csa-h64"),
)
PAGES = (pages(2, 256, True), pages(256, 64, False), pages(64, 2, True))
ANYWHERE: dict[str, Callable[[str], Verdict]] = {
    **{case.name: partial(check_case, case) for case in (*(CASES[name] for name in HOSTILE), *PAGES)},
    "every byte": check_bytes,
    "batch-invariant": check_batches,
    "torch.compile": check_compiled,
    "vLLM's arguments": check_adapter,
    "3000 launches": check_many,
}
ON_A_GPU: dict[str, Callable[[str], Verdict]] = {
    "graph replay": check_graph,
    "allocations and waits": check_quiet,
    "far addresses": check_far,
}
FOUND = [name for name in BACKENDS if torch.cuda.is_available() and not BACKENDS[name].refusal(GPU)]
TASKS = [(name, backend) for name in ANYWHERE | ON_A_GPU for backend in FOUND]


def verdict(task: tuple[str, str]) -> dict[str, object]:
    name, backend = task
    try:
        good, said = (ANYWHERE | ON_A_GPU)[name](backend)
    except Exception as problem:  # one check's fault is no other's
        good, said = False, f"{type(problem).__name__}: {problem}"[:1000]
    return {"check": name, "backend": backend, "ok": good, "seen": said}


def main(folder: Path, processes: int) -> int:
    """All verdicts: in processes side by side, for the compilers' sake, but for those that need the GPU's memory alone."""
    if not TASKS:
        print("no GPU here that a backend takes: hopper, hip or triton", file=sys.stderr)
        return 2
    import triton

    alone = [task for task in TASKS if task[0] in ON_A_GPU]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        rows = pool.map(verdict, [task for task in TASKS if task not in alone], chunksize=1)
    rows += map(verdict, alone)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "decode_op.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("check", "backend", "ok", "seen"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    manifest = folder / "manifest.json"
    known = json.loads(manifest.read_text()) if manifest.exists() else {}
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    known["decode_op.csv"] = {
        "kind": "measured", "device": torch.cuda.get_device_name(), "date": datetime.date.today().isoformat(),
        "command": "python tests/execute/test_ops_gpu.py FOLDER", "commit": commit or "unknown",
        "versions": {"torch": torch.__version__, "triton": triton.__version__, "python": sys.version.split()[0]},
    }  # fmt: skip
    manifest.write_text(json.dumps(known, indent=1) + "\n")
    bad = [row for row in rows if not row["ok"]]
    print(*bad, f"{len(rows)} checks, {len(bad)} failed", sep="\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12))

try:
    import pytest
except ImportError:
    pass
else:

    @pytest.mark.skipif(not FOUND, reason="needs a GPU that a backend takes: hopper, hip or triton")
    @pytest.mark.parametrize("name, backend", TASKS or [("", "")])
    def test_on_a_gpu(name: str, backend: str) -> None:
        good, said = (ANYWHERE | ON_A_GPU)[name](backend)
        assert good, said
