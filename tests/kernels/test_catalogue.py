from collections.abc import Callable

import pytest

from sparse_mla.errors import InputError
from sparse_mla.kernels.case import Case
from sparse_mla.kernels.catalogue import kernel_named
from sparse_mla.kernels.inputs import DecodeInputs

BASE = kernel_named("base")


def inputs(heads: int) -> DecodeInputs:
    return Case.make(heads=heads, rows=1, main=1, extra=0).inputs()


@pytest.mark.parametrize(
    "ask, says",
    [
        (lambda: kernel_named("bass"), "there is no kernel 'bass'; there are: base"),
        (lambda: BASE.check(inputs(5), 3), "split_k is 3; allowed: 1, 2, 4, 8, 16"),
        (lambda: BASE.check(inputs(5), 2, "fp16"), "'fp16'; allowed: fp32, bf16"),
        (lambda: BASE.check(inputs(65_536)), "1 rows of 65536 heads; it takes at least 1 row and 1 to 65535 heads"),
    ],
)
def test_what_a_kernel_does_not_support_is_refused(ask: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        ask()
