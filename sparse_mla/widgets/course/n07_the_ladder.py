"""Exercises of 07_the_ladder: what each step does to the counts of a tile, the room on a CU, and a step that was undone."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
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


def _trend(what: str, *versions: str, same: float = 0.0) -> list[str]:
    """`more`, `fewer` or `same` (within a share) for each version but the first, against the one before."""
    from sparse_mla.analyse.ladder import STEPS

    of = [_of_tile(STEPS[version], what) for version in versions]
    return ["same" if abs(b / a - 1) <= same else "more" if b > a else "fewer" for a, b in pairwise(of)]


def _first() -> Observations:
    both = (_trend(what, "scalar", "MFMA", "LDS", "four waves") for what in ("instructions", "lds"))
    yield "words", ", ".join(map(" ".join, zip(*both, strict=True)))


def _last() -> Observations:
    yield "words", " ".join(_trend("instructions", "direct K", *LAST, same=0.02))


LAST = ("private tiles", "prefetch", "split-K", "product")
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
    Exercise(
        name="07.first",
        ask="Steps 2, 3 and 4, each against the step before: do a tile's instructions, and its LDS phases, become more or fewer? "
        'Answer with six words (instructions, phases of step 2; of 3; of 4), such as "more fewer, more fewer, more fewer".',
        hint="What goes through LDS: exchanges between lanes; a tile, by rows and by columns; what each of four waves repeats?",
        kind="predict",
        observe=value("words"),
        right="fewer fewer, fewer more, more more",
        expect=_first,
        wrong=[
            Wrong(
                "fewer fewer, fewer fewer, fewer fewer",
                "PV reads columns of the tile in 2-byte pieces that conflict (3), and each of four waves does the softmax (4).",
            ),
            Wrong(
                "fewer more, fewer more, more more", "A dot product of step 1 took six exchanges through LDS; an MFMA takes none."
            ),
            Wrong("fewer fewer, more more, more more", "32 MFMAs in step 3 do what 2,048 packed multiply-adds did in step 2."),
            Wrong("fewer fewer, fewer more, fewer more", "Four waves share the products, but each does the whole softmax."),
        ],
    ),
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
        ask='Does a tile execute "more", "fewer" or "as many" instructions in step 5 than in step 4? And in step 6 than in '
        'step 5? Answer with two words, such as "fewer more".',
        hint="An address was base + a constant that the instruction carries. What is base ^ a constant?",
        kind="predict",
        observe=value("words"),
        right="more fewer",
        expect=lambda: [
            ("words", " ".join(_trend("instructions", "four waves", "no bank conflicts", "packed conversion"))),
        ],
        wrong=[
            Wrong("fewer fewer", "Conflicts are passes of one instruction, not instructions. They cost time, and no count."),
            Wrong("as many fewer", "An offset in an instruction is added. An exclusive or has to be computed first."),
            Wrong(
                "more as many",
                "One instruction does in step 6 what four did: two conversions, a product, a conversion.",
            ),
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
        name="07.last",
        ask="Steps 9, 10, 11 and 12, each against the step before: does a tile of a whole row take more, fewer or as many "
        'instructions ("same": within 2 %)? Answer with four words, such as "more same fewer more".',
        hint="What was done four times before 9? Where is what travels kept in 10? What does a tile know of parts?",
        kind="predict",
        observe=value("words"),
        right="fewer more same fewer",
        expect=_last,
        wrong=[
            Wrong("same same same same", "Before 9 each wave did the whole softmax, and added up four parts of each score."),
            Wrong(
                "fewer same same fewer", "Loads ahead take registers; what arrives in accumulation registers must be copied out."
            ),
            Wrong("fewer more more fewer", "Whose tiles they are is decided in front of the loop, and merging comes behind it."),
            Wrong(
                "fewer more same more", "It shares a tile, but no wave repeats another's softmax, and most tiles need no mask."
            ),
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
