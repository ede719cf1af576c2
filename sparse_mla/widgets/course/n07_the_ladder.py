"""Exercises of 07_the_ladder: what each step does to the counts of a tile, the room on a CU, and a step that was undone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sparse_mla.widgets.exercise import Exercise, Observations, Wrong, calls, choice, items, value

SIZES = (
    (50, 0, 1),
    (278, 4096, 1),
    (257, 51328, 1),
    (141, 51328, 4),
    (150, 49152, 4),
    (348, 148480, 4),
    (170, 20000, 4),
    (32, 0, 2),
)


def _room(vgprs: int, lds_bytes: int, waves: int) -> int:
    by_waves = 4 * min(8, 512 // (-(-vgprs // 8) * 8)) // waves
    return min(by_waves, 163840 // (-(-lds_bytes // 1280) * 1280)) if lds_bytes else by_waves


def _rooms() -> Observations:
    from sparse_mla.gfx950.timing import device
    from sparse_mla.gfx950.timing.model import limits

    on = device("mi355x")
    for vgprs, lds_bytes, waves in SIZES:
        yield f"{vgprs} VGPRs, {lds_bytes} bytes, {waves} waves", min(limits(vgprs, waves, lds_bytes, on).values())


def _of_tile(kernel: str, what: str) -> float:
    from sparse_mla.analyse.ladder import per_tile

    return per_tile(kernel)[what]


def _changed() -> Observations:
    by = _of_tile("ladder/swizzle", "instructions") - _of_tile("base", "instructions")
    yield "instructions", "more" if by > 0 else "fewer" if by < 0 else "as many"


BEFORE, AFTER = "ladder/transposed", "ladder/packed"  # step 7, undone


@lru_cache
def _undone() -> Any:
    """The counts of both, without their names."""
    import pandas as pd

    from sparse_mla.analyse.tile_code import cost_table, tile_code, tile_difference
    from sparse_mla.widgets.page import Page

    rows = tile_difference(BEFORE, AFTER, "mnemonic").head(8)[["name", "before", "after", "difference"]]
    phases = {name: tile_code(kernel).groupby("phase").hit.sum() for name, kernel in (("before", BEFORE), ("after", AFTER))}
    by_phase = pd.DataFrame(phases).rename_axis("phase")
    table = cost_table(BEFORE, AFTER).set_axis(["before", "after"], axis=1).head(5)
    return Page((table, rows.set_index("name"), by_phase[by_phase.max(axis=1) > 0]))


def _truth() -> Observations:
    from sparse_mla.analyse.ladder import STEPS
    from sparse_mla.analyse.tile_code import tile_difference

    yield "step", [*STEPS.values()].index(BEFORE) + 1
    by_phase = tile_difference(BEFORE, AFTER, "phase")
    yield "phase", by_phase.loc[by_phase.difference.idxmax(), "name"]
    gone = tile_difference(BEFORE, AFTER, "mnemonic").query("after == 0")
    yield "instruction", gone.loc[gone.before.idxmax(), "name"]


EXERCISES = [
    choice(
        "07.work",
        "MFMA (2) executes about a tenth of what scalar (1) does, and takes five sixths of its time. Why?",
        "How many waves work on a row and its 16 heads, and on how many SIMDs?",
        right="b",
        options={
            "a": ("An MFMA takes ten times as long as other instructions.", "It takes 16 clocks, a VALU instruction 4."),
            "b": "The 16 heads were 16 waves on 16 SIMDs and are one wave now: the work of a row shrinks, and so do the hands. "
            "What one wave waits for, nobody hides.",
            "c": (
                "The records are read from memory twice.",
                "They are (for K and for V), but before, every head read all of them.",
            ),
            "d": ("LDS conflicts.", "Look at the table: LDS phases fell too, and hardly any of them are conflicts."),
        },
    ),
    Exercise(
        name="07.swizzle",
        ask='Step 5 moves slots about by XOR. Does a tile then execute "more", "fewer" or "as many" instructions?',
        hint="An address was base + a constant that the instruction carries. What is base ^ a constant?",
        kind="predict",
        observe=value("instructions"),
        right="more",
        expect=_changed,
        wrong=[
            Wrong("fewer", "Conflicts are passes of one instruction, not instructions. They cost time, and no count."),
            Wrong("as many", "An offset in an instruction is added. An exclusive or has to be computed first."),
            Wrong("half as many", "Conflicts were most of the LDS phases, but a phase is no instruction."),
        ],
    ),
    Exercise(
        name="07.transposed",
        ask="PV has 32 operands a tile. Each was 8 reads of 2 bytes a lane, one phase each, and is now 2 reads of 8 "
        "bytes, two phases each. How many LDS phases does a tile save?",
        hint="Phases of an operand before, less those after; times 32.",
        kind="predict",
        observe=value("phases"),
        right=128,
        expect=lambda: [("phases", round(_of_tile("ladder/packed", "lds") - _of_tile("ladder/transposed", "lds")))],
        wrong=[
            Wrong(192, "That is 8 - 2 instructions an operand; but a read of 8 bytes takes two phases."),
            Wrong(256, "Those are all phases of before. The new reads have some too."),
            Wrong(4, "That is one operand. A tile has 32: 8 MFMAs for each of four waves."),
        ],
    ),
    Exercise(
        name="07.barriers",
        ask="The base design meets at three barriers a tile. In step 8 a wave brings the very dims that it multiplies in "
        "PV, and scores over them. How many barriers a tile are left?",
        hint="A score is a sum over all 512 dims. Who has them?",
        kind="predict",
        observe=value("barriers"),
        right=1,
        expect=lambda: [("barriers", round(_of_tile("ladder/direct", "barriers")))],
        wrong=[
            Wrong(0, "Each wave has a quarter of each score; somebody has to add them up."),
            Wrong(2, "Before the exchange, yes. Behind it none: the next tile's parts go into another buffer."),
            Wrong(3, "Nobody reads a tile that another wave brought, so two of them guard nothing."),
        ],
    ),
    Exercise(
        name="07.room",
        ask="Return how many workgroups fit a CU: it has 4 SIMDs of 8 wave slots and 512 VGPRs a lane (handed out by "
        "eights), and 163,840 bytes of LDS (by 1,280).",
        hint="Waves of a SIMD by VGPRs, at most 8; times 4, by a workgroup's waves, rounded down. LDS limits too, if used.",
        observe=calls("{} VGPRs, {} bytes, {} waves", *SIZES),
        right=_room,
        expect=_rooms,
        solution="""
            waves_of_cu = 4 * min(8, 512 // (-(-vgprs // 8) * 8))
            by_lds = 163840 // (-(-lds_bytes // 1280) * 1280) if lds_bytes else 32
            return min(waves_of_cu // waves, by_lds)
        """,
        wrong=[
            Wrong(lambda vgprs, lds_bytes, waves: 4 * min(8, 512 // (-(-vgprs // 8) * 8)) // waves, "LDS is shared out too."),
            Wrong(
                lambda vgprs, lds_bytes, waves: min(4 * (512 // (-(-vgprs // 8) * 8)) // waves, _room(1, lds_bytes, 1)),
                "A SIMD has no more than 8 slots for waves, however few registers they take.",
            ),
            Wrong(
                lambda vgprs, lds_bytes, waves: min(
                    min(8, 512 // (-(-vgprs // 8) * 8)) // waves, 163840 // lds_bytes if lds_bytes else 32
                ),
                "The waves of a workgroup spread over four SIMDs.",
            ),
            Wrong(
                lambda vgprs, lds_bytes, waves: min(
                    4 * min(8, 512 // vgprs) // waves, 163840 // (-(-lds_bytes // 1280) * 1280) if lds_bytes else 32
                ),
                "VGPRs are handed out by eights: round up before you divide.",
            ),
        ],
    ),
    Exercise(
        name="07.undone",
        ask="Somebody undid one `step` (its number, 5 to 8). Give it, the `phase` that grew most, and the `instruction` that "
        "is not executed any more (of several the one that was executed most).",
        hint="What does the mnemonic that vanished do? Which step says that it brings it?",
        kind="fault",
        observe=items("step", "phase", "instruction"),
        right={"step": 7, "phase": "PV", "instruction": "ds_read_b64_tr_b16"},
        expect=_truth,
        given=_undone,
        wrong=[
            Wrong({"step": 5, "phase": "PV", "instruction": "ds_read_b64_tr_b16"}, "Without step 5 there would be conflicts."),
            Wrong({"step": 6, "phase": "dequantise", "instruction": "v_cvt_f32_fp8"}, "Conversions are as they were."),
            Wrong(
                {"step": 7, "phase": "QK", "instruction": "ds_read_b64_tr_b16"},
                "The right step; but it reads columns of V, and QK reads rows.",
            ),
        ],
    ),
]
