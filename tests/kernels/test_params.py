import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from sparse_mla.kernels.case import CASES
from sparse_mla.kernels.params import DecodeParams, SegmentParams, pack

INCLUDE = Path(__file__).parents[2] / "csrc" / "include"


def fields(structure: type[ctypes.Structure], prefix: str = "", base: int = 0) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of every member, nested ones included."""
    for name, kind in ((field[0], field[1]) for field in structure._fields_):
        offset = base + getattr(structure, name).offset
        yield prefix + name, offset, ctypes.sizeof(kind)
        if issubclass(kind, ctypes.Structure):
            yield from fields(kind, f"{prefix}{name}.", offset)


def test_the_header_declares_the_same_bytes(tmp_path: Path) -> None:
    members = list(fields(DecodeParams))
    assert len(members) == 16 + 2 * 6
    lines = ['#include "decode_params.h"', "DecodeParams p;"]
    lines += [f"static_assert(sizeof(DecodeParams) == {ctypes.sizeof(DecodeParams)});"]
    lines += [
        f"static_assert(__builtin_offsetof(DecodeParams, {name}) == {offset} && sizeof(p.{name}) == {size});"
        for name, offset, size in members
    ]
    source = tmp_path / "probe.hip"
    source.write_text("\n".join(lines) + "\n")
    flags = [
        "-x",
        "hip",
        "--cuda-device-only",
        "--offload-arch=gfx950",
        "-nogpulib",
        "-nogpuinc",
        "-fsyntax-only",
        f"-I{INCLUDE}",
    ]
    done = subprocess.run([sys.executable, "-m", "ziglang", "clang", *flags, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_pack_fills_every_member() -> None:
    inputs = CASES["strided-q"].inputs()
    assert inputs.extra is not None
    assert inputs.attn_sink is not None
    out = torch.empty(3, 20, 600, dtype=torch.bfloat16)[:, 2:18, :512]
    lse, acc, ml = torch.empty(3, 16), torch.empty(3, 4, 16, 512), torch.empty(3, 4, 16, 2)
    params = pack(inputs, out=out, lse=lse, partial_acc=acc, partial_ml=ml, split_k=4)
    pointers = (params.q, params.out, params.lse, params.attn_sink, params.partial_acc, params.partial_ml)
    assert pointers == tuple(tensor.data_ptr() for tensor in (inputs.q, out, lse, inputs.attn_sink, acc, ml))
    assert (params.q_row_stride, params.q_head_stride) == (576, 3 * 576)
    assert (params.out_row_stride, params.out_head_stride) == (12_000, 600)
    assert (params.rows, params.heads, params.split_k) == (3, 16, 4)
    assert abs(params.scale - inputs.scale) < 1e-8
    for packed, segment in ((params.main, inputs.main), (params.extra, inputs.extra)):
        assert packed.cache == segment.cache.storage.data_ptr()
        assert (packed.indices, packed.indptr) == (segment.indices.data_ptr(), segment.indptr.data_ptr())
        assert (packed.num_slots, packed.block_size) == (segment.cache.num_slots, segment.cache.layout.block_size)
        assert packed.block_stride == segment.cache.layout.block_stride


def test_what_is_absent_is_zero() -> None:
    inputs = CASES["all-invalid-no-sink"].inputs()
    params = pack(inputs, out=torch.empty(1, 16, 512, dtype=torch.bfloat16))
    assert (params.lse, params.attn_sink, params.partial_acc, params.partial_ml, params.split_k) == (0, 0, 0, 0, 1)
    assert bytes(params.extra) == bytes(ctypes.sizeof(SegmentParams))
