"""How fast the emulator is here, against a yardstick timed in the same run: plain 64-lane vector arithmetic on this host. And the
front of scripts/bench_decode_gpu.py."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.errors import BackendError
from sparse_mla.execute.backends import BACKENDS
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.files import folder
from sparse_mla.gfx950.assembly import parse
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.native import engine
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.inputs import DecodeInputs

REPEATS = 5


@dataclass(frozen=True)
class EmulatorBench:
    """Medians of REPEATS runs on one core, and the spread of the first. `ratio`: executed wave instructions over calibration
    operations a second; a real kernel mixes in matrix, memory and LDS instructions that cost far more than one operation."""

    wave_instructions: int
    wave_instructions_per_second: float
    slowest_per_second: float
    fastest_per_second: float
    calibration_operations_per_second: float
    ratio: float
    seconds_from_assembly_to_start: float
    two_thread_speedup: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"base kernel, one core      {self.wave_instructions_per_second / 1e6:8.1f} M wave instructions/s"
                f"  ({self.slowest_per_second / 1e6:.1f} to {self.fastest_per_second / 1e6:.1f} over {REPEATS} runs)",
                f"plain 64-lane multiply-add {self.calibration_operations_per_second / 1e6:8.1f} M operations/s in the same run",
                f"ratio                      {self.ratio:8.3f}",
                f"two threads                {self.two_thread_speedup:8.2f} x one",
                f"from assembly to start     {self.seconds_from_assembly_to_start:8.3f} s",
            ]
        )


def bench_emulator() -> EmulatorBench:
    """Runs the base kernel on 32 rows of 16 heads and 1,152 tokens, alternating with the yardstick; for two threads against one
    128 rows, so that the milliseconds that an idle core takes to wake do not count for much."""
    spec, inputs, many = kernel_named("base"), Case.make(heads=16, rows=32).inputs(), Case.make(heads=16, rows=128).inputs()
    text = compile_hip(csrc_dir() / spec.fused[1]).text
    start = time.perf_counter()
    decode(parse(text)[spec.fused[0]])
    to_start = time.perf_counter() - start

    def once(threads: int, inputs: DecodeInputs = inputs) -> tuple[int, float]:
        _, _, launches = decode_on_emulator(spec, inputs, split_k=1, partials="fp32", threads=threads)
        return launches[0].wave_instructions, launches[0].seconds

    once(1)
    rates, yardstick, speedups = [], [], []
    for _ in range(REPEATS):
        count, seconds = once(1)
        rates.append(count / seconds)
        start = time.perf_counter()
        engine().calibrate(20_000_000)
        yardstick.append(20_000_000 / (time.perf_counter() - start))
        speedups.append(once(1, many)[1] / once(2, many)[1])
    rate, speed, speedup = (float(torch.tensor(x).median()) for x in (rates, yardstick, speedups))
    return EmulatorBench(count, rate, min(rates), max(rates), speed, rate / speed, to_start, speedup)


def bench_decode(out: Path) -> int:
    """Times the Hopper decode on the GPU of this machine, each shape after a check against float64, beside its peers: CSV and
    manifest in `out`. 0 where all went well. Raises BackendError where there is no such GPU, or no checkout with the script."""
    script = folder("scripts") / "bench_decode_gpu.py"
    reason = BACKENDS["hopper"].refusal(torch.device("cuda")) if torch.cuda.is_available() else "torch sees no GPU"
    if reason:
        raise BackendError(
            f"decode cannot be timed here: {reason}. Nothing but this repository, torch and Triton is needed where there "
            f"is one; `sparse-mla time product` models an MI355X, and profiles/measured holds what was measured"
        )
    if not script.exists():
        raise BackendError(f"there is no {script}: an installed package does not carry it; run this from a checkout")
    return subprocess.run([sys.executable, script, "time", out]).returncode
