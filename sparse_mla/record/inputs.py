"""Reading files that anybody may have written: text, gzip and JSON in bounded memory, with our own error for all that is wrong.

Nothing here executes or unpickles. A file is decoded in blocks; what it unpacks to, one line and one JSON value are bounded.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from io import BufferedReader, RawIOBase, TextIOWrapper
from pathlib import Path
from typing import Any

from sparse_mla.errors import RecordingError

UNPACKED = 8 << 30  # bytes that a compressed file may hold
RATIO = 200  # and how many times its own size, once that is more than RATIO_FROM: traces pack 10 to 40 times
RATIO_FROM = 64 << 20
LINE = 1 << 20  # characters of one line of CSV
VALUE = 64 << 20  # characters of one JSON value that is taken whole
_BLOCK = 1 << 18
_SPACE = re.compile(r"[ \t\n\r]*")


class _Unpacked(RawIOBase):
    """A gzip file, read until it turns out to hold more than it may."""

    def __init__(self, file: gzip.GzipFile, path: Path) -> None:
        self.file, self.path, self.count, self.size = file, path, 0, path.stat().st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        if self.count > min(UNPACKED, max(RATIO * self.size, RATIO_FROM)):
            raise RecordingError(f"{self.path} ({self.size:,} bytes) unpacks to more than {self.count:,} bytes; it is refused")
        return len(data)


@contextmanager
def text(path: Path) -> Iterator[TextIOWrapper]:
    """The file as UTF-8 text, unpacked where it is gzip. Raises RecordingError, naming it, for what cannot be read so."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            inner: Any = BufferedReader(_Unpacked(gzip.GzipFile(fileobj=raw), path)) if packed else raw
            yield TextIOWrapper(inner, encoding="utf-8-sig", newline="")
    except FileNotFoundError:
        raise RecordingError(f"{path} is missing; a recording has it") from None
    except UnicodeDecodeError as problem:
        raise RecordingError(f"{path} is not UTF-8 text: byte {problem.object[problem.start]:#04x}: {problem.reason}") from None
    except (OSError, EOFError, zlib.error) as problem:
        raise RecordingError(f"{path} cannot be read: {problem}") from None


class _Scanner:
    """JSON text read in blocks; `value` decodes one whole value, growing the block until it is there."""

    def __init__(self, file: TextIOWrapper, path: Path, exact: bool) -> None:
        self.file, self.path, self.text, self.at, self.end = file, path, "", 0, False
        self.decode = json.JSONDecoder(parse_float=Decimal if exact else None).raw_decode
        self.before = 0  # characters already dropped

    def grow(self) -> None:
        if not (block := self.file.read(max(_BLOCK, len(self.text) - self.at))):
            self.end = True
        self.before += self.at
        self.text, self.at = self.text[self.at :] + block, 0

    def wrong(self, problem: object) -> RecordingError:
        return RecordingError(f"{self.path} is not JSON: {problem} (character {self.before + self.at:,})")

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text) or self.end:
                return self.text[self.at : self.at + 1]
            self.grow()

    def take(self, allowed: str) -> str:
        found = self.peek()
        if not found or found not in allowed:
            raise self.wrong(f"{' or '.join(allowed)} is expected" + (f", not {found!r}" if found else " at its end"))
        self.at += 1
        return found

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
                if end < len(self.text) or self.end:  # else a number may go on
                    self.at = end
                    return value
            except RecursionError:
                raise self.wrong("a value is nested too deeply") from None
            except (ValueError, ArithmeticError) as problem:
                if not isinstance(problem, json.JSONDecodeError):  # a number of thousands of digits
                    raise self.wrong(problem) from None
                if self.end:
                    self.at = problem.pos
                    raise self.wrong(problem.msg) from None
            if len(self.text) - self.at > VALUE:
                raise self.wrong(f"a value is longer than {VALUE:,} characters, or does not end")
            self.grow()

    def walk(self, place: tuple[str | int, ...], how: Callable[[tuple[str | int, ...]], str]) -> Iterator[Any]:
        """(place, value) of what lies at `place`: each item of a list where `how` says "items" (an empty one whole), what is in
        it where it says "inside", else the whole value."""
        what, mark = how(place), self.peek()
        if what == "whole" or mark not in ("[", "{") or (what == "items" and mark == "{"):
            yield place, self.value()
            return
        self.take(mark)
        close = "]" if mark == "[" else "}"
        number = 0
        while self.peek() != close:
            if number:
                self.take(",")
            key: str | int = number
            if mark == "{":
                if not isinstance(name := self.value(), str):
                    raise self.wrong(f"{name!r:.40} is not a name")
                key = name
                self.take(":")
            if what == "items":
                yield (*place, number), self.value()
            else:
                yield from self.walk((*place, key), how)
            number += 1
        self.take(close)
        if what == "items" and not number:
            yield place, []


def json_items(path: Path, *streamed: str, exact: bool = False) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(place, value) of a JSON file in its order, without ever holding all of it.

    `streamed`: the lists whose items come one by one, as "a/*/b" (`*`: any number); what encloses them is gone into; all
    all else comes whole. `exact`: fractions as decimals: a time has more digits than a float. Raises RecordingError, naming
    file and place, for what is not JSON or is nested too deeply.
    """
    lists = [tuple(name.split("/")) for name in streamed]

    def how(place: tuple[str | int, ...]) -> str:
        shape = tuple("*" if isinstance(x, int) else x for x in place)
        if shape in lists:
            return "items"
        return "inside" if any(one[: len(shape)] == shape for one in lists) else "whole"

    with text(path) as file:
        scanner = _Scanner(file, path, exact)
        yield from scanner.walk((), how)
        if scanner.peek():
            raise scanner.wrong("more than one value")


def read_json(path: Path) -> Any:
    """A JSON file, whole. Raises RecordingError where it is missing or is not JSON."""
    ((_, value),) = json_items(path)
    return value


def at(data: Any, *path: str | int) -> Any:
    """A value inside objects and lists, or None where there is none."""
    for key in path:
        if isinstance(key, str) and isinstance(data, dict):
            data = data.get(key)
        elif type(key) is int and isinstance(data, list) and 0 <= key < len(data):
            data = data[key]
        else:
            return None
    return data


def places(text: str) -> dict[str, list[list[str]]]:
    """Columns and where they lie in an object, from `column=key.key,other ...`: the first place that has something counts."""
    pairs = (pair.split("=") for pair in text.split())
    return {column: [place.split(".") for place in where.split(",")] for column, where in pairs}


def fields(where: dict[str, list[list[str]]], data: Any) -> dict[str, Any]:
    """The values of all columns, None where there is none."""
    return {column: next((x for one in some if (x := at(data, *one)) is not None), None) for column, some in where.items()}
