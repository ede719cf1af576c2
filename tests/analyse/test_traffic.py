"""Memory traffic and LDS banks, against kernels whose addresses are known and against the cache's layout."""

import numpy as np
import pandas as pd
import pytest

from sparse_mla.analyse.banks import bank_conflicts, by_line
from sparse_mla.analyse.traffic import by_buffer, levels, traffic
from sparse_mla.errors import InputError
from sparse_mla.execute import run
from sparse_mla.kernels.case import Case
from tests.analyse.samples import recording, traced
from tests.gfx950.test_launch import PROLOGUE
from tests.gfx950.test_trace import LANE, on_lds
from tests.gfx950.test_trace import traced as traced_snippet

CASE = Case.make(rows=3, main=96, extra=160)
LINE = 128


def test_bytes_asked_moved_and_different() -> None:
    """Two workgroups read the same 64 dwords, a line apart, then store one dword a lane of their own."""
    body = PROLOGUE + "v_lshlrev_b32_e32 v2, 7, v0\nglobal_load_dword v3, v2, s[6:7]\ns_waitcnt vmcnt(0)\n"
    body += "s_lshl_b32 s3, s2, 8\nv_lshl_add_u32 v4, v0, 2, s3\nglobal_store_dword v4, v3, s[6:7]\n"
    frame = traffic(traced_snippet(body, np.zeros(64 * 32, np.uint32), grid=2))
    load, store = (frame[frame.mnemonic == name].iloc[0] for name in ("global_load_dword", "global_store_dword"))
    figures = ["does", "accesses", "asked", "moved", "distinct", "reuse"]
    assert load[figures].tolist() == ["load", 2, 512, 2 * 64 * LINE, 64 * LINE, 2]
    assert store[figures].tolist() == ["store", 2, 512, 512, 512, 1]
    scalar = frame[frame.space == "scalar"].iloc[0]
    assert (scalar.does, scalar.distinct, scalar.reuse) == ("load", 64, scalar.accesses)


def test_a_line_that_begins_before_its_buffer_is_the_buffers() -> None:
    array = np.zeros(4096, np.uint8)[8:1032].view(np.uint32)  # 8 bytes behind a multiple of 16, and so of a line
    body = PROLOGUE + "v_lshlrev_b32_e32 v2, 2, v0\nglobal_load_dword v3, v2, s[6:7]\ns_waitcnt vmcnt(0)\n"
    (row,) = by_buffer(traced_snippet(body, array)).query("buffer == 'array'").itertuples()
    assert (row.does, row.bytes, row.moved, row.distinct) == ("load", 1024, 3 * LINE, 3 * LINE)


def test_a_decode_reads_the_lines_that_the_layout_says() -> None:
    (launch,) = traced(CASE, 1)
    frame = by_buffer(launch).set_index(["buffer", "does"])
    inputs = CASE.inputs()
    assert launch.trace is not None
    place = {name: base for name, base, _ in launch.trace.buffers}
    for name, segment in (("main cache", inputs.main), ("extra cache", inputs.extra)):
        assert segment is not None
        lines = set()
        slots = np.concatenate([segment.row(row).numpy() for row in range(3)])
        slots = slots[(slots >= 0) & (slots < segment.cache.num_slots)].astype(np.int64)
        layout = segment.cache.layout
        for first, size in ((layout.data_offset(slots), 576), (layout.scale_offset(slots), 7)):
            for byte in np.add.outer(place[name] + first, np.arange(size)).ravel():
                lines.add(int(byte) // LINE)
        row = frame.loc[name, "load"]
        assert row.distinct == len(lines) * LINE
        assert row.touched == pytest.approx(min(1, row.distinct / row.bytes))
    out, q = frame.loc["out", "store"], frame.loc["q", "load"]
    assert out.distinct == q.distinct == 3 * 16 * 512 * 2
    assert q.reuse == 1  # 16 bytes a lane
    assert out.reuse == 4  # 2 bytes a lane: 16 columns of a line of 64 at a time
    asked = traffic(launch)
    assert asked[asked.phase == "load q"].query("moved > 0").asked.sum() == q.distinct
    whole = asked[~asked.space.isin(["lds", "crossbar"])]
    assert whole.moved.sum() == frame.moved.sum()


def test_banks_by_hand() -> None:
    far = bank_conflicts(on_lds("ds_read_b32 v3, v2", 256 * (LANE % 16), banks=True)).iloc[0]  # 16 dwords of bank 0
    assert (far.accesses, far.phases, far.conflicts) == (1, 16, 15)
    assert [far[bank] for bank in range(64)] == [15] + 63 * [0]
    near = bank_conflicts(on_lds("ds_read_b32 v3, v2", 8 * LANE, banks=True)).iloc[0]  # every other bank, two each
    assert (near.phases, near.conflicts) == (2, 1)
    assert [near[bank] for bank in range(64)] == 32 * [1, 0]


def test_banks_of_the_base_kernel_by_line() -> None:
    (launch,) = traced(CASE, 1, banks=True)
    banks = bank_conflicts(launch)
    lines = by_line(banks)
    keys = banks.assign(line_of=lambda x: x.file + x.line.astype(str) + x.mnemonic)
    assert lines.instructions.sum() == len(banks)
    assert (lines.conflicts * lines.accesses).sum() == pytest.approx((banks.conflicts * banks.accesses).sum())
    assert (lines.conflicts * lines.accesses).is_monotonic_decreasing
    first = lines.iloc[0]
    some = keys[keys.line_of == f"{first.file}{first.line}{first.mnemonic}"]
    assert first[0] == pytest.approx((some[0] * some.accesses).sum() / some.accesses.sum())
    rows = banks[(banks.phase == "QK") & (banks.mnemonic == "ds_read_b128")]
    assert set(rows.conflicts) == {28.0}  # rows 1,024 bytes apart: 16 lanes, the same four banks, in each of 4 phases 8 of them
    assert set(rows.phases) == {32.0}


def test_levels_come_from_counts_and_counters() -> None:
    memory = pd.DataFrame(
        [(0, 0, "global", "load", 4, 256, 1024, 32, 16, 0, 0), (1, 0, "lds", "load", 1, 64, 256, 0, 0, 1, 0)],
        columns=["dispatch", "pc", "space", "kind", "accesses", "lanes", "bytes", "lines", "distinct", "phases", "conflicts"],
    )
    dispatches = pd.DataFrame({"dispatch": [0, 1], "kernel": ["k", "reduce"], "start": [0, 5000], "end": [2000, 9000]})
    counters = pd.DataFrame(
        [(0, "TCC_REQ_sum", 20.0), (0, "TCC_EA0_WRREQ_64B_sum", 3.0), (0, "TCC_EA0_WRREQ_sum", 5.0)],
        columns=["dispatch", "name", "value"],
    ).assign(kind="modelled")
    made = recording(memory=memory, dispatches=dispatches, counters=counters)
    made.manifest.device.update({"arch": "gfx950", "xcds": 8, "cus": 256, "mhz": 2400})
    frame = levels(made)
    assert list(zip(frame.dispatch, frame.level, frame.bytes, frame.kind, strict=True)) == [
        (0, "LDS", 0, "measured"), (0, "lanes", 1024, "measured"), (0, "lines", 32 * LINE, "measured"),
        (0, "L2", 20 * LINE, "modelled"), (0, "fabric", 3 * 64 + 2 * 32, "modelled"),
        (1, "LDS", 256, "measured"), (1, "lanes", 0, "measured"), (1, "lines", 0, "measured"),
    ]  # fmt: skip
    one = traffic(made)
    assert one[one.dispatch == 0].reuse.tolist() == [2]


def test_what_was_not_traced_is_refused() -> None:
    with pytest.raises(InputError, match="was not traced: decode it with trace=True"):
        traffic(run("base", Case.make(rows=1, main=64), split_k=1))
    with pytest.raises(InputError, match="no memory table"):
        traffic(recording())
    with pytest.raises(InputError, match="banks=True"):
        bank_conflicts(on_lds("ds_read_b32 v3, v2", LANE))
