"""Every mnemonic that the bundled assembler takes for a processor is a row, another spelling of one, or refused with a reason."""

from __future__ import annotations

import re
from functools import lru_cache

import pytest

from sparse_mla.build.toolchain import find_zig
from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.decode import row_of
from sparse_mla.gfx950.isa import ARCHES, REFUSED, ROWS
from sparse_mla.gfx950.machine import run_snippet
from tests.gfx950.harness import rejected

# A matcher's table of mnemonics: each behind its length.
_ENTRY = re.compile(rb"(?=([\x03-\x40])((?:s|v|ds|[tm]?buffer|flat|global|scratch|image|exp|lds|export)_[a-z0-9_]+|exp))")


@lru_cache
def spelled() -> list[str]:
    """What may be a mnemonic of some AMD processor, read out of the compiler itself."""
    data = find_zig().read_bytes()
    at = data.index(b"\x09v_add_f32")
    data = data[max(0, at - 100_000) : at + 100_000]
    found = {m[2][: m[1][0]] for m in _ENTRY.finditer(data) if len(m[2]) >= m[1][0]}
    return sorted(x.decode() for x in found)


@lru_cache
def taken(arch: str) -> frozenset[str]:
    """Those of one processor: without operands, most are wrong in another way."""
    bad = rejected(spelled(), arch)
    unknown = {name for name, words in bad.items() if re.search("invalid instruction|not supported|unsupported", words)}
    return frozenset(spelled()) - unknown


def refused(name: str) -> bool:
    return any(re.fullmatch(names, name) for names in REFUSED)


@pytest.mark.parametrize("arch", ARCHES)
def test_nothing_is_missing(arch: str) -> None:
    assert len(taken(arch)) > 1300
    missing = {name for name in taken(arch) if row_of(name, arch) is None and not refused(name)}
    assert missing == set()
    assert {name for name in ROWS if not ARCHES[arch].lacks.fullmatch(name)} <= taken(arch)


def test_what_is_refused_is_an_instruction_and_says_why() -> None:
    for names, reason in REFUSED.items():
        meant = [name for name in taken("gfx950") if re.fullmatch(names, name)]
        assert meant, names
        for name in meant:
            assert row_of(name) is None
            with pytest.raises(AssemblyError, match=re.escape(f"{name} is not modelled: {reason}")):
                run_snippet(name)
