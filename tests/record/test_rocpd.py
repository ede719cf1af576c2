import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.record import rocpd, rocprof_csv
from sparse_mla.record.schema import Manifest, Recording
from tests.record import samples
from tests.record.made import DEVICE, made, same

GIVEN = samples.ROOT / "constructed/rocpd_v3_from_flash_attn_kernel_trace.db"


def ask(path: Path, question: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(question).fetchall()


def test_queries_of_amds_tools_work(tmp_path: Path) -> None:
    (path,) = rocpd.write(made(), tmp_path)
    assert path.name == "modelled_results.db"
    question = "SELECT name, dispatch_id, duration, grid_x * grid_y * grid_z, workgroup_x, lds_size, queue, category FROM kernels"
    assert ask(path, question) == [
        ("decode_partial [modelled]", 1, 377, 2048, 256, 82176, "Queue 1", "KERNEL_DISPATCH"),
        ("decode_reduce [modelled]", 2, 42, 512, 256, 0, "Queue 1", "KERNEL_DISPATCH"),
    ]
    question = (
        "SELECT dispatch_id, kernel_name, counter_name, value, grid_size, workgroup_size, duration FROM counters_collection"
    )
    assert ask(path, question + " WHERE counter_name = 'SQ_WAVES'") == [
        (1, "decode_partial [modelled]", "SQ_WAVES", 24.0, 2048, 256, 377),
        (2, "decode_reduce [modelled]", "SQ_WAVES", 8.0, 512, 256, 42),
    ]
    (most, least) = ask(path, "SELECT name, total_calls, total_duration, average, percentage FROM top_kernels")  # in us
    assert (most[0], *most[1:4]) == ("decode_partial [modelled]", 1, 0.377, 0.377)
    assert most[4] + least[4] == pytest.approx(100)
    assert ask(path, "SELECT agent_id, type, GpuTime, WallTime FROM busy") == [(0, "GPU", 419, 942)]
    assert ask(path, "SELECT product_name FROM rocpd_info_agent") == [("AMD Instinct MI355X [modelled]",)]
    kinds = "SELECT name, json_extract(extdata, '$.kind'), units FROM rocpd_info_pmc ORDER BY id"
    assert ask(path, kinds)[:3] == [
        ("SQ_WAVES", "emulated", "waves"),
        ("SQ_INSTS_MFMA", "emulated", "instructions"),
        ("GRBM_GUI_ACTIVE", "modelled", "cycles")
    ]  # fmt: skip
    assert ask(path, "SELECT * FROM regions") == []
    views = [name for (name,) in ask(path, "SELECT name FROM sqlite_master WHERE type = 'view'")]
    for view in views:
        ask(path, f"SELECT * FROM {view}")


def test_values_of_instances_are_summed(tmp_path: Path) -> None:
    (path,) = rocpd.write(made(), tmp_path)
    with closing(sqlite3.connect(path)) as db, db:
        (table,) = next(db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'rocpd_pmc_event_%'"))
        db.execute(f"INSERT INTO {table} (event_id, pmc_id, value) VALUES (1, 1, 6.0)")
    assert rocpd.read(path)["counters"].value[0] == 24 + 6


def test_a_kernel_launched_twice_is_one_symbol_and_a_measured_one_carries_no_mark(tmp_path: Path) -> None:
    dispatches = made()["dispatches"].assign(kernel="k", kernel_id=7)
    recording = Recording(Manifest({"dispatches": "measured"}, DEVICE), {"dispatches": dispatches})
    (path,) = rocpd.write(recording, tmp_path)
    assert ask(path, "SELECT id, display_name, kernel_name FROM kernel_symbols") == [(7, "k", "k.kd")]
    assert rocpd.read(path).kind("dispatches") == "measured"


def _change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        (suffix,) = next(db.execute("SELECT value FROM rocpd_metadata WHERE tag = 'uuid'"))
        db.executescript(statement.replace("*", suffix))


ENDLESS = "DROP VIEW kernels; CREATE VIEW kernels AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) "
ENDLESS += "SELECT x AS start, x AS dispatch_id FROM r"

SEVERAL = "DROP VIEW kernels; CREATE VIEW kernels AS SELECT start, dispatch_id, dispatch_id AS guid FROM rocpd_kernel_dispatch"


@pytest.mark.parametrize(
    "statement, words",
    [
        ("DROP VIEW kernels", "no such table: kernels; a rocpd database of schema 3 is expected"),
        ("DROP VIEW kernels; CREATE VIEW kernels AS SELECT 1 AS start, 1 AS dispatch_id", "view kernels lacks column name"),
        (
            "UPDATE rocpd_metadata* SET value = '4.1' WHERE tag = 'schema_version'",
            "schema_version is '4.1'; this version reads 3",
        ),
        ("UPDATE rocpd_metadata* SET value = '[' WHERE tag = 'sparse_mla'", "'\\[' is not a JSON object"),
        ("UPDATE rocpd_kernel_dispatch* SET start = 'soon'", "view kernels, row 1: start is 'soon'; it is a whole number"),
        ("UPDATE rocpd_kernel_dispatch* SET extdata = 3 WHERE id = 2", "3' is not a JSON object"),
        (ENDLESS, "interrupted"),
        (SEVERAL, "kernels has 2 processes; read their files one by one"),
    ],
)
def test_damage_is_named(tmp_path: Path, statement: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rocpd, "_STEPS", 10_000)
    (path,) = rocpd.write(made(), tmp_path)
    _change(path, statement)
    with pytest.raises(RecordingError, match=words):
        rocpd.read(path)


def test_what_is_no_database_is_named_and_never_written(tmp_path: Path) -> None:
    path = tmp_path / "x_results.db"
    path.write_bytes(b"SQLite format 4\0" * 100)
    with pytest.raises(RecordingError, match=r"x_results.db: file is not a database"):
        rocpd.read(path)
    with pytest.raises(RecordingError, match=r"gone\.db is not a file"):
        rocpd.read(tmp_path / "gone.db")
    assert [p.name for p in tmp_path.iterdir()] == ["x_results.db"]
    rocpd.write(made(), tmp_path)
    with pytest.raises(RecordingError, match=r"has 2 files \*\.db"):
        rocpd.read(tmp_path)


@samples.needed
def test_a_database_of_amds_schema_is_read() -> None:
    recording, csv = rocpd.read(GIVEN), rocprof_csv.read(samples.ROOT / "rocprofv3-csv/gfx950_rocm72")
    columns = ["dispatch", "kernel", "start", "end", "grid_x", "workgroup_x", "vgpr", "agpr", "sgpr", "agent", "queue", "stream"]
    assert same(recording["dispatches"][columns], csv["dispatches"][columns].sort_values(["start", "dispatch"]))
    assert recording.manifest.device["product"] == "AMD Instinct MI350X"


@samples.needed
def test_our_tables_and_views_have_the_columns_of_amds(tmp_path: Path) -> None:
    (path,) = rocpd.write(made(), tmp_path)

    def columns(file: Path) -> dict[str, list[str]]:
        views = [name for (name,) in ask(file, "SELECT name FROM sqlite_master WHERE type = 'view'")]
        return {view: [row[1] for row in ask(file, f"PRAGMA table_info({view})")] for view in views}

    ours, theirs = columns(path), columns(GIVEN)
    rare = {"region_args", "samples", "sample_regions", "regions_and_samples", "events_args", "stream_args", "scratch_memory"}
    assert set(theirs) - set(ours) == rare  # of API calls, which a recording has not
    for view, names in ours.items():
        assert names == theirs[view], view
