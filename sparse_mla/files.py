"""Where the files that are not Python live: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The folder `csrc`, `docs` (of which a wheel has ladder.md only), `notebooks` or `profiles`."""
    inside = PACKAGE / f"_{name}"
    return inside if inside.is_dir() else PACKAGE.parent / name


def source_file(name: str) -> Path:
    """The file that a kernel's line table calls `name`: under csrc/, or `sparse_mla/...`; an absolute path stays itself."""
    return PACKAGE.parent / name if name.startswith("sparse_mla/") else folder("csrc") / name
