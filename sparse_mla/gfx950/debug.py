"""Single step: one workgroup of a launch, stopped before any instruction, looked at and rewound.

A wave is moved by the steps taken on it and by one rule: when it comes to a barrier, the other waves run up to theirs (or to
their end), in their order, and all pass it together. So steps alone decide every state, and going back is going again from
the start, on buffers restored to what they held when the debugger was made (those of up to SAVED_BYTES).
"""

from __future__ import annotations

import ctypes as c
import re
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from sparse_mla.errors import InputError
from sparse_mla.gfx950 import native
from sparse_mla.gfx950.assembly import Kernel
from sparse_mla.gfx950.decode import Code, decode
from sparse_mla.gfx950.machine import prepare
from sparse_mla.gfx950.memory import Memory
from sparse_mla.gfx950.stopped import Stopped

SAVED_BYTES = 1 << 30  # a larger buffer is not restored
_FAR = 1 << 62


class Debugger(Stopped):
    """One workgroup of a launch (the other workgroups do not run), arguments as of machine.launch.

    Motion returns the debugger itself, and raises KernelFault where a wave does something illegal: its state can still be
    read, and `back` leaves it. `wave` is the one that is moved and read.
    """

    def __init__(self, kernel: Kernel | Code, grid: Sequence[int], block: Sequence[int], kernarg: bytes, memory: Memory, *,
                 workgroup: Sequence[int] = (0, 0, 0), dynamic_lds: int = 0) -> None:  # fmt: skip
        code = decode(kernel.kernel if isinstance(kernel, Code) else kernel, debug=True)
        run = prepare(code, grid, block, kernarg, memory, dynamic_lds)
        super().__init__(run, (*workgroup, 0, 0)[:3])
        if not all(0 <= at < n for at, n in zip(self.workgroup, run.grid, strict=True)):
            raise InputError(f"workgroup {tuple(workgroup)} is not in the grid {run.grid}")
        self._asked, self._nowhere = native.Debug(), np.zeros(len(self.kernel.instructions), np.uint8)
        self._host.worker.debug = c.addressof(self._asked)
        self._saved = [(host, c.string_at(host, size)) for _, size, host, _ in memory.ranges if size <= SAVED_BYTES]
        self._restart()

    def _restart(self) -> None:
        for host, content in self._saved:
            c.memmove(host, content, len(content))
        self._wave, self.executed, self.history = 0, [0] * self.waves, []
        shared, worker = c.byref(self._run.shared), c.byref(self._host.worker)
        self._asked.stops = self._nowhere.ctypes.data
        native.engine().start(shared, worker, (c.c_uint32 * 3)(*self.workgroup))

    def _resume(self, wave: int, n: int, stops: NDArray[np.uint8]) -> None:
        """Up to n instructions of one wave, not past a barrier."""
        self._run.check(self._host)
        self._asked.left, self._asked.stops = n - (self._state(wave) == "stopped"), stops.ctypes.data
        native.engine().resume(c.byref(self._run.shared), c.byref(self._host.worker), wave)
        self.executed[wave] += n - self._asked.left
        self._run.check(self._host)

    def _advance(self, wave: int, n: int, stops: NDArray[np.uint8] | None = None) -> None:
        """Up to n steps of one wave, fewer where it comes to a stop or ends; kept in `history`."""
        stops, before = self._nowhere if stops is None else stops, self.executed[wave]
        self._run.check(self._host)
        try:
            while (left := n - self.executed[wave] + before) > 0 and self._state(wave) == "stopped":
                self._resume(wave, left, stops)
                if self._state(wave) == "at a barrier":
                    for other in range(self.waves):
                        if self._state(other) == "stopped":
                            self._resume(other, _FAR, self._nowhere)
                    for other in range(self.waves):
                        if self._state(other) == "at a barrier":
                            self._resume(other, 0, self._nowhere)
                if stops[self._pc(wave)]:
                    break
        finally:
            if done := self.executed[wave] - before:
                again = self.history.pop()[1] if self.history and self.history[-1][0] == wave else 0
                self.history.append((wave, again + done))

    def step(self, n: int = 1) -> Debugger:
        """The next n instructions of the wave."""
        if n < 0:
            raise InputError(f"cannot step by {n}; `back` goes the other way")
        self._advance(self.wave, n)
        return self

    def step_workgroup(self, n: int = 1) -> Debugger:
        """The next n instructions of every wave, one wave after the other; a barrier may have taken one further already."""
        goals = [executed + n for executed in self.executed]
        for wave, goal in enumerate(goals):
            self._advance(wave, goal - self.executed[wave])
        return self

    def run_to(self, target: str | int) -> Debugger:
        """On to before the next instruction of a source line ("base_tile.h:152", where the line is entered), with a mnemonic
        that begins so ("v_mfma"), a "barrier", or with this number in the kernel. InputError, and no motion, if there is none.
        """
        stops, start, wave = self._places(target), self.position, self.wave
        self._advance(wave, _FAR, stops)
        if self._state(wave) == "ended":
            self.goto(start).wave = wave
            raise InputError(f"wave {wave} ends without coming to {target} again; try another wave, or go back first")
        return self

    def finish(self) -> Debugger:
        """Everything that is left, of all waves."""
        for wave in (self.wave, *range(self.waves)):
            self._advance(wave, _FAR)
        return self

    def back(self, n: int = 1) -> Debugger:
        """Undoes the last n steps, whichever waves took them; `wave` is then the one that took the first of these."""
        return self.goto(self.position - n)

    def goto(self, position: int) -> Debugger:
        """The state after so many of the steps taken; beyond them, steps on."""
        if position < 0:
            raise InputError(f"cannot go back to {position}: {self.position} steps were taken")
        if position >= self.position:
            return self.step(position - self.position)
        history = self.history
        self._restart()
        for wave, n in history:
            self.wave, left = wave, position - self.position
            self._advance(wave, min(n, left))
            if left < n:
                break
        return self

    def _places(self, target: str | int) -> NDArray[np.uint8]:
        """Where `run_to` is to stop: 1 for each such static instruction."""
        every, text = self.kernel.instructions, str(target)
        if text.isdigit():
            chosen, hint = {int(text)} & {*range(len(every))}, f"the kernel has instructions 0 to {len(every) - 1}"
        elif m := re.fullmatch(r"(.+):(\d+)", text):
            places, wanted = [x.source_line.rpartition(":") for x in every], int(m[2])
            files, asked = sorted({file for file, _, _ in places}), f"/{m[1]}"
            lines = {pc: int(line) for pc, (file, _, line) in enumerate(places) if f"/{file}".endswith(asked)}
            chosen = {pc for pc, line in lines.items() if line == wanted and (lines.get(pc - 1) != wanted or pc in self._targets)}
            near = sorted(sorted({*lines.values()}, key=lambda line: abs(line - wanted))[:4])
            hint = f"the nearest lines with instructions are {near}" if near else f"there are lines of {', '.join(files)}"
        else:
            begins = "s_barrier" if text == "barrier" else text
            chosen = {pc for pc, x in enumerate(every) if x.mnemonic.startswith(begins)}
            close = get_close_matches(begins, {x.mnemonic[: len(begins)] for x in every}, 4)
            hint = f"it has {', '.join(sorted(close or {x.mnemonic for x in every}))}"
        if not chosen:
            raise InputError(f"no instruction of {self.kernel.name} is at {text!r}; {hint}")
        out = self._nowhere.copy()
        out[[*chosen]] = 1
        return out
