"""`run(kernel, case, on=...)`: one decode, wherever it can run, compared with the float64 oracle."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

from sparse_mla.errors import InputError
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.execute.hip_device import decode_on_device, runtime
from sparse_mla.execute.result import Kind, Result
from sparse_mla.gfx950.machine import Launched
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import Partials, kernel_named
from sparse_mla.kernels.compare import compare
from sparse_mla.kernels.reference import Reference, reference
from sparse_mla.kernels.split_k import split_of

PLACES = ("emulator", "reference", "gpu")


@lru_cache(maxsize=16)
def expected(case: Case) -> Reference:
    """The oracle's answer to a case."""
    return reference(case.inputs())


def run(
    kernel: str,
    case: Case,
    on: Literal["emulator", "reference", "gpu"] = "emulator",
    split_k: int | Literal["auto"] = "auto",
    partials: Partials = "fp32",
    *,
    threads: int | None = None,
    sanitize: bool = False,
) -> Result:
    """Decodes `case` with a kernel of the catalogue. `split_k` "auto" asks the planner, which reads the host-side lengths.
    `sanitize` has the emulator check every instruction (`result.findings`), on one host thread.

    Raises InputError for a kernel, split or shape that is not supported, BackendError where there is no such device, HipError
    where HIP fails.
    """
    spec = kernel_named(kernel)
    inputs = case.inputs()
    split = split_of(case, kernel, split_k)
    spec.check(inputs, split, partials)
    kind: Kind
    launches: tuple[Launched, ...] = ()
    start = time.perf_counter()
    if sanitize and on != "emulator":
        raise InputError(f"sanitize is for the emulator; this run is on {on}")
    checks: frozenset[str] | None = frozenset() if sanitize else None
    if on == "emulator":
        out, lse, launches = decode_on_emulator(spec, inputs, split_k=split, partials=partials, threads=threads, sanitize=checks)
        seconds, kind = sum(launch.seconds for launch in launches), "emulated"
    elif on == "reference":
        answer = reference(inputs)
        out, lse, kind = answer.out.bfloat16(), answer.lse.float(), "modelled"
        seconds = time.perf_counter() - start
    elif on == "gpu":
        out, lse, seconds, launches = decode_on_device(spec, inputs, split_k=split, partials=partials)
        kind = "emulated" if runtime().emulated else "measured"
    else:
        raise InputError(f"on is {on!r}; it may be {', '.join(PLACES)}")
    return Result(kernel, case, kind, out, lse, split, compare(out, expected(case).out), seconds, launches)
