"""Profiling with one command: which runs are asked for, and what becomes of runs that fail, hang or write half of a file."""

import json
import os
import runpy
import shlex
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_mla import cli
from sparse_mla.errors import BackendError, InputError
from sparse_mla.files import folder
from sparse_mla.kernels.case import Case
from sparse_mla.record import att, capture, rocprof_csv, store
from sparse_mla.record.counters import COUNTERS, METRICS
from sparse_mla.record.schema import KINDS, TABLES, Recording
from tests.record import fake_rocprofv3, foreign
from tests.record.made import made

CASE = Case.named("pro-csa-h16")
NAMES = [f"{block}_{n}" for block in ("SQ", "TCC", "GRBM") for n in range(30)]


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1))
def test_passes_respect_slots_and_lose_nothing(counters: list[str]) -> None:
    cut = capture.passes(counters, {"SQ": 8, "TCC": 4, "GRBM": 2})
    assert [name for part in cut for name in part] == counters
    for part in cut:
        for block, slots in fake_rocprofv3.SLOTS.items():
            assert 0 <= sum(name.startswith(f"{block}_") for name in part) <= slots
    with pytest.raises(InputError, match="'LDS_BUSY' is of no block"):
        capture.passes(["LDS_BUSY"], {"SQ": 8})


@pytest.mark.parametrize("arch", ["gfx942", "gfx950"])
def test_the_counters_asked_for_are_known_and_give_every_metric(arch: str) -> None:
    slots = tomllib.loads((folder("profiles") / "recipes/rocm.toml").read_text())["slots"]
    assert fake_rocprofv3.SLOTS.items() <= slots.items()
    jobs = [json.loads(step.input)["jobs"][0] for step in capture.steps("base", CASE, Path("p"), "rocm", arch)]
    asked = [name for job in jobs for name in job.get("pmc", [])]
    assert set(asked) <= set(COUNTERS)
    assert len(asked) == len(set(asked))
    for metric in METRICS:
        if metric.arch in ("*", arch) and not any(
            metric.name.startswith(f"MFMA {t}") for t in ("F32", "F64", "I8", "XF32", "F6F4")
        ):
            assert metric.names - {"X", "T", "XCD", "CU", "SIMD", "MHZ"} <= set(asked), metric.name


def test_dry_run_prints_commands_and_input_files_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p"
    arguments = ["profile", "product", "--case", "pro-csa-h16", "--on", "rocm", "--dry-run", "--out", str(out)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    first = f"rocprofv3 -i {out}/raw/trace.json -d {out}/raw/trace -- {shlex.quote(sys.executable)} -m sparse_mla run product "
    assert text.startswith(first + "--case pro-csa-h16 --on gpu\n")
    assert '"kernel_include_regex": "mla_decode_product_fused|mla_decode_product_split|mla_decode_product_reduce"' in text
    assert cli.main([*arguments, "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in steps] == [
        "trace", "waves", "matrix", "lds", "issue", "l1", "l1-2", "l2", "reads", "writes", "thread-trace",
    ]  # fmt: skip
    assert cli.main(["profile", "hopper", "--rows", "64", "--on", "nvidia", "--dry-run", "--out", str(out)]) == 0
    nvidia = capsys.readouterr().out
    assert "ncu --csv --page raw" in nvidia
    assert "regex:hopper_decode" in nvidia
    assert "decode_once.py hopper --heads 16 --rows 64 --main 128 --extra 1024 --seed 0 --trace" in nvidia
    assert not out.exists()


def measured() -> Recording:
    return made(kinds=dict.fromkeys(TABLES, "measured"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """rocprofv3 on the PATH, and what it replays: the launches of `made`, as a device's own profiler would write them."""
    place = tmp_path / "fake"
    whole = measured()
    one = Recording(whole.manifest, {**whole.tables, "counters": whole["counters"].assign(kind="measured")})
    rocprof_csv.write(one, place, "x")
    for name in ("kernel_trace", "agent_info"):
        (place / f"x_{name}.csv").rename(place / f"{name}.csv")
    for traced in att.write(one, place / "att"):
        for path in traced.glob("*.json"):  # a real one has no manifest of ours
            data = json.loads(path.read_text())
            data.pop("sparse_mla", None)
            path.write_text(json.dumps(data))
    (place / "bin").mkdir()
    program = place / "bin/rocprofv3"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(fake_rocprofv3.__file__)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(place / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_ROCPROF", str(place))
    monkeypatch.setattr(capture, "GRACE", 0.3)
    (place / "does.json").write_text("{}")
    return place


def test_all_runs_become_one_recording(fake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "p"
    assert cli.main(["profile", "base", "--case", "pro-csa-h16", "--split-k", "4", "--on", "rocm", "--out", str(out)]) == 0
    assert "decode_partial: 0.38 us (measured)" in capsys.readouterr().out
    calls = [json.loads(line) for line in (fake / "calls.jsonl").read_text().splitlines()]
    assert len(calls) == 11
    program = [sys.executable, "-m", "sparse_mla", "run", "base", "--case", "pro-csa-h16", "--split-k=4", "--on", "gpu"]
    assert all(call == [f"{call[1]}.json", call[1], program] for call in calls)
    one = store.load(out)
    assert one["dispatches"].dispatch.tolist() == [1, 2]
    # The counters' runs number launches otherwise; each value is the length of its name times the number there.
    counters = one["counters"]
    assert (counters.value == counters.name.str.len() * (counters.dispatch + 10)).all()
    assert set(counters.kind) == {"measured"}
    assert {"SQ_LDS_BANK_CONFLICT", "TCC_EA0_RDREQ_128B_sum", "TA_TA_BUSY_sum"} <= set(counters.name)
    assert len(one["events"]) == len(measured()["events"])
    assert one["instructions"].kernel.unique().tolist() == ["decode_partial", "decode_reduce"]
    m = one.manifest
    assert set(m.kinds.values()) == {"measured"} < set(KINDS)
    assert (m.kernel, m.case["name"], m.device["arch"]) == ("base", "pro-csa-h16", "gfx950")
    assert {how for step, how in m.result.items()} == {"ok"}
    assert m.command.startswith("sparse-mla profile base --case pro-csa-h16 --split-k 4")


def test_what_fails_costs_only_itself_and_is_said(fake: Path, tmp_path: Path) -> None:
    does = {"waves": "fail", "matrix": "hang", "lds": "partial", "l2": "nothing", "writes": "crash"}
    (fake / "does.json").write_text(json.dumps(does))
    begin = time.monotonic()
    one = capture.capture("base", CASE, tmp_path / "p", on="rocm", timeout=1.5)
    assert time.monotonic() - begin < 10
    told = {step.removeprefix("step "): how for step, how in one.manifest.result.items()}
    assert told["waves"].startswith("failed with exit status 3: E20261122 rocprofv3: agent not supported; nothing to read: ")
    assert told["matrix"] == "stopped after 1.5 s; what it wrote is kept"
    assert told["lds"].startswith("ok; nothing to read: ")
    assert "counter_collection.csv, line " in told["lds"]
    assert told["l2"].startswith("ok; nothing to read: ")
    assert told["writes"] == "failed with SIGABRT: it said nothing"
    assert set(told.values()) - {told[step] for step in does} == {"ok"}
    there = set(one["counters"].name)
    assert "SQ_INSTS_MFMA" in there  # of the one that was stopped
    assert not {"SQ_WAVES", "SQ_LDS_BANK_CONFLICT", "TCC_HIT_sum"} & there
    for end in ("hang", "crash"):  # what the profiler had started ended with it
        state = Path(f"/proc/{(fake / f'child of {end}').read_text()}/stat")
        assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    assert (tmp_path / "p/raw/matrix/log.txt").exists()


def test_nothing_at_all_is_an_error_that_says_how_each_ended(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["profile", "base", "--case", "pro-csa-h16", "--on", "rocm", "--out", str(tmp_path / "p")]) == 2
    said = capsys.readouterr().err
    assert "trace: not started: No such file or directory: rocprofv3" in said
    with pytest.raises(BackendError, match="thread-trace: not started"):
        capture.capture("base", CASE, tmp_path / "p", on="rocm")


def test_a_counter_too_many_would_abort(fake: Path, tmp_path: Path) -> None:
    step = next(s for s in capture.steps("base", CASE, tmp_path, "rocm") if s.name == "writes")
    job = json.loads(step.input)
    job["jobs"][0]["pmc"] = [f"TCC_{i}" for i in range(5)]
    wrong = capture.Step(step.name, step.command, json.dumps(job), step.out)
    assert capture.run_step(wrong, 5).startswith("failed with SIGABRT")


def test_a_program_finds_this_package_though_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = "import importlib.util, sys; sys.exit(importlib.util.find_spec('sparse_mla') is None)"
    assert (
        capture.run_step(
            capture.Step("x", (sys.executable, "-S", "-c", f"import os; os.chdir('/'); {found}"), "", tmp_path / "x"), 60
        )
        == "ok"
    )


def test_parts_that_do_not_fit_are_left_out_and_named() -> None:
    other = measured()
    renamed = Recording(other.manifest, {**other.tables, "dispatches": other["dispatches"].assign(kernel="gemm")})
    nameless = Recording(other.manifest, {**other.tables, "dispatches": other["dispatches"].iloc[:1]})
    one, apart = capture.joined({"trace": other, "waves": renamed, "lds": nameless})
    assert apart == {
        "waves": "; left out: launch 1 of gemm is not in the first step",
        "lds": "; left out: counters has rows of launches that it does not name",
    }
    assert len(one["counters"]) == len(other["counters"])


@pytest.mark.parametrize(
    "kernel, case, on, words",
    [
        ("bose", CASE, "rocm", "there is no kernel 'bose'"),
        ("base", CASE, "nvidia", "on nvidia a profile is of hopper or triton"),
        ("base", Case("mine", 16, (1, 2)), "rocm", "case mine has no name"),
        ("base", replace(CASE, seed=5), "rocm", "case pro-csa-h16 has no name"),
        ("base", CASE, "cuda", "on is 'cuda'; it may be auto, rocm, nvidia, emulator"),
    ],
)
def test_what_cannot_be_profiled_is_refused(kernel: str, case: Case, on: capture.On, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        capture.capture(kernel, case, tmp_path / "p", on=on)
    assert not (tmp_path / "p").exists()


def test_without_a_gpu_the_emulator_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "here", lambda: ("emulator", "gfx950"))
    one = capture.capture("base", Case.make(rows=1, main=32, extra=32), tmp_path / "p")
    assert one.kind("dispatches") == "modelled"
    assert store.load(tmp_path / "p").manifest.command.startswith("sparse-mla profile base --heads 16 --rows 1 --main 32")


def test_what_runs_on_nvidia_decodes_and_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that nvidia.toml profiles, here on the CPU with the float64 reference, and what its trace is read as."""
    program = str(folder("profiles") / "recipes/decode_once.py")
    small = ["--rows", "1", "--main", "16", "--extra", "0", "--heads", "2", "--trace", str(tmp_path / "trace.json.gz")]
    monkeypatch.setattr(sys, "argv", [program, "reference", *small])
    runpy.run_path(program, run_name="__main__")
    spans = capture.read_step(capture.Step("timeline", (), "", tmp_path))["spans"]
    assert (spans.name == "sparse_mla::decode").sum() == 2


def test_profiles_of_several_tools_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia.toml with each program replaced by one that writes what it would."""
    writes = {"timeline": "Chrome trace, gzip", "ncu": "CSV, Nsight Compute, raw", "proton": "Proton"}

    def run(step: capture.Step, timeout: float) -> str:
        foreign.write(writes[step.name], step.out)
        return "ok"

    monkeypatch.setattr(capture, "run_step", run)
    one = capture.capture("hopper", CASE, tmp_path / "p", on="nvidia")
    assert [how for step, how in one.manifest.result.items() if step.startswith("step")] == ["ok"] * 3
    assert (one["dispatches"].end - one["dispatches"].start).tolist() == [77001, 3000]
    counters = one["counters"]  # of the first launch, which ncu counts from 0
    assert counters[["dispatch", "value"]].to_numpy().tolist() == [[1, 78500], [1, 96]]
    assert foreign.KERNEL in set(one["summaries"].name)
    assert store.load(tmp_path / "p").manifest == one.manifest
