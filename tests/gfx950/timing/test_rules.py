"""Small kernels whose time is known from the constants they were built to show (thread traces; docs/timing.md names them)."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_mla.errors import InputError
from sparse_mla.gfx950.timing import CAUSES, occupancy, simulate
from sparse_mla.gfx950.timing.model import FIXED_LATENCY
from tests.gfx950.timing.micro import MI355X, gap, issues, pace, timed, traced

BF16_16, BF16_32 = "v_mfma_f32_16x16x32_bf16", "v_mfma_f32_32x32x16_bf16"


@pytest.mark.parametrize(
    "line, cycles",
    [
        ("v_add_f32 v0, v0, v1", 4),  # dependent
        ("v_add_f32 v0, v1, v2", 4),
        ("v_pk_fma_f32 v[0:1], v[2:3], v[4:5], v[6:7]", 4),
        ("v_mul_lo_u32 v0, v1, v2", 4),
        ("v_cvt_pk_bf16_f32 v0, v1, v2", 4),
        ("v_exp_f32 v0, v1", 8),
        ("v_rcp_f32 v0, v0", 8),
        ("v_permlane32_swap_b32 v0, v1", 8),
        ("v_cvt_pk_fp8_f32 v0, v1, v2", 8),
        ("v_fma_mixlo_f16 v0, v1, v2, v3", 8),
        ("s_add_u32 s0, s0, s1", 4),
        ("s_nop 0", 4),
        ("s_nop 7", 32),
    ],
)
def test_streams_of_one_instruction(line: str, cycles: int) -> None:
    assert pace(line) == pytest.approx(cycles, rel=0.02)


@pytest.mark.parametrize(
    "name, operands, cycles",
    [
        ("v_mfma_f32_4x4x4_16b_bf16", "v[{0}:{0}+3], v[0:1], v[2:3], v[{0}:{0}+3]", 8),
        (BF16_16, "v[{0}:{0}+3], v[0:3], v[4:7], v[{0}:{0}+3]", 16),
        ("v_mfma_f32_16x16x32_fp8_fp8", "v[{0}:{0}+3], v[0:1], v[2:3], v[{0}:{0}+3]", 16),
        ("v_mfma_f32_16x16x4_f32", "v[{0}:{0}+3], v0, v1, v[{0}:{0}+3]", 32),
        (BF16_32, "v[{0}:{0}+15], v[0:3], v[4:7], v[{0}:{0}+15]", 32),
        ("v_mfma_f32_16x16x128_f8f6f4", "v[{0}:{0}+3], v[0:7], v[8:15], v[{0}:{0}+3]", 32),
        ("v_mfma_f32_32x32x64_f8f6f4", "v[{0}:{0}+15], v[0:7], v[8:15], v[{0}:{0}+15]", 64),
        ("v_mfma_f32_32x32x2_f32", "v[{0}:{0}+15], v0, v1, v[{0}:{0}+15]", 64),
    ],
)
@pytest.mark.parametrize("same", [True, False], ids=["same D", "another D"])
def test_the_matrix_pipe_takes_its_passes(name: str, operands: str, cycles: int, same: bool) -> None:
    def line(first: int) -> str:
        text = operands.replace("{0}", str(first))
        for width in (3, 15):
            text = text.replace(f"{first}:{first}+{width}", f"{first}:{first + width}")
        return f"{name} {text}"

    streams = [line(16), line(16 if same else 32)] * 16
    at = issues(timed("\n".join(streams)))[: len(streams)]
    assert (at[-1] - at[3]) / (len(at) - 4) == pytest.approx(cycles, rel=0.02)


@pytest.mark.parametrize(
    "first, second, cycles",
    [
        ("v_mov_b32 v0, 0", "ds_read_b32 v1, v2", 12),
        ("v_mov_b32 v0, 0", "ds_read_b32 v1, v0", 12),
        ("v_exp_f32 v0, v1", "ds_read_b32 v2, v3", 16),
        ("s_mov_b32 s0, 0", "ds_read_b32 v1, v2", 8),
        ("ds_read_b32 v1, v2", "v_mov_b32 v0, 0", 4),
        ("ds_read_b128 v[0:3], v4", "ds_read_b128 v[8:11], v4", 4),
        ("ds_write_b32 v0, v1", "v_mov_b32 v2, 0", 8),
        ("ds_write_b64 v0, v[2:3]", "v_mov_b32 v4, 0", 12),
        ("ds_write_b128 v0, v[4:7]", "v_mov_b32 v8, 0", 20),
        ("v_cmp_eq_u32 vcc, v0, v1", "s_mov_b64 s[0:1], vcc", 20),
        ("v_cmp_eq_u32 vcc, v0, v1", "s_mov_b64 s[0:1], s[2:3]", 20),
        ("v_readfirstlane_b32 s0, v0", "s_mov_b32 s8, 0", 20),
        (f"{BF16_16} v[16:19], v[0:3], v[4:7], v[16:19]", "v_mov_b32 v32, 0", 8),
        ("v_mfma_f32_16x16x32_fp8_fp8 v[16:19], v[0:1], v[2:3], v[16:19]", "v_mov_b32 v32, 0", 4),
        (f"{BF16_32} v[16:31], v[0:3], v[4:7], v[16:31]", "v_pk_mul_f32 v[32:33], v[34:35], v[36:37]", 44),
        ("v_mfma_f32_16x16x32_fp8_fp8 v[16:19], v[0:1], v[2:3], v[16:19]", "v_pk_mul_f32 v[32:33], v[34:35], v[36:37]", 24),
        (f"{BF16_16} v[16:19], v[0:3], v[4:7], v[16:19]", "s_mov_b32 s0, 0", 4),
        ("v_pk_mul_f32 v[32:33], v[34:35], v[36:37]", f"{BF16_16} v[16:19], v[0:3], v[4:7], v[16:19]", 4),
    ],
)
def test_from_one_instruction_to_the_next(first: str, second: str, cycles: int) -> None:
    zero = "v_mov_b32 v0, 0\nv_mov_b32 v2, 0\nv_mov_b32 v3, 0\nv_mov_b32 v4, 0\n"
    at = issues(timed(f"{zero}s_nop 15\ns_nop 15\n{first}\n{second}\ns_nop 0", lds=1024))
    assert at[-3] - at[-4] == cycles


def test_branches() -> None:
    taken = issues(timed("s_cmp_eq_u32 s0, s0\ns_nop 3\ns_cbranch_scc1 on\nv_mov_b32 v0, 0\non:\nv_mov_b32 v1, 0"))
    assert taken[3] - taken[2] == 20
    fallen = issues(timed("s_cmp_lg_u32 s0, s0\ns_nop 3\ns_cbranch_scc1 on\nv_mov_b32 v0, 0\non:\nv_mov_b32 v1, 0"))
    assert fallen[3] - fallen[2] == 4
    assert gap("s_cmp_lg_u32 s0, s0", "s_cbranch_scc1 on\non:") == 8
    assert gap("v_cmp_ne_u32 vcc, v0, v0", "s_cbranch_vccnz on\non:") == 24


def test_a_loop_costs_its_instructions_and_a_taken_branch() -> None:
    body = "v_add_f32 v0, v0, v1\n" * 4
    one = timed(f"s_mov_b32 s0, 50\nloop:\n{body}s_sub_u32 s0, s0, 1\ns_cmp_lg_u32 s0, 0\ns_cbranch_scc1 loop")
    at = issues(one)
    assert (at[7 * 40 + 1] - at[7 * 10 + 1]) / 30 == pytest.approx(4 * 4 + 4 + 8 + 20, rel=0.02)


WAYS = (1, 2, 4, 8, 16, 32)


def ladder(ways: int, n: int = 64) -> np.ndarray:
    """Issue times of reads whose lanes meet `ways` times in a bank, between two waits for all."""
    address = f"v_lshlrev_b32 v0, {1 + ways.bit_length()}, v0\n"
    return issues(timed(address + "s_nop 15\n" + "ds_read_b32 v1, v0\n" * n + "s_waitcnt lgkmcnt(0)\nv_mov_b32 v2, 0", lds=65536))


@pytest.mark.parametrize("ways", WAYS)
def test_conflicts_cost_a_clock_each(ways: int) -> None:
    at = ladder(ways)
    assert (at[65] - at[20]) / 45 == pytest.approx(max(4, ways), rel=0.02)
    lone = ladder(ways, 1)
    assert lone[4] - lone[2] == pytest.approx(MI355X.value("lds_b32") + ways - 1, abs=4)


def test_more_conflicts_never_take_less() -> None:
    times = [int(x[-2] - x[0]) for x in map(ladder, WAYS)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    "line, each",
    [
        ("v_add_f32 v0, v1, v2", 4),  # two of two waves go into one slot
        ("v_cmp_eq_u32 vcc, v0, v1", 8),
        ("v_pk_mul_f32 v[0:1], v[2:3], v[4:5]", 8),
        ("v_exp_f32 v0, v1", 16),
        ("s_add_u32 s0, s0, s1", 8),
        (f"{BF16_32} v[16:31], v[0:3], v[4:7], v[16:31]", 64),
    ],
)
def test_two_waves_of_a_simd(line: str, each: int) -> None:
    one = timed("\n".join([line] * 64), waves=8)
    assert len({(wave["simd"], wave["slot"]) for wave in one.waves}) == 8
    last = max(issues(one, wave)[63] for wave in (0, 4))
    assert (last - issues(one, 0)[0]) / 64 == pytest.approx(each, rel=0.05)


def test_no_second_vector_instruction_while_a_matrix_one_runs() -> None:
    # Of three waves of each SIMD, the first runs matrix instructions while the others add.
    def seconds(matrix: str) -> int:
        first = "v_readfirstlane_b32 s0, v0\ns_cmp_gt_u32 s0, 255\ns_cbranch_scc1 add\n" + matrix * 64 + "s_endpgm\n"
        one = timed(first + "add:\n" + "v_add_f32 v40, v41, v42\n" * 100, waves=12)
        return one.counters["SQ_ACTIVE_INST_VALU2"]

    assert seconds("s_nop 7\n") > 300
    assert seconds(f"{BF16_32} v[16:31], v[0:3], v[4:7], v[16:31]\n") < 8


def test_a_barrier_lets_go_when_the_last_wave_is_there() -> None:
    # Only the first wave has something to do.
    skip = "v_readfirstlane_b32 s0, v0\ns_cmp_gt_u32 s0, 63\ns_cbranch_scc1 wait\n"
    one = timed(skip + "v_exp_f32 v1, v2\n" * 40 + "wait:\ns_barrier\nv_mov_b32 v3, 0", waves=4)
    after = [int(issues(one, wave)[-2]) for wave in range(4)]
    arrived = int(issues(one, 0)[-3])
    assert set(after) == {arrived + 4}
    barrier = CAUSES.index("barrier")
    assert one.waves["cause"][1, barrier] > 100 > one.waves["cause"][0, barrier]


def test_waits_are_for_what_they_cover() -> None:
    reads = "s_nop 15\nds_read_b128 v[4:7], v0\nds_read_b128 v[8:11], v0\n"
    for left, cycles in ((1, 52), (0, 60)):
        at = issues(timed(f"v_mov_b32 v0, 0\n{reads}s_waitcnt lgkmcnt({left})\nv_mov_b32 v12, 0", lds=1024))
        assert at[5] - at[2] == cycles


def test_loads_come_back_in_order() -> None:
    resource = "s_mov_b32 s4, 0\ns_mov_b32 s5, 0\ns_mov_b32 s6, 0\ns_mov_b32 s7, 0x27000\nv_mov_b32 v0, 0\n"  # of no bytes
    loads = "s_nop 15\nbuffer_load_dwordx4 v[4:7], v0, s[4:7], 0 offen\nbuffer_load_dwordx4 v[8:11], v0, s[4:7], 0 offen\n"
    for left, behind in ((1, 0), (0, 16)):  # the address unit takes the second 16 cycles later
        at = issues(timed(f"{resource}{loads}s_waitcnt vmcnt({left})\nv_mov_b32 v12, 0"))
        assert at[9] - at[6] == FIXED_LATENCY + behind


@pytest.mark.parametrize("width, cycles", [("dword v4", 4), ("dwordx2 v[4:5]", 8), ("dwordx4 v[4:7]", 16)])
def test_the_pace_of_loads_is_that_of_the_cus_address_unit(width: str, cycles: int) -> None:
    resource = "s_mov_b32 s4, 0\ns_mov_b32 s5, 0\ns_mov_b32 s6, 0\ns_mov_b32 s7, 0x27000\nv_mov_b32 v0, 0\n"
    one = timed(resource + f"buffer_load_{width}, v0, s[4:7], 0 offen\n" * 60, waves=4)
    at = np.sort(np.concatenate([issues(one, wave)[5:65] for wave in range(4)]))
    assert (at[-1] - at[80]) / (len(at) - 81) == pytest.approx(cycles, rel=0.02)
    assert (np.diff(at)[:10] == 4).all()  # its queue takes the first ones at once


@pytest.mark.parametrize(
    "waves, vgprs, lds, per_simd, groups, limiter",
    [
        (4, 64, 0, 8, 8, "waves"),
        (4, 65, 0, 7, 7, "VGPRs"),
        (4, 512, 0, 1, 1, "VGPRs"),
        (1, 128, 81920, 4, 2, "LDS"),
        (1, 128, 81921, 4, 1, "LDS"),
        (16, 128, 1, 4, 1, "VGPRs"),
    ],
)
def test_what_fits_a_cu(waves: int, vgprs: int, lds: int, per_simd: int, groups: int, limiter: str) -> None:
    text = "v_exp_f32 v0, v1\n" * 50
    one = timed(text, groups=256 * groups + 256, waves=waves, vgprs=vgprs, lds=lds)
    fits = occupancy(one.launched.kernel, waves, lds, MI355X)
    assert (fits.waves_per_simd, fits.groups_per_cu, fits.limiter) == (per_simd, groups, limiter)
    most = 0
    for cu in np.unique(one.waves[["xcd", "se", "cu"]]):
        here = one.waves[(one.waves["wave"] == 0) & (one.waves[["xcd", "se", "cu"]] == cu)]
        times = np.sort(np.concatenate([2 * here["begin"] + 1, 2 * here["end"]]))
        begins = np.isin(times, 2 * here["begin"] + 1)
        most = max(most, int(np.cumsum(np.where(begins, 1, -1)).max()))
    assert most == groups
    with pytest.raises(InputError, match="does not fit a CU"):
        occupancy(one.launched.kernel, waves, 163841, MI355X)


def test_workgroups_go_round_the_chip() -> None:
    one = timed("v_mov_b32 v0, 0", groups=512)
    assert (one.waves["xcd"] == one.waves["workgroup"] % 8).all()
    places, times = np.unique(one.waves[["xcd", "se", "cu"]][:256], return_counts=True)
    assert (len(places), times.max()) == (256, 1)
    engine = one.waves[(one.waves["xcd"] == 0) & (one.waves["se"] == 0)]
    assert (np.diff(engine["begin"]) >= 16).all()
    wide = timed("v_mov_b32 v0, 0", groups=256, waves=8, vgprs=64).waves
    engine = wide[(wide["xcd"] == 0) & (wide["se"] == 0) & (wide["wave"] == 0)]
    assert (np.diff(engine["begin"]) == 32).all()


WIDE = "v_add_f32_e64 v0, v1, v2\n"  # 8 bytes


def test_instructions_come_in_pieces_of_32_bytes() -> None:
    aligned, across = (issues(timed(before + WIDE * 60)) for before in ("", "v_mov_b32 v3, 0\n"))
    assert (aligned[56] - aligned[24]) / 32 == pytest.approx(4)
    # Each fourth instruction begins in one piece and ends in the next, and waits 4 cycles for that.
    assert (across[57] - across[25]) / 32 == pytest.approx(5)
    # Behind a branch that is not taken, nothing is fetched for 20 cycles: the third instruction ends beyond the piece.
    fallen = issues(timed("s_cmp_lg_u32 s0, s0\ns_nop 15\ns_cbranch_scc1 on\n" + WIDE * 4 + "on:\n"))
    assert [int(x - fallen[2]) for x in fallen[3:6]] == [4, 8, 20]


def test_code_that_no_wave_reached_yet_is_fetched() -> None:
    jump = "s_branch on\n" + WIDE * 100 + "on:\nv_mov_b32 v3, 0\n"
    at = issues(timed(jump))
    assert at[1] - at[0] == MI355X.value("first_fetch") - MI355X.value("first_instruction") + 20
    one = timed(jump, groups=512, lds=163840)  # one of a CU after the other
    first = one.instructions[101]
    assert first["hit"] == 512
    assert first["idle"] < 512 * 150  # every second one finds it there


def test_a_wave_ends_when_its_stores_are_done() -> None:
    resource = "s_mov_b32 s4, 0\ns_mov_b32 s5, 0\ns_mov_b32 s6, 0\ns_mov_b32 s7, 0x27000\nv_mov_b32 v0, 0\n"
    one = timed(f"{resource}buffer_store_dword v0, v0, s[4:7], 0 offen")
    assert one.waves["end"][0] == issues(one)[5] + FIXED_LATENCY
    quick = timed("v_mov_b32 v0, 0")
    assert quick.waves["end"][0] == issues(quick)[-1] + 20


SCALED = "v_mfma_scale_f32_16x16x128_f8f6f4 v[{0}:{1}], v[0:{2}], v[8:{3}], v[{0}:{1}], v90, v91 op_sel_hi:[0,0,0]{4}"


@pytest.mark.parametrize("registers, formats, cycles, hold, shadow", [(8, "", 32, 16, 44), (4, " cbsz:4 blgp:4", 16, 12, 28)])
def test_scaled_matrix_instructions(registers: int, formats: str, cycles: int, hold: int, shadow: int) -> None:
    lines = [SCALED.format(first, first + 3, registers - 1, 7 + registers, formats) for first in (16, 32)]
    at = issues(timed("\n".join(lines * 16)))
    assert (at[31] - at[3]) / 28 == pytest.approx(cycles, rel=0.02)
    assert gap(lines[0], "v_mov_b32 v80, 0") == hold
    assert gap(lines[0], "v_pk_mul_f32 v[80:81], v[82:83], v[84:85]") == shadow


def test_accounts_agree() -> None:
    text = (
        "v_mov_b32 v0, 0\n"
        + "ds_read_b128 v[4:7], v0\ns_waitcnt lgkmcnt(0)\nv_exp_f32 v8, v4\nv_pk_mul_f32 v[4:5], v[4:5], v[6:7]\n" * 20
    )
    one = timed(text, waves=8, groups=3, lds=1024)
    lives = one.waves["end"] - one.waves["begin"]
    assert (one.waves["cause"].sum(axis=1) == lives).all()
    table = one.instructions
    assert (table["hit"] == one.launched.counts.sum(axis=0)).all()
    assert (table["cause"].sum(axis=1) == table["latency"] + table["idle"]).all()
    for wave in np.unique(one.events["wave"]):  # ATT's identities: rocprof computes its table like this
        events, end = one.events[one.events["wave"] == wave], one.waves["begin"][wave]
        idle = 0
        for event in events:
            idle += max(0, int(event["time"]) - int(end))
            end = max(end, event["time"] + event["duration"])
        assert end == one.waves["end"][wave]
        assert idle + events["duration"].sum() == lives[wave]


def test_work_beyond_the_chip_takes_as_much_longer() -> None:
    text = "v_exp_f32 v0, v1\n" * 300
    few, many = (timed(text, groups=n, waves=4, vgprs=512) for n in (1024, 2048))
    assert (many.end - many.start) / (few.end - few.start) == pytest.approx(2, rel=0.1)
    one, full = (timed(text, groups=n, waves=4, vgprs=512) for n in (1, 256))
    assert full.end - full.start < 1.1 * (one.end - one.start)


def test_a_wave_with_nothing_to_do_costs_nothing_but_its_slot() -> None:
    skip = "v_readfirstlane_b32 s0, v0\ns_cmp_gt_u32 s0, 63\ns_cbranch_scc1 out\n"
    text = skip + "v_exp_f32 v1, v2\n" * 100 + "out:"
    alone, beside = timed(text, waves=1), timed(text, waves=4)
    assert beside.waves["end"][0] - beside.waves["begin"][0] == alone.waves["end"][0] - alone.waves["begin"][0]


@pytest.mark.parametrize("name", [x.name for x in MI355X.constants.values() if x.unit == "cycles"])
def test_no_constant_of_latency_makes_a_kernel_faster_by_growing(name: str) -> None:
    text = "v_mov_b32 v0, 0\n" + "ds_read_b128 v[4:7], v0\ns_waitcnt lgkmcnt(0)\nv_exp_f32 v8, v4\ns_barrier\n" * 10
    # One wave a CU: where waves take turns, a delay can fall better than none, by a slot or two.
    launched = traced(text, groups=300, vgprs=512, lds=163840)
    slower = MI355X.changed(**{name: MI355X.value(name) * 2})
    times = [simulate([launched], on, band=False, memory="fixed").cycles for on in (MI355X, slower)]
    assert times[0] <= times[1]


def test_a_sequence_of_launches_and_its_band() -> None:
    launched = traced("v_exp_f32 v0, v1\n" * 100, groups=64)
    timing = simulate([launched, launched], MI355X)
    first, second = timing.kernels
    assert second.start == first.end + MI355X.value("launch_gap")
    assert second.end - second.start == first.end - first.start
    assert timing.low < timing.microseconds < timing.high
    assert sum(timing.split.values()) == pytest.approx(1)
