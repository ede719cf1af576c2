"""The LDS bank simulator: type an address for each lane, see which bank serves whom in which pass."""

from __future__ import annotations

from sparse_mla.analyse.lds import INSTRUCTIONS, lds_access
from sparse_mla.plot.figure import Figure
from sparse_mla.plot.lds import passes_figure
from sparse_mla.widgets.headless import control


def access_figure(instruction: str, address: str) -> Figure:
    """One executed access of a wave; `address`: bytes, by arithmetic over `lane` (analyse.lds.addresses)."""
    title = f"{instruction} at {address}"
    return passes_figure(lds_access(instruction, address), title=title, source="one instruction on the gfx950 emulator")


def lds_explorer(instruction: str = "ds_read_b128", address: str = "16 * lane", *, static: bool | None = None) -> None:
    """Shows `access_figure` with a menu of instructions and a line for the address; static, as a figure."""
    control(access_figure, static, instruction=(instruction, [*INSTRUCTIONS]), address=(address, None))
