"""A case decoded twice on the GPU that is here, first with cold caches: what the steps of nvidia.toml profile.

    python decode_once.py triton --case pro-csa-h16 [--trace FILE.json.gz]

With --trace, torch.profiler writes its Chrome trace of both.
"""

import argparse
from contextlib import nullcontext

import torch

from sparse_mla.cache.paging import PagedCache
from sparse_mla.execute.ops import decode
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.inputs import Segment


def main() -> None:
    """Decodes; the arguments are those of `sparse-mla profile`."""
    asked = argparse.ArgumentParser()
    asked.add_argument("backend")
    asked.add_argument("--case")
    asked.add_argument("--trace")
    for name, default in {"heads": 16, "rows": 4, "main": 128, "extra": 1024, "seed": 0}.items():
        asked.add_argument(f"--{name}", type=int, default=default)
    args = asked.parse_args()
    shape = {name: getattr(args, name) for name in ("heads", "rows", "main", "extra", "seed")}
    inputs = (Case.named(args.case) if args.case else Case.make(**shape)).inputs()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    def there(part: Segment) -> Segment:
        return Segment(PagedCache(part.cache.storage.to(device)), part.indices.to(device), part.indptr.to(device))

    q, main, extra = inputs.q.to(device), there(inputs.main), inputs.extra and there(inputs.extra)
    sink = None if inputs.attn_sink is None else inputs.attn_sink.to(device)
    with torch.profiler.profile() if args.trace else nullcontext() as profile:
        for _ in range(2):
            decode(q, main, extra, scale=inputs.scale, attn_sink=sink, backend=args.backend)
        if device == "cuda":
            torch.cuda.synchronize()
    if profile is not None:
        profile.export_chrome_trace(args.trace)


if __name__ == "__main__":
    main()
