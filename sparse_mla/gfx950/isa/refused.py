"""Instructions that assemble for gfx950 but are not executed, and why. Everything else that its assembler takes has a row."""

from __future__ import annotations

REFUSED: dict[str, str] = {  # a pattern of mnemonics
    r"ds_gws_\w+": "global wave sync works on a resource that only a driver can set up",
    r"s_cbranch_([gi]_fork|join)": "forks keep a stack of branches in SGPRs that no compiler uses",
    r"s_rfe_(restore_)?b64": "it returns from a trap handler, and kernels are none",
    r"s_setvskip|s_setkill": "it changes a mode of the wave that no compiler uses",
    r"s_scratch_(load|store)_\w+": "how it swizzles addresses is not published",
    r"s_endpgm_ordered_ps_done|v_screen_partition_4se_b32": "it belongs to graphics",
    r"v_mfma_ld_scale_b32": "it is one half of v_mfma_scale_f32_*_f8f6f4, which is written as one instruction",
}
