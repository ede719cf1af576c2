"""`python -m sparse_mla.gfx950.timing FOLDER...`: the issue rules and the model beside thread traces of real devices."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sparse_mla.errors import InputError
from sparse_mla.gfx950.timing.freerun import loops
from sparse_mla.gfx950.timing.model import FIXED_LATENCY
from sparse_mla.gfx950.timing.replay import folders, misses, read, replay, summary


def main(arguments: Sequence[str]) -> int:
    """Prints the table, and behind it loops that the model ran alone."""
    if not arguments:
        print("usage: python -m sparse_mla.gfx950.timing FOLDER...  (ui_output folders of a thread trace, or above some)")
        return 2
    found, lines = folders(map(Path, arguments)), []
    if not found:
        print(f"no ui_output folder with waves in {', '.join(arguments)}")
        return 1
    print(f"{'recording':28}{'w/SIMD':>7}{'instructions':>13}{'exact':>8}{'within 4':>10}{'with waits':>11}   misses by class")
    for folder in found:
        name = f"{folder.parent.name.removesuffix('_gfx950')[:27]:28}"
        try:
            recording = read(folder)
        except InputError as bad:
            print(f"{name}{bad}")
            continue
        done = replay(recording)
        s = summary(done)
        by = ", ".join(f"{kind} {n}" for kind, n in list(misses(done).items())[:6])
        shares = f"{100 * s['exact']:7.1f}%{100 * s['near']:9.1f}%{100 * s['with_waits']:10.1f}%"
        print(f"{name}{done.waves_per_simd:7}{s['instructions']:13,}{shares}   {by}")
        for x in loops(recording):
            cycles = f"{x.recorded:10,.0f}{x.modelled:10,.0f}{x.modelled / x.recorded - 1:+10.1%}"
            lines.append(f"{name}{x.instructions:13,}{x.iterations:12,}{cycles}")
    print(f"\nFree running, every load {FIXED_LATENCY} cycles")
    print(f"{'loop of':28}{'instructions':>13}{'iterations':>12}{'recorded':>10}{'modelled':>10}{'off':>10}")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
