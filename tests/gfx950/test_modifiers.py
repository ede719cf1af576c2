"""No modifier that the assembler takes is passed over: it changes the threaded code, is refused, or is known to do nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sparse_mla.errors import AssemblyError
from sparse_mla.gfx950.assembly import Kernel, parse_instruction
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.isa import ROWS
from tests.gfx950.harness import rejected
from tests.gfx950.test_rows import example

LISTS = ("[1]", "[0]", "[1,0]", "[0,1]", "[0,0]", "[1,0,0]", "[0,1,0]", "[0,0,1]", "[0,0,0]", "[1,0,0,0]", "[0,0,1,0]",
         "[0,0,0,1]")  # fmt: skip
MODIFIERS = [f" {key}:{x}" for key in ("op_sel", "op_sel_hi", "neg_lo", "neg_hi", "neg") for x in LISTS]
MODIFIERS += [" clamp", " mul:2", " mul:4", " div:2", " gds", " lds", " sc0", " sc1", " nt", " glc", " offen", " idxen", " tfe"]
MODIFIERS += [" offset:8", " offset0:1", " offset1:2", " cbsz:1", " abid:1", " blgp:1", " cbsz:2", " blgp:4", " bitop3:0x2a"]
MODIFIERS += [" format:[BUF_DATA_FORMAT_16,BUF_NUM_FORMAT_SINT]", " format:5", " offset:swizzle(SWAP,2)", " scale_sel:1"]
ENCODED = [
    ("_sdwa", f" {x}")
    for x in ("dst_sel:BYTE_1", "dst_unused:UNUSED_SEXT", "src0_sel:WORD_1", "src1_sel:BYTE_0", "clamp", "mul:2")
]
ENCODED += [
    ("_dpp", f" {x}") for x in ("quad_perm:[3,2,1,0]", "row_shl:1", "row_mirror", "row_bcast:15", "wave_ror:1", "row_newbcast:3")
]
ENCODED += [("_dpp", f" row_shl:1 {x}") for x in ("row_mask:0x3", "bank_mask:0x5", "bound_ctrl:0", "clamp")]
# Caches, which are not modelled; the output scales, which MODE disables; what is the default.
NOTHING = r"\S* (sc0|sc1|nt|glc|mul:\d|div:\d|op_sel:\[[0,]*\]|neg\w*:\[[0,]*\])"
# And by the whole line: halves of sources that are not halves, an extension of nothing, a choice of indices that there is not.
NOTHING_HERE = "|".join([
    r"v_fma_mix\w+ .* op_sel:\S+", r"v_fma_mix\w+ .* op_sel_hi:\[0.*", r"v_pk_.* op_sel_hi:\[1\]", r".* dst_unused:UNUSED_SEXT",
    r"v_smfmac.* cbsz:[12]", r"s_atc_probe.*",  # which does nothing at all
])  # fmt: skip


def threaded(line: str) -> Any:
    """What a line decodes to, or None where it is refused."""
    try:
        code = decode(Kernel("k", instructions=[parse_instruction(line)], labels={"label": 0}))
    except AssemblyError:
        return None
    return code.ops.tobytes() + code.constants.tobytes()


def written(line: str, suffix: str, modifier: str) -> str:
    name, _, rest = line.partition(" ")
    rest = re.sub(r" (bitop3:\S+|sc0)", "", rest) if modifier.split(":")[0].strip() in ("bitop3", "sc0") else rest
    return f"{name.removesuffix('_e64')}{suffix.strip()} {rest}{modifier}"


@pytest.mark.parametrize("unit", sorted({row.unit for row in ROWS.values()}))
def test_no_modifier_is_passed_over(unit: str) -> None:
    ways = [("", x) for x in MODIFIERS] + ENCODED * (unit == "VALU")
    examples = [example(row) for row in ROWS.values() if row.unit == unit]
    tried = {written(line, *way): (line, *way) for line in examples for way in ways}
    bad = rejected([*tried])
    ignored = set()
    for text, (line, suffix, modifier) in tried.items():
        if text in bad or re.fullmatch(NOTHING, modifier):
            continue
        plain = threaded(written(line, suffix, "").strip() if suffix != "_dpp" else line)  # which cannot be without
        if (got := threaded(text)) is not None and got == plain:
            ignored.add(text)
    ignored = {text for text in ignored if not re.fullmatch(NOTHING_HERE, text)}
    assert ignored == set()
    assert unit in ("SALU", "BRANCH", "BARRIER", "WAIT") or len(bad) < len(tried)
