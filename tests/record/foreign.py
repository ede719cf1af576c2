"""The files of `foreign.txt`, by format and path."""

import gzip
import re
from pathlib import Path

KERNEL, REDUCE = "void decode<64, true>(Params<float>, int)", "reduce"
_PARTS = [re.split(r"\n# ", part) for part in re.split(r"\n## ", Path(__file__).with_suffix(".txt").read_text())[1:]]
FILES = {name: {path: text + "\n" for path, _, text in (file.partition("\n") for file in files)} for name, *files in _PARTS}
FILES["Chrome trace, gzip"] = {"trace.json.gz": FILES["Chrome trace"]["trace.json"]}


def write(name: str, folder: Path) -> Path:
    """The files of a format in `folder`; gives what to open: the only one, or the folder."""
    for place, content in FILES[name].items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return folder / next(iter(FILES[name])) if len(FILES[name]) == 1 and "compute" not in name else folder
