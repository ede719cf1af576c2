"""`time_kernel(kernel, case)`: how long a decode takes on a device, by the timing model over its executed instructions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Literal

import torch

from sparse_mla.cache.layout import TOKEN_BYTES
from sparse_mla.cache.paging import PagedCache
from sparse_mla.execute.emulator import decode_on_emulator
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.timing import Device, Timing, simulate
from sparse_mla.gfx950.timing.device import device as device_named
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import Partials, kernel_named
from sparse_mla.kernels.inputs import DecodeInputs, Segment
from sparse_mla.kernels.split_k import split_of


@dataclass(frozen=True)
class TimedResult:
    """A decode's modelled time. `timing` has every launch; `seconds` is host time, to execute and to model."""

    kernel: str
    case: Case
    split_k: int
    timing: Timing = field(repr=False)
    seconds: float
    kind: str = "modelled"

    @property
    def microseconds(self) -> float:
        """From the start of the first launch to the end of the last."""
        return self.timing.microseconds

    @property
    def band(self) -> tuple[float, float]:
        """Microseconds with every uncertain constant at its optimistic end, and at its pessimistic one."""
        return self.timing.low, self.timing.high

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        clock = self.timing.device.value("clock") / 1e6
        return {
            "kernel": self.kernel,
            "case": self.case.name,
            "kind": self.kind,
            "device": self.timing.device.name,
            "split_k": self.split_k,
            "microseconds": round(self.microseconds, 2),
            "low": round(self.band[0], 2),
            "high": round(self.band[1], 2),
            "split": {cause: round(share, 4) for cause, share in self.timing.split.items()},
            "launches": [
                {
                    "kernel": one.launched.kernel.name,
                    "workgroups": len(one.waves) // max(1, one.launched.counts.shape[0]),
                    "microseconds": round((one.end - one.start) / clock, 2),
                }
                for one in self.timing.kernels
            ],
            "seconds": round(self.seconds, 2),
        }

    def __str__(self) -> str:
        given = self.as_dict()
        causes = sorted(given.pop("split").items(), key=lambda x: -x[1])
        given["microseconds"] = f"{given['microseconds']} ({given.pop('low')} to {given.pop('high')}), modelled"
        given["launches"] = ", ".join(f"{x['kernel']} {x['microseconds']} us" for x in given["launches"])
        given["wave time"] = ", ".join(f"{name} {100 * share:.1f} %" for name, share in causes)
        return "\n".join(f"{key:18} {value}" for key, value in given.items())

    def _repr_html_(self) -> str:
        rows = (line.split(None, 1) for line in str(self).replace("wave time", "wave_time").splitlines())
        return f"<table>{''.join(f'<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows)}</table>"


def own_slots(inputs: DecodeInputs, rows_per_request: int = 1) -> DecodeInputs:
    """The same decode with a copy of the caches for each request. Cases let their rows share slots, so that the tensors stay
    small; requests that are served together share none, and that decides what the caches of a device can hold."""
    requests = -(-inputs.rows // rows_per_request)
    if requests == 1:
        return inputs
    extra = None if inputs.extra is None else _copies(inputs.extra, requests, rows_per_request)
    return replace(inputs, main=_copies(inputs.main, requests, rows_per_request), extra=extra)


def _copies(segment: Segment, requests: int, rows_per_request: int) -> Segment:
    old, (blocks, block_size, _) = segment.cache, segment.cache.storage.shape
    stride = old.layout.block_stride
    flat = old.storage.as_strided((blocks * stride,), (1,), old.storage.storage_offset())
    shape = (blocks * requests, block_size, TOKEN_BYTES)
    cache = PagedCache(flat.repeat(requests).as_strided(shape, (stride, TOKEN_BYTES, 1)))
    indices = segment.indices.clone()
    first, last = int(segment.indptr[0]), int(segment.indptr[-1])
    ends = segment.indptr[1:].long()
    row = torch.searchsorted(ends, torch.arange(first, last), right=True)
    listed = segment.indices[first:last].long()
    inside = (listed >= 0) & (listed < old.num_slots)
    past = (listed >= old.num_slots) & (listed < cache.num_slots)  # means nothing, and must go on meaning nothing
    moved = torch.where(inside, listed + row // rows_per_request * old.num_slots, listed)
    indices[first:last] = torch.where(past, cache.num_slots, moved).to(torch.int32)
    return Segment(cache, indices, segment.indptr)


def traced_launches(
    kernel: str, inputs: DecodeInputs, split_k: int, partials: Partials = "fp32", *, banks: bool = False
) -> tuple[Launched, ...]:
    """A decode's launches, executed and traced; `banks`: with bank conflicts counted bank by bank."""
    spec = kernel_named(kernel)
    spec.check(inputs, split_k, partials)
    return decode_on_emulator(spec, inputs, split_k=split_k, partials=partials, trace=True, banks=banks)[2]


def time_kernel(
    kernel: str,
    case: Case,
    *,
    split_k: int | Literal["auto"] = "auto",
    partials: Partials = "fp32",
    device: str | Device = "mi355x",
    band: bool = True,
    shared: bool = False,
) -> TimedResult:
    """Executes a decode of the catalogue on the emulator and models how long a device takes for it; nothing is measured.

    `device`: a name of profiles/devices, or a Device, changed ones too. `band`: model it at both ends of the uncertain
    constants too. `shared`: let rows read the same slots, as the case says, instead of each request its own.
    Raises InputError for a kernel, split, shape or device that is not supported, and for a trace that gets too large.
    """
    start = time.perf_counter()
    on = device_named(device) if isinstance(device, str) else device
    kernel_named(kernel)
    inputs = case.inputs()
    if not shared:
        inputs = own_slots(inputs, case.rows_per_request)
    split = split_of(case, kernel, split_k)
    timing = simulate(traced_launches(kernel, inputs, split, partials), on, band=band)
    return TimedResult(kernel, case, split, timing, time.perf_counter() - start)
