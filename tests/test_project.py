"""The project's own files agree: one list of dependencies, docs that name what exists, a wheel that carries its sources."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sparse_mla import tables
from sparse_mla.cli import main, parser

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
DOCS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md")]
PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_conda_environment_equals_pyproject() -> None:
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert f"python{PROJECT['requires-python']}" in conda
    constraint, *listed, editable = conda[-1]["pip"]
    assert (constraint, editable) == ("--constraint constraints.txt", "--editable .")
    assert listed == DEPENDENCIES


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_every_dependency_is_pinned_within_its_range(dependency: str) -> None:
    need = Requirement(dependency)
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    assert need.specifier.contains(pins[canonicalize_name(need.name)])


def test_constraints_hold_on_any_machine() -> None:
    assert PINS["torch"] == "2.13.0"
    assert not [f"{name}=={version}" for name, version in PINS.items() if not re.fullmatch(r"[\w.]+", version)]


@pytest.mark.parametrize("target", sorted(TARGETS - {"help", "clean", "test"}))
def test_every_target_makes_the_environment_it_needs(target: str) -> None:
    assert re.search(rf"^{target}: \$\(READY\)", MAKEFILE, re.MULTILINE)


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text()
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["permissions"] == {"contents": "read"}
    commands = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(".ci/run" in command for command in commands)


def commands() -> Iterator[str]:
    """The command lines of README.md: what follows `$ ` in its console blocks."""
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        yield from (line[2:].split("  #")[0].strip() for line in block.splitlines() if line.startswith("$ "))


@pytest.mark.parametrize("command", dict.fromkeys(commands()))
def test_readme_commands_exist_as_written(command: str) -> None:
    program, *words = shlex.split(command)
    match program.removeprefix(".venv/bin/"):
        case "make":
            assert {word for word in words if "=" not in word} <= TARGETS
        case "sparse-mla":
            parser().parse_args(words)  # exits with the reason where an option is unknown
        case "python":
            assert (ROOT / words[0]).is_file()
        case _:
            assert program in ("git", "cd", "ssh"), f"{program}: teach this test how to check it"


def test_readme_shows_both_commands() -> None:
    assert {"make tour", "make test"} <= set(commands())


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_docs_name_only_files_that_exist(doc: Path) -> None:
    text = doc.read_text()
    in_code = re.findall(r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:py|md|toml|yml|txt|csv|hip|h|ipynb))`", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    made = ("build/", ".venv", "dist/")  # by commands, so not in a checkout
    places = (ROOT, doc.parent, ROOT / "sparse_mla")
    missing = [
        name for name in in_code + links if not name.startswith(made) and not any((place / name).exists() for place in places)
    ]
    assert not missing


def test_the_wheel_carries_the_package_and_its_sources(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("csrc", "notebooks", "profiles", "sparse_mla"):
        home = folder if folder == "sparse_mla" else f"sparse_mla/_{folder}"
        tracked = subprocess.run(["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        assert tracked
        assert {name.replace(folder, home, 1) for name in tracked} <= inside


def test_readme_shows_what_run_prints(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = (command for command in commands() if "--json" in command)
    (shown,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert main(shlex.split(command)[1:]) == 0
    printed, expected = json.loads(capsys.readouterr().out), json.loads(shown)
    assert printed.keys() == expected.keys()
    for key in printed.keys() - {"seconds"}:
        assert printed[key] == (pytest.approx(expected[key]) if isinstance(expected[key], float) else expected[key]), key


def test_readme_shows_the_counts_of_a_tile() -> None:
    assert tables.text(tables.tile_counts()) in README


def test_every_picture_is_shown_and_has_its_drawing_command() -> None:
    pictures = {path.name for path in (ROOT / "docs/images").glob("*.png")}
    assert pictures == set(re.findall(r"\]\(docs/images/(\w+\.png)\)", README))
    drawn = re.findall(r'"(\w+\.png)":', (ROOT / "docs/images/make.py").read_text())
    assert set(drawn) == pictures - {"lane_map_widget.png"}  # a screenshot of the live widget in a browser
