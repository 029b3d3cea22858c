"""The rules of the house: who imports whom, what loads lazily, which names and commands exist."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from anneal import registry

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"dimod", "matplotlib", "numba", "pennylane", "scipy", "torch"}
REGISTRIES = {
    "anneal.solvers": "SOLVERS",
    "anneal.problems": "PROBLEMS",
    "anneal.instances": "FORMATS",
    "qbnn.deformation": "FAMILIES",
    "qbnn.data": "DATASETS",
}
# The modules that import PennyLane as they load; testing.py does so inside functions.
CIRCUITS = {"circuits", "device"}


def sources(*packages: str) -> list[Path]:
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert files, f"no sources under {packages}"
    return files


def statements(tree: ast.AST, *, loading: bool) -> Iterator[ast.AST]:
    """Yield every node, or those alone that run while the module loads."""
    for node in ast.iter_child_nodes(tree):
        if loading and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if loading and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from statements(node, loading=loading)


def imported(path: Path, *, loading: bool = False) -> set[str]:
    """Return the top-level packages that ``path`` imports."""
    found = set()
    for node in statements(ast.parse(path.read_text()), loading=loading):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module).partition(".")[0])
    return found


def modules(package: str) -> list[str]:
    """Return the package and everything in it that is not a script."""
    loaded = importlib.import_module(package)
    inside = pkgutil.walk_packages(loaded.__path__, prefix=f"{package}.")
    return [package, *(item.name for item in inside if not item.name.endswith("__main__"))]


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def heavy_after(code: str) -> set[str]:
    """Return the heavy packages that are loaded once ``code`` has run in a fresh interpreter."""
    report = "import sys; print('loaded:', *sys.modules)"
    loaded = run_python(f"{code}\n{report}").rpartition("loaded:")[2].split()
    return HEAVY.intersection(loaded)


# Imports


@pytest.mark.parametrize(("package", "above"), [("anneal", {"qbnn", "cli"}), ("qbnn", {"cli"})])
def test_imports_point_one_way(package: str, above: set[str]) -> None:
    wrong = {str(path): imported(path) & above for path in sources(package)}
    assert not {path: names for path, names in wrong.items() if names}


def test_anneal_loads_no_pennylane_and_torch_in_rounding_alone() -> None:
    files = sources("anneal")
    assert not [path for path in files if "pennylane" in imported(path, loading=True)]
    loading = {path.parent.name for path in files if "torch" in imported(path, loading=True)}
    assert loading <= {"rounding"}
    assert "torch" not in heavy_after("import anneal.rounding.spheres, anneal.rounding.annealing")


def test_circuits_alone_load_pennylane() -> None:
    files = sources("qbnn")
    loading = {path.parent.name for path in files if "pennylane" in imported(path, loading=True)}
    inside = {path for path in files if "pennylane" in imported(path)}
    assert loading == CIRCUITS
    assert {path.name for path in inside if path.parent.name not in CIRCUITS} == {"testing.py"}


def test_networks_do_not_load_circuits_and_compiled_ones_no_torch() -> None:
    names = "training.runs", "training.train", "hardware.shots", "deploy.compilation"
    networks = "import " + ", ".join(f"qbnn.{name}" for name in names)
    assert "pennylane" not in heavy_after(networks)
    assert not {"torch", "pennylane"} & heavy_after(
        "import qbnn.deploy.packing, qbnn.deploy.xnor_table"
    )


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + extras["bench"] + extras["dask"]
    names = {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in declared}
    owners = importlib.metadata.packages_distributions()
    used = set().union(*map(imported, [*sources("anneal", "qbnn"), ROOT / "cli.py"]))
    for package in used - set(sys.stdlib_module_names) - {"anneal", "qbnn", "cli"}:
        owner = {name.lower().replace("_", "-") for name in owners.get(package, [package])}
        assert owner & names, f"'{package}' is imported but not declared in pyproject.toml"


@pytest.mark.parametrize(
    "code",
    [
        "import anneal",
        "import anneal.solvers, anneal.problems, anneal.instances",
        "import cli",
        "import qbnn",
    ],
)
def test_import_is_light(code: str) -> None:
    assert heavy_after(code) == set()


def command_names() -> list[str]:
    import cli

    commands = [item.name or item.callback.__name__ for item in cli.app.registered_commands]
    return [name.replace("_", "-") for name in commands]


def test_help_is_light() -> None:
    for arguments in [["--help"], *([name, "--help"] for name in command_names())]:
        call = f"cli.app({arguments!r}, standalone_mode=False)"
        assert heavy_after(f"import cli\n{call}") == set(), f"qbnn {' '.join(arguments)}"


# Names


@pytest.mark.parametrize("package", ["anneal", "qbnn"])
def test_public_names_exist(package: str) -> None:
    for name in modules(package):
        module = importlib.import_module(name)
        missing = [item for item in getattr(module, "__all__", []) if not hasattr(module, item)]
        assert not missing, f"{name}.__all__ lists {missing}"


def test_anneal_lists_its_public_names() -> None:
    import anneal

    assert set(anneal.__all__) <= set(dir(anneal))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = anneal.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize("package", REGISTRIES)
def test_registry_entries_load(package: str) -> None:
    entries = getattr(importlib.import_module(package), REGISTRIES[package])
    assert entries
    for name, target in entries.items():
        assert re.fullmatch(r"[a-z][a-z0-9-]*", name), f"{package}: '{name}' is hard to type"
        assert registry.load(target).__doc__, f"{package}: '{name}' has no docstring"


# Commands and files


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "Makefile"]


def test_make_targets_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "check", "bench", "docs", "clean", "help"} <= targets
    for path in documents():
        mentioned = set(re.findall(r"(?:^\s*|`|\$ )make ([a-z]+)", path.read_text(), re.MULTILINE))
        assert mentioned <= targets, f"{path.name}: no such target {mentioned - targets}"


def test_commands_and_options_in_documents_exist() -> None:
    import typer.main

    import cli

    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    options = {
        name: {flag for item in command.params for flag in item.opts + item.secondary_opts}
        for name, command in [
            *commands.items(),
            *(
                (f"{group} {name}", command)
                for group, found in commands.items()
                for name, command in getattr(found, "commands", {}).items()
            ),
        ]
    }
    for path in documents():
        text = path.read_text().replace("\\\n", " ")
        for name, rest in re.findall(
            r"(?:^\s*|`|\$ |\$\(BIN\)/)qbnn ([a-z]+)\b([^\n`]*)", text, re.M
        ):
            assert name in options, f"{path.name}: no such command 'qbnn {name}'"
            if getattr(commands[name], "commands", None) and (
                word := re.match(r" ([a-z-]+)", rest)
            ):
                name = f"{name} {word[1]}"
                assert name in options, f"{path.name}: no such command 'qbnn {name}'"
            unknown = set(re.findall(r"(?<=\s)--[a-z-]+", rest)) - options[name] - {"--help"}
            assert not unknown, f"{path.name}: qbnn {name} has no {unknown}"


@pytest.mark.parametrize("package", ["anneal", "qbnn"])
def test_architecture_names_every_module(package: str) -> None:
    layout = (ROOT / "docs" / "architecture.md").read_text()
    names = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert names - set(re.findall(r"\w+\.py", layout)) == set()


def test_no_tracked_file_names_a_machines_path() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    machine = re.compile(rb"(?<![\w.*)])/(?:work|root|home|Users|opt)/\w")
    tracked = [ROOT / name for name in names.decode().split("\0") if name]
    assert tracked
    wrong = [path for path in tracked if path.is_file() and machine.search(path.read_bytes())]
    assert wrong == []
