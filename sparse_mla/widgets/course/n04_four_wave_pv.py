"""Exercises of 04_four_wave_pv: who owns which output tile, what registers cost, and what waves do while wave 0 scores."""

from __future__ import annotations

from typing import Any

from sparse_mla.widgets.exercise import Exercise, Wrong, calls, choice, value


def _owner(head: int, dim: int) -> tuple[int, int, int, int]:
    return dim // 128, dim % 16 + 16 * (head // 4), dim % 128 // 16, head % 4


def _waves(vgprs: int) -> int:
    return min(8, 512 // (8 * -(-vgprs // 8)))


def barrier_share(kernel: str = "base", case: str = "pro-csa-h16", wave: int = 2) -> int:
    """Share of a wave's cycles at barriers, in per cent to the nearest 5, of the first traced workgroup of a stored recording."""
    from sparse_mla.analyse.timeline import timeline, wave_split
    from sparse_mla.record.modes import recording_of
    from sparse_mla.record.schema import CAUSES

    one = wave_split(timeline(recording_of(kernel, case, "recorded"))).iloc[wave]
    return 5 * round(20 * float(one.barrier / sum(one[cause] for cause in CAUSES)))


def _accumulators(waves: int, private: bool) -> int:
    return 16 * 512 // 64 // (1 if private else waves)


def _observe_accumulators(answer: Any) -> Any:
    return calls("{} waves, private tiles: {}", *((waves, private) for private in (False, True) for waves in (1, 2, 4, 8)))(
        answer
    )


EXERCISES = [
    Exercise(
        name="04.owner",
        ask="Return (wave, lane, n, r): where the base kernel accumulates element (head, dim) of the output. `n` (0 to 7) is "
        "the wave's tile, `r` (0 to 3) the register of it.",
        hint="128 dims a wave, 16 a tile. Within a tile it is the D of 02_mfma_tiling: the row is the head, the column the dim.",
        observe=calls("O[{}][{}]", *((head, dim) for head in (0, 3, 5, 15) for dim in (0, 17, 130, 255, 400, 511))),
        right=_owner,
        solution="dim // 128, dim % 16 + 16 * (head // 4), dim % 128 // 16, head % 4",
        wrong=[
            Wrong(lambda h, d: (d % 4, d % 16 + 16 * (h // 4), d % 128 // 16, h % 4), "A wave owns 128 neighbouring dims."),
            Wrong(lambda h, d: (d // 128, h + 16 * (d % 16 // 4), d % 128 // 16, d % 4), "That is D transposed: row = head."),
            Wrong(lambda h, d: (d // 128, d % 16 + 16 * (h % 4), d % 128 // 16, h // 4), "A lane's four rows are neighbours."),
            Wrong(lambda h, d: (d // 128, d % 16 + 16 * (h // 4), d // 16, h % 4), "`n` counts the wave's own 8 tiles."),
        ],
    ),
    Exercise(
        name="04.accumulators",
        ask="Return how many accumulator VGPRs a lane needs for 16 heads of 512 fp32 dims, if `waves` waves share the dims of a "
        "tile, or each have whole tiles of their own (`private`).",
        hint="A wave is 64 lanes. With private tiles a wave holds all 512 dims, whatever the others do.",
        observe=_observe_accumulators,
        right=_accumulators,
        solution="16 * 512 // 64 // (1 if private else waves)",
        wrong=[
            Wrong(lambda waves, private: 128 // waves, "Waves with tiles of their own each need all the dims."),
            Wrong(lambda waves, private: 128, "Shared out, a wave holds only its part of the dims."),
            Wrong(lambda waves, private: 16 * 512 // (1 if private else waves), "That is elements; 64 lanes hold them."),
            Wrong(lambda waves, private: 64 // (1 if private else waves), "Accumulators are fp32: one register each."),
        ],
    ),
    Exercise(
        name="04.waves",
        ask="Return how many waves fit a SIMD, as far as VGPRs go, if a wave takes `vgprs` of a lane's 512 (handed out by "
        "eights; at most 8 waves).",
        hint="Round up to a multiple of 8 first.",
        observe=calls("{} VGPRs", *((n,) for n in (24, 64, 65, 100, 128, 129, 168, 169, 256, 257, 335, 512))),
        right=_waves,
        solution="min(8, 512 // (8 * -(-vgprs // 8)))",
        wrong=[
            Wrong(lambda n: 512 // (8 * -(-n // 8)), "A SIMD has 8 slots, however small waves are."),
            Wrong(lambda n: min(8, -(-512 // n)), "A wave that does not fit whole does not run."),
            Wrong(lambda n: min(8, 256 // (8 * -(-n // 8)) or 1), "A lane of gfx950 has 512 registers: VGPRs and accumulators."),
        ],
    ),
    Exercise(
        name="04.share",
        ask="Which share of its time does wave 2 spend at barriers? Answer in per cent, to the nearest 5.",
        hint="In each tile it waits as long as wave 0 scores: 48 reads of 32 passes each, and 32 MFMAs.",
        kind="predict",
        observe=value("per cent"),
        expect=lambda: [("per cent", barrier_share())],
        right=25,
        wrong=[
            Wrong(
                5, "The 32 MFMAs alone are 512 cycles of some 9,000 a tile. But QK also reads Q and K from LDS, with conflicts."
            ),
            Wrong(75, "Three of four waves wait, but not all the time: gather, softmax and PV keep all four busy."),
            Wrong(50, "Gathering, with its memory and conversions, takes far more of a tile than QK."),
        ],
    ),
    choice(
        "04.idle",
        "What does wave 2 of the base kernel do while wave 0 computes QK?",
        "Look at the timeline: which colour has wave 2 there, and which has wave 0?",
        right="d",
        options={
            "a": (
                "It computes QK for its own 128 dims.",
                "It could; step 8 of the ladder does so. The base kernel has `if (wave == 0)`.",
            ),
            "b": (
                "It gathers and converts the next tile.",
                "There is one tile buffer, and QK still reads it. Nothing of the next tile has been asked for.",
            ),
            "c": ("It multiplies P V of the tile before.", "That was over before the barrier at the end of the tile before."),
            "d": "Nothing: it waits at the barrier between QK and softmax, because it needs wave 0's scores.",
        },
    ),
    choice(
        "04.private",
        "With private tiles (step 9) every wave walks its own tokens, for all 512 dims. What does the loop no longer need?",
        "What did waves exchange in the base kernel, and through what?",
        right="b",
        options={
            "a": ("The softmax.", "Every wave still needs weights, of its own tokens: once instead of four times."),
            "b": "Any barrier: scores, weights and sums stay within the wave; partial results are merged once, behind the loop.",
            "c": ("LDS.", "V still passes through LDS, for its columns; but only its own wave reads it."),
            "d": ("Accumulators.", "On the contrary: a lane needs 128 of them, not 32, and fewer waves fit."),
        },
    ),
]
