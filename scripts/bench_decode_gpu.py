"""Check and time the Hopper decode on the GPU of this machine; needs the repository, torch, Triton and a Hopper GPU.

    python scripts/bench_decode_gpu.py check FOLDER    every case against float64, and what only a GPU shows -> check.csv
    python scripts/bench_decode_gpu.py time FOLDER     the shapes of peers.csv, beside its columns         -> decode_us.csv

Both write FOLDER/manifest.json too. A timed shape is checked first: output poisoned, all of it finite, up to 24 rows of two input
sets against float64. The time is that of one decode in a CUDA graph of 8 to 64 of them with inputs of their own, over random
slots of caches of 0.6 GB and 1.1 GB, L2 flushed before each replay: the median of 15. Planning is not in it. Kernels are compiled
before, in processes side by side; Triton's cache on disk keeps them.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import math
import multiprocessing
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from sparse_mla.cache.layout import HEAD_DIM, TOKEN_BYTES, padded_stride  # noqa: E402
from sparse_mla.cache.paging import PagedCache  # noqa: E402
from sparse_mla.kernels.case import CASES, Case  # noqa: E402
from sparse_mla.kernels.compare import compare  # noqa: E402
from sparse_mla.kernels.hopper import Plan, Workspace, decode, plan  # noqa: E402
from sparse_mla.kernels.inputs import DecodeInputs, Segment  # noqa: E402
from sparse_mla.kernels.reference import reference  # noqa: E402

PEERS = ROOT / "profiles/measured/h100/peers.csv"
LIMIT = 4e-3  # relative L2 distance from float64: bf16 weights and output give 2e-3
MAIN, BLOCK = 128, 64
CHECKED = [Plan(16, splits) for splits in (1, 2, 3, 8, 19)] + [Plan(block, splits) for block in (32, 64) for splits in (1, 6)]
Row = dict[str, object]


def on_gpu(inputs: DecodeInputs) -> DecodeInputs:
    """The same inputs on the GPU, strides and padding included."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        memory = torch.empty(tensor.untyped_storage().nbytes(), dtype=torch.uint8)
        memory.untyped_storage().copy_(tensor.untyped_storage())
        return torch.empty(0, dtype=tensor.dtype, device="cuda").set_(
            memory.cuda().untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride()
        )

    def segment(part: Segment) -> Segment:
        return Segment(PagedCache(moved(part.cache.storage)), part.indices.cuda(), part.indptr.cuda())

    return DecodeInputs(
        moved(inputs.q),
        segment(inputs.main),
        None if inputs.extra is None else segment(inputs.extra),
        inputs.scale,
        None if inputs.attn_sink is None else inputs.attn_sink.cuda(),
    )


def strided_out(inputs: DecodeInputs) -> torch.Tensor:
    """An output stored by heads first, NaN between its vectors."""
    memory = torch.full((inputs.heads, inputs.rows, HEAD_DIM + 40), torch.nan, dtype=torch.bfloat16, device="cuda")
    return memory.transpose(0, 1)[:, :, 8 : 8 + HEAD_DIM]


def check_case(name: str) -> list[Row]:
    """One case at every split count: twice in a workspace full of NaN, waiting for the other splits and never waiting."""
    inputs = CASES[name].inputs()
    expected, there = reference(inputs), on_gpu(inputs)
    rows: list[Row] = []
    for cut in CHECKED:
        workspace = Workspace.make(inputs.rows, inputs.heads, cut, "cuda")
        workspace.partial.fill_(torch.nan), workspace.partial_ml.fill_(torch.nan)
        results = []
        for polls in (64, 0, 1):
            out, lse = strided_out(inputs), torch.full((inputs.rows, inputs.heads), torch.nan, device="cuda")
            decode(there, cut, out=out, lse=lse, workspace=workspace, polls=polls)
            results.append((out.cpu(), lse.cpu()))
        torch.cuda.synchronize()
        got, lse_got = compare(results[0][0], expected.out), compare(results[0][1], expected.lse)
        same = all(torch.equal(out, results[0][0]) and torch.equal(lse, results[0][1]) for out, lse in results)
        between = out.as_strided((inputs.heads, inputs.rows, HEAD_DIM + 40), (inputs.rows * (HEAD_DIM + 40), HEAD_DIM + 40, 1), 0)
        untouched = bool(between[..., :8].isnan().all() and between[..., 8 + HEAD_DIM :].isnan().all())
        good = got.finite and got.rel_l2 < LIMIT and lse_got.finite and lse_got.max_abs < 1e-2
        rows.append(
            {
                "check": name, "head_block": cut.head_block, "splits": cut.splits,
                "ok": good and same and untouched and not workspace.words.any().item(),
                "rel_l2": f"{got.rel_l2:.2e}", "max_abs": f"{got.max_abs:.2e}", "within_tolerance": f"{got.share:.4f}",
                "lse_max_abs": f"{lse_got.max_abs:.2e}",
            }
        )  # fmt: skip
    return rows


def check_batches() -> list[Row]:
    """More items than multiprocessors, replays of a graph, a row alone, one workspace for all: the same bits."""
    extra = tuple(61 * i % 700 for i in range(150))
    case = Case("many-rows", 16, tuple(1 + 37 * i % 200 for i in range(150)), extra)
    inputs = case.inputs()
    expected, there = reference(inputs), on_gpu(inputs)
    workspace = Workspace.make(case.rows, 16, Plan(16, 7), "cuda")
    rows: list[Row] = []
    for cut in (Plan(16, 1), Plan(16, 2), Plan(16, 3), Plan(16, 7)):
        out = torch.full_like(there.q, torch.nan)
        decode(there, cut, out=out, workspace=workspace)
        got = compare(out.cpu(), expected.out)
        few = [3, 149, 77]
        alone = []
        for part in there.segments.values():
            lists = [part.row(row) for row in few]
            ends = torch.tensor([0, *map(len, lists)], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            alone.append(Segment(part.cache, torch.cat(lists), ends.cuda()))
        fewer = decode(replace(there, q=there.q[few], main=alone[0], extra=alone[1]), cut, workspace=workspace)
        same = torch.equal(fewer, out[few])
        graph, replayed = torch.cuda.CUDAGraph(), torch.empty_like(out)
        with torch.cuda.graph(graph):
            decode(there, cut, out=replayed, workspace=workspace)
        for _ in range(20):
            replayed.fill_(torch.nan)
            graph.replay()
            same &= torch.equal(replayed, out)
        good = got.finite and got.rel_l2 < LIMIT and same and not workspace.words.any().item()
        rows.append({"check": "many-rows", "head_block": cut.head_block, "splits": cut.splits, "ok": good,
                     "rel_l2": f"{got.rel_l2:.2e}",
                     "max_abs": f"{got.max_abs:.2e}", "within_tolerance": f"{got.share:.4f}"})  # fmt: skip
    return rows


def check_far() -> list[Row]:
    """Blocks 1.4 GB apart: offsets beyond 32 bits."""
    case = Case("far-blocks", 16, (300, 64), (500, 2))
    inputs = case.inputs()
    expected = reference(inputs)
    there = on_gpu(inputs)
    stride, storage = 1_435_968_000, there.main.cache.storage
    memory = torch.empty(stride * storage.shape[0], dtype=torch.uint8, device="cuda")
    far = memory.as_strided(storage.shape, (stride, TOKEN_BYTES, 1))
    far.copy_(storage)
    there = replace(there, main=replace(there.main, cache=PagedCache(far)))
    got = compare(decode(there, Plan(16, 3)).cpu(), expected.out)
    return [{"check": "far-blocks", "head_block": 16, "splits": 3,
             "ok": got.finite and got.rel_l2 < LIMIT, "rel_l2": f"{got.rel_l2:.2e}",
             "max_abs": f"{got.max_abs:.2e}", "within_tolerance": f"{got.share:.4f}"}]  # fmt: skip


def cache(bytes_about: float) -> PagedCache:
    """Random records, padded blocks: e4m3 without NaN, RoPE near 1, scales near 2^-6."""
    stride = padded_stride(BLOCK)
    blocks = int(bytes_about // stride)
    memory = torch.randint(0, 256, (blocks, stride), dtype=torch.uint8, device="cuda")
    storage = memory.as_strided((blocks, BLOCK, TOKEN_BYTES), (stride, TOKEN_BYTES, 1))
    data = memory.as_strided((blocks, BLOCK, 576), (stride, 576, 1))
    fp8 = data[..., :448]
    fp8.masked_fill_((fp8 & 0x7F) == 0x7F, 0x30)
    data[..., 448:] = torch.randn(blocks, BLOCK, 64, device="cuda").to(torch.bfloat16).view(torch.uint8)
    memory.as_strided((blocks, BLOCK, 8), (stride, 8, 1), BLOCK * 576).copy_(
        torch.randint(119, 122, (blocks, BLOCK, 8), dtype=torch.uint8, device="cuda")
    )
    return PagedCache(storage)


def expected_rows(inputs: DecodeInputs, count: int) -> torch.Tensor:
    """float64 on the GPU, `count` first rows."""
    found = []
    for row in range(count):
        kv = []
        for part in inputs.segments.values():
            slots = part.row(row).long()
            at = part.cache.layout
            where = (slots // at.block_size * at.block_stride, slots % at.block_size)
            flat = part.cache.storage.as_strided((part.cache.storage.shape[0] * at.block_stride,), (1,))
            data = flat[(where[0] + where[1] * 576)[:, None] + torch.arange(576, device="cuda")]
            scale = flat[(where[0] + at.block_size * 576 + where[1] * 8)[:, None] + torch.arange(7, device="cuda")]
            fp8 = data[:, :448].contiguous().view(torch.float8_e4m3fn).double()
            fp8 *= torch.exp2(scale.double() - 127).repeat_interleave(64, 1)
            kv.append(torch.cat([fp8, data[:, 448:].contiguous().view(torch.bfloat16).double()], 1))
        tokens = torch.cat(kv)
        logits = inputs.scale * (inputs.q[row].double() @ tokens.T)
        lse = torch.logaddexp(logits.logsumexp(1), inputs.attn_sink.double())
        found.append(torch.exp(logits - lse[:, None]) @ tokens)
    return torch.stack(found)


def sets(heads: int, rows: int, extra: int, caches: tuple[PagedCache, PagedCache]) -> list[DecodeInputs]:
    """Input sets of one timed shape."""

    def segment(paged: PagedCache, length: int) -> Segment:
        slots = torch.randint(0, paged.num_slots, (rows * length,), dtype=torch.int32, device="cuda")
        return Segment(paged, slots, torch.arange(0, rows * length + 1, max(length, 1), dtype=torch.int32, device="cuda"))

    return [
        DecodeInputs(
            torch.randn(rows, heads, HEAD_DIM, device="cuda").to(torch.bfloat16),
            segment(caches[0], MAIN),
            segment(caches[1], extra) if extra else None,
            HEAD_DIM**-0.5,
            torch.randn(heads, device="cuda"),
        )
        for _ in range({1: 64, 4: 64, 16: 32, 64: 16}.get(rows, 8))
    ]


def timed(run: Callable[[int], None], count: int, flush: torch.Tensor) -> float:
    """Microseconds of one of `count` runs in a graph."""
    run(0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            run(i)
    times = []
    for _ in range(17):
        flush.sum()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1000 / count)
    return statistics.median(times[2:])


def planned(shape: tuple[int, ...]) -> Plan:
    heads, rows, extra = shape
    return plan([MAIN] * rows, [extra] * rows if extra else None, heads)


def time_shape(shape: tuple[int, ...], caches: tuple[PagedCache, PagedCache], flush: torch.Tensor, wanted: list[Plan]) -> Row:
    """The planned way's time, and the best of it and the `wanted` ones."""
    heads, rows, extra = shape
    cases = sets(heads, rows, extra, caches)
    outs = [torch.empty_like(case.q) for case in cases]
    worst, times = 0.0, {}
    for cut in {planned(shape): 0} | dict.fromkeys(wanted, 0):
        spaces = [Workspace.make(rows, heads, cut, "cuda") for _ in cases]

        def run(i: int) -> None:
            decode(cases[i], cut, out=outs[i], workspace=spaces[i])  # noqa: B023

        for i in range(2):
            outs[i].fill_(torch.nan)
            run(i)
            expected = expected_rows(cases[i], min(24, rows))
            error = (outs[i][: min(24, rows)].double() - expected).norm() / expected.norm()
            worst = max(worst, float(error) if outs[i].isfinite().all() else math.inf)
        times[cut] = timed(run, len(cases), flush)
    best, chosen = min(times, key=times.__getitem__), planned(shape)
    print(*shape, {f"{cut.head_block}:{cut.splits}": round(us, 1) for cut, us in times.items()}, f"{worst:.1e}", flush=True)
    return {"heads": heads, "rows": rows, "extra": extra, "rel_l2": f"{worst:.2e}",
            "head_block": chosen.head_block, "splits": chosen.splits, "us": f"{times[chosen]:.2f}",
            "best_head_block": best.head_block, "best_splits": best.splits, "best_us": f"{times[best]:.2f}"}  # fmt: skip


def peers() -> list[dict[str, str]]:
    with PEERS.open() as file:
        return list(csv.DictReader(file))


def write(folder: Path, name: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    import triton

    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    manifest = folder / "manifest.json"
    known = json.loads(manifest.read_text()) if manifest.exists() else {}
    known[name] = {
        "kind": "measured", "device": torch.cuda.get_device_name(), "date": datetime.date.today().isoformat(),
        "command": " ".join(["python scripts/bench_decode_gpu.py", sys.argv[1], "FOLDER", *sys.argv[3:]]),
        "commit": git.stdout.strip() or "unknown",
        "versions": {"torch": torch.__version__, "triton": triton.__version__, "python": sys.version.split()[0]},
    }  # fmt: skip
    manifest.write_text(json.dumps(known, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("check", "time"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shapes", default="", help="heads,rows,extra;... instead of all of peers.csv")
    parser.add_argument("--plans", default="", help="head_block:splits,... to try beside the planned way")
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    parser.add_argument("--processes", type=int, default=12)
    args = parser.parse_args()
    pool = multiprocessing.get_context("spawn").Pool(args.processes)
    if args.what == "check":
        names = [name for name in CASES if args.cases in name]
        rows = [row for found in pool.imap(check_case, names) for row in found] + check_batches() + check_far()
        write(args.folder, "check.csv", rows)
        bad = [row for row in rows if not row["ok"]]
        print(f"{len(rows)} checks, {len(bad)} failed, worst rel_l2", max(float(str(row["rel_l2"])) for row in rows))
        for row in bad[:30]:
            print(row)
        return bool(bad)
    shapes = [tuple(map(int, shape.split(","))) for shape in args.shapes.split(";") if shape]
    shapes = shapes or [(int(peer["heads"]), int(peer["rows"]), int(peer["extra"])) for peer in peers()]
    wanted = [Plan(*map(int, cut.split(":"))) for cut in args.plans.split(",") if cut]
    variants = {(min(shape[0], 128), bool(shape[2]), cut) for shape in shapes for cut in [planned(shape), *wanted]}
    pool.map(compiled, sorted(variants, key=str), chunksize=1)
    caches, flush = (cache(0.56e9), cache(1.12e9)), torch.ones(64 << 20, dtype=torch.float32, device="cuda")
    rows = [time_shape(shape, caches, flush, wanted) for shape in shapes]
    for row in rows:
        for peer in peers():
            if all(int(peer[key]) == row[key] for key in ("heads", "rows", "extra")):
                row |= {"flashmla_us": peer["flashmla_us"], "floor_us": peer["floor_us"],
                        "us_over_flashmla": f"{float(str(row['us'])) / float(peer['flashmla_us']):.3f}",
                        "us_over_floor": f"{float(str(row['us'])) / float(peer['floor_us']):.3f}"}  # fmt: skip
    write(args.folder, "decode_us.csv", rows)
    for heads in sorted({int(str(row["heads"])) for row in rows}):
        mine = [row for row in rows if row["heads"] == heads and "flashmla_us" in row]
        if mine:
            for key in ("us", "best_us"):
                ratios = [float(str(row[key])) / float(str(row["flashmla_us"])) for row in mine]
                print(heads, "heads:", key, "over FlashMLA, geometric mean", round(statistics.geometric_mean(ratios), 3))
    return 0


def compiled(variant: tuple[int, bool, Plan]) -> None:
    """Compile what a timed shape needs, in a process of its own: the cache on disk keeps it."""
    heads, extra, cut = variant
    caches = (cache(2e5), cache(2e5))
    decode(sets(heads, 1, 64 if extra else 0, caches)[0], cut)
    torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
