"""A profile of a kernel on the device that is here, with one call: `capture("product", case, "build/profile")`.

profiles/recipes/<device>.toml says what is run: a step is one run of the program under a profiler, in a process group and a
folder of its own, with a timeout. What a step wrote is kept whatever became of it, and what can be read becomes one recording,
whose manifest says how each step ended. Without a GPU the emulator and the timing model make the recording.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
import torch

from sparse_mla.errors import BackendError, InputError, RecordingError
from sparse_mla.files import folder
from sparse_mla.kernels.case import CASES, Case
from sparse_mla.kernels.catalogue import Partials, kernel_named
from sparse_mla.record import att, store
from sparse_mla.record.formats import open_profile
from sparse_mla.record.from_emulator import commit, now, record, shape_of
from sparse_mla.record.schema import Manifest, Recording, nth_launches

On = Literal["auto", "rocm", "nvidia", "emulator"]
NVIDIA = ("hopper", "triton")  # backends of decode() there
LOG = "log.txt"
GRACE = 5.0  # seconds between asking a process group to end and ending it


@dataclass(frozen=True)
class Step:
    """One run under a profiler: its command line, and the input file that it reads ("" where it reads none)."""

    name: str
    command: tuple[str, ...]
    input: str
    out: Path

    @property
    def input_file(self) -> Path:
        return self.out.parent / f"{self.name}.json"

    def __str__(self) -> str:
        shown = f"\n# {self.input_file}:\n{self.input}" if self.input else ""
        return f"{shlex.join(self.command)}{shown}"


def here() -> tuple[On, str]:
    """Which recipe the devices that torch sees ask for, and the processor (gfx950 where that is not known)."""
    if not torch.cuda.is_available():
        return "emulator", "gfx950"
    if torch.version.hip is None:
        return "nvidia", "gfx950"
    return "rocm", torch.cuda.get_device_properties(0).gcnArchName.split(":")[0]


def passes(counters: list[str], slots: Mapping[str, int]) -> list[list[str]]:
    """Counters in their order, cut where a block's slots are used up; a block is the begin of a counter's name. Raises InputError
    for a counter of no block."""
    cut: list[list[str]] = [[]]
    used: dict[str, int] = {}
    for counter in counters:
        block = counter.split("_")[0]
        if block not in slots:
            raise InputError(f"counter {counter!r} is of no block with known slots; blocks are {', '.join(slots)}")
        if used.get(block, 0) == slots[block]:
            cut.append([])
            used = {}
        cut[-1].append(counter)
        used[block] = used.get(block, 0) + 1
    return cut


def steps(
    kernel: str,
    case: Case,
    out: Path,
    on: On,
    arch: str = "gfx950",
    split_k: int | Literal["auto"] = "auto",
    partials: str = "fp32",
) -> list[Step]:
    """What a recipe does for this decode, written below `out`. Raises InputError for a kernel or case that it cannot be for."""
    options = [f"--split-k={split_k}"] * (split_k != "auto") + [f"--partials={partials}"] * (partials != "fp32")
    if on == "nvidia" and (options or kernel not in NVIDIA):
        raise InputError(f"on nvidia a profile is of {' or '.join(NVIDIA)}, as planned there; this is {kernel} {options}")
    recipe = tomllib.loads((folder("profiles") / f"recipes/{on}.toml").read_text())
    words: dict[str, Any] = {"python": sys.executable, "recipes": str(folder("profiles") / "recipes"), "kernel": kernel}
    words |= {"kernels": _pattern(kernel), "case": [*_arguments(case), *options]}
    words["program"] = _filled(recipe["program"], words)
    found = []
    for step in recipe["step"]:
        jobs: list[dict[str, Any]] = [step.get("job", {})]
        if "counters" in step:
            asked = step["counters"] + step.get(arch, [])
            jobs = [recipe["counters_job"] | {"pmc": part} for part in passes(asked, recipe["slots"])]
        for i, job in enumerate(jobs):
            name = step["name"] + (f"-{i + 1}" if i else "")
            mine = words | {"out": str(out / name), "input": str(out / f"{name}.json")}
            filled = {key: _filled([value], mine)[0] if isinstance(value, str) else value for key, value in job.items()}
            given = json.dumps({"jobs": [filled]}, indent=1) if job else ""
            found.append(Step(name, tuple(_filled(step.get("command") or recipe["command"], mine)), given, out / name))
    return found


def _filled(templates: list[str], words: Mapping[str, Any]) -> list[str]:
    """Templates with their {words}; one that is a word alone may stand for several arguments."""
    parts: list[str] = []
    for text in templates:
        word = words.get(text[1:-1]) if text.startswith("{") and text.endswith("}") else None
        parts += word if isinstance(word, list) else [re.sub(r"\{(\w+)\}", lambda m: str(words[m[1]]), text)]
    return parts


def _pattern(kernel: str) -> str:
    """A regular expression of the names of the functions that a kernel may launch."""
    if kernel == "hopper":
        return "hopper_decode"
    spec = kernel_named(kernel)
    return "|".join(dict.fromkeys(symbol for symbol, _ in (spec.fused, *spec.partial.values(), *spec.reduce.values())))


def _arguments(case: Case) -> list[str]:
    """The arguments that make this case in another process. Raises InputError for one that plain numbers cannot make."""
    if CASES.get(case.name) == case:
        return ["--case", case.name]
    shape = {"heads": case.heads, "rows": case.rows, "main": case.main[0], "extra": case.extra_lens[0], "seed": case.seed}
    if Case.make(**shape) != case:
        raise InputError(f"case {case.name} has no name in `sparse-mla cases` and rows that differ; give Case.named or Case.make")
    return [word for name, value in shape.items() for word in (f"--{name}", str(value))]


def capture(
    kernel: str,
    case: Case,
    out: str | Path,
    *,
    on: On = "auto",
    timeout: float = 300.0,
    split_k: int | Literal["auto"] = "auto",
    partials: Partials = "fp32",
) -> Recording:
    """Profiles a decode into folder `out`: the recording in our format, and in `raw/` what each tool wrote, with its log.

    `timeout`: seconds for each step. Raises InputError for a kernel or case that cannot be asked for, BackendError where no step
    gave anything that can be read; it says how each ended.
    """
    out, (found, arch) = Path(out), here()
    on = found if on == "auto" else on
    if on not in get_args(On):
        raise InputError(f"on is {on!r}; it may be {', '.join(get_args(On))}")
    problem = [*_arguments(case), "--split-k", str(split_k), "--partials", partials]
    command = shlex.join(["sparse-mla", "profile", kernel, *problem, "--on", on, "--out", str(out)])
    if on == "emulator":
        made = record(kernel, case, split_k=split_k, partials=partials, command=command)
    else:
        ended, parts = {}, {}
        for step in steps(kernel, case, out / "raw", on, arch, split_k, partials):
            ended[step.name] = run_step(step, timeout)
            try:
                parts[step.name] = read_step(step)
            except RecordingError as damage:
                ended[step.name] += f"; nothing to read: {damage}"
        if not parts:
            list_of = "\n".join(f"  {name}: {how}" for name, how in ended.items())
            raise BackendError(f"no step of the {on} recipe gave a profile; what was written is in {out / 'raw'}\n{list_of}")
        made, apart = joined(parts)
        told = {f"step {name}": how + apart.get(name, "") for name, how in ended.items()}
        about: dict[str, Any] = {"kernel": kernel, "case": shape_of(case), "command": command, "commit": commit(), "date": now()}
        made = replace(made, manifest=replace(made.manifest, **about, result=made.manifest.result | told))
    store.save(made, out)
    return made


def run_step(step: Step, timeout: float) -> str:
    """Runs it, and says how it ended. What it printed is in `log.txt` of its folder."""
    shutil.rmtree(step.out, ignore_errors=True)
    step.out.mkdir(parents=True)
    if step.input:
        step.input_file.write_text(step.input)
    log = step.out / LOG
    with log.open("wb") as file:
        try:
            child = subprocess.Popen(
                step.command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=_with_this_package(), start_new_session=True
            )
        except OSError as problem:
            return f"not started: {problem.strerror}: {step.command[0]}"
        try:
            code = child.wait(timeout)
        except BaseException as stopped:  # whatever stops us, a profiler that hangs must not stay behind
            _end(child)
            if not isinstance(stopped, subprocess.TimeoutExpired):
                raise
            return f"stopped after {timeout:g} s; what it wrote is kept"
    if code == 0:
        return "ok"
    _end(child)  # what a profiler that crashed left running
    last = (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    return f"failed with {signal.Signals(-code).name if code < 0 else f'exit status {code}'}: {last:.200}"


def _with_this_package() -> dict[str, str]:
    """The environment, in which programs find this package: a checkout need not be installed."""
    found = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(found)}


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the process group: asked first, so that a profiler can write what it has, then without asking."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, sign)
            child.wait(GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def read_step(step: Step) -> Recording:
    """What a step left, as its tool writes it. Raises RecordingError where nothing is there or it is damaged."""
    if "advanced_thread_trace" in step.input:
        return att.read(step.out)
    wrote = [path for path in step.out.iterdir() if path.name != LOG]
    return open_profile(wrote[0] if len(wrote) == 1 and wrote[0].is_file() else step.out)


def joined(parts: Mapping[str, Recording]) -> tuple[Recording, dict[str, str]]:
    """One recording of several runs of one program, and why a part is not in it. Launches are those of the first part; a launch
    of another is the one with its kernel's name and as many launches of that name before it."""
    tables: dict[str, list[pd.DataFrame]] = {}
    kinds: dict[str, str] = {}
    device: dict[str, Any] = {}
    apart: dict[str, str] = {}
    first = next(iter(parts.values()))
    launches = {launch: number for number, launch in nth_launches(first["dispatches"]).items()}
    for step, part in parts.items():
        mine = nth_launches(part["dispatches"])
        if lost := [key for key in mine.values() if key not in launches]:
            apart[step] = f"; left out: launch {lost[0][1] + 1} of {lost[0][0]:.60} is not in the first step"
            continue
        number = {dispatch: launches[key] for dispatch, key in mine.items()}
        if odd := [name for name, frame in part.tables.items() if "dispatch" in frame and not frame.dispatch.isin(number).all()]:
            apart[step] = f"; left out: {odd[0]} has rows of launches that it does not name"
            continue
        kinds, device = part.manifest.kinds | kinds, part.manifest.device | device
        for name, frame in part.tables.items():
            if len(frame) and (name != "dispatches" or part is first):
                moved = frame.assign(dispatch=frame.dispatch.map(number)) if "dispatch" in frame else frame
                tables.setdefault(name, []).append(moved)
    merged = {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}
    tools = dict.fromkeys(part.manifest.tool for part in parts.values())
    skipped = tuple(lines for part in parts.values() for lines in part.skipped)
    return Recording(Manifest(kinds, device, tool=", ".join(tools)), merged, skipped), apart
