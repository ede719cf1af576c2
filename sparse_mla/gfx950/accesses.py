"""All memory accesses of a trace at once, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_mla.gfx950.trace import KINDS, LINE_BYTES, SCALAR_LINE_BYTES, SPACES, Trace


@dataclass(frozen=True)
class Accesses:
    """Arrays [access], by wave (workgroup * waves of one + wave) and in program order. `phases`: LDS service phases, of which
    `extra` are due to conflicts; `lanes`: active ones. `lines` [all lines]: `count` of them for each access, in order.
    `place`: of the record in trace.streams."""

    wave: NDArray[np.int64]
    pc: NDArray[np.int64]
    phases: NDArray[np.int64]
    extra: NDArray[np.int64]
    lanes: NDArray[np.int64]
    count: NDArray[np.int64]
    lines: NDArray[np.uint32]
    place: NDArray[np.int64]


def accesses(trace: Trace) -> Accesses:
    """Every access of every wave. All waves are read side by side, a word of each at a time."""
    of_block = [np.flatnonzero(trace.accesses["space"][first:last]) + first for first, last in trace.blocks]
    n_of = np.array([len(pcs) for pcs in of_block], np.int64)
    first_of = np.cumsum(n_of) - n_of
    pcs = np.concatenate([*of_block, np.zeros(1, np.int64)])
    words = trace.streams
    at = trace.offsets[:, :-1].astype(np.int64).ravel()
    end = trace.offsets[:, 1:].astype(np.int64).ravel()
    wave = np.flatnonzero(at < end)
    at, end = at[wave], end[wave]
    block, done = np.zeros(len(wave), np.int64), np.zeros(len(wave), np.int64)
    left = np.zeros(len(wave), np.int64)  # accesses of this block that are still to come
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []  # wave, pc, place of the record
    while len(wave):
        word = words[at].astype(np.int64)
        enters = left == 0
        reads = ~enters
        found.append((wave[reads], pcs[first_of[block[reads]] + done[reads]], at[reads]))
        block = np.where(enters, word, block)
        at = at + np.where(enters, 1, 1 + (word & 255))
        done = np.where(enters, 0, done + 1)
        left = np.where(enters, n_of[block], left - 1)
        if (at >= end).any():
            on = at < end
            wave, at, end, block, done, left = (x[on] for x in (wave, at, end, block, done, left))
    waves, pc, place = (np.concatenate([step[i] for step in found]) if found else np.zeros(0, np.int64) for i in range(3))
    order = np.argsort(place)  # streams lie one behind the other, by wave
    waves, pc, place = waves[order], pc[order], place[order]
    head = words[place].astype(np.int64)
    count = head & 255
    starts = np.cumsum(count) - count
    lines = words[np.repeat(place + 1 - starts, count) + np.arange(count.sum())]
    return Accesses(waves, pc, head >> 8 & 255, head >> 16 & 255, (head >> 24) + 1 & 255, count, lines, place)


def buffer_of(trace: Trace, pc: NDArray[np.int64], lines: NDArray[np.uint32]) -> NDArray[np.int64]:
    """The place in trace.buffers of each line that the instruction `pc` touched, -1 where it is in none: the wave's
    scratch."""
    ordered = sorted(range(len(trace.buffers)), key=lambda i: trace.buffers[i][1])
    base = np.array([trace.buffers[i][1] for i in ordered], np.int64)
    end = np.array([trace.buffers[i][1] + trace.buffers[i][2] for i in ordered], np.int64)
    size = line_bytes(trace)[pc]
    first = trace.base + lines.astype(np.int64) * size
    at = np.searchsorted(base, first + size - 1, "right") - 1  # a line may begin before its buffer does
    inside = (at >= 0) & (first < end[np.maximum(at, 0)]) & (trace.accesses["space"][pc] != SPACES.index("scratch"))
    return np.where(inside, np.array([*ordered, -1])[at], -1)


def line_bytes(trace: Trace) -> NDArray[np.int64]:
    """The size of what line numbers count, for each static instruction."""
    return np.where(_scalar(trace), SCALAR_LINE_BYTES, LINE_BYTES)


def _scalar(trace: Trace) -> NDArray[np.bool_]:
    return np.isin(trace.accesses["space"], [SPACES.index(name) for name in ("scalar", "scalar_buffer")])


def summary(trace: Trace) -> dict[str, NDArray[Any]]:
    """What each static instruction that touched LDS or memory asked for, over all waves: the columns pc, space and kind
    (SPACES, KINDS), accesses (wave instructions), lanes (active), bytes (that they asked for), lines (of all accesses),
    distinct (how many of them differ), phases (passes over the LDS banks) and conflicts (passes of these that conflicts
    added), as arrays of one length."""
    done = accesses(trace)
    n = len(trace.accesses)

    def total(values: NDArray[np.int64] | None) -> NDArray[np.int64]:
        return np.bincount(done.pc, values, n).astype(np.int64)

    executed, lanes = total(None), total(done.lanes)
    pc = np.flatnonzero(executed)
    pairs = np.unique(np.repeat(done.pc, done.count) << 32 | done.lines)
    size = trace.accesses["bytes"].astype(np.int64) * trace.accesses["addresses"]
    columns = {
        "space": np.array(SPACES, object)[trace.accesses["space"]],
        "kind": np.array(KINDS, object)[trace.accesses["kind"]],
        "accesses": executed,
        "lanes": lanes,
        "bytes": size * np.where(_scalar(trace), executed, lanes),
        "lines": total(done.count),
        "distinct": np.bincount(pairs >> 32, minlength=n),
        "phases": total(done.phases),
        "conflicts": total(done.extra),
    }
    return {"pc": pc, **{name: values[pc] for name, values in columns.items()}}
