"""A recorded workgroup run by the model alone: its instructions, with LDS modelled and one latency for memory.

The replay judges each step from what was recorded before it; here errors may add up. What is compared is the time of one
iteration of the wave's loop, which memory that always takes as long and barriers leave comparable.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparse_mla.gfx950.assembly import Kernel
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing.classes import K_ATOMIC, K_LDS, K_LOAD, K_SMEM, K_STORE, describe
from sparse_mla.gfx950.timing.device import Device, device
from sparse_mla.gfx950.timing.model import simulate
from sparse_mla.gfx950.timing.replay import TAKEN, Recording, Wave
from sparse_mla.gfx950.trace import ACCESS, Trace

_ALL_LANES = 63 << 24  # an access record of 64 lanes without lines


@dataclass(frozen=True)
class Loop:
    """A loop's iterations of equal length in instructions: how many, and the median of their cycles."""

    instructions: int
    iterations: int
    recorded: float
    modelled: float


def as_launch(recording: Recording, waves: list[Wave], copies: int = 1) -> Launched:
    """The waves of one recorded CU as a traced workgroup, or several alike, whose accesses all hit and never conflict."""
    lines = sorted(recording.instructions)
    number = {line: i for i, line in enumerate(lines)}
    kernel = Kernel(recording.name, "gfx950", [recording.instructions[x] for x in lines], {}, {"next_free_vgpr": 512 // copies})
    access = np.isin(describe(kernel.instructions, device())["kind"], (K_LDS, K_LOAD, K_STORE, K_ATOMIC, K_SMEM))
    accesses = np.zeros(len(lines), ACCESS)
    accesses["space"] = access
    words: list[int] = []
    offsets, counts = [0], np.zeros((len(waves), len(lines)), np.int64)
    for i, wave in enumerate(waves):
        for row in wave["instructions"]:
            n = number[row[4]]
            counts[i, n] += 1
            words += [n, _ALL_LANES] if access[n] else [n]
        offsets.append(len(words))
    streams = np.tile(np.array(words, np.uint32), copies)
    starts = np.arange(copies, dtype=np.uint64)[:, None] * np.uint64(len(words)) + np.array(offsets, np.uint64)
    trace = Trace(streams, starts, [(i, i + 1) for i in range(len(lines))], accesses, 0)
    return Launched(kernel, (copies, 1, 1), (64 * len(waves), 1, 1), counts * copies, 0.0, trace=trace)


def _ends(recording: Recording, wave: Wave) -> bool:
    """Whether every record is of a known instruction, and the last one of the program's end."""
    lines = [row[4] for row in wave["instructions"]]
    known = all(line in recording.instructions for line in lines)
    return known and recording.instructions[lines[-1]].mnemonic.startswith("s_endpgm")


def loops(recording: Recording, on: Device | None = None) -> list[Loop]:
    """The main loop of a recording's waves, by iterations of equal length. Only CUs that held one workgroup of at most four
    waves are run; others, and kernels without a loop, give nothing."""
    found: dict[int, tuple[list[int], list[int]]] = {}
    for waves in recording.cus.values():
        complete = all(_ends(recording, wave) for wave in waves)
        if len(waves) > 4 or len({wave["simd"] for wave in waves}) < len(waves) or not complete:
            continue
        waves = sorted(waves, key=lambda wave: wave["simd"])
        events = simulate([as_launch(recording, waves)], on or device(), band=False, memory="fixed").kernels[0].events
        for i, wave in enumerate(waves):
            rows, times = np.array([row[:5] for row in wave["instructions"]]), events["time"][events["wave"] == i]
            targets = rows[1:, 4][(np.diff(rows[:, 4]) < 0) & (rows[:-1, 1] == TAKEN)]
            if not len(targets):
                continue
            at = np.flatnonzero(rows[:, 4] == np.bincount(targets).argmax())
            for first, last in pairwise(at):
                recorded, modelled = found.setdefault(int(last - first), ([], []))
                recorded.append(int(rows[last, 0] - rows[first, 0]))
                modelled.append(int(times[last] - times[first]))
    return [Loop(n, len(r), float(np.median(r)), float(np.median(m))) for n, (r, m) in sorted(found.items()) if len(r) > 2]
