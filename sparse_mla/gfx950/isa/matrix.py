"""Matrix instructions. Source: AMD CDNA4 ISA manual, section 7."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

MATRIX: list[Row] = table("MFMA", "v_mfma_f32_16x16x32_bf16 d=x4 a:x4 b:x4 c:c4 | @MFMA_BF16(16, 32)", latency="mfma4") + table(
    "MFMA", "v_mfma_f32_32x32x16_bf16 d=x16 a:x4 b:x4 c:c16 | @MFMA_BF16(32, 16)", latency="mfma8"
)
