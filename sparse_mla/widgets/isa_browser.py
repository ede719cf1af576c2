"""The ISA browser: a source line, its machine instructions with counts and meanings, and what one of them leaves in a register;
and the same statement in Triton and in HIP."""

from __future__ import annotations

import re
from functools import lru_cache

import pandas as pd

from sparse_mla.analyse import twin
from sparse_mla.analyse.instructions import Sources
from sparse_mla.analyse.tile_code import KERNELS, SPLIT, listing, tile_code, tile_difference
from sparse_mla.errors import InputError
from sparse_mla.execute.debug import debug
from sparse_mla.gfx950.debug import Debugger
from sparse_mla.gfx950.stopped import TYPES
from sparse_mla.kernels.case import Case
from sparse_mla.plot.change import compare_figure
from sparse_mla.plot.debug import registers_figure
from sparse_mla.plot.figure import Figure
from sparse_mla.widgets.headless import control
from sparse_mla.widgets.kernel_diff import start_triton
from sparse_mla.widgets.page import Page

CASE = Case.make(rows=1, main=128, extra=128)  # what is stepped through: eight tiles
SHOWN = 24  # instructions of a line
_REGISTER = re.compile(r"\b([vas])(?:(\d+)\b|\[(\d+):(\d+)\])")


@lru_cache(maxsize=4)
def _debugger(kernel: str) -> Debugger:
    split_k = SPLIT.get(kernel, 1)
    return debug(kernel, CASE, (0, 0, split_k - 1), split_k)  # the last part, whose tiles are extra ones, as those counted are


def after(kernel: str, pc: int, wave: int = 0, register: str = "", kind: str = "auto") -> Figure | str:
    """A register, by lane, when `wave` has executed instruction `pc` for the first time. `register`: "v7", "v[4:7]", "a0", "s3";
    by default the first that the instruction names, which is what it writes, if it writes one. `kind`: one of TYPES, or auto."""
    at = _debugger(kernel)
    at.goto(0).wave = wave
    at.run_to(pc)
    text = at.instruction.text
    at.step()
    if not (m := _REGISTER.search(register or text)):
        return f"`{text}` names no register; wave {wave} has executed {at.executed[wave]:,} instructions."
    first, last = int(m[2] or m[3]), int(m[2] or m[4])
    if kind == "auto":
        kind = "bf16" if "_bf16" in text and "mfma" not in text else "f32" if re.search(r"_f32|mfma", text) else "u32"
    title = f"{m[0]} as {kind} after `{text}`, wave {wave}"
    if m[1] == "s":
        values = at.read(f"s{first}:{last + 1}/{kind}").ravel().tolist()
        return f"{title} (scalar: one for all lanes): {values}"
    count = last - first + 1
    shown = registers_figure(at, first, count, kind, m[1])
    values = at.read(f"{m[1]}{first}:{last + 1}/{kind}").reshape(count, 64, -1)
    values = values.astype("f4") if kind == "f16" else values  # pandas compares f16 with what is beyond its range
    columns = {
        f"{m[1]}{first + i}" + f".{part}" * (values.shape[2] > 1): values[i, :, part]
        for i in range(count)
        for part in range(values.shape[2])
    }
    by_lane = pd.DataFrame({"lane": range(64)} | columns)
    return Figure(shown.canvas, title, shown.finding, shown.kind, f"{at.kernel.name}, first time, gfx950 emulator", by_lane)


def isa_browser(
    kernel: str = "base",
    line: str = "state.acc[n] = mfma",
    instruction: int = 0,
    wave: int = 0,
    register: str = "",
    kind: str = "auto",
) -> Page:
    """The instructions of a source line (as analyse.tile_code.listing finds it), and a register after one of them."""
    found = listing(kernel, line)
    where, source = found["where"][0], found.source[0]
    if not 0 <= instruction < len(found):
        raise InputError(f"{where} has instructions 0 to {len(found) - 1}, not {instruction}")
    first = max(0, min(instruction - SHOWN // 2, len(found) - SHOWN))
    table = found.drop(columns=["where", "source"]).iloc[first : first + SHOWN]
    table.insert(0, "", ["▶" if n == instruction else "" for n in table.index])
    count = f"{len(found)} instructions, {found['count'].sum():,.0f} executions a tile (emulated)"
    try:
        seen = after(kernel, int(found.pc[instruction]), wave, register, kind)
    except InputError as refused:  # another wave comes there, or the register is not one
        seen = str(refused)
    return Page((f"{kernel}, {where}: {source}", f"{count}; from number {first}:", table, seen))


def isa_explorer(
    kernel: str = "base", line: str = "state.acc[n] = mfma", instruction: int = 0, wave: int = 0, register: str = "",
    kind: str = "auto", *, static: bool | None = None,
) -> None:  # fmt: skip
    """Shows `isa_browser` with controls: menus of kernel and type, sliders of instruction and wave, lines to type into."""
    start_triton(static)
    control(
        isa_browser, static, kernel=(kernel, KERNELS), line=(line, None), instruction=(instruction, range(64)),
        wave=(wave, range(8)), register=(register, None), kind=(kind, ("auto", *TYPES)),
    )  # fmt: skip


def twins(statement: str = "score = _dot(q0", beside: str = "base") -> Page:
    """A statement of Triton's loop: its TTGIR, its machine code by mnemonic; and what `beside` executes in the same phase."""
    line = twin.statement_named(statement)
    code = twin.triton_code()
    mine = code[(code.statement == line) & (code.hit > 0)]
    if mine.empty:
        raise InputError(f"line {line} of _attend executes nothing by itself; try another")
    phase = mine.groupby("phase").hit.sum().drop("barrier", errors="ignore").idxmax()
    operations = twin.ttgir().query("statement == @line and op != 'scf.yield'").drop(columns="statement").head(SHOWN)
    other = tile_code(beside)
    other = other[(other.phase == phase) & (other.hit > 0)]
    places = (other.file + ":" + other.line.astype(str) + " -> " + other.calls).str.extract(r"((?:decode|ladder)/\S+?):(\d+)")
    count = other.hit.groupby([places[0], places[1].fillna(0).astype(int)]).sum().nlargest(8)
    sources = Sources({})
    lines = pd.DataFrame({"source": [sources.line(*key) for key in count.index], "count": count}).rename_axis(["file", "line"])
    figure = compare_figure(
        tile_difference(beside, "triton", "mnemonic", phase), n=12, title=f"{phase}: {beside} → triton, by mnemonic",
        source="a tile of 32 tokens, all waves, gfx950 emulator",
    )  # fmt: skip
    return Page(
        (
            f"Triton, {twin.FILE.rpartition('/')[2]}:{line}  {twin.statements()[line]}   (phase {phase})",
            f"Its TTGIR: {len(operations)} kinds of operation", operations.set_index("op"),
            f"Its machine code: {mine.hit.sum():,.0f} instructions a tile (emulated)", twin.mnemonics(mine).set_index("mnemonic"),
            f"Lines of {beside} in the same phase: {other.hit.sum():,.0f} instructions a tile (emulated)", lines, figure,
        )
    )  # fmt: skip


def twin_explorer(statement: str = "score = _dot(q0", beside: str = "base", *, static: bool | None = None) -> None:
    """Shows `twins` with a menu of the loop's statements and one of kernels."""
    busy = {n for n in twin.triton_code().query("hit > 0").statement if n}
    choices = [text for n, text in twin.statements().items() if n in busy]
    start = twin.statements()[twin.statement_named(statement)]
    control(twins, static, statement=(start, choices), beside=(beside, [kernel for kernel in KERNELS if kernel != "triton"]))
