"""The facts of `layout` as the C++ header that the kernels include.

`python -m sparse_mla.cache.c_header > csrc/include/cache_layout.h` writes it; a test compares.
"""

from sparse_mla.cache import layout

NOTES = {
    "NOPE_DIM": "e4m3fn elements of a token",
    "ROPE_DIM": "bf16 elements of a token",
    "HEAD_DIM": "elements of a token",
    "GROUP_DIM": "consecutive NoPE elements that share a scale",
    "GROUPS": "scales of a token",
    "ROPE_OFFSET": "bytes into a data record",
    "DATA_BYTES": "bytes of a data record; token t's lies at t * DATA_BYTES in its block",
    "SCALE_BYTES": "bytes of a scale record; token t's lies at block_size * DATA_BYTES + t * SCALE_BYTES",
    "TOKEN_BYTES": "bytes of a token; a block stride is at least block_size of them",
    "SCALE_BIAS": "a scale byte b means 2^(b - SCALE_BIAS); 255 is NaN",
}


def render_c_header() -> str:
    """The text of csrc/include/cache_layout.h."""
    lines = [
        "// Generated, do not edit: python -m sparse_mla.cache.c_header > csrc/include/cache_layout.h",
        "// The bytes of a cached token; the layout of a block is explained in sparse_mla/cache/layout.py.",
        "#pragma once",
    ]
    constants = [(f"constexpr int {name} = {getattr(layout, name)};", note) for name, note in NOTES.items()]
    width = max(len(constant) for constant, _ in constants)
    lines += [f"{constant:{width}} // {note}" for constant, note in constants]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render_c_header(), end="")
