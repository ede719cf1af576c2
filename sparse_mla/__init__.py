"""A workbench for DeepSeek-V4 sparse-MLA decode attention on AMD gfx950 (MI355X).

Importing this package loads nothing: no torch, compiler, GPU or widget. Each public name is fetched from its home on first use.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "hip": "execute.hip",
    "CASES": "kernels.case",
    "CATALOGUE": "kernels.catalogue",
    "Case": "kernels.case",
    "PagedCache": "cache.paging",
    "Segment": "kernels.inputs",
    "Workspace": "execute.workspace",
    "compare": "kernels.compare",
    "debug": "execute.debug",
    "decode": "execute.ops",
    "plan_decode": "execute.workspace",
    "reference": "kernels.reference",
    "load_ipython_extension": "execute.hip",
    "load_kernels": "execute.hip",
    "open_profile": "record.formats",
    "run": "execute",
    "triton_on_gfx950": "execute.triton_emulated",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sparse_mla' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"sparse_mla.{_HOMES[name]}"), name)
