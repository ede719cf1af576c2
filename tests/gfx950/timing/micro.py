"""A few lines of assembly, executed by the emulator and timed by the model, with one latency for memory."""

from __future__ import annotations

import numpy as np

from sparse_mla.gfx950.assembly import Kernel, parse_instruction
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import Launched, launch
from sparse_mla.gfx950.memory import Memory
from sparse_mla.gfx950.timing import Device, Timed, device, simulate

MI355X = device("mi355x")


def kernel(text: str, vgprs: int = 128, lds: int = 0) -> Kernel:
    """Lines of assembly, labels among them, and an s_endpgm behind them."""
    made = Kernel("micro", descriptor={"next_free_vgpr": vgprs, "group_segment_fixed_size": lds})
    for line in (*text.splitlines(), "s_endpgm"):
        if (word := line.split(";")[0].strip()).endswith(":"):
            made.labels[word[:-1]] = len(made.instructions)
        elif word:
            made.instructions.append(parse_instruction(word))
    return made


def traced(text: str, groups: int = 1, waves: int = 1, vgprs: int = 128, lds: int = 0) -> Launched:
    """The lines as every wave of a grid executes them."""
    return launch(decode(kernel(text, vgprs, lds), trace=True), (groups,), (64 * waves,), b"", Memory(), threads=1)


def timed(text: str, *, on: Device = MI355X, groups: int = 1, waves: int = 1, vgprs: int = 128, lds: int = 0) -> Timed:
    """One launch, timed."""
    return simulate([traced(text, groups, waves, vgprs, lds)], on, band=False, memory="fixed").kernels[0]


def issues(one: Timed, wave: int = 0) -> np.ndarray:
    """When each instruction of a wave issued, cycles, in order."""
    events = one.events[one.events["wave"] == wave]
    waiting = events["category"] == 9
    return np.asarray(events["time"] + np.where(waiting, 0, events["stall"]), np.int64)


def gap(first: str, second: str, before: str = "s_nop 15\ns_nop 15") -> int:
    """Cycles from the issue of one instruction to that of the next, where nothing else is going on."""
    at = issues(timed(f"{before}\n{first}\n{second}"))
    return int(at[-2] - at[-3])


def pace(line: str, n: int = 64) -> float:
    """Cycles an instruction in a stream of the same ones, of a wave in the middle of it."""
    at = issues(timed("\n".join([line] * n)))
    return float(at[n - 1] - at[n // 4]) / (n - 1 - n // 4)
