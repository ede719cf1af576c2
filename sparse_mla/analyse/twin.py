"""One statement of the Triton decode on its way to machine code, and the HIP code that does the same.

A statement is a line of `_attend`, the loop over tiles: what was inlined into it belongs to it. TTGIR is what Triton makes of the
source before it becomes LLVM IR: whole tensors still, but with layouts, which say what lane and register holds each element.
"""

from __future__ import annotations

import re
from functools import lru_cache

import pandas as pd

from sparse_mla.analyse.instructions import Sources
from sparse_mla.analyse.tile_code import SPLIT, meaning, tile_code
from sparse_mla.errors import InputError
from sparse_mla.execute.triton_decode import intermediate

FILE = "sparse_mla/kernels/triton_kernels.py"
_FUNCTION = re.compile(r"^def _attend\(.*?(?=^@|\Z)", re.MULTILINE | re.DOTALL)
_OP = re.compile(r"^\s+(?:[%\w:, ]+ = )?([a-z_]+\.\w+(?:\.\w+)*)(.*) loc\((#loc\d*)\)$")


@lru_cache
def statements() -> dict[int, str]:
    """The lines of `_attend` by their number in triton_kernels.py."""
    text = Sources({}).text(FILE)
    m = _FUNCTION.search(text)
    assert m
    first = text[: m.start()].count("\n") + 1
    return {first + n: line.strip() for n, line in enumerate(m[0].splitlines())}


def _statement(chain: str) -> int:
    """The line of `_attend` in a chain "file:line -> file:line"; 0 if none."""
    lines = (int(line) for file, line in re.findall(r"(\S+?):(\d+)", chain) if file.endswith("triton_kernels.py"))
    return next((line for line in lines if line in statements()), 0)


@lru_cache
def triton_code() -> pd.DataFrame:
    """`tile_code` of Triton's kernel, with `statement`, the line of `_attend` (0: another, or none)."""
    code = tile_code("triton")
    chains = code.file + ":" + code.line.astype(str) + " -> " + code.calls
    return code.assign(statement=[_statement(chain) for chain in chains])


@lru_cache
def ttgir() -> pd.DataFrame:
    """The operations of Triton's kernel for split rows: columns statement, op, result (its type), times (in the text: the loop
    stands there twice, and its prologues)."""
    text = intermediate("decode_split", SPLIT["triton"])["ttgir"]
    named = dict(re.findall(r"^(#loc\d*) = loc\((.*)\)$", text, re.MULTILINE))
    known: dict[str, str] = {}

    def chain(loc: str) -> str:
        if loc not in known:
            body = named.get(loc, "")
            own = "".join(f"{file}:{line} -> " for file, line in re.findall(r'"([^"]+)":(\d+):', body))
            known[loc] = own + "".join(chain(inner) for inner in re.findall(r"#loc\d+", body))
        return known[loc]

    found = [
        (_statement(chain(m[3])), m[1], re.split(r" -> | : ", m[2])[-1]) for line in text.splitlines() if (m := _OP.match(line))
    ]
    frame = pd.DataFrame(found, columns=["statement", "op", "result"])
    return frame.groupby(list(frame), sort=False).size().rename("times").reset_index()


def layouts() -> dict[str, str]:
    """What the names of layouts in `ttgir` stand for."""
    return dict(
        re.findall(r"^#(\w+) = #(ttg\.(?!shared_memory).*)$", intermediate("decode_split", SPLIT["triton"])["ttgir"], re.M)
    )


def mnemonics(code: pd.DataFrame) -> pd.DataFrame:
    """What some rows of `tile_code` execute, summed: columns mnemonic, unit, count (a tile), does; most first."""
    sums = code[code.hit > 0].groupby(["mnemonic", "unit"], as_index=False).hit.sum().rename(columns={"hit": "count"})
    sums = sums.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    return sums.assign(does=[meaning(mnemonic) for mnemonic in sums.mnemonic])


def statement_named(words: str) -> int:
    """The line of `_attend` that is called so: its number, or words of it (the first that has them)."""
    lines = statements()
    found = [n for n, text in lines.items() if words == str(n) or (not words.isdigit() and words in text)]
    if not found or not words:
        known = sorted({n for n in triton_code().query("hit > 0").statement if n})
        raise InputError(f"no line of _attend is or has {words!r}; instructions belong to lines {known}")
    return found[0]
