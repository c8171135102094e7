"""The layers hold, and the libraries that reach out are reached from one module each."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "zclab"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level names of the packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_a_module_imports_only_from_layers_below_its_own() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("library", "owner"),
    [
        ("libvirt", "host/domain.py"),
        ("distributed", "virtualtime/cluster.py"),
    ],
)
def test_a_library_that_reaches_out_has_one_owner(library: str, owner: str) -> None:
    importers = {str(path.relative_to(PACKAGE)) for path in MODULES if library in imported(path)}

    assert importers <= {owner}
