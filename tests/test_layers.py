"""The folders form layers: each imports only from those before it. Imports inside functions count too."""

import ast
import subprocess
import sys
from importlib.util import resolve_name
from pathlib import Path

import pytest

import sparse_mla

PACKAGE = Path(sparse_mla.__file__).parent
LAYERS = (
    *("errors", "files", "cache", "kernels", "build", "gfx950", "execute", "record", "analyse", "plot", "widgets"),
    *("notebooks", "tables", "doctor", "tour", "cli", "__main__"),
)
# The emulator is a leaf that knows nothing of attention.
ONLY = {"gfx950": {"errors", "files", "build", "gfx950"}}


def faults(module: str, source: str, package: str) -> list[str]:
    """What `source`, the text of sparse_mla.`module` in the package `package`, imports against the order."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    inside = {name.split(".", 1)[1] for name in names if name.startswith("sparse_mla.")}
    # `from sparse_mla import run` loads the home of `run`; other names directly in the package are plain values.
    others = {sparse_mla._HOMES.get(name, name).split(".")[0] for name in inside}
    layer = module.split(".")[0]
    allowed = ONLY.get(layer, set(LAYERS[: LAYERS.index(layer) + 1]))
    return [
        f"sparse_mla.{module} imports sparse_mla.{other}; {layer} may import {', '.join(sorted(allowed))}"
        for other in sorted(others - allowed)
        if other in LAYERS or other not in vars(sparse_mla)
    ]


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    assert parts[0] in LAYERS, f"sparse_mla.{parts[0]} has no place in the order {LAYERS}"
    package = ".".join(["sparse_mla", *parts[:-1]])
    assert not faults(".".join(parts).removesuffix(".__init__"), path.read_text(), package)


@pytest.mark.parametrize(
    "module, source, named",
    [
        ("cache.paging", "from sparse_mla.kernels.case import Case", "sparse_mla.kernels"),
        ("cache.paging", "def f():\n    import sparse_mla.plot.style", "sparse_mla.plot"),
        ("cache.paging", "from ..execute import run", "sparse_mla.execute"),
        ("kernels.case", "from sparse_mla import run", "sparse_mla.execute"),
        ("gfx950.machine", "from sparse_mla.cache.layout import HEAD_DIM", "sparse_mla.cache"),
    ],
)
def test_a_wrong_import_is_named_with_both_ends(module: str, source: str, named: str) -> None:
    (fault,) = faults(module, source, f"sparse_mla.{module.rsplit('.', 1)[0]}")
    assert f"sparse_mla.{module}" in fault
    assert named in fault


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "pandas", "matplotlib", "ipywidgets", "triton", "ziglang")
    code = f"import sparse_mla, sparse_mla.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    assert len((PACKAGE / "__init__.py").read_text().splitlines()) < 40


def test_public_names_resolve_and_a_wrong_one_lists_them() -> None:
    for name in sparse_mla.__all__:
        assert getattr(sparse_mla, name) is not None
    with pytest.raises(AttributeError, match="reference"):
        sparse_mla.refrence  # noqa: B018
