from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.base import Driver
from recorder import configfile

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
MOST_LINES = 300
MOST_BYTES = 500_000
FOLDERS = ("drivers", "recorder", "tests", "hil", "systemd", "udev", "docs", "requirements", ".ci")
ROOT_FILES = ("Makefile", "pyproject.toml", "README.md", "CHANGELOG.md", ".gitignore")
FILES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
] + [ROOT / name for name in ROOT_FILES]
MODULES = [path for path in FILES if path.suffix == ".py"]
SHIPPED = [path for path in MODULES if path.relative_to(ROOT).parts[0] in ("drivers", "recorder")]
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))

#: Somebody's own machine. (Put together here, so that this file passes its own test.)
OWN_PATH = re.compile("|".join([r"/home/(?!pi\b)\w", "/ro" + "ot/", "/wo" + "rk/"]))
WAIVER = re.compile(r"#\s*(noqa|type:\s*ignore|pragma)\b(?P<codes>[^-#]*)(?P<reason>[-#]\s*\S.*)?")
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pins(path: Path) -> dict[str, str]:
    """Return the versions that a lock file pins, by package."""
    lines = path.read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := PIN.match(line))}


def drivers() -> list[type[Driver]]:
    """Return every driver that ships."""
    found: list[type[Driver]] = []
    for path in sorted((ROOT / "drivers").glob("*.py")):
        module = importlib.import_module(f"drivers.{path.stem}")
        found += [
            one
            for one in vars(module).values()
            if inspect.isclass(one)
            and issubclass(one, Driver)
            and one.__module__ == module.__name__
        ]
    return [one for one in found if not inspect.isabstract(one) and "kind" in vars(one)]


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_a_module_is_short_says_what_it_is_and_is_valid_for_the_oldest_python(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    tree = ast.parse(text, feature_version=(3, 10))
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_waived_rule_has_its_reason_beside_it(path: Path) -> None:
    bare = [
        found[0]
        for line in path.read_text().splitlines()
        if (found := WAIVER.search(line)) and not found["reason"]
    ]
    assert bare == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_is_mocked(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    assert not imported & {"unittest.mock", "mock", "pytest_mock"}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_is_small_and_names_nobodys_own_machine(path: Path) -> None:
    assert path.stat().st_size <= MOST_BYTES, "data are read in place, never copied"
    assert OWN_PATH.findall(path.read_text(errors="replace")) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_between_documents_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", path.read_text())
    assert [one for one in links if not (path.parent / one).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_make_target_in_a_document_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    spoken = set(re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), re.MULTILINE))
    assert spoken <= targets


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text()
    spoken = set(re.findall(r"(?:^|`|bin/)recorder ([a-z]+)\b", text, re.MULTILINE))
    shown = subprocess.run(
        [sys.executable, "-c", "from recorder.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert {"demo", "run", "status"} <= spoken
    assert [one for one in spoken if not re.search(rf"^\W*{one}\b", shown, re.MULTILINE)] == []


@pytest.mark.parametrize("name", ["pi", "jetson", "laptop"])
def test_the_example_of_every_platform_loads_and_records(name: str) -> None:
    config = configfile.load(ROOT / "recorder" / "examples" / f"{name}.toml")
    assert config.lanes


@pytest.mark.parametrize("driver", drivers(), ids=lambda one: str(one.kind))
def test_a_driver_is_named_after_its_module_and_takes_its_options_by_name(
    driver: type[Driver],
) -> None:
    assert driver.kind == driver.__module__.rpartition(".")[2]
    options = list(inspect.signature(driver).parameters.values())
    assert options
    assert {one.kind for one in options} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("process", ["lane", "spooler"])
def test_a_process_of_the_recording_carries_neither_arrow_nor_numpy_nor_a_validator(
    process: str,
) -> None:
    asked = (
        f"import sys, recorder.{process};"
        "print(*{'numpy', 'pyarrow', 'pydantic', 'mosaicolabs'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", LOCKS, ids=named)
def test_every_locked_package_has_its_hashes_and_no_file_names_a_host(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-", text.replace("    --hash=sha256:", ""), re.MULTILINE)
    blocks = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert blocks
    assert [one for one in blocks if not (PIN.match(one) and "--hash=sha256:" in one)] == []


def test_the_locks_hold_every_dependency_and_agree_with_each_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    locked = pins(ROOT / "requirements" / "lock.txt")
    vehicle = pins(ROOT / "requirements" / "run.txt")
    build = pins(ROOT / "requirements" / "build.txt")

    def missing(wanted: list[str], lock: dict[str, str]) -> list[str]:
        names = [
            re.split(r"[^a-zA-Z0-9-]", one)[0] for one in wanted if "python_version" not in one
        ]
        return [one for one in names if one not in lock]

    assert missing(project["dependencies"], vehicle) == []
    assert missing([one for extra in extras for one in extra], locked) == []
    assert vehicle.items() <= locked.items()
    assert {"hatchling", "setuptools"} <= set(build)
    assert [one for one in build if locked.get(one, build[one]) != build[one]] == []


def test_the_gate_is_the_command_that_developers_run() -> None:
    gate = ROOT / ".ci" / "run"
    lines = [line for line in gate.read_text().splitlines() if line and not line.startswith("#")]
    assert gate.stat().st_mode & 0o111
    assert lines[:2] == ["set -euo pipefail", 'cd "$(dirname "$0")/.."']
    levels = re.findall(r"^for level in (.*); do$", gate.read_text(), re.MULTILINE)[0].split()
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(levels) <= set(targets)


def test_import_contracts_have_no_exceptions_and_cover_every_room() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contracts = linter["contracts"]
    assert [one["name"] for one in contracts if "ignore_imports" in one] == []
    assert [one["name"] for one in contracts if one.get("exhaustive")] != []
    placed = {
        one
        for contract in contracts
        for layer in contract.get("layers", [])
        for one in re.split(r" [|:] ", layer)
    }
    models = {f"drivers.sim.{path.stem}" for path in (ROOT / "drivers/sim").glob("[a-z]*.py")}
    devices = {f"drivers.{path.stem}" for path in (ROOT / "drivers").glob("[a-z]*.py")}
    assert (models | devices) - placed == set()
