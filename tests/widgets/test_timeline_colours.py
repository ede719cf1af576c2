"""Nine causes, nine colours: any two part for every common kind of colour blindness, each on light and dark ground."""

from itertools import combinations

import numpy as np
import pytest

from sparse_mla.gfx950.timing import CAUSES
from sparse_mla.plot.style import CAUSE_LOOK

# Full dichromacy by Machado, Oliveira and Fernandes (IEEE TVCG 15(6), 2009), on linear RGB.
SEEN_BY = {
    "everybody": np.eye(3),
    "protanopes": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopes": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopes": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB, white D65."""
    t = XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    low, high = sorted((XYZ @ linear(colour))[1] for colour in (one, other))
    return float((high + 0.05) / (low + 0.05))


def test_every_cause_has_its_look_in_the_order_of_the_causes() -> None:
    assert (*CAUSE_LOOK,) == CAUSES


@pytest.mark.parametrize("who", SEEN_BY)
def test_any_two_causes_part(who: str) -> None:
    seen = {cause: lab(SEEN_BY[who] @ linear(colour)) for cause, (colour, _) in CAUSE_LOOK.items()}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 16, (one, other)  # 2.3 is a just noticeable difference


def test_causes_stand_out_from_light_and_dark_ground() -> None:
    for cause, (colour, _) in CAUSE_LOOK.items():
        assert contrast(colour, "#111111") > 2, cause  # JupyterLab's dark theme
        assert contrast(colour, "#ffffff") > (1.3 if cause in ("dependency", "launch") else 2), cause  # the two pale ones
