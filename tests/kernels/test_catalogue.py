import re
from pathlib import Path

import pytest

from sparse_mla.errors import InputError
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import CATALOGUE, KernelLaunch, kernel_named

CSRC = Path(__file__).parents[2] / "csrc"


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_each_symbol_is_defined_in_its_source(name: str) -> None:
    spec = CATALOGUE[name]
    pairs = [spec.fused, *spec.partial.values(), *spec.reduce.values()]
    for symbol, source in pairs:
        assert re.search(rf"__global__[^;]*\b{symbol}\(", (CSRC / source).read_text()), f"{source} does not define {symbol}"
    assert set(spec.sources) == {source for _, source in pairs}


def test_launches_of_the_base_kernel() -> None:
    base = kernel_named("base")
    assert base.launches(rows=3, heads=17) == (KernelLaunch("mla_decode_fused", "decode/fused.hip", (3, 2, 1), 256),)
    assert base.launches(3, 17, split_k=4, partials="bf16") == (
        KernelLaunch("mla_decode_split_partial_bf16", "decode/split_partial.hip", (3, 2, 4), 256),
        KernelLaunch("mla_decode_split_reduce_bf16", "decode/split_reduce.hip", (3, 17, 1), 256),
    )


def test_what_a_kernel_does_not_support_is_refused() -> None:
    base, inputs = kernel_named("base"), Case.make(heads=5, rows=1, main=3, extra=0).inputs()
    base.check(inputs, 16, "bf16")
    with pytest.raises(InputError, match="split_k is 3; allowed: 1, 2, 4, 8, 16"):
        base.check(inputs, 3)
    with pytest.raises(InputError, match="'fp16'; allowed: fp32, bf16"):
        base.check(inputs, 2, "fp16")
    with pytest.raises(InputError, match="there is no kernel 'bass'; there are: base"):
        kernel_named("bass")
