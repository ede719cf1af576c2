"""Which compiler is used, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparse_mla.build import compile_hip, find_toolchain, toolchain
from sparse_mla.errors import ToolchainError

SOURCE = '#include "gfx950.h"\nextern "C" __global__ __launch_bounds__(64, 1) void one(float* out) { *out = 1.0f; }\n'


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_clang(folder: Path, version: str) -> Path:
    """A clang that gives `version` as its own and otherwise hands over to the bundled one, with an lld beside it."""
    zig = toolchain.find_zig()
    script(folder / "ld.lld", f'exec "{zig}" ld.lld "$@"')
    return script(folder / "clang", f'[ "$1" = --version ] && {{ echo "{version}"; exit; }}\nexec "{zig}" clang "$@"')


def test_bundled_by_default() -> None:
    tools = find_toolchain()
    assert tools.version.startswith("clang version 2")
    assert tools.clang[0] == tools.lld[0] == str(toolchain.find_zig())


def test_rocm_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clang = fake_clang(tmp_path / "rocm/llvm/bin", "AMD clang version 20.0.0git (roc-7.0.0)")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    tools = find_toolchain("rocm")
    assert (tools.clang, tools.lld) == ((str(clang),), (str(clang.with_name("ld.lld")),))
    code = compile_hip(SOURCE, compiler="rocm", cache=tmp_path / "cache")
    assert code.kernels == ("one",)
    assert code.elf().startswith(b"\x7fELF")
    compile_hip(SOURCE, cache=tmp_path / "cache")
    # Another version string is another compiler: nothing of the first is used again.
    assert len(list((tmp_path / "cache/asm").glob("*.s"))) == 2


def test_a_path_and_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for second, version in enumerate(("clang version 21.1.0", "clang version 22.1.0")):  # a replaced compiler is asked again
        clang = fake_clang(tmp_path, version)
        os.utime(clang, (second, second))
        for asked in (clang, "system"):
            tools = find_toolchain(asked)
            assert (tools.clang, tools.version) == ((str(clang),), version)


@pytest.mark.parametrize(
    "compiler, says",
    [
        ("rocm", r"no ROCm clang under .*nowhere.*ROCM_PATH"),
        ("system", r"no clang on PATH: install clang 20"),
        ("/no/such/clang", r'no compiler .*clang.: give "rocm", "system"'),
        (None, r"pip install .ziglang"),
        ("old/clang", r"19\.1\.0.*needs clang 20"),
        ("broken/clang", "does not run"),
        ("alone/clang", r"no ld\.lld beside"),
    ],
)
def test_missing_or_unusable(compiler: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_clang(tmp_path / "old", "Debian clang version 19.1.0")
    script(fake_clang(tmp_path / "broken", ""), "exit 3")
    script(tmp_path / "alone/clang", "echo clang version 22.1.0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROCM_PATH", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=says):
        compile_hip(SOURCE, compiler=compiler)
