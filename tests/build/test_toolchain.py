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
    banner = "AMD clang version 20.0.0git (roc-7.0.0)"
    clang = fake_clang(tmp_path / "rocm/llvm/bin", banner)
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    tools = find_toolchain("rocm")
    assert (tools.clang, tools.lld) == ((str(clang),), (str(clang.with_name("ld.lld")),))
    code = compile_hip(SOURCE, compiler="rocm", cache=tmp_path / "cache")
    assert code.kernels == ("one",)
    assert code.elf().startswith(b"\x7fELF")
    # Another version string is another compiler: nothing of the first is used again.
    entries = set((tmp_path / "cache/asm").glob("*.s"))
    compile_hip(SOURCE, cache=tmp_path / "cache")
    assert len(set((tmp_path / "cache/asm").glob("*.s")) - entries) == 1


def test_a_path_and_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clang = fake_clang(tmp_path, "clang version 21.1.0")
    assert find_toolchain(clang).clang == (str(clang),)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_toolchain("system").clang == (str(clang),)


def test_a_replaced_compiler_is_asked_again(tmp_path: Path) -> None:
    for second, version in enumerate(("clang version 21.1.0", "clang version 22.1.0")):
        clang = fake_clang(tmp_path, version)
        os.utime(clang, (second, second))
        assert find_toolchain(clang).version == version


@pytest.mark.parametrize(
    "compiler, says",
    [
        ("rocm", r"no ROCm clang under .*nowhere.*ROCM_PATH"),
        ("system", r"no clang on PATH: install clang 20"),
        ("/no/such/clang", r'no compiler .*clang.: give "rocm", "system"'),
    ],
)
def test_missing(compiler: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCM_PATH", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match=says):
        find_toolchain(compiler)


def test_missing_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=r"pip install .ziglang"):
        compile_hip(SOURCE)


def test_unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolchainError, match=r"19\.1\.0.*needs clang 20"):
        find_toolchain(fake_clang(tmp_path / "old", "Debian clang version 19.1.0"))
    with pytest.raises(ToolchainError, match="does not run"):
        find_toolchain(script(fake_clang(tmp_path / "broken", ""), "exit 3"))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolchainError, match=r"no ld\.lld beside"):
        find_toolchain(script(tmp_path / "alone/clang", "echo clang version 22.1.0"))
