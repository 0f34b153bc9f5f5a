"""Types: the package against mypy, the stub against what Python loads, docstrings of all that is public."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import r2former

PACKAGE = Path(__file__).resolve().parents[1]


def test_mypy() -> None:
    pytest.importorskip("mypy")
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_examples(tmp_path: Path) -> None:
    """What people copy from the documentation passes a strict check."""
    pytest.importorskip("mypy")
    for page in (PACKAGE / "README.md", PACKAGE.parents[1] / "docs" / "python.md"):
        example = tmp_path / f"{page.stem}.py"
        example.write_text(page.read_text().split("```python\n")[1].split("```")[0])
        command = [sys.executable, "-m", "mypy", "--config-file", str(PACKAGE / "pyproject.toml"), str(example)]
        done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_is_what_is_loaded() -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy.stubtest", "r2former._native", "--ignore-disjoint-bases"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_typed() -> None:
    assert Path(inspect.getfile(r2former)).with_name("py.typed").is_file()


def test_docstrings() -> None:
    for name in r2former.__all__:
        public = getattr(r2former, name)
        if not callable(public):
            continue
        assert public.__doc__, name
        if inspect.isclass(public):
            for member, value in vars(public).items():
                if member.startswith("_") or not (callable(value) or isinstance(value, (property, classmethod, staticmethod))):
                    continue
                function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
                assert inspect.getdoc(function), f"{name}.{member}"
