"""What works on this machine, what does not, and what to do about it. A missing part is a finding here, never a failure."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any

from sparse_mla.errors import BackendError
from sparse_mla.files import folder

VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "sve": "SVE", "asimd": "NEON"}  # CPU feature flags, widest vectors first
GFX950_LINE = "v_mfma_f32_16x16x32_bf16 v[0:3], v[0:3], v[4:7], v[0:3]"  # only gfx950 and later assemble this


@dataclass(frozen=True)
class Check:
    """One part of the machine. `used_for` says what its absence takes away, `remedy` what to do."""

    name: str
    ok: bool
    needed: bool
    found: str
    used_for: str
    remedy: str

    @property
    def status(self) -> str:
        """ok, missing (something here will not work) or absent (only some extra will not)."""
        return "ok" if self.ok else "missing" if self.needed else "absent"


@dataclass(frozen=True)
class Report:
    """All checks, and the three places a kernel's numbers can come from with whether each is possible here."""

    checks: tuple[Check, ...]
    modes: dict[str, bool]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"checks": [asdict(check) for check in self.checks], "modes": self.modes}

    def __str__(self) -> str:
        width = max(len(check.name) for check in self.checks)
        lines = [f"{check.status:7}  {check.name:{width}}  {check.found}" for check in self.checks]
        lines += ["", "Where a kernel can run, or its numbers come from:"]
        lines += [f"{'yes' if here else 'no':7}  {name:{width}}  {MODES[name]}" for name, here in self.modes.items()]
        for title, status in (("What to do:", "missing"), ("Not needed, but possible:", "absent")):
            found = [check for check in self.checks if check.status == status]
            lines += ["", title] if found else []
            lines += [f"  {check.name}, for {check.used_for}: {check.remedy}" for check in found]
        return "\n".join(lines)


MODES = {
    "emulator": "gfx950 machine code executed on this CPU",
    "gpu": "the same machine code on an AMD gfx950 GPU",
    "recorded": "profiles stored with the project",
}


def _output(*command: str, given: str = "") -> str:
    """What a command prints; raises when it fails or takes longer than ten seconds."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=10)
    if done.returncode:
        raise OSError((done.stderr or done.stdout).strip().splitlines()[0])
    return done.stdout.strip()


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _memory() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if gib < 3.5:
        raise OSError(f"{gib:.1f} GiB")
    return f"{len(os.sched_getaffinity(0))} cores, {gib:.0f} GiB"


def _compiler() -> str:
    from sparse_mla.build import find_toolchain

    tools = find_toolchain()
    target = ("--target=amdgcn-amd-amdhsa", "-mcpu=gfx950", "-x", "assembler")
    _output(*tools.clang, *target, "-c", "-o", os.devnull, "-", given=GFX950_LINE + "\n")
    return f"{tools.version.split(' (')[0]} from ziglang {metadata.version('ziglang')}, assembles for gfx950"


def _engine() -> str:
    import numpy as np

    from sparse_mla.gfx950.machine import run_snippet
    from sparse_mla.gfx950.native import host_cpu

    lanes = np.arange(64, dtype=np.uint32)[None]
    after = run_snippet("v_mul_lo_u32 v0, v0, v0", vgpr=lanes)
    if not np.array_equal(after.vgpr[0], lanes[0] ** 2):
        raise OSError("v_mul_lo_u32 gave a wrong result: please report this machine's CPU")
    has = host_cpu().split()
    vectors = next((name for flag, name in VECTORS.items() if flag in has), "its basic instructions")
    return f"compiled for this CPU with {vectors}, executed a gfx950 instruction"


def _torch() -> str:
    import torch

    return str(torch.__version__)


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise OSError("none that torch can use")
    device = torch.cuda.get_device_properties(0)
    arch = getattr(device, "gcnArchName", "").split(":")[0] if torch.version.hip else "NVIDIA"
    if arch != "gfx950":
        raise OSError(f"{device.name} ({arch}), which does not run gfx950 code")
    return f"{device.name} ({arch})"


def _hip() -> str:
    from sparse_mla.execute.hip_device import runtime

    try:
        hip = runtime()
    except BackendError as problem:
        raise OSError(str(problem).partition(";")[0]) from None
    return "emulated on this CPU, as SPARSE_MLA_HIP asks" if hip.emulated else repr(hip)


def _program(*names: str) -> str:
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise OSError(f"no {names[0]} on the PATH")
    return _output(path, "--version").splitlines()[0]


INSTALL = "run `make venv`, or `pip install -c constraints.txt -e .`"
ROCM = "install ROCm 7 or newer and put its bin folder on the PATH"

# name, is the workbench crippled without it, how to look, what it is used for, what to do where it is missing
PARTS: tuple[tuple[str, bool, Callable[[], str], str, str], ...] = (
    ("Python", True, _python, "everything", "install Python 3.11 or newer"),
    ("cores and memory", True, _memory, "the tour and the tests", "close other programs or take a machine with 4 GiB"),
    ("HIP compiler", True, _compiler, "everything but the reference", INSTALL),
    ("emulator engine", True, _engine, "--on emulator", INSTALL + "; it compiles itself on first use"),
    ("PyTorch", True, _torch, "everything", INSTALL),
    ("Triton", False, partial(metadata.version, "triton"), "the Triton kernels", INSTALL + " (on Linux)"),
    ("JupyterLab", True, partial(metadata.version, "jupyterlab"), "the notebooks", INSTALL),
    ("papermill", True, partial(metadata.version, "papermill"), "the tour", INSTALL),
    ("gfx950 GPU", False, _gpu, "--on gpu", "on an MI350X or MI355X, install torch's ROCm build"),
    (
        "HIP runtime",
        False,
        _hip,
        "--on gpu",
        "it comes with torch's ROCm build; SPARSE_MLA_HIP=emulated runs the same host code on the emulator",
    ),
    ("ROCm compiler", False, partial(_program, "hipcc", "amdclang++"), "--compiler rocm", ROCM),
    ("rocprofv3", False, partial(_program, "rocprofv3"), "recording on a GPU", ROCM),
    (
        "Chromium",
        False,
        partial(_program, "chromium", "chromium-browser", "google-chrome"),
        "browser tests",
        "`apt-get install chromium`",
    ),
)


def examine() -> Report:
    """Look at every part once."""
    checks = []
    for name, needed, look, used_for, remedy in PARTS:
        try:
            checks.append(Check(name, True, needed, look(), used_for, remedy))
        except Exception as problem:  # whatever is broken about a part, the page must still appear
            found = "not installed" if isinstance(problem, metadata.PackageNotFoundError | ImportError) else str(problem)
            checks.append(Check(name, False, needed, found or type(problem).__name__, used_for, remedy))
    ok = {check.name: check.ok for check in checks}
    emulator = all(ok[name] for name in ("HIP compiler", "emulator engine", "PyTorch"))
    modes = {"emulator": emulator, "gpu": ok["gfx950 GPU"], "recorded": any(folder("profiles").rglob("manifest.json"))}
    return Report(tuple(checks), modes)
