"""Find out how the Triton decode is best cut on the GPU of this machine; needs the repository, torch and Triton.

    python scripts/tune_triton_gpu.py FOLDER [PROCESSES]    -> FOLDER/triton.csv: this GPU's rows for profiles/tuned/triton.csv

Each problem is decoded in every form (parts of a row, tokens at a time, warps), checked against the first form, and timed as
scripts/bench_decode_gpu.py does: in a CUDA graph, over random slots of caches larger than L2; the median of 5 replays.
"""

from __future__ import annotations

import csv
import datetime
import multiprocessing
import sys
from itertools import product
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]
from bench_decode_gpu import MAIN, cache, call, sets, timed  # noqa: E402

from sparse_mla.execute.backends import Cut, arch  # noqa: E402
from sparse_mla.execute.workspace import Plan, Workspace  # noqa: E402
from sparse_mla.kernels.inputs import DecodeInputs  # noqa: E402

FORMS = [Cut(0, 0, *form) for form in product((1, 2, 4, 8, 16), (16,), (16, 32, 64), (4, 8))]
FLUSH = 256 << 20  # bytes read between replays
MOST_PROGRAMS = 4096


def runs(form: Cut) -> bool:
    """Compiled here with and without an extra segment, in a process of its own: Triton's cache on disk keeps it."""
    try:
        caches = (cache(2e5), cache(2e5))
        for extra in (0, 64):
            inputs = sets(16, 1, extra, caches)[0]
            call("triton", inputs, form, torch.empty_like(inputs.q))
        torch.cuda.synchronize()
    except Exception as problem:  # too much shared memory, say
        print(form, f"{type(problem).__name__}: {problem}"[:200], file=sys.stderr)
        return False
    return True


def microseconds(cases: list[DecodeInputs], form: Cut, flush: torch.Tensor) -> float:
    outs = [torch.empty_like(case.q) for case in cases]
    workspace = Workspace("cuda", Plan("triton", (form._replace(last=cases[0].rows),)), cases[0].heads)
    return timed(lambda i: call("triton", cases[i], form, outs[i], workspace), len(cases), flush, replays=6, dropped=1)


def main(folder: Path, processes: int) -> int:
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        forms = [form for form, good in zip(FORMS, pool.map(runs, FORMS, chunksize=1), strict=True) if good]
    caches, flush = (cache(0.28e9), cache(0.56e9)), torch.ones(FLUSH // 4, device="cuda")
    about = (arch(torch.device("cuda", 0)), torch.cuda.get_device_name(), datetime.date.today().isoformat(), "measured")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "triton.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("arch", "device", "date", "kind", "heads", "rows", "tokens", "splits", "tile", "warps", "us"))
        for heads, rows, extra in product((16, 64), (1, 4, 16, 64, 256), (0, 512, 1024)):
            cases = sets(heads, rows, extra, caches)[:16]
            outs = [torch.empty_like(cases[0].q) for _ in range(2)]
            expected = call("triton", cases[0], forms[0], outs[0]).float()
            best = (float("inf"), forms[0])
            for form in forms:
                if rows * -(-heads // 16) * form.splits > MOST_PROGRAMS:
                    continue
                far = (call("triton", cases[0], form, outs[1]).float() - expected).norm() / expected.norm()
                assert far < 4e-3, (heads, rows, extra, form, float(far))
                best = min(best, (microseconds(cases, form, flush), form))
            us, form = best
            writer.writerow((*about, heads, rows, MAIN + extra, form.splits, form.tile, form.warps, f"{us:.1f}"))
            print(heads, rows, extra, form, round(us, 1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 12))
