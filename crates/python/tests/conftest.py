"""What the tests share: a rendered town, an index of it, and the program to compare with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import r2former

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> r2former.Town:
    """Two streets by day, and queries by day and in rain."""
    path = tmp_path_factory.mktemp("data") / "town"
    return r2former.town(path, blocks=(1, 1), spacing=30.0, queries=4, conditions=("day", "rain"), size=(120, 160))


@pytest.fixture(scope="session")
def queries(town: r2former.Town) -> list[str]:
    return sorted(str(path) for path in Path(town.dir, "queries").glob("*/*.jpg"))


@pytest.fixture(scope="session")
def model() -> r2former.Model:
    return r2former.Model.load()


@pytest.fixture(scope="session")
def index(town: r2former.Town, tmp_path_factory: pytest.TempPathFactory) -> r2former.Index:
    """The town's index; no test changes it."""
    index = r2former.Index.create(tmp_path_factory.mktemp("index") / "places")
    assert index.add(town.database_table).added == town.database
    return index


@pytest.fixture(scope="session")
def program() -> Path:
    """The command line, whose results are the same."""
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    for candidate in (os.environ.get("R2FORMER_PROGRAM"), Path(target, "release", "r2former"), shutil.which("r2former")):
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    pytest.skip("no program r2former: cargo build --release -p r2former-cli, or R2FORMER_PROGRAM")


@pytest.fixture(scope="session")
def run(program: Path) -> Any:
    """Runs the program, and gives its JSON document."""

    def run(*arguments: object, code: int = 0) -> Any:
        command = [str(program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


@pytest.fixture
def image() -> np.ndarray:
    """Noise with a gradient, (90, 120, 3)."""
    noise = np.random.default_rng(7).integers(0, 120, (90, 120, 3), dtype=np.uint8)
    return noise + np.linspace(0, 120, 120, dtype=np.uint8)[None, :, None]


@pytest.fixture
def ppm(image: np.ndarray, tmp_path: Path) -> Path:
    """The same as a file without loss."""
    path = tmp_path / "image.ppm"
    height, width, _ = image.shape
    path.write_bytes(f"P6 {width} {height} 255\n".encode() + image.tobytes())
    return path


def without_times(document: Any) -> Any:
    """A document without what differs from run to run."""
    varying = ("timing", "images_per_second", "images_per_minute", "created", "cost")
    if isinstance(document, dict):
        return {key: without_times(value) for key, value in document.items() if key not in varying}
    if isinstance(document, list):
        return [without_times(value) for value in document]
    return document
