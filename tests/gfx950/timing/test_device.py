"""Device files: every constant has a range, a source and a use; changed devices; what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparse_mla.errors import InputError
from sparse_mla.files import folder
from sparse_mla.gfx950 import timing
from sparse_mla.gfx950.timing import device
from sparse_mla.gfx950.timing.device import CERTAINTIES, read

NAMES = sorted(path.stem for path in (folder("profiles") / "devices").glob("*.toml"))
LINE = '[issue]\nslot = {value = 4, low = 4, high = 8, unit = "cycles", source = "here", certainty = "A"}\n'


@pytest.mark.parametrize("name", NAMES)
def test_every_constant_is_sourced_and_in_its_range(name: str) -> None:
    for x in device(name).constants.values():
        assert x.low <= x.value <= x.high
        assert x.source
        assert x.certainty in CERTAINTIES
        assert x.certainty not in "E" or "assumed" in x.source or "decision" in x.source, x.name


def test_devices_have_the_same_constants() -> None:
    assert NAMES == ["mi300x", "mi355x"]
    assert device("mi300x").constants.keys() == device("mi355x").constants.keys()


def test_every_constant_is_used() -> None:
    home = Path(timing.__file__).parent
    text = "\n".join(path.read_text() for path in [*home.glob("*.py"), *home.glob("engine/*.[ch]")])
    for name in device("mi355x").constants:
        assert re.search(rf'k->{name}\b|"{name}"', text), name


def test_ends_of_the_band() -> None:
    d = device("mi355x")
    for x in d.constants.values():
        fast, slow = (x.low, x.high) if x.unit in ("cycles", "ns") else (x.high, x.low)
        assert (d.low().value(x.name), d.high().value(x.name)) == (fast, slow)


def test_changing() -> None:
    d = device("mi355x").changed(trans=16)
    assert (d.value("trans"), d.low().value("trans"), d.high().value("trans")) == (16, 16, 16)
    assert device("mi355x").value("trans") == 8
    with pytest.raises(InputError, match=r"no constant 'tarns'.*trans"):
        d.changed(tarns=1)
    with pytest.raises(InputError, match="whole number of cycles"):
        d.changed(trans=1.5)
    with pytest.raises(InputError, match="mi355x"):
        device("mi999x")


@pytest.mark.parametrize(
    "line, why",
    [
        (LINE.replace("low = 4", "low = 5"), "outside its range"),
        (LINE.replace(', source = "here"', ""), "lacks source"),
        (LINE.replace('"A"', '"Z"'), "certainty 'Z'"),
        (LINE.replace("low = 4", "least = 4"), "has least"),
        (LINE + LINE.replace("[issue]", "[more]"), "twice"),
    ],
)
def test_what_a_file_may_not_say(line: str, why: str) -> None:
    head = 'name = "X"\narch = "gfx950"\n'
    assert read(head + LINE, "x.toml").value("slot") == 4
    with pytest.raises(InputError, match=why):
        read(head + line, "x.toml")
