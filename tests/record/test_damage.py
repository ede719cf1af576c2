"""Whatever is in a file, `open_profile` reads it or says in an error of ours what is wrong; nothing else escapes, and soon."""

import gzip
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_mla.errors import RecordingError
from sparse_mla.record import att, inputs, rocpd, rocprof_csv, store
from sparse_mla.record.formats import open_profile
from tests.record import foreign
from tests.record.made import made

OURS: dict[str, Callable[..., Any]] = {"native": store.save, "att": att.write, "csv": rocprof_csv.write, "rocpd": rocpd.write}
DEEP = "[" * 5000 + "]" * 5000
# What a value of JSON may become, as text; what a cell of CSV may.
VALUES = [
    "null", "1", "-1", "1.5", '"x"', "[]", "{}", "[1]", '{"a": 1}', "true", "1" + "0" * 30, '"SE1"', "[[1, 2]]", '""', "NaN",
    "Infinity", "1e999", "1e-999999999999999999999", "9" * 5000, DEEP, '"\\u0000"', '"\\ud800"', "9223372036854775808", "-0.0",
]  # fmt: skip
CELLS = [
    "", "x", '"', "1e999", "nan", "inf", "-1", "1" * 40, "0x1", '"a', "1.5", "\0", "1_0", "٣", "(1, 2, 3)", "9" * 5000, "a,b",
    "8.1E+14", "Agent 9", "=1+1", "\n", "Dispatch_Id", "Kernel_Name", "-9223372036854775809",
]  # fmt: skip


def in_json(data: bytes, rng: random.Random) -> bytes:
    """Another value somewhere, or one thing less, or one twice."""
    tree, places = json.loads(data), list[tuple[Any, Any]]()

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(tree)
    node, key = rng.choice(places)
    how = rng.random()
    if how < 0.2:
        del node[key]
    elif how < 0.3 and isinstance(node, list):
        node.append(node[key])
    else:
        node[key] = "\x01"
    return json.dumps(tree).replace('"\\u0001"', rng.choice(VALUES)).encode()


def in_csv(data: bytes, rng: random.Random) -> bytes:
    """Another cell or name, a column or a row less or twice."""
    lines = data.decode().split("\n")
    i = rng.choice([0, rng.randrange(len(lines))])
    cells = lines[i].split(",")
    j, how = rng.randrange(len(cells)), rng.random()
    if how < 0.6:
        cells[j] = rng.choice(CELLS)
    elif how < 0.7:
        cells[j] = rng.choice(cells)
    elif how < 0.9:
        rows = [line.split(",") for line in lines]
        lines = [",".join([*row[:j], *(row[j : j + 1] * 2 if how < 0.8 else []), *row[j + 1 :]]) for row in rows]
        return "\n".join(lines).encode()
    else:
        return "\n".join([*lines[:i], *([lines[i]] * 2 if how < 0.95 else []), *lines[i + 1 :]]).encode()
    return "\n".join([*lines[:i], ",".join(cells), *lines[i + 1 :]]).encode()


def changed(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """A file of this kind with one thing wrong, or some bytes of any."""
    how = rng.random()
    if suffix == ".gz" and how < 0.7:
        return gzip.compress(changed(gzip.decompress(data), ".json", rng))
    if suffix in (".json", ".csv") and how < 0.7:
        return (in_json if suffix == ".json" else in_csv)(data, rng)
    if how < 0.75:
        return data.decode("latin-1").encode(rng.choice(["utf-16", "utf-8-sig", "utf-7"]))
    if how < 0.9:
        spoiled = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            spoiled[rng.randrange(len(spoiled))] = rng.choice([0, 255, rng.randrange(256)])
        return bytes(spoiled)
    return data[: rng.randrange(len(data) + 1)]


@pytest.mark.parametrize("name", [*OURS, *foreign.FILES])
def test_random_damage_is_read_or_refused(name: str, tmp_path: Path) -> None:
    where = foreign.write(name, tmp_path) if name in foreign.FILES else tmp_path
    if name in OURS:
        OURS[name](made(), tmp_path)
    open_profile(where)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    refusals: list[str] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(rng=st.randoms(use_true_random=True))
    def damage(rng: random.Random) -> None:
        path = rng.choice(files)
        data = path.read_bytes()
        begin = time.monotonic()
        try:
            path.write_bytes(changed(data, path.suffix, rng))
            str(open_profile(where))
        except RecordingError as problem:
            refusals.append(str(problem))
        finally:
            path.write_bytes(data)
        assert time.monotonic() - begin < 20

    damage()
    assert len(refusals) > 3
    assert not [words for words in refusals if str(tmp_path) not in words], "each names the file"


def test_bombs_are_refused_before_they_unfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "RATIO_FROM", 1 << 20)
    monkeypatch.setattr(inputs, "VALUE", 1 << 20)
    (packed := tmp_path / "x.json.gz").write_bytes(gzip.compress(b'{"traceEvents": [' + b" " * 40_000_000))
    (long := tmp_path / "long.json").write_text('{"metadata": "' + "x" * 3_000_000 + '", "traceEvents": []}')
    (line := tmp_path / "line.csv").write_text("Dispatch_Id," * 200_000)
    for path, words in ((packed, "unpacks to more than"), (long, "longer than 1,048,576"), (line, "a line has more than")):
        with pytest.raises(RecordingError, match=words):
            open_profile(path)
