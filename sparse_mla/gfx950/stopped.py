"""What can be read of a workgroup that stands still: registers, LDS, buffers, and where its waves are."""

from __future__ import annotations

import ctypes as c
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_mla.errors import InputError, KernelFault
from sparse_mla.files import source_file
from sparse_mla.gfx950 import native
from sparse_mla.gfx950.assembly import Instruction
from sparse_mla.gfx950.machine import Run
from sparse_mla.gfx950.modifiers import HARDWARE_SGPRS, SGPR_OFFSET, TEMPORARIES

SCALARS = {"vcc": 106, "m0": 124, "exec": 126}
TYPES = {"u8": np.uint8, "u32": np.uint32, "i32": np.int32, "f32": np.float32, "f16": np.float16, "bf16": np.uint16}
STATES = ("running", "at a barrier", "ended", "faulted", "stopped")  # engine.h's
_READ = re.compile(r"(?:(lds:|scratch:)|([vas]))(\d+)(?::(\d+))?(?:/(\w+))?")


def typed(raw: NDArray[Any], kind: str) -> NDArray[Any]:
    """Registers uint32 [..., 64] or bytes uint8 [n] as numbers of one of TYPES; the halves of a register go to a last axis."""
    if kind not in TYPES:
        raise InputError(f"type {kind!r} is not known; give one of {', '.join(TYPES)}")
    whole = raw if raw.itemsize > 1 else raw[: len(raw) // 4 * 4]
    out = np.ascontiguousarray(whole).view(TYPES[kind])
    if kind == "bf16":
        out = (out.astype(np.uint32) << 16).view(np.float32)
    return out.reshape(*raw.shape, -1) if raw.itemsize > np.dtype(TYPES[kind]).itemsize else out


def _plain(value: Any) -> Any:
    """For JSON: numbers and lists of them; what is not finite becomes text."""
    array = np.asarray(value)
    out, odd = array.astype(object), ~np.isfinite(array)
    out[odd] = array[odd].astype(str)
    return out.tolist()


def _shown(value: Any) -> str:
    """For people: a mask, or eight numbers a line behind the place of the first."""
    if isinstance(value, int):
        return hex(value)
    lines = []
    for i, row in enumerate(value.reshape(-1, 8) if value.size % 8 == 0 else value.reshape(1, -1)):
        place = ",".join(str(int(n)) for n in np.unravel_index(8 * i, value.shape))
        lines.append(f"\n  {place:>8}" + "".join(f" {f'{x:.6g}' if value.dtype.kind == 'f' else x:>12}" for x in row))
    return "".join(lines)


def _named(name: str, what: str) -> Any:
    return property(lambda self: self.read(name), doc=what)


class Stopped:
    """One workgroup of a launch. `wave` is the one that is read; `executed` counts each wave's instructions, `history` the
    steps taken: pairs of a wave and how many. `watch` is a list of what is to be shown too, as `read` takes it;
    `sources` the texts of files that are not under csrc/, by the names that the compiler knows them by."""

    def __init__(self, run: Run, workgroup: tuple[int, ...]) -> None:
        self._run, self._host, self.workgroup = run, run.host(), workgroup
        self.code, self.kernel, self.waves = run.code, run.code.kernel, run.shared.n_waves
        self._wave, self.executed, self.history = 0, [0] * self.waves, list[tuple[int, int]]()
        self.watch: Sequence[str] = ()
        self.sources: dict[str, str] = {}
        labels = [str(arg.value) for x in self.kernel.instructions for arg in x.args if arg.kind == "label"]
        self._targets = {self.kernel.labels[label]: label for label in labels if label in self.kernel.labels}

    @property
    def wave(self) -> int:
        """The wave that is moved and read."""
        return self._wave

    @wave.setter
    def wave(self, wave: int) -> None:
        if not 0 <= wave < self.waves:
            raise InputError(f"there is no wave {wave}: the workgroup has waves 0 to {self.waves - 1}")
        self._wave = wave

    @property
    def position(self) -> int:
        """Steps taken so far: instructions of all waves, without those that the barrier rule ran."""
        return sum(n for _, n in self.history)

    def _header(self, wave: int) -> Any:
        return native.Wave.from_address(self._host.waves.ctypes.data + wave * self.code.wave_bytes)

    def _state(self, wave: int) -> str:
        return STATES[self._header(wave).state]

    def _pc(self, wave: int) -> int:
        ops = self._run.ops
        return int(ops["pc"][(self._header(wave).resume - ops.ctypes.data) // ops.itemsize - 1])

    def _file(self, letter: str) -> NDArray[np.uint32]:
        """All registers v or a, [n, 64], or s, [128], of the wave."""
        code, start = self.code, self.wave * self.code.wave_bytes
        if letter == "s":
            return self._host.waves[start + SGPR_OFFSET :][: 4 * HARDWARE_SGPRS].view(np.uint32)
        whole = self._host.waves[start + code.vgpr_offset : start + code.wave_bytes].view(np.uint32).reshape(-1, 64)
        return whole[: code.agpr_first] if letter == "v" else whole[code.agpr_first : -TEMPORARIES]

    def read(self, what: str) -> Any:
        """A copy of what "v0:4" (v0 to v3), "a7", "s8:16", "lds:0:64", "scratch:0:64" (bytes), "exec", "vcc", "m0" or "scc"
        names; with one of TYPES behind it, "v0:4/f32", as such numbers. Vector registers are [n, 64], scratch is [64, n], the
        wave's lanes' private memory; masks are plain numbers."""
        if what == "scc":
            return int(self._header(self.wave).scc)
        if what in SCALARS:
            low, high = map(int, self._file("s")[SCALARS[what] :][:2])
            return low if what == "m0" else low | high << 32
        if not (m := _READ.fullmatch(what)):
            known = f"v0, v0:4/f32, a0:4, s8:16, lds:0:64/bf16, scratch:0:4, scc or {', '.join(SCALARS)}"
            raise InputError(f"cannot read {what!r}; give {known}")
        first, file = int(m[3]), self._file(m[2]) if m[2] else self._host.lds if m[1] == "lds:" else self.scratch.T
        last = int(m[4] or first + 1)
        if not 0 <= first < last <= len(file):
            raise InputError(f"{what} is outside of {m[1] or m[2]}0:{len(file)}, which is all there is")
        kind = m[5] or ("u8" if m[1] else "u32")
        if m[1] == "scratch:":
            return np.stack([typed(lane.copy(), kind) for lane in file[first:last].T])
        return typed(file[first:last].copy(), kind)

    def vgpr(self, i: int, kind: str = "u32") -> NDArray[Any]:
        """Vector register i, [64]."""
        return np.asarray(self.read(f"v{i}/{kind}")[0])

    def vgprs(self, which: range | None = None, kind: str = "u32") -> NDArray[Any]:
        """Vector registers `which`, one after the other, [n, 64]; all of them by default."""
        span = range(len(self._file("v"))) if which is None else which
        return np.asarray(self.read(f"v{span.start}:{span.stop}/{kind}"))

    def sgpr(self, i: int) -> int:
        """Scalar register i."""
        return int(self.read(f"s{i}")[0])

    exec = _named("exec", "The active lanes, a mask.")
    vcc = _named("vcc", "The vector condition code, a mask.")
    scc = _named("scc", "The scalar condition code, 0 or 1.")

    @property
    def lds(self) -> NDArray[np.uint8]:
        """The workgroup's LDS; what nobody wrote is 0xff."""
        return self._host.lds.copy()

    @property
    def scratch(self) -> NDArray[np.uint8]:
        """The private memory of the wave's lanes, [64, bytes of each]; what nobody wrote is 0xff."""
        return np.array(self._host.scratch.reshape(self.waves, 64, -1)[self.wave])

    def buffer(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a mapped buffer, not copied."""
        found = {name: (c.c_uint8 * size).from_address(host) for _, size, host, name in self._run.memory.ranges}
        if name not in found:
            raise InputError(f"there is no buffer {name!r}; there are: {', '.join(found)}")
        return np.ctypeslib.as_array(found[name])

    @property
    def fault(self) -> KernelFault | None:
        """What a wave did wrong, if one did."""
        try:
            self._run.check(self._host)
        except KernelFault as fault:
            return fault
        return None

    @property
    def pc(self) -> int:
        """The number of `instruction` in the kernel."""
        return self._pc(self.wave)

    @property
    def instruction(self) -> Instruction:
        """What the wave executes next; once it has ended or faulted, what it executed last."""
        return self.kernel.instructions[self.pc]

    @property
    def source(self) -> str:
        """The text of the instruction's source line, where it is known: of `sources`, or of a file that is here."""
        file, line = self.instruction.source or ("", 0)
        path = source_file(file)
        text = self.sources.get(file) or (path.read_text() if path.is_file() else "")
        return "".join(text.splitlines()[line - 1 : line]).strip()

    def listing(self, around: int = 5) -> str:
        """Instructions around the current one, which is marked."""
        lines: list[str] = []
        for pc in range(max(0, self.pc - around), min(len(self.kernel.instructions), self.pc + around + 1)):
            x = self.kernel.instructions[pc]
            if pc in self._targets:
                lines.append(f"{self._targets[pc]}:")
            lines.append(f"{'>' if pc == self.pc else ' '} {pc:5}  {x.text:60} {x.source_line}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Where it stands, for JSON."""
        waves = [{"state": self._state(i), "executed": n, "pc": self._pc(i)} for i, n in enumerate(self.executed)]
        where = {"kernel": self.kernel.name, "workgroup": list(self.workgroup), "position": self.position, "wave": self.wave}
        here = {"pc": self.pc, "instruction": self.instruction.text, "source_line": self.instruction.source_line}
        state = {"source": self.source, "waves": waves, "fault": str(self.fault) if self.fault else None}
        return {**where, **here, **state, **{what: _plain(self.read(what)) for what in ("scc", *SCALARS, *self.watch)}}

    def __str__(self) -> str:
        d = self.as_dict()
        masks = "  ".join(f"{name} {d[name]:#x}" for name in ("exec", "vcc", "m0", "scc"))
        waves = [f"wave {i}  {x['state']:12} {x['executed']:9,} executed, at {x['pc']}" for i, x in enumerate(d["waves"])]
        head = f"{self.kernel.name}  workgroup {self.workgroup}  wave {self.wave} of {self.waves}  after {self.position:,} steps"
        watched = [f"{what} {_shown(self.read(what))}" for what in self.watch]
        fault = [d["fault"]] if d["fault"] else []
        return "\n".join([head, *waves, masks, f"{d['source_line']}  {d['source']}", self.listing(), *watched, *fault])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
