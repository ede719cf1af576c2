"""A gallery of kernels with one fault each: the sanitizer must name it, and must be silent once it is mended."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sparse_mla.errors import KernelFault
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.machine import Memory, launch
from sparse_mla.gfx950.sanitize import KINDS, Finding
from tests.gfx950.test_launch import PROLOGUE, kernel

BLOCKS = {
    "CLEAR": "\n".join([*(f"v_mov_b32 v{r}, 0" for r in range(2, 56)), "s_nop 1"]),
    "READ14": "\n".join(f"ds_read_b32 v{r}, v1" for r in range(3, 17)),
    "LOAD62": "\n".join(f"global_load_dword v{r}, v1, s[6:7]" for r in range(3, 65)),
    "FILL": "ds_write_b32 v1, v0\ns_waitcnt lgkmcnt(0)\ns_barrier",
}


@dataclass(frozen=True)
class Fault:
    """One kernel of gallery.s."""

    kind: str
    at: str
    words: str
    bad: str
    mended: str
    lds: int = 0
    block: int = 64
    grid: int = 1
    scratch: int = 0


def gallery() -> list[Fault]:
    """The kernels of gallery.s, as its head describes them."""
    text = "\n".join(line for line in Path(__file__).with_name("gallery.s").read_text().splitlines() if not line.startswith(";"))
    faults = []
    for part in text.strip().split("\n\n"):
        (kind, at, words), (mend, options) = (re.split(r" \| ?", line[2:]) for line in part.splitlines()[:2])
        body = "\n".join(BLOCKS.get(line, line) for line in part.splitlines()[2:])
        old, new = (side.strip().replace(" / ", "\n") for side in mend.split("=>"))
        assert old in body, part
        sizes = {key: int(n) for key, n in (word.split("=") for word in options.split())}
        faults.append(Fault(kind, at, words, body, body.replace(old, new), **sizes))
    return faults


GALLERY = gallery()


def findings(text: str, fault: Fault) -> tuple[Finding, ...]:
    memory = Memory()
    kernarg = struct.pack("<Q", memory.map(np.zeros(512, np.int32), "out"))
    program = kernel(PROLOGUE + text, lds=fault.lds, ids="x")
    program.descriptor["private_segment_fixed_size"] = fault.scratch
    code = decode(program, sanitize=frozenset({"VALU", "MFMA"}))
    return launch(code, (fault.grid,), (fault.block,), kernarg, memory).findings


@pytest.mark.parametrize("fault", GALLERY, ids=lambda fault: fault.kind)
def test_gallery(fault: Fault) -> None:
    found = findings(fault.bad, fault)
    assert {one.kind for one in found} == {fault.kind}, "\n".join(map(str, found))
    assert re.search(fault.words, str(found[0]), re.S), found[0]
    assert found[0].instruction.text.startswith(fault.at)
    assert found[0].instruction.source_line in str(found[0])
    mended = findings(fault.mended, fault)
    assert not mended, "\n".join(map(str, mended))


def test_the_gallery_shows_every_kind_twice() -> None:
    shown = [fault.kind for fault in GALLERY]
    assert all(shown.count(kind) >= 2 for kind in KINDS), [kind for kind in KINDS if shown.count(kind) < 2]


def test_faults_still_stop_a_checked_launch() -> None:
    with pytest.raises(KernelFault, match="past the end of out"):
        findings("global_load_dword v2, v1, s[6:7] offset:2048", GALLERY[0])
