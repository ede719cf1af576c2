"""The command line, `sparse-mla`: each command fetches what it needs when it runs, so that `--help` and `doctor` start fast."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sparse_mla import __version__
from sparse_mla.errors import InputError, KernelFault, SparseMlaError

TOUR_FOLDER = "build/tour"
NOTEBOOK_FOLDER = "build/notebooks"
BENCH_FOLDER = "build/bench"
PROFILE_FOLDER = "build/profile"


def _show(data: Any, as_json: bool, text: Callable[[], object] | None = None) -> None:
    """Print data as JSON, or what `text` gives; without `text` rows as a table and anything else in its own words."""
    if as_json:
        print(json.dumps(data if isinstance(data, list | dict) else data.as_dict(), indent=2))
    elif text:
        print(text())
    elif isinstance(data, list):
        from sparse_mla import tables

        print(tables.text(data))
    else:
        print(data)


def _doctor(args: argparse.Namespace) -> None:
    from sparse_mla.doctor import examine

    _show(examine(), args.json)


def _cases(args: argparse.Namespace) -> None:
    from sparse_mla import tables

    _show(tables.cases(), args.json)


def _build(args: argparse.Namespace) -> None:
    from sparse_mla import tables

    _show(tables.resources(args.kernel, args.compiler), args.json)


def _problem(args: argparse.Namespace) -> dict[str, Any]:
    """What `_takes_problem` asked for, as `run` and its kind take it: case, split_k, partials."""
    from sparse_mla.kernels.case import Case

    shape = {name: getattr(args, name) for name in SHAPE if getattr(args, name) is not None}
    if args.case and shape:
        raise InputError(f"--case {args.case} already says the shape; leave out --{', --'.join(shape)}")
    case = Case.named(args.case) if args.case else Case.make(**(SHAPE | shape))
    split_k = args.split_k if args.split_k == "auto" else int(args.split_k)
    return {"case": case, "split_k": split_k, "partials": args.partials}


def _run(args: argparse.Namespace) -> int:
    from sparse_mla.execute import run

    result = run(args.kernel, **_problem(args), on=args.on, sanitize=args.sanitize)
    _show(result, args.json)
    return 1 if result.findings else 0


def _record(args: argparse.Namespace) -> None:
    from importlib import import_module

    from sparse_mla.record.from_emulator import record

    recording = record(args.kernel, **_problem(args), command=args.typed)
    name = FORMATS[args.format]
    files = import_module(f"sparse_mla.record.{name}").write(recording, args.out)
    where = {"files": [str(file) for file in files]}
    _show(recording.manifest.as_dict() | where, args.json, lambda: "\n".join([str(recording), *where["files"]]))


def _profile(args: argparse.Namespace) -> None:
    from sparse_mla.record import capture

    problem = _problem(args)
    if not args.dry_run:
        made = capture.capture(args.kernel, out=args.out, on=args.on, timeout=args.timeout, **problem)
        _show(made.manifest.as_dict(), args.json, lambda: f"{made}\nwritten to {args.out}")
        return
    on, arch = capture.here()
    on = on if args.on == "auto" else args.on
    if on == "emulator":
        raise InputError("the emulator runs no other program; `--on rocm` or `--on nvidia` shows what would run there")
    planned = capture.steps(args.kernel, out=Path(args.out) / "raw", on=on, arch=arch, **problem)
    data = [{"name": x.name, "command": x.command, "input_file": str(x.input_file), "input": x.input} for x in planned]
    _show(data, args.json, lambda: "\n".join(map(str, planned)))


def _profiles(args: argparse.Namespace) -> int:
    from sparse_mla.record import profiles

    if args.action == "show":
        if args.path is None:
            raise InputError("name a profile; `sparse-mla profiles list` lists them")
        text = profiles.show(args.path)
        _show({"path": args.path, "text": text}, args.json, lambda: text)
    elif args.action == "list":
        _show(profiles.entries(), args.json)
    elif args.action == "verify":
        problems = list(profiles.verify())
        _show({"problems": problems}, args.json, lambda: "\n".join(problems) or "all profiles are whole")
        return int(bool(problems))
    else:
        from sparse_mla.analyse import serving

        for path in profiles.renew():
            print(path, flush=True)
        print(serving.renew())
    return 0


def _serving(args: argparse.Namespace) -> None:
    from sparse_mla.analyse import serving

    points = serving.gains()
    shares = serving.shares(points, serving.attention(), scale=serving.calibration())
    _show(json.loads(shares.to_json(orient="records")), args.json, serving.arithmetic)


def _open(args: argparse.Namespace) -> None:
    from dataclasses import asdict

    from sparse_mla.record.formats import find

    form, recording = find(args.path)
    sizes = {name: len(frame) for name, frame in recording.tables.items() if len(frame)}
    about: dict[str, Any] = {"format": form.name, "manifest": recording.manifest.as_dict(), "tables": sizes}
    about["skipped"] = [asdict(one) for one in recording.skipped]
    said = {name: x for name, x in recording.manifest.as_dict().items() if x and name not in ("kinds", "format")}
    lines = [f"  {name}: {json.dumps(x)}" for name, x in said.items()]
    _show(about, args.json, lambda: "\n".join([f"{args.path}: {form.name}", *lines, str(recording)]))


def _time(args: argparse.Namespace) -> None:
    if args.published:
        from sparse_mla.execute.published import beside_published

        _show(beside_published(args.kernel), args.json)
    else:
        from sparse_mla.execute.timing import time_kernel

        _show(time_kernel(args.kernel, **_problem(args), device=args.device, shared=args.shared), args.json)


def _debug(args: argparse.Namespace) -> int:
    from sparse_mla.execute.debug import debug
    from sparse_mla.kernels.case import Case

    case = Case.named(args.case) if args.case else Case.make(rows=1)
    d = debug(args.kernel, case, args.workgroup, args.split_k, launch=args.launch)
    d.wave, d.watch = args.wave, [what for what in args.show.split(",") if what]
    with suppress(KernelFault):  # which is part of what is shown
        for target in args.to:
            d.run_to(target)
        d.step(args.step)
    if args.back:
        d.back(args.back)
    _show(d, args.json)
    return 1 if d.fault else 0


def _isa(args: argparse.Namespace) -> None:
    from sparse_mla import tables

    if args.rows or args.coverage:
        _show(tables.coverage() if args.coverage else tables.instructions(), args.json)
    elif args.kernel is None:
        raise InputError(
            "name a kernel (`sparse-mla build` lists them), or give --rows or --coverage for what the emulator knows"
        )
    else:
        print(tables.assembly(args.kernel))


def _bench(args: argparse.Namespace) -> int:
    from sparse_mla.execute.bench import bench_decode, bench_emulator

    if args.what == "decode":
        return bench_decode(Path(args.out))
    if args.what == "widgets":
        from sparse_mla.widgets.bench import bench_widgets

        _show(rows := bench_widgets(), args.json)
        return 0 if all(row["ok"] for row in rows) else 1
    _show(bench_emulator(), args.json)
    return 0


def _budget(args: argparse.Namespace) -> int:
    from sparse_mla.analyse import budget
    from sparse_mla.build import find_toolchain

    now = budget.measure()
    if args.accept:
        budget.accept(now)
    given = budget.accepted()
    table = budget.compare(now, given)
    text, code = budget.report(table, find_toolchain().version, given)
    _show(json.loads(table.to_json(orient="records")), args.json, lambda: text)
    return code


def _notebooks(args: argparse.Namespace) -> int:
    from sparse_mla import notebooks

    if args.action == "list":
        found = [{"name": name, "file": str(path)} for name, path in notebooks.available().items()]
        _show(found, args.json, lambda: "\n".join(f"{row['name']}  {row['file']}" for row in found))
        return 0
    chosen = notebooks.choose(args.names)
    if args.action == "solutions":
        from sparse_mla.widgets.course import solutions

        written = [{"file": str(solutions.write(path))} for path in chosen]
        _show(written, args.json, lambda: "\n".join(row["file"] for row in written))
        return 0
    given = [(name, notebooks.literal(value)) for name, value in args.parameter]
    if args.mode:
        from sparse_mla.record.modes import place

        place(args.mode)  # refuses a gpu that is not there before anything runs
        given.append(("mode", args.mode))
    runs = []
    for done in notebooks.execute_all(
        notebooks.combinations(chosen, given), Path(args.out), args.jobs, args.engine, args.scheduler
    ):
        runs.append(done.as_dict())
        if not args.json:
            peak = "" if done.peak_mib is None else f"{done.peak_mib:6.0f} MiB"
            print(f"{'failed' if done.error else 'ok    '}  {done.seconds:6.1f} s  {peak}  {done.page}", flush=True)
            print(done.error or "", end="", file=sys.stderr)
    if args.json:
        print(json.dumps(runs, indent=2))
    return 1 if any(run["error"] for run in runs) else 0


def _progress(args: argparse.Namespace) -> None:
    from sparse_mla import tables
    from sparse_mla.widgets import progress
    from sparse_mla.widgets.course import by_notebook

    path, problem = progress.progress_file(), progress.load()[1]
    rows = by_notebook()
    _show(rows, args.json, lambda: "\n".join([tables.text(rows), *filter(None, [problem]), f"kept in {path}, and nowhere else"]))


def _tour(args: argparse.Namespace) -> int:
    from sparse_mla.tour import tour

    return tour(Path(args.out))


SHAPE = {"heads": 16, "rows": 4, "main": 128, "extra": 1024, "seed": 0}
LARGEST = 1 << 20
SPLITS = ("auto", "1", "2", "4", "8", "16")
FORMATS = {"native": "store", "csv": "rocprof_csv", "rocpd": "rocpd", "att": "att", "chrome": "chrome"}  # their modules


def integer(text: str) -> int:
    """What is wrong about a number within this bound is for `Case` to say; beyond it, only memory would run out."""
    value = int(text)
    if abs(value) > LARGEST:
        raise argparse.ArgumentTypeError(f"{value} is more than {LARGEST:,}")
    return value


def positive(text: str) -> int:
    """A count of at least 1."""
    if (value := integer(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def setting(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _takes_problem(command: argparse.ArgumentParser) -> None:
    """The kernel and the decode that `_problem` reads."""
    command.add_argument("kernel", help="`base`, say; `sparse-mla build` lists them")
    command.add_argument("--case", metavar="NAME", help="a named shape; `sparse-mla cases` lists them")
    for name, default in SHAPE.items():
        command.add_argument(f"--{name}", type=integer, metavar="N", help=f"of a shape without a name (default {default})")
    command.add_argument("--split-k", choices=SPLITS, default="auto", help="parts a row is split into")
    command.add_argument("--partials", choices=("fp32", "bf16"), default="fp32", help="how split parts are stored")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="sparse-mla", description="Sparse-MLA decode attention for gfx950, run as machine code on a CPU."
    )
    top.add_argument("--version", action="version", version=f"sparse-mla {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, run: Callable[[argparse.Namespace], int | None], what: str, *, data: bool = True
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
        command.set_defaults(command=run)
        if data:
            command.add_argument("--json", action="store_true", help="print JSON")
        return command

    add("doctor", _doctor, "what works on this machine, what does not, and what to do")
    add("cases", _cases, "the named shapes that --case takes")
    build = add("build", _build, "compile kernels and show the resources they take")
    build.add_argument("kernel", nargs="?", help="one kernel instead of all")
    build.add_argument("--compiler", help="bundled (default), rocm, system, or the path of a clang")

    run = add("run", _run, "run a kernel and compare it with the float64 reference")
    _takes_problem(run)
    run.add_argument(
        "--sanitize", action="store_true", help="check every executed instruction; exit with 1 when something is found"
    )
    run.add_argument("--on", choices=("emulator", "reference", "gpu"), default="emulator", help="where to run it")

    written = add("record", _record, "run a kernel, model its time on an MI355X, and write down both as a profiler would")
    _takes_problem(written)
    written.add_argument("--out", required=True, metavar="FOLDER", help="where the recording goes")
    formats = "native (default), or what rocprofv3 writes (csv, rocpd, att), or a timeline for Perfetto (chrome)"
    written.add_argument("--format", choices=tuple(FORMATS), default="native", help=formats)

    profiled = add(
        "profile", _profile, "profile a kernel on the GPU that is here, or record it on the emulator where there is none"
    )
    _takes_problem(profiled)
    profiled.add_argument("--out", default=PROFILE_FOLDER, metavar="FOLDER", help=f"where it goes (default {PROFILE_FOLDER})")
    profiled.add_argument("--on", choices=("auto", "rocm", "nvidia", "emulator"), default="auto", help="by which tools")
    profiled.add_argument("--timeout", type=positive, default=300, metavar="S", help="seconds for each run (default 300)")
    profiled.add_argument("--dry-run", action="store_true", help="print the commands and their input files instead")

    shelf = add("profiles", _profiles, "list, show or verify the profiles of the project, or make the emulated ones again")
    shelf.add_argument("action", choices=("list", "show", "verify", "renew"))
    shelf.add_argument("path", nargs="?", help="of `show`: as `list` has it")
    add("serving", _serving, "what the decode kernel is worth in serving: published gains beside modelled times")

    opened = add("open", _open, "read a profile of any known format: what it is, its tables, and what they have no place for")
    opened.add_argument("path", help="a file or folder of rocprofv3, rocprof-compute, torch.profiler, Proton, ncu, or of ours")

    timed = add("time", _time, "model how long a kernel takes on a device, and what it waits for")
    _takes_problem(timed)
    timed.add_argument("--device", default="mi355x", metavar="NAME", help="a file of profiles/devices (default mi355x)")
    timed.add_argument("--shared", action="store_true", help="let rows read the same slots, instead of each request its own")
    timed.add_argument("--published", action="store_true", help="instead: its times beside all published ones, in minutes")

    step = add("debug", _debug, "run one workgroup to a place in its code and show its registers and LDS there")
    step.add_argument("kernel", help="`base`, say; `sparse-mla build` lists them")
    step.add_argument("--case", metavar="NAME", help="a named shape (default: one row of 16 heads)")
    step.add_argument("--workgroup", type=integer, nargs="+", default=[0], metavar="N", help="in x, y, z (default 0)")
    step.add_argument("--split-k", type=int, default=1, metavar="N", help="parts a row is split into (default 1)")
    step.add_argument("--launch", type=integer, default=0, metavar="N", help="1: the launch that merges the parts (default 0)")
    step.add_argument("--wave", type=integer, default=0, metavar="N", help="the wave to move and read (default 0)")
    where = "before a source line (base_tile.h:152), an instruction (v_mfma), a barrier, an instruction's number; repeatable"
    step.add_argument("--to", action="append", default=[], metavar="PLACE", help=where)
    step.add_argument("--step", type=integer, default=0, metavar="N", help="then go on by so many instructions")
    step.add_argument("--back", type=integer, default=0, metavar="N", help="then go back by so many")
    step.add_argument("--show", default="", metavar="LIST", help="v0:4/f32,a7,s0:8,exec,vcc,scc,m0,lds:0:64/bf16, say")

    isa = add("isa", _isa, "the gfx950 assembly of a kernel with its source lines")
    isa.add_argument("kernel", nargs="?")
    isa.add_argument("--rows", action="store_true", help="list the instructions that the emulator knows instead")
    isa.add_argument("--coverage", action="store_true", help="count those that tests run and kernels use instead, by family")
    bench = add("bench", _bench, "how fast the emulator is here, the widgets of the lessons, or the decode on this machine's GPU")
    bench.add_argument("what", choices=("emulator", "widgets", "decode"))
    bench.add_argument("--on", choices=("gpu",), default="gpu", help="where decode runs (emulated times: `time`)")
    bench.add_argument(
        "--out", default=BENCH_FOLDER, metavar="FOLDER", help=f"CSV and manifest of decode (default {BENCH_FOLDER})"
    )

    held = add("budget", _budget, "hold what the HIP kernels take and cost against profiles/budget.json")
    held.add_argument("--accept", action="store_true", help="make the figures of now the budget")

    books = add("notebooks", _notebooks, "list the notebooks, execute them without a browser, or write their solutions")
    books.add_argument("action", choices=("list", "run", "solutions"))
    books.add_argument("names", nargs="*", metavar="NAME", help="all of a name or its first letters (default: every notebook)")
    books.add_argument("--mode", choices=("emulator", "recorded", "gpu"), help="run kernels, use stored profiles, or a device")
    swept = "set a parameter; one that is given several times is swept"
    books.add_argument("-p", "--parameter", type=setting, action="append", default=[], metavar="NAME=VALUE", help=swept)
    books.add_argument("--out", default=NOTEBOOK_FOLDER, metavar="FOLDER", help=f"where results go (default {NOTEBOOK_FOLDER})")
    books.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="at a time (default: one a core)")
    books.add_argument("--engine", choices=("local", "dask"), default="local", help="processes here, or a Dask cluster")
    books.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster (default: one of --jobs processes here)")
    add("progress", _progress, "what you have solved of the course, by notebook")

    tour = add("tour", _tour, "all of the above once: check, build, run, count, execute the notebooks", data=False)
    tour.add_argument("--out", default=TOUR_FOLDER, metavar="FOLDER", help=f"where results go (default {TOUR_FOLDER})")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 1: something that ran failed; 2: what was asked for cannot be done, and why."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = parser().parse_args(arguments)
    args.typed = shlex.join(["sparse-mla", *arguments])
    try:
        code: int = args.command(args) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (`| head`) has enough; point stdout away so that closing it says nothing either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SparseMlaError, OSError) as problem:  # OSError: a folder that cannot be written, say; its words name the path
        print(f"sparse-mla: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
