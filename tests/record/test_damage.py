"""Whatever is in a file, a reader either reads it or says in an error of ours what is wrong; nothing else escapes."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_mla.errors import RecordingError
from sparse_mla.record import att, rocpd, rocprof_csv, store
from tests.record.made import made

READERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "native": (store.save, store.load),
    "att": (att.write, att.read),
    "csv": (rocprof_csv.write, rocprof_csv.read),
    "rocpd": (rocpd.write, rocpd.read),
}
VALUES = [None, 1, -1, 1.5, "x", [], {}, [1], {"a": 1}, True, 10**30, "SE1", [[1, 2]], ""]
CELLS = ["", "x", '"', "1e999", "nan", "inf", "-1", "1" * 40, "0x1", '"a', "1.5", "\0"]


def changed(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """One of: another value somewhere in JSON, another cell in CSV, other bytes, fewer bytes."""
    how = rng.random()
    if suffix == ".json" and how < 0.7:
        tree = json.loads(data)
        places: list[tuple[Any, Any]] = []

        def walk(node: Any) -> None:
            for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
                places.append((node, key))
                walk(node[key])

        walk(tree)
        node, key = rng.choice(places)
        node[key] = rng.choice(VALUES)
        return json.dumps(tree).encode()
    if suffix == ".csv" and how < 0.7:
        lines = data.decode().split("\n")
        i = rng.randrange(len(lines))
        cells = lines[i].split(",")
        cells[rng.randrange(len(cells))] = rng.choice(CELLS)
        return "\n".join([*lines[:i], ",".join(cells), *lines[i + 1 :]]).encode()
    if how < 0.9:
        spoiled = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
        return bytes(spoiled)
    return data[: rng.randrange(len(data) + 1)]


@pytest.mark.parametrize("name", READERS)
def test_random_damage_is_read_or_refused(name: str, tmp_path: Path) -> None:
    write, read = READERS[name]
    write(made(), tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    rng, refusals = random.Random(5), []
    for _ in range(60):
        path = rng.choice(files)
        data = path.read_bytes()
        path.write_bytes(changed(data, path.suffix, rng))
        try:
            read(tmp_path)
        except RecordingError as problem:
            refusals.append(str(problem))
        path.write_bytes(data)
    assert len(refusals) > 5
    assert not [words for words in refusals if str(tmp_path) not in words], "each names the file"
