"""What differs between the processors whose code the emulator executes: gfx950 (CDNA4) and gfx942 (CDNA3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sparse_mla.gfx950.isa.row import Row


@dataclass(frozen=True)
class Arch:
    """`lds_bytes` of a workgroup at most; `lacks` matches instructions that only the other one has; `instead`: rows with another
    meaning here than in ROWS, by mnemonic."""

    lds_bytes: int
    lacks: re.Pattern[str]
    instead: dict[str, Row] = field(default_factory=dict)


_CDNA4 = (
    r"v_mfma_\w*((16x16x32|32x32x16)_b?f16|(16x16x64|32x32x32)_i8|f8f6f4)",
    r"v_smfmac_f32_(16x16x64|32x32x32)_b?f16|v_smfmac_\w+_(16x16x128|32x32x64)_\w+",
    r"v_(cvt_scalef32|cvt_s?r?_?pk_b?f16_f32|cvt_sr_b?f16|permlane(16|32)_swap|prng|ashr_pk|(pk_)?m(ax|in)imum3|dot2c?_f32_bf16)\w*",
    r"v_(bitop3_b(16|32)|cvt_f32_bf16)|ds_read_b(64|96)_tr_\w+|(global|buffer)_load_lds_dwordx[34]|buffer_atomic_pk_add_bf16",
)
ARCHES = {
    "gfx950": Arch(163_840, re.compile(r"v_mfma_\w+_xf32")),
    "gfx942": Arch(65_536, re.compile("|".join(_CDNA4))),
}


def tell_apart(rows: Iterable[Row]) -> None:
    """Fills `instead`: on gfx942, fp8 and bf8 have one NaN, no infinity, no -0, and a bias one higher (FNUZ)."""
    other = ARCHES["gfx942"]
    for row in rows:
        effect = re.sub(r"to_small(_sr)?\((\w+), (FP8|BF8)\b", r"to_small\1z(\2, \3Z", row.effect)
        effect = re.sub(r"\b(e4m3|e5m2|fp8|bf8)(?=_to_f|\b)", r"\1z", effect)
        if effect != row.effect and not other.lacks.fullmatch(row.mnemonic):
            other.instead[row.mnemonic] = replace(row, mnemonic=f"{row.mnemonic}_fnuz", effect=effect)
