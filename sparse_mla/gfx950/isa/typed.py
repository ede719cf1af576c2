"""Buffer accesses that convert formats: MUBUF `buffer_*_format_*` and MTBUF. Source: AMD CDNA4 ISA manual; engine/typed.h."""

from __future__ import annotations

from sparse_mla.gfx950.isa.row import Row, table

# How many components, in how many registers; whether each has 16 bits, and the only one the upper ones.
_TYPED = {"xyzw"[:n]: (n, n, 0, 0) for n in (1, 2, 3, 4)} | {f"d16_{'xyzw'[:n]}": (n, (n + 1) // 2, 1, 0) for n in (1, 2, 3, 4)}
_TYPED["d16_hi_x"] = (1, 1, 1, 1)
TYPED: list[Row] = [
    row
    for latency, write in (("load", "+"), ("store", ":"))
    for space, own in (("buffer", 0), ("tbuffer", 1))  # by the resource's format, or by their own
    for name, (n, registers, half, high) in _TYPED.items()
    if not (own and high)
    for row in table(
        "VMEM",
        f"{space}_{latency}_format_{name} d{'=' if latency == 'load' and not half else write}x{registers} v:B r:sx4 s:su"
        f" | @FORMAT_{latency.upper()}({n}, {half}, {high}, {own})",
        latency=latency,
        modifiers="offset offen idxen sc0 sc1 nt" + " format" * own,
    )
]

_DATA = ("INVALID", "8", "16", "8_8", "32", "16_16", "10_11_11", "11_11_10", "10_10_10_2", "2_10_10_10", "8_8_8_8", "32_32",
         "16_16_16_16", "32_32_32", "32_32_32_32")  # fmt: skip
_NUMBER = ("UNORM", "SNORM", "USCALED", "SSCALED", "UINT", "SINT", "RESERVED_6", "FLOAT")
_FORMATS = {f"BUF_DATA_FORMAT_{x}": i for i, x in enumerate(_DATA)}
_FORMATS |= {f"BUF_NUM_FORMAT_{x}": i << 4 for i, x in enumerate(_NUMBER)}


def buffer_format(text: str) -> int:
    """The data format and, from bit 4, the number format of `[BUF_DATA_FORMAT_32,BUF_NUM_FORMAT_FLOAT]` or of a number.

    8 bits and UNORM where one of them is not said. Raises KeyError or ValueError for what is no format.
    """
    if text[0] != "[":
        return int(text, 0)
    named = [x.strip() for x in text.strip("[]").split(",")]
    return sum(_FORMATS[x] for x in named) | (not any("DATA" in x for x in named))
