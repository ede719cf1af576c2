"""Occupancy, utilisation and rooflines, against numbers worked out by hand."""

import pandas as pd
import pytest

from sparse_mla.analyse.limits import device_of, occupancy, roofline, roofs, utilisation
from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.errors import InputError
from sparse_mla.gfx950.timing import device
from sparse_mla.record.schema import Recording
from tests.analyse.samples import recording

DEVICE = {"arch": "gfx950", "xcds": 8, "cus": 256, "mhz": 2200}
D = {"dispatch": 0, "kernel": "k", "start": 0, "end": 10_000, "workgroup_x": 256, "grid_x": 256 * 4096, "lds": 0, "vgpr": 32}
COUNTERS = pd.DataFrame(
    [("GRBM_GUI_ACTIVE", 8 * 22_000), ("SQ_WAVE_CYCLES", 256 * 22_000 * 6 / 4), ("SQ_VALU_MFMA_BUSY_CYCLES", 256 * 4 * 5_500),
     ("SQ_INSTS_VALU_MFMA_MOPS_BF16", 2_000_000), ("SQ_INSTS_VALU_MFMA_MOPS_F16", 0),
     ("TCC_REQ_sum", 40_000), ("TCC_HIT_sum", 10_000), ("TCC_MISS_sum", 30_000),
     ("hbm_read_bytes", 7e6), ("hbm_write_bytes", 3e6)],
    columns=["name", "value"],
).assign(dispatch=0, kind="modelled")  # fmt: skip
MEMORY = pd.DataFrame(
    [(0, "global", "load", 10, 640, 10_240, 100, 50, 0, 0), (2, "lds", "load", 10, 640, 81_920, 0, 0, 40, 0)],
    columns=["pc", "space", "kind", "accesses", "lanes", "bytes", "lines", "distinct", "phases", "conflicts"],
).assign(dispatch=0)


def made(**change: int) -> Recording:
    given = recording(dispatches=pd.DataFrame([D | change]), counters=COUNTERS, memory=MEMORY)
    given.manifest.device.update(DEVICE)
    return given


@pytest.mark.parametrize(
    "change, limiter, waves",
    [
        ({}, "waves", 32),
        ({"vgpr": 141}, "VGPRs", 12),  # 144 registers: 3 waves a SIMD
        ({"vgpr": 61, "agpr": 81}, "VGPRs", 12),  # 64 + 81 = 145 registers, taken as 152
        ({"vgpr": 128, "agpr": 128}, "VGPRs", 8),
        ({"lds": 54_400}, "LDS", 8),  # 43 granules of 1,280 bytes; CU has 128
        ({"lds": 51_328, "vgpr": 141}, "VGPRs", 12),  # and LDS alike
        ({"workgroup_x": 1024, "grid_x": 1024 * 4096, "lds": 100_000}, "LDS", 16),
        ({"workgroup_x": 64, "grid_x": 64 * 256 * 3}, "grid", 3),
        ({"workgroup_x": 100, "grid_x": 100 * 4096, "vgpr": 256}, "VGPRs", 8),  # a part of a wave is a whole one
    ],
)
def test_the_scarcest_resource_decides(change: dict[str, int], limiter: str, waves: int) -> None:
    frame = occupancy(made(**change))
    (row,) = frame[frame.limits].itertuples()
    assert (row.resource, row.waves) == (limiter, waves)
    assert row.workgroups == waves // -(-change.get("workgroup_x", 256) // 64)
    reached = frame[frame.resource == "reached"].iloc[0]
    assert (reached.waves, reached.kind) == (6, "modelled")


def test_the_base_kernel_fits_three_times_as_its_compiler_says() -> None:
    resources = compile_hip(csrc_dir() / "decode/split_partial.hip").resources["mla_decode_split_partial_f32"]
    frame = occupancy(made(vgpr=resources.vgpr, agpr=resources.agpr, lds=resources.lds))
    assert frame[frame.limits].workgroups.tolist() == [resources.workgroups_per_cu]
    assert resources.workgroups_per_cu == 3


def test_utilisation_is_what_the_counters_mean() -> None:
    frame = utilisation(made()).set_index("metric")
    assert frame.value["MFMA utilisation"] == pytest.approx(25)  # 5,500 of 22,000 cycles on every SIMD
    assert frame.value["L2 hits"] == 25
    peak = 4096 * 256 * 2.2e9
    assert frame.value["MFMA BF16 of peak"] == pytest.approx(100 * 512 * 2e6 / 10e-6 / peak)
    assert "MFMA F16 of peak" not in frame.index
    assert set(frame.kind) == {"modelled"}


def test_roofs_are_those_of_the_chip() -> None:
    mi355x = device("mi355x")
    table = roofs(mi355x).set_index("roof")
    assert table.value["HBM"] == mi355x.value("hbm_bandwidth")
    assert table.value["L1"] == 64 * 256 * mi355x.value("clock")
    assert table.value["LDS"] == 256 * 256 * mi355x.value("clock")
    assert table.value["MFMA BF16"] / 1e15 == pytest.approx(2.3, abs=0.02)  # 2.5 PFLOP/s at the highest clock, says AMD
    assert table.high["MFMA BF16"] / 1e15 == pytest.approx(2.5, abs=0.02)
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()
    twice = roofs(mi355x.changed(hbm_bandwidth=2 * mi355x.value("hbm_bandwidth"))).set_index("roof")
    assert twice.value["HBM"] == 2 * table.value["HBM"]


def test_a_launch_under_every_roof() -> None:
    frame = roofline(made(low=8_000, high=16_000)).set_index("level")
    assert frame.index.tolist() == ["LDS", "L1", "L2", "HBM"]
    flop = 512 * 2e6
    assert set(frame.flop) == {flop}
    assert frame.bytes.tolist() == [81_920, 10_240, 40_000 * 128, 1e7]
    assert frame.intensity["HBM"] == flop / 1e7
    assert frame.rate["HBM"] == pytest.approx(flop / 10e-6)
    assert frame.bandwidth["HBM"] == pytest.approx(1e12)
    assert frame.share["HBM"] == pytest.approx(1e12 / device("mi355x").value("hbm_bandwidth"))
    assert frame.of_peak["L2"] == pytest.approx(flop / 10e-6 / (4096 * 256 * device("mi355x").value("clock")))
    assert frame.matrix["L2"] == "BF16"
    assert (frame.low["L2"], frame.high["L2"], frame.kind["L2"]) == (8_000, 16_000, "modelled")


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(InputError, match=r"arch ''; known are gfx950, gfx942"):
        device_of(recording())
    short = recording(dispatches=pd.DataFrame([{key: D[key] for key in ("dispatch", "kernel", "start", "end")}]))
    short.manifest.device.update(DEVICE)
    with pytest.raises(InputError, match="do not say grid_x, workgroup_x, lds, vgpr"):
        occupancy(short)
