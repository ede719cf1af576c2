"""The kernels: which source and symbols each is made of, how its launches are shaped, and what it supports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from sparse_mla.errors import InputError
from sparse_mla.kernels.inputs import DecodeInputs

Partials = Literal["fp32", "bf16"]

TRITON = "triton"  # the source of kernels that Triton compiles, at the launch: sparse_mla/kernels/triton_kernels.py
MAX_GRID_YZ = 65_535  # workgroups that HIP launches in y and in z


@dataclass(frozen=True)
class KernelLaunch:
    """One launch: which function, of which source, in what shape."""

    symbol: str
    source: str  # under csrc/, or TRITON
    grid: tuple[int, int, int]  # workgroups
    block: int  # threads of a workgroup, in x


@dataclass(frozen=True)
class KernelSpec:
    """A decode kernel: one launch when a row stays whole, two (partial, reduce) when rows are split along their tokens; or one
    that counts arrivals, in a workspace that is zero before and after it."""

    name: str
    about: str
    fused: tuple[str, str]  # symbol, source under csrc/ or TRITON
    partial: dict[Partials, tuple[str, str]]
    reduce: dict[Partials, tuple[str, str]]
    splits: tuple[int, ...]
    head_block: int  # heads of a workgroup; a part of a block is padded
    tile: int  # tokens taken at a time
    block: int = 256
    fused_block: int | None = None  # where the fused kernel takes another number of threads
    reduce_block: int = 256  # threads of a workgroup of the second launch, which takes one head
    shares: int = 1  # workgroups that divide the output's dims of one head block among them
    one_launch: int = 1  # up to this split the part of a row that comes last merges them all, without a second launch

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source file under csrc/, once; none for kernels that Triton compiles."""
        named = (source for _, source in (self.fused, *self.partial.values(), *self.reduce.values()))
        return tuple(dict.fromkeys(source for source in named if source != TRITON))

    def launches(self, rows: int, heads: int, split_k: int = 1, partials: Partials = "fp32") -> tuple[KernelLaunch, ...]:
        """The launches of one decode, in order."""
        head_blocks = -(-heads // self.head_block)
        if split_k == 1:
            return (KernelLaunch(*self.fused, (rows, head_blocks * self.shares, 1), self.fused_block or self.block),)
        parts = KernelLaunch(*self.partial[partials], (rows, head_blocks * self.shares, split_k), self.block)
        if split_k <= self.one_launch:
            return (parts,)
        return parts, KernelLaunch(*self.reduce[partials], (rows, heads, 1), self.reduce_block)

    def check(self, inputs: DecodeInputs, split_k: int = 1, partials: str = "fp32") -> None:
        """Refuse what this kernel cannot do. Shapes and dtypes are the inputs' own check."""
        if split_k not in self.splits:
            raise InputError(f"kernel {self.name}: split_k is {split_k}; allowed: {', '.join(map(str, self.splits))}")
        if split_k > 1 and partials not in self.partial:
            raise InputError(f"kernel {self.name}: partials is {partials!r}; allowed: {', '.join(self.partial)}")
        if not (1 <= inputs.heads <= MAX_GRID_YZ and inputs.rows >= 1):
            raise InputError(
                f"kernel {self.name}: q has {inputs.rows} rows of {inputs.heads} heads; "
                f"it takes at least 1 row and 1 to {MAX_GRID_YZ} heads"
            )


def _rung(number: int, name: str, about: str, **more: Any) -> KernelSpec:
    """A version of the ladder that has a source of its own. docs/ladder.md compares them."""
    shape: dict[str, Any] = {"partial": {}, "reduce": {}, "splits": (1,), "head_block": 16, "tile": 32} | more
    return KernelSpec(f"ladder/{name}", about, (f"mla_ladder_{name}", f"ladder/{number:02}_{name}.hip"), **shape)


_PARTIAL, _REDUCE, _PRODUCT = "decode/split_partial.hip", "decode/split_reduce.hip", "decode/product.hip"
_FEW = "decode/few.hip"
CATALOGUE: dict[str, KernelSpec] = {
    spec.name: spec
    for spec in (
        KernelSpec(
            name="base",
            about="four waves share a tile of 32 tokens; one of them does QK, each does the softmax and a quarter of PV",
            fused=("mla_decode_fused", "decode/fused.hip"),
            partial={"fp32": ("mla_decode_split_partial_f32", _PARTIAL), "bf16": ("mla_decode_split_partial_bf16", _PARTIAL)},
            reduce={"fp32": ("mla_decode_split_reduce_f32", _REDUCE), "bf16": ("mla_decode_split_reduce_bf16", _REDUCE)},
            splits=(1, 2, 4, 8, 16),
            head_block=16,
            tile=32,
        ),
        KernelSpec(
            name="product",
            about="eight waves share a tile of 128 tokens: each scores 16 of them, and has 64 of the output's dims",
            fused=("mla_decode_product_fused", _PRODUCT),
            partial={"fp32": ("mla_decode_product_split", _PRODUCT)},
            reduce={"fp32": ("mla_decode_product_reduce", _PRODUCT)},
            splits=(1, 2, 3, 4, 6, 8, 12, 16),
            head_block=16,
            tile=128,
            block=512,
            reduce_block=64,
            one_launch=4,
        ),
        KernelSpec(
            name="few",
            about="for few rows: four workgroups divide the output's dims among them, rows choose their parts on the device",
            fused=("mla_decode_few", _FEW),
            partial={"fp32": ("mla_decode_few", _FEW)},
            reduce={},
            splits=(1, 2, 3, 4, 6, 8, 12, 16),
            head_block=16,
            tile=128,
            block=512,
            shares=4,
            one_launch=16,
        ),
        KernelSpec(
            name="triton",
            about="in Triton, by the plan of published ones: eight waves and 16 tokens at a time, split four waves and 32",
            fused=("decode_whole", TRITON),
            partial=dict.fromkeys(get_args(Partials), ("decode_split", TRITON)),
            reduce=dict.fromkeys(get_args(Partials), ("decode_merge", TRITON)),
            splits=(1, 2, 4, 8, 16),
            head_block=16,
            tile=32,
            fused_block=512,
        ),
        _rung(1, "scalar", "a wave a head, a token at a time, dot products on the VALU", head_block=1, block=64),
        _rung(2, "mfma", "one wave for 16 heads, scores on the matrix unit", block=64),
        _rung(3, "lds", "a tile dequantised to LDS once, both products on the matrix unit", block=64),
        _rung(5, "swizzle", "the base design without bank conflicts"),
        _rung(6, "packed", "the same, fp8 converted in pairs and with its scale"),
        _rung(7, "transposed", "the same, V transposed on its way out of LDS"),
        _rung(8, "direct", "K from memory into MFMA's registers; a wave brings the dims that it multiplies"),
        _rung(9, "private", "every wave takes whole tiles of its own: no barrier in the loop"),
        _rung(10, "prefetch", "the same, the next tile on its way while this one is multiplied"),
        _rung(
            11,
            "split",
            "the same, rows cut into parts that a second launch merges",
            splits=(1, 2, 4, 8, 16),
            partial={"fp32": ("mla_ladder_split", "ladder/11_split.hip")},
            reduce={"fp32": ("mla_decode_product_reduce", _PRODUCT)},
            reduce_block=64,
        ),
    )
}


def kernel_named(name: str) -> KernelSpec:
    """A kernel of CATALOGUE."""
    if name not in CATALOGUE:
        raise InputError(f"there is no kernel {name!r}; there are: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
