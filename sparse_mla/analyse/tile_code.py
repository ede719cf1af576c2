"""The code of a kernel's tile loop: how often each instruction is executed for a tile, for which source line, and how two kernels
differ.

Counts are of 32 tokens and 16 heads, all waves together: the difference of two runs, as in analyse.ladder, so exact, and nothing
outside the loop counts. Of Triton's kernels it is the one for split rows, whose tiles and waves are those of the base design.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from functools import lru_cache

import pandas as pd

from sparse_mla.analyse.compare import largest_first, told
from sparse_mla.analyse.instructions import Sources, instructions
from sparse_mla.analyse.ladder import EXTRA, STEPS, costs, traced
from sparse_mla.errors import InputError
from sparse_mla.gfx950.decode import row_of

KERNELS = (*STEPS.values(), "triton")
SPLIT = {"triton": 4}  # in how many parts a row is walked; otherwise 1
BY = ("unit", "phase", "mnemonic", "line")
TILES = (EXTRA[1] - EXTRA[0]) // 32
COSTS = {"instructions": "instructions a tile", "lds": "LDS phases a tile", "conflicts": "of them by conflicts",
         "barriers": "barriers a tile", "vgprs": "VGPRs of a lane", "lds_bytes": "LDS bytes of a workgroup",
         "waves": "waves of a workgroup", "workgroups": "workgroups that fit a CU", "limiter": "limited by"}  # fmt: skip
_MACROS = {
    "MFMA": "matrix product of all 64 lanes: d = a b + c", "DS_READ_TR": "LDS to registers, transposed among 16 lanes",
    "DS_READ": "LDS to registers, from the lane's address v", "DS_WRITE": "registers to LDS, at the lane's address v",
    "DS_BPERMUTE": "d = a of the lane that v / 4 names", "PERMLANE_SWAP": "d and a exchange halves of their lanes",
    "GLOBAL_LOAD": "memory to registers", "BUFFER_LOAD": "memory to registers, nothing where out of bounds",
    "GLOBAL_STORE": "registers to memory", "BUFFER_STORE": "registers to memory, unless out of bounds",
    "SMEM_LOAD": "memory to scalar registers", "BARRIER": "wait for the workgroup's other waves", "BRANCH": "jump",
    "NEXT": "wait: for loads (vmcnt), LDS (lgkmcnt) or cycles", "END_PROGRAM": "the wave ends",
}  # fmt: skip


@lru_cache(maxsize=32)
def tile_code(kernel: str) -> pd.DataFrame:
    """As analyse.instructions gives (do not change it); `hit` is of one tile. InputError for a kernel that is not in KERNELS."""
    if kernel not in KERNELS:
        raise InputError(f"no tile of {kernel!r} to look at; there are {', '.join(KERNELS)}")
    short, long = (instructions(traced(kernel, extra, SPLIT.get(kernel, 1))) for extra in EXTRA)
    return long.assign(hit=(long.hit - short.hit) / TILES)


def tile_difference(before: str, after: str, by: str = "unit", phase: str = "") -> pd.DataFrame:
    """Two kernels side by side, of one phase or of all: columns kernel ("a → b"), name, before, after, difference, ratio, unit,
    kind_before, kind_after; largest difference first. `by` one of BY; lines are those of equal phase and text."""
    if by not in BY:
        raise InputError(f"by is {by!r}; tiles are compared by {', '.join(BY)}")
    sides = []
    for kernel in (before, after):
        code = tile_code(kernel)
        code = code[code.phase == phase] if phase else code
        names = code.phase + "  " + code.source.str[:52] if by == "line" else code[by]
        sides.append(code.hit.groupby(names).sum())
    both = pd.DataFrame(dict(zip(("before", "after"), sides, strict=True))).fillna(0.0).rename_axis("name").reset_index()
    both = both[(both.before > 0) | (both.after > 0)].assign(kernel=f"{before} → {after}", unit="wave instructions a tile")
    return largest_first(told(both, "emulated", "emulated"))


def cost_table(*kernels: str) -> pd.DataFrame:
    """A row a cost of COSTS (emulated; the room on a CU follows from its sizes), a column a kernel, as text."""
    columns = {}
    for kernel in kernels:
        of = costs(kernel, SPLIT.get(kernel, 1))
        columns[kernel] = [f"{x:,.0f}" if isinstance(x := of[name], int | float) else str(x) for name in COSTS]
    return pd.DataFrame(columns, index=pd.Index(COSTS.values(), name="emulated"))


def functions(kernel: str) -> dict[str, str]:
    """The texts of the functions, of csrc/, that a tile executes lines of, by name; the kernel's own is called `kernel`."""
    code, sources, found = tile_code(kernel), Sources({}), {}
    code = code[code.hit > 0]
    hit = {(file, int(line)) for file, line in zip(code.file, code.line, strict=True)}
    hit |= {(file, int(line)) for calls in code.calls.unique() for file, line in re.findall(r"(\S+?):(\d+)", calls)}
    for file in sorted({file for file, _ in hit if file.startswith(("decode/", "ladder/"))}):
        lines = sources.text(file).splitlines()
        for first, line in enumerate(lines):
            if not (m := re.match(r"( *)\w.*__(?:device|global)__ .*?(\w+)\([^(]*$", line)) or line.endswith(";"):
                continue
            last = next((n for n in range(first, len(lines)) if lines[n] == m[1] + "}"), first)
            if any((file, n + 1) in hit for n in range(first, last + 1)):
                text = textwrap.dedent("\n".join(lines[first : last + 1]))
                found["kernel" if "__global__" in line else m[2]] = text.replace("static __device__", "__device__")
    return found


def source_diff(before: str, after: str) -> str:
    """How the functions that a tile executes differ, as a unified diff."""
    old, new = functions(before), functions(after)
    parts: list[str] = []
    for name in (*old, *(name for name in new if name not in old)):
        a, b = (texts.get(name, "").splitlines() for texts in (old, new))
        parts += difflib.unified_diff(a, b, f"{before} {name}", f"{after} {name}", n=2, lineterm="")
    return "\n".join(parts)


def meaning(mnemonic: str) -> str:
    """What an instruction does, from its row of the instruction set: a C expression over its operands, or words."""
    if not (found := row_of(mnemonic)):
        return ""
    row = found[0]
    if not row.effect.startswith("@"):
        return row.effect if "=" in row.effect or not row.operands else f"{row.operands[0].name} = {row.effect}"
    return next((words for macro, words in _MACROS.items() if row.effect.startswith(f"@{macro}")), row.effect)


def listing(kernel: str, place: str) -> pd.DataFrame:
    """The instructions of one source line, what was inlined into it included, in order: columns pc, text, unit, phase, count (of
    a tile), does, where (file:line), source. `place`: the end of "file:line", or words of the line; of several lines the one
    with most executions a tile. InputError, which names lines, where there is none."""
    code, sources = tile_code(kernel), Sources({})
    at = (code.file + ":" + code.line.astype(str) + " -> " + code.calls).str.findall(r"(\S+?):(\d+)").explode().dropna()
    lines = pd.DataFrame(at.tolist(), columns=["file", "line"], index=at.index).astype({"line": int})
    texts = {key: sources.line(*key) for key in set(zip(lines.file, lines.line, strict=True))}
    named = re.fullmatch(r"\S+:\d+", place)
    wanted = {key for key, text in texts.items() if (f"/{key[0]}:{key[1]}".endswith(f"/{place}") if named else place in text)}
    sums = code.hit.reindex(lines.index).groupby([lines.file, lines.line]).sum().sort_values(ascending=False)
    if not place or not wanted:
        busy = ", ".join(f"{file.rpartition('/')[2]}:{line}" for file, line in sums.index[:8])
        raise InputError(f"{kernel} has no instruction of a line {place!r}; give words of a line, or a place: {busy}")
    best = next(key for key in sums.index if key in wanted)
    code = code.loc[lines.index[(lines.file == best[0]) & (lines.line == best[1])].unique()]
    code = code[code.hit > 0] if sums[best] > 0 else code
    shown = code[["pc", "text", "unit", "phase", "hit"]].rename(columns={"hit": "count"})
    shown = shown.assign(does=code.mnemonic.map(meaning), where=f"{best[0].rpartition('/')[2]}:{best[1]}", source=texts[best])
    return shown.reset_index(drop=True)
