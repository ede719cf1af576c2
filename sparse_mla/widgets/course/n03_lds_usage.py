"""Exercises of 03_lds_usage: banks, who conflicts, what a pad does, a swizzle that is executed, and a missing barrier."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sparse_mla.analyse.lds import lds_access
from sparse_mla.widgets.exercise import Exercise, Observations, Report, Wrong, calls, choice, items, listing, value

ROWS, SLOTS, ROW_BYTES = 32, 64, 1024  # a tile: 32 tokens of 64 slots of 16 bytes


def _bank(address: int, does: str) -> int:
    return address // 4 % (64 if does == "read" else 32)


def qk_addresses(place: Callable[[int, int], Any], step: int = 0) -> tuple[int, ...]:
    """Lane l of QK's step reads slot 4 * step + l // 16 of row l % 16; `place(row, slot)` is where that slot lies, in bytes."""
    return tuple(place(lane % 16, 4 * step + lane // 16) for lane in range(64))


def _observe_place(place: Callable[[int, int], Any]) -> Observations:
    """All of a tile's slots once each, then the executed reads of QK."""
    if place(0, 0) is ...:
        return [("passes of step 0", ...)]
    taken = {place(row, slot) for row in range(ROWS) for slot in range(SLOTS)}
    inside = all(at % 16 == 0 and 0 <= at < ROWS * ROW_BYTES for at in taken)
    whole = "every slot has a place of its own" if len(taken) == ROWS * SLOTS and inside else "slots overlap, or lie outside"
    steps = (
        (f"passes of step {step}", int(lds_access("ds_read_b128", qk_addresses(place, step)).passes[0])) for step in range(16)
    )
    return [("the tile of 32 KiB", whole), *steps]


def _row_at(row: int, slot: int) -> int:
    return ROW_BYTES * row + 16 * slot


def _swizzled(row: int, slot: int) -> int:
    return ROW_BYTES * row + 16 * (slot ^ row % 16)


def _passes_of_pad(pad: int) -> int:
    return int(lds_access("ds_read_b128", qk_addresses(lambda row, slot: (ROW_BYTES + pad) * row + 16 * slot)).passes[0])


FAULTY = """#include <hip/hip_runtime.h>
__global__ void reverse_rows(const float* x, float* y, int rows) {
  __shared__ float row_of[256];
  for (int row = 0; row < rows; ++row) {
    row_of[threadIdx.x] = x[256 * row + threadIdx.x];
    __syncthreads();
    y[256 * row + threadIdx.x] = row_of[255 - threadIdx.x];
  }
}
"""


@lru_cache
def _findings() -> tuple[Any, ...]:
    import numpy as np

    from sparse_mla.execute.hip import hip

    x = np.arange(768, dtype=np.float32)
    return tuple(hip(FAULTY).reverse_rows[1, 256](x, np.zeros_like(x), 3, sanitize=True).findings)


def _report() -> Report:
    return listing(FAULTY, _findings()[0])


def _truth() -> Observations:
    """What the sanitizer says once a barrier stands behind each line in turn: the line that silences it."""
    import numpy as np

    from sparse_mla.execute.hip import hip

    lines, x = FAULTY.splitlines(), np.arange(768, dtype=np.float32)
    silent = []
    for n in (5, 7):
        mended = "\n".join([*lines[:n], "__syncthreads();", *lines[n:]])
        if not hip(mended).reverse_rows[1, 256](x, np.zeros_like(x), 3, sanitize=True).findings:
            silent.append(n)
    yield "kind", _findings()[0].kind
    yield "line", silent[0]


EXERCISES = [
    Exercise(
        name="03.pad",
        ask="Pad every row by 16 bytes (1,040 bytes apart). How many passes does the same read take?",
        hint="Phase 0 has rows 0-3 and 12-15 in slot 0, and rows 4-11 in slot 1. Where does slot 1 of row 11 lie?",
        kind="predict",
        observe=value("passes"),
        expect=lambda: [("passes", _passes_of_pad(16))],
        right=8,
        wrong=[
            Wrong(
                4,
                "Row 11's slot 1 now lies in the banks of row 12's slot 0, and phase 0 has both (lanes 27 and 12).",
            ),
            Wrong(32, "That is without a pad."),
            Wrong(16, "Rows no longer share banks with all others, only one row with one other."),
        ],
    ),
    Exercise(
        name="03.swizzle",
        ask="Return the byte address of 16-byte slot `slot` (0 to 63) of row `row` (0 to 31) in a tile of exactly 32 KiB, so "
        "that every read of QK takes 4 passes.",
        hint="Exclusive or with a number that differs between rows moves slots about within their row, and loses none.",
        observe=_observe_place,
        expect=lambda: [
            ("the tile of 32 KiB", "every slot has a place of its own"),
            *((f"passes of step {s}", 4) for s in range(16)),
        ],
        right=_swizzled,
        solution="1024 * row + 16 * (slot ^ row % 16)",
        wrong=[
            Wrong(_row_at, "Nothing is moved: all rows keep slot 0 in banks 0 to 3."),
            Wrong(lambda row, slot: 1040 * row + 16 * slot, "A pad leaves the 32 KiB."),
            Wrong(lambda row, slot: 1024 * row + 16 * (slot ^ row % 4), "Four different places are not enough for eight rows."),
            Wrong(
                lambda row, slot: 1024 * row + 16 * (slot ^ row % 8),
                "Eight places for the 16 lanes of a phase: two have to share.",
            ),
            Wrong(lambda row, slot: 1024 * row + 16 * (slot | row % 16), "`|` maps different slots to one place."),
        ],
    ),
    Exercise(
        name="03.bank",
        ask='Return the bank that serves the dword at a byte address; `does` is "read" or "write".',
        hint="A bank gives 4 bytes. Reads see 64 banks, writes 32.",
        observe=calls("{}, {}", *((at, does) for does in ("read", "write") for at in (0, 4, 7, 128, 252, 256, 1024, 1100, 5000))),
        right=_bank,
        solution='address // 4 % (64 if does == "read" else 32)',
        wrong=[
            Wrong(lambda address, does: address // 4 % 64, "For a write there are 32 banks."),
            Wrong(lambda address, does: address // 4 % 32, "For a read there are 64 banks."),
            Wrong(lambda address, does: address % (64 if does == "read" else 32), "A bank is 4 bytes wide, not one."),
            Wrong(lambda address, does: address // 16 % (64 if does == "read" else 32), "16 bytes are four banks."),
        ],
    ),
    choice(
        "03.who",
        "Rows are 1,024 bytes apart, and QK reads 16 of them with `ds_read_b128`. Which lanes get in each other's way in phase "
        "0, and why?",
        "Look at the simulator's table: which lanes does phase 0 have, and which banks do they ask?",
        right="c",
        options={
            "a": (
                "Lanes 0 to 15: a phase is 16 neighbouring lanes.",
                "A phase of ds_read_b128 has 16 lanes, but not neighbours.",
            ),
            "b": (
                "All 64, because 1,024 bytes are more than LDS has banks.",
                "Only lanes of one phase can conflict. The rest is served at another time.",
            ),
            "c": "Lanes 0-3 and 12-15 among themselves, and 20-27 among themselves: 1,024 bytes are a multiple of 64 banks x "
            "4 bytes, so the same slot of every row lies in the same four banks.",
            "d": (
                "Lanes 0 and 20: they read different slots of one row.",
                "Different slots lie in different banks: lane 0 in banks 0-3, lane 20 in 4-7. They are served together.",
            ),
        },
    ),
    Exercise(
        name="03.race",
        ask="The numbers may come out right, but the sanitizer complains. Give the `kind` of the fault, in its words, and the "
        "`line` behind which a `__syncthreads()` is missing.",
        hint="Wave 0 may be a round ahead of wave 3. What does it overwrite?",
        kind="fault",
        observe=items("kind", "line"),
        right={"kind": "lds-race", "line": 7},
        expect=_truth,
        given=_report,
        wrong=[
            Wrong({"kind": "lds-race", "line": 5}, "Behind line 5 there is one. Who waits until everybody has read?"),
            Wrong({"kind": "unwritten-lds", "line": 7}, "Every byte was written; the question is when."),
            Wrong({"kind": "lds-race", "line": 8}, "Behind the loop it is too late: the next round has overwritten the row."),
        ],
    ),
]
