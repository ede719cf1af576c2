"""The sanitizer is silent on correct kernels: those of the HIP and Triton tests run once more, every instruction checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sparse_mla.build import compile_hip, csrc_dir
from sparse_mla.execute import hip, triton_emulated
from sparse_mla.gfx950.assembly import Kernel, parse, parse_instruction
from sparse_mla.gfx950.decode import decode
from sparse_mla.gfx950.sanitize import Finding
from tests.execute import test_hip, test_triton

# Tests that launch kernels and take no parameters of their own.
PLAIN = [
    function
    for module in (test_hip, test_triton)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if name.startswith("test_") and not inspect.signature(function).parameters and "wrong" not in name
]
TRITON = [
    (test_triton.test_add, (test_triton.FLOATS["bf16"], 4)),
    (test_triton.test_softmax, (test_triton.FLOATS["fp16"], 8, 4)),
    (test_triton.test_layer_norm_forward_and_backward, (test_triton.FLOATS["fp32"],)),
]


@pytest.mark.parametrize("function, arguments", [*((f, ()) for f in PLAIN), *TRITON], ids=lambda x: getattr(x, "__name__", ""))
def test_nothing_is_found(function: Callable[..., None], arguments: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Finding] = []
    checked = 0
    for module in (hip, triton_emulated):
        launch, decode = module.launch, module.decode

        def checking(*args: Any, launch: Any = launch, **options: Any) -> Any:
            nonlocal checked
            done = launch(*args, **options)
            checked += args[0].checks is not None
            found.extend(done.findings)
            return done

        monkeypatch.setattr(module, "decode", lambda kernel, decode=decode, **_: decode(kernel, sanitize=frozenset()))
        monkeypatch.setattr(module, "launch", checking)
    triton_emulated._decoded.cache_clear()
    try:
        function(*arguments)
    finally:
        triton_emulated._decoded.cache_clear()
    assert checked
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("source", ["fused", "split_partial"])
def test_the_compilers_nops_are_as_long_as_they_must_be(source: str) -> None:
    """No pair of instructions of ours can come too close, and one can as soon as any of the compiler's nops is a slot shorter."""
    kernel = next(iter(parse(compile_hip(csrc_dir() / f"decode/{source}.hip").text).kernels.values()))
    code = kernel.instructions
    nops = [(i, int(x.args[0].value)) for i, x in enumerate(code) if x.mnemonic == "s_nop" and int(x.args[0].value)]
    assert nops
    assert not pairs(kernel)
    for i, n in nops:
        shorter = replace(parse_instruction(f"s_nop {n - 1}"), source=code[i].source)
        assert pairs(replace(kernel, instructions=[*code[:i], shorter, *code[i + 1 :]])), code[i]


def pairs(kernel: Kernel) -> int:
    checks = decode(kernel, sanitize=frozenset()).checks
    assert checks is not None
    return len(checks.needs)
