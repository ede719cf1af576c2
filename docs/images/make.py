"""Draws the pictures of README.md into this folder: `.venv/bin/python docs/images/make.py`."""

from pathlib import Path

from sparse_mla import Case, run
from sparse_mla.analyse.counts import by_unit, difference
from sparse_mla.execute import counts_frame
from sparse_mla.plot.counts import mix_figure
from sparse_mla.plot.figure import Figure
from sparse_mla.widgets.lane_map import lane_explorer


def lane_map() -> Figure:
    """Which lane holds which element of an MFMA's operands."""
    return lane_explorer("16x16x32", "A", 5, 9, static=True)  # type: ignore[no-any-return]


def tile_mix() -> Figure:
    """What the four waves of the base kernel execute for one more tile."""
    short, long = (counts_frame(run("base", Case.make(rows=1, extra=extra), split_k=1)) for extra in (256, 512))
    source = "base kernel, 16 heads, one workgroup"
    return mix_figure(by_unit(difference(long, short, 8)), title="Base kernel: one tile of 32 tokens", source=source)


PICTURES = {"lane_map.png": lane_map, "tile_mix.png": tile_mix}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        figure = draw()
        Path(__file__).with_name(name).write_bytes(figure.png)
        print(f"{name}: {figure.alt}")
