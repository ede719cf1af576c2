"""Check and time the Hopper decode on the GPU of this machine; needs the repository, torch for CUDA, Triton and a Hopper GPU.

    python scripts/bench_decode_gpu.py check FOLDER    every case against float64, and what only a GPU shows -> check.csv
    python scripts/bench_decode_gpu.py time FOLDER     the shapes of peers.csv, beside FlashMLA's times    -> decode_us.csv
    python scripts/bench_decode_gpu.py time FOLDER --backend triton    the same of the portable kernel     -> triton_us.csv

All write FOLDER/manifest.json too. A timed shape is checked first: output poisoned, all of it finite, up to 24 rows of two input
sets against float64. The time is that of one decode in a CUDA graph of 8 to 64 of them with inputs of their own, over random
slots of caches of 0.6 GB and 1.1 GB, L2 flushed before each replay: the median of 15. All shapes are timed twice, for the spread.
Planning is not in it. `floor_us` is a kernel that only reads the same records, timed the same way. Kernels are compiled before,
in processes side by side.
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
from typing import Any

import torch
import triton
import triton.language as tl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from sparse_mla.cache.layout import DATA_BYTES, HEAD_DIM, TOKEN_BYTES, padded_stride  # noqa: E402
from sparse_mla.cache.paging import PagedCache  # noqa: E402
from sparse_mla.execute import ops  # noqa: E402
from sparse_mla.execute.backends import Cut  # noqa: E402
from sparse_mla.execute.cuda_device import decode  # noqa: E402
from sparse_mla.execute.workspace import Plan as Cuts  # noqa: E402
from sparse_mla.execute.workspace import Workspace, plan_decode  # noqa: E402
from sparse_mla.kernels.case import CASES, Case  # noqa: E402
from sparse_mla.kernels.compare import Comparison, compare  # noqa: E402
from sparse_mla.kernels.hopper import Plan  # noqa: E402
from sparse_mla.kernels.inputs import DecodeInputs, Segment  # noqa: E402
from sparse_mla.kernels.reference import reference  # noqa: E402

PEERS = ROOT / "profiles/measured/h100/peers.csv"
LIMIT = 4e-3  # relative L2 distance from float64: bf16 weights and output give 2e-3
MAIN, BLOCK = 128, 64
CHECKED = [Plan(block, splits) for block in (16, 64) for splits in (1, 2, 4, 8, 16)] + [Plan(32, splits) for splits in (1, 2, 8)]
Row = dict[str, Any]


def strided_out(inputs: DecodeInputs) -> torch.Tensor:
    """An output stored by heads first, NaN between its vectors."""
    memory = torch.full((inputs.heads, inputs.rows, HEAD_DIM + 40), torch.nan, dtype=torch.bfloat16, device="cuda")
    return memory.transpose(0, 1)[:, :, 8 : 8 + HEAD_DIM]


def check_case(name: str) -> list[Row]:
    """One case by every plan, three times: right, the same bits, and nothing written between the output's vectors."""
    inputs = CASES[name].inputs()
    expected, there = reference(inputs), inputs.to("cuda")
    rows: list[Row] = []
    for cut in CHECKED:
        results = []
        for _ in range(3):
            out, lse = strided_out(inputs), torch.full((inputs.rows, inputs.heads), torch.nan, device="cuda")
            decode(there, cut, out=out, lse=lse)
            results.append((out.cpu(), lse.cpu()))
        got, lse_got = compare(results[0][0], expected.out), compare(results[0][1], expected.lse)
        same = all(torch.equal(out, results[0][0]) and torch.equal(lse, results[0][1]) for out, lse in results)
        between = out.as_strided((inputs.heads, inputs.rows, HEAD_DIM + 40), (inputs.rows * (HEAD_DIM + 40), HEAD_DIM + 40, 1), 0)
        untouched = bool(between[..., :8].isnan().all() and between[..., 8 + HEAD_DIM :].isnan().all())
        good = got.finite and got.rel_l2 < LIMIT and lse_got.finite and lse_got.max_abs < 1e-2
        rows.append(verdict(name, cut, good and same and untouched, got) | {"lse_max_abs": f"{lse_got.max_abs:.2e}"})
    return rows


def verdict(name: str, cut: Plan, ok: bool, got: Comparison) -> Row:
    return {"check": name, "head_block": cut.head_block, "splits": cut.splits, "ok": ok, "rel_l2": f"{got.rel_l2:.2e}",
            "max_abs": f"{got.max_abs:.2e}", "within_tolerance": f"{got.share:.4f}"}  # fmt: skip


def check_batches() -> list[Row]:
    """More items than multiprocessors, replays of a graph, a row alone: the same bits."""
    extra = tuple(61 * i % 700 for i in range(150))
    rows: list[Row] = []
    for heads, cuts in ((16, CHECKED), (64, [Plan(64, 1), Plan(64, 2), Plan(32, 2)])):
        case = Case("many-rows", heads, tuple(1 + 37 * i % 200 for i in range(150)), extra)
        inputs = case.inputs()
        expected, there = reference(inputs), inputs.to("cuda")
        few = [3, 149, 77]
        alone = []
        for part in there.segments.values():
            lists = [part.row(row) for row in few]
            ends = torch.tensor([0, *map(len, lists)], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            alone.append(Segment(part.cache, torch.cat(lists), ends.cuda()))
        for cut in cuts:
            out = torch.full_like(there.q, torch.nan)
            decode(there, cut, out=out)
            got = compare(out.cpu(), expected.out)
            same = torch.equal(decode(replace(there, q=there.q[few], main=alone[0], extra=alone[1]), cut), out[few])
            graph, replayed = torch.cuda.CUDAGraph(), torch.empty_like(out)
            with torch.cuda.graph(graph):
                decode(there, cut, out=replayed)
            for _ in range(20):
                replayed.fill_(torch.nan)
                graph.replay()
                same &= torch.equal(replayed, out)
            rows.append(verdict(f"many-rows-h{heads}", cut, got.finite and got.rel_l2 < LIMIT and same, got))
    return rows


def check_bytes() -> list[Row]:
    """Every scale byte but 255, every fp8 byte: a row of one token gives its numbers exactly; a NaN spoils its row, no other."""
    rows: list[Row] = []
    generator = torch.Generator().manual_seed(5)
    paged = PagedCache.empty(5, 64)
    byte, slots = torch.arange(255), torch.arange(255)
    data = torch.randint(0, 256, (255, 576), generator=generator, dtype=torch.uint8)
    top = torch.where(byte > 240, 0x08, 0x7E)[:, None]  # the largest magnitude: all but NaN, small ones where scales are huge
    data[:, :448] = (data[:, :448] & 0x80) | ((data[:, :448] & 0x7F).to(torch.int64) % (top + 1)).to(torch.uint8)
    data[:, 448:] = torch.randn(255, 64, generator=generator).to(torch.bfloat16).view(torch.uint8)
    paged.write_records(slots, data, byte[:, None].expand(255, 8).to(torch.uint8))
    ends = torch.arange(256, dtype=torch.int32)
    exact = DecodeInputs(
        torch.zeros(255, 16, HEAD_DIM, dtype=torch.bfloat16), Segment(paged, slots.int(), ends), None, 0.04, None
    )
    expected = paged.read(slots).to(torch.bfloat16)[:, None].expand(exact.q.shape)
    spoilt = PagedCache.empty(5, 64)
    data, scale = data.clone(), torch.full((255, 8), 120, dtype=torch.uint8)
    data[60, 5], data[120, 447], scale[180, 6] = 0x7F, 0xFF, 255
    data[230, 448:450] = 0xFF
    spoilt.write_records(slots, data, scale)
    # Row 0 lists what spoils the others, but as nothing: slots outside of the cache. Row r reads 50 tokens from 51 r on.
    lists = [torch.tensor([-1, 320, 7, 8]), *(torch.arange(50) + start for start in (20, 80, 140, 200)), torch.arange(61, 119)]
    ends = torch.tensor([0, *map(len, lists)]).cumsum(0).int()
    q = torch.randn(6, 16, HEAD_DIM, generator=generator).to(torch.bfloat16)
    nan = DecodeInputs(q, Segment(spoilt, torch.cat(lists).int(), ends), None, 0.04, None)
    for cut in CHECKED:
        out = decode(exact.to("cuda"), cut).cpu()
        rows.append(verdict("scale-bytes", cut, torch.equal(out, expected), compare(out, expected.double())))
        out = decode(nan.to("cuda"), cut).cpu()
        got = compare(out[[0, 5]], reference(nan).out[[0, 5]])
        rows.append(verdict("nan-rows", cut, bool(out[1:5].isnan().all()) and got.finite and got.rel_l2 < LIMIT, got))
    return rows


def check_far() -> list[Row]:
    """Blocks 1.4 GB apart: offsets beyond 32 bits."""
    case = Case("far-blocks", 16, (300, 64), (500, 2))
    inputs = case.inputs()
    expected = reference(inputs)
    there = inputs.to("cuda")
    stride, storage = 1_435_968_000, there.main.cache.storage
    memory = torch.empty(stride * storage.shape[0], dtype=torch.uint8, device="cuda")
    far = memory.as_strided(storage.shape, (stride, TOKEN_BYTES, 1))
    far.copy_(storage)
    there = replace(there, main=replace(there.main, cache=PagedCache(far)))
    got = compare(decode(there, Plan(16, 2)).cpu(), expected.out)
    return [verdict("far-blocks", Plan(16, 2), got.finite and got.rel_l2 < LIMIT, got)]


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


def call(backend: str, inputs: DecodeInputs, cut: Cut, out: torch.Tensor, workspace: Workspace | None = None) -> torch.Tensor:
    """`decode()` of all rows by one cut."""
    plan, options = Cuts(backend, (cut._replace(last=inputs.rows),)), {"scale": inputs.scale, "attn_sink": inputs.attn_sink}
    return ops.decode(inputs.q, inputs.main, inputs.extra, **options, out=out, plan=plan, workspace=workspace).out


def timed(run: Callable[[int], object], count: int, flush: torch.Tensor, replays: int = 17, dropped: int = 2) -> float:
    """Microseconds of one of `count` runs in a graph: the median of its replays but the first ones."""
    run(0)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            run(i)
    times = []
    for _ in range(replays):
        flush.sum()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end) * 1000 / count)
    return statistics.median(times[dropped:])


@triton.jit
def read_only(
    main, main_indices, mains, extra, extra_indices, extras, sums,
    BLOCK: tl.constexpr, STRIDE: tl.constexpr, DATA: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Sums of the records of TOKENS slots: those of the main list, then those of the extra one."""
    program, programs = tl.program_id(0), tl.cdiv(mains, TOKENS)
    cache, indices, end, first = main, main_indices, mains, program * TOKENS
    if program >= programs:
        cache, indices, end, first = extra, extra_indices, extras, (program - programs) * TOKENS
    at = first + tl.arange(0, TOKENS)
    there = at < end
    slot = tl.load(indices + at, mask=there, other=0)
    block = cache + (slot // BLOCK).to(tl.int64) * STRIDE
    data = (block + slot % BLOCK * DATA).to(tl.pointer_type(tl.int64), bitcast=True)
    scale = (block + BLOCK * DATA + slot % BLOCK * 8).to(tl.pointer_type(tl.int64), bitcast=True)
    total = tl.load(scale, mask=there, other=0)
    total += tl.sum(tl.load(data[:, None] + tl.arange(0, 64)[None], mask=there[:, None], other=0), axis=1)
    total += tl.sum(tl.load(data[:, None] + 64 + tl.arange(0, 8)[None], mask=there[:, None], other=0), axis=1)
    tl.store(sums + program, tl.sum(total))


def floor(cases: list[DecodeInputs], flush: torch.Tensor) -> float:
    """Microseconds in which one case's records are only read: the least over how many tokens a program takes."""
    found = []
    for tokens, warps in ((4, 4), (8, 4), (16, 4), (32, 8)):
        sums = torch.empty(1 << 18, dtype=torch.int64, device="cuda")

        def run(i: int) -> None:
            main, extra = cases[i].main, cases[i].extra or cases[i].main
            counts = main.indices.numel(), 0 if cases[i].extra is None else extra.indices.numel()
            read_only[(sum(-(-count // tokens) for count in counts),)](  # noqa: B023
                main.cache.storage, main.indices, counts[0], extra.cache.storage, extra.indices, counts[1], sums,  # noqa: B023
                BLOCK=BLOCK, STRIDE=main.cache.layout.block_stride, DATA=DATA_BYTES, TOKENS=tokens, num_warps=warps,  # noqa: B023
            )  # fmt: skip

        found.append(timed(run, len(cases), flush))
    return min(found)


def planned(backend: str, shape: tuple[int, ...]) -> Cut:
    heads, rows, extra = shape
    plan = plan_decode([MAIN] * rows, [extra] * rows if extra else None, heads, device="cuda", backend=backend)
    return plan.cuts[0]._replace(last=0)


def time_shape(
    backend: str, shape: tuple[int, ...], caches: tuple[PagedCache, PagedCache], flush: torch.Tensor, wanted: list[Cut]
) -> Row:
    """The planned way's time, and the best of it and the `wanted` ones."""
    heads, rows, extra = shape
    cases = sets(heads, rows, extra, caches)
    outs = [torch.empty_like(case.q) for case in cases]
    worst, times = 0.0, {}
    read, chosen = floor(cases, flush), planned(backend, shape)
    for cut in dict.fromkeys([chosen, *wanted]):
        workspace = Workspace("cuda", Cuts(backend, (cut._replace(last=rows),)), heads)

        def run(i: int) -> None:
            call(backend, cases[i], cut, outs[i], workspace)  # noqa: B023

        for i in range(2):
            outs[i].fill_(torch.nan)
            run(i)
            expected = expected_rows(cases[i], min(24, rows))
            error = (outs[i][: min(24, rows)].double() - expected).norm() / expected.norm()
            worst = max(worst, float(error) if outs[i].isfinite().all() else math.inf)
        times[cut] = timed(run, len(cases), flush)
    best = min(times, key=times.__getitem__)
    print(*shape, {":".join(map(str, cut[2:])): round(us, 1) for cut, us in times.items()}, f"{worst:.1e}", flush=True)
    return {"heads": heads, "rows": rows, "extra": extra, "rel_l2": f"{worst:.2e}", **form(backend, chosen),
            "us": f"{times[chosen]:.2f}", **{f"best_{key}": x for key, x in form(backend, best).items()},
            "best_us": f"{times[best]:.2f}", "floor_us": f"{read:.2f}"}  # fmt: skip


def form(backend: str, cut: Cut) -> Row:
    """What a backend's cuts differ by."""
    return {key: getattr(cut, key) for key in ("head_block", "splits", *(() if backend == "hopper" else ("tile", "warps")))}


def peers() -> list[dict[str, str]]:
    with PEERS.open() as file:
        return list(csv.DictReader(file))


def write(folder: Path, name: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
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
    parser.add_argument("--backend", choices=("hopper", "triton"), default="hopper")
    parser.add_argument("--plans", default="", help="splits:head_block[:tile:warps],... to try beside the planned way")
    parser.add_argument("--cases", default="", help="only cases whose name contains this")
    parser.add_argument("--processes", type=int, default=12)
    args = parser.parse_args()
    pool = multiprocessing.get_context("spawn").Pool(args.processes)
    if args.what == "check":
        names = [name for name in CASES if args.cases in name]
        rows = [row for found in pool.imap(check_case, names) for row in found] + check_batches() + check_far() + check_bytes()
        write(args.folder, "check.csv", rows)
        bad = [row for row in rows if not row["ok"]]
        print(f"{len(rows)} checks, {len(bad)} failed, worst rel_l2", max(float(row["rel_l2"]) for row in rows))
        for row in bad[:30]:
            print(row)
        return bool(bad)
    shapes = [tuple(map(int, shape.split(","))) for shape in args.shapes.split(";") if shape]
    shapes = shapes or [(int(peer["heads"]), int(peer["rows"]), int(peer["extra"])) for peer in peers()]
    wanted = [Cut(0, 0, *map(int, cut.split(":"))) for cut in args.plans.split(",") if cut]
    variants = {
        (args.backend, shape[0], bool(shape[2]), cut) for shape in shapes for cut in [planned(args.backend, shape), *wanted]
    }
    pool.map(compiled, sorted(variants, key=str), chunksize=1)
    caches, flush = (cache(0.56e9), cache(1.12e9)), torch.ones(64 << 20, dtype=torch.float32, device="cuda")
    rounds = [[time_shape(args.backend, shape, caches, flush, wanted) for shape in shapes] for _ in range(2)]
    rows = [first | {f"{key}_again": second[key] for key in ("us", "floor_us")} for first, second in zip(*rounds, strict=True)]
    for row in rows:
        ours, read = (float(row[key]) + float(row[f"{key}_again"]) for key in ("us", "floor_us"))
        row["us_over_floor"] = f"{ours / read:.3f}"
        for peer in peers():
            if all(int(peer[key]) == row[key] for key in ("heads", "rows", "extra")):
                row |= {"flashmla_us": peer["flashmla_us"], "us_over_flashmla": f"{ours / 2 / float(peer['flashmla_us']):.3f}"}
    write(args.folder, "decode_us.csv" if args.backend == "hopper" else f"{args.backend}_us.csv", rows)
    for heads in sorted({row["heads"] for row in rows}):
        for count in (*sorted({row["rows"] for row in rows}), None):
            mine = [row for row in rows if row["heads"] == heads and count in (row["rows"], None) and "flashmla_us" in row]
            if mine:
                over = (
                    statistics.geometric_mean(float(row[f"us_over_{what}"]) for row in mine) for what in ("flashmla", "floor")
                )
                print(
                    heads, "heads,", count or "all", "rows: over FlashMLA and over reading", *(round(ratio, 3) for ratio in over)
                )
    return 0


def compiled(variant: tuple[str, int, bool, Cut]) -> None:
    """Compile what a timed shape needs, in a process of its own: the cache on disk keeps it."""
    backend, heads, extra, cut = variant
    inputs = sets(heads, 1, 64 if extra else 0, (cache(2e5), cache(2e5)))[0]
    call(backend, inputs, cut, torch.empty_like(inputs.q))
    torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
