"""A device as the timing model sees it: constants with a range, a source and a certainty, from profiles/devices/*.toml.

A file may name a `base` whose constants it takes where it has none of its own; those are then assumed.
`low` and `high` are the ends of what the source leaves open; `Device.low()` is the device with every constant at the end that
makes kernels faster, `Device.high()` at the one that makes them slower. The C engine's struct is made of the same names.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from functools import lru_cache

from sparse_mla.errors import InputError
from sparse_mla.files import folder as files

CERTAINTIES = "ABCDE"
_COUNTED = ("cycles", "count", "entries", "bytes", "lanes", "waves", "registers")  # whole numbers; others are floating point
_LOW_IS_FAST = ("cycles", "ns")


@dataclass(frozen=True)
class Constant:
    """One constant. `certainty`: A exact in many samples, B a clear cluster, C few samples, D documented, E assumed."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    source: str
    certainty: str

    @property
    def whole(self) -> bool:
        """True for what C holds as u32, False for f64."""
        return self.unit in _COUNTED


@dataclass(frozen=True)
class Device:
    """Constants by name. `changed` and the band's ends are devices too."""

    name: str
    arch: str
    constants: dict[str, Constant] = field(repr=False)

    def value(self, name: str) -> float:
        """One constant; InputError for a name that there is not."""
        return self._get(name).value

    def cycles(self, name: str) -> int:
        """One constant as a whole number."""
        return int(self._get(name).value)

    def _get(self, name: str) -> Constant:
        if name not in self.constants:
            raise InputError(f"no constant {name!r} of {self.name}; there are {', '.join(sorted(self.constants))}")
        return self.constants[name]

    def changed(self, **values: float) -> Device:
        """The device with other values, exactly known: `device("mi355x").changed(trans=16)`."""
        constants = dict(self.constants)
        for name, value in values.items():
            was = self._get(name)
            if was.whole and (value != int(value) or value < 0):
                raise InputError(f"{name} is a whole number of {was.unit}, not {value}")
            constants[name] = replace(was, value=value, low=value, high=value)
        return replace(self, constants=constants)

    def low(self) -> Device:
        """Every constant at its optimistic end."""
        return self._at(fast=True)

    def high(self) -> Device:
        """Every constant at its pessimistic end."""
        return self._at(fast=False)

    def _at(self, fast: bool) -> Device:
        ends = {x.name: x.low if fast == (x.unit in _LOW_IS_FAST) else x.high for x in self.constants.values()}
        return self.changed(**ends)


def read(text: str, where: str) -> Device:
    """A device from the text of its file, which `where` names. Raises InputError for what it may not say."""
    data = tomllib.loads(text)
    constants: dict[str, Constant] = {}
    for section in (x for x in data.values() if isinstance(x, dict)):
        for name, given in section.items():
            if extra := given.keys() - {"value", "low", "high", "unit", "source", "certainty"}:
                raise InputError(
                    f"{where}: {name} has {', '.join(sorted(extra))}; allowed are value, low, high, unit, source, certainty"
                )
            if missing := {"value", "unit", "source", "certainty"} - given.keys():
                raise InputError(f"{where}: {name} lacks {', '.join(sorted(missing))}")
            low, high = given.get("low", given["value"]), given.get("high", given["value"])
            if not low <= given["value"] <= high:
                raise InputError(f"{where}: {name} is {given['value']}, outside its range of {low} to {high}")
            if given["certainty"] not in CERTAINTIES:
                raise InputError(f"{where}: certainty {given['certainty']!r} of {name}; there are {', '.join(CERTAINTIES)}")
            if name in constants:
                raise InputError(f"{where}: {name} stands there twice")
            constants[name] = Constant(name, given["value"], low, high, given["unit"], given["source"], given["certainty"])
    if base := data.get("base"):
        inherited = device(base).constants
        if new := constants.keys() - inherited:
            raise InputError(f"{where}: {base}, its base, has no {', '.join(sorted(new))}")
        assumed = {x.name: replace(x, source=f"assumed: as {base}: {x.source}", certainty="E") for x in inherited.values()}
        constants = assumed | constants
    return Device(data["name"], data["arch"], constants)


@lru_cache
def device(name: str = "mi355x") -> Device:
    """A device of profiles/devices by its file's name. Raises InputError for one that is not there."""
    folder = files("profiles") / "devices"
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(x.stem for x in folder.glob("*.toml")))
        raise InputError(f"no device {name!r} in profiles/devices; there are {known}")
    return read(path.read_text(), path.name)
