"""What a run gives back: the outputs, how far they are from the oracle, and what was counted on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import pandas as pd
import torch

from sparse_mla.gfx950.decode import row_of
from sparse_mla.gfx950.machine import Launched
from sparse_mla.gfx950.sanitize import Finding
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.compare import Comparison

Kind = Literal["emulated", "measured", "modelled"]


@dataclass(frozen=True)
class Result:
    """One decode. `kind` says how the output came to be: `emulated` (gfx950 machine code executed on the CPU), `measured` (on
    a GPU) or `modelled` (by formula: the float64 reference). `seconds` is host time and says nothing about a device, but for a
    `measured` run, where it is the device's, from before the first launch to after the last, the first time that they run."""

    kernel: str
    case: Case
    kind: Kind
    out: torch.Tensor = field(repr=False)  # bf16 [rows, heads, 512]
    lse: torch.Tensor = field(repr=False)  # f32 [rows, heads]
    split_k: int
    comparison: Comparison
    seconds: float
    launches: tuple[Launched, ...] = field(repr=False)

    @property
    def wave_instructions(self) -> int:
        """Executed wave instructions, all launches."""
        return sum(launch.wave_instructions for launch in self.launches)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the sanitizer found, all launches; nothing where it was not asked."""
        return tuple(finding for launch in self.launches for finding in launch.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        return {
            "kernel": self.kernel,
            "case": self.case.name,
            "kind": self.kind,
            "split_k": self.split_k,
            "rel_l2": self.comparison.rel_l2,
            "max_abs": self.comparison.max_abs,
            "worst": list(self.comparison.worst),
            "wave_instructions": self.wave_instructions if self.launches else None,  # only what is executed here is counted
            "launches": [launch.kernel.name for launch in self.launches],
            "findings": [str(finding) for finding in self.findings],
            "seconds": round(self.seconds, 4),
        }

    def __str__(self) -> str:
        return "\n".join(f"{key:18} {value}" for key, value in self.as_dict().items())

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in self.as_dict().items())
        return f"<table>{rows}</table>"


def counts_frame(result: Result) -> pd.DataFrame:
    """One line per executed kernel, static instruction and wave of the workgroup.

    Columns: kernel, pc, mnemonic, text, unit, file, line, wave, count (executions over all workgroups; exact).
    """
    frames = []
    for launch in result.launches:
        n_waves = len(launch.counts)
        instructions = launch.kernel.instructions
        units = [found[0].unit if (found := row_of(ins.mnemonic)) else "" for ins in instructions]
        static = pd.DataFrame(
            {
                "kernel": launch.kernel.name,
                "pc": range(len(instructions)),
                "mnemonic": [ins.mnemonic for ins in instructions],
                "text": [ins.text for ins in instructions],
                "unit": units,
                "file": [ins.source[0] if ins.source else "" for ins in instructions],
                "line": [ins.source[1] if ins.source else 0 for ins in instructions],
            }
        )
        for wave in range(n_waves):
            frames.append(static.assign(wave=wave, count=launch.counts[wave]))
    return pd.concat(frames, ignore_index=True)
