"""What is copied and what goes to another process."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import r2former
from r2former import _native


def _extract(model: r2former.Model, path: str, answer: r2former.Answer) -> tuple[np.ndarray, dict[str, Any]]:
    return model.extract(path).global_, answer.to_geojson()


def test_models(model: r2former.Model, queries: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert copy.copy(model) is model and copy.deepcopy([model])[0] is model
    monkeypatch.chdir(tmp_path)
    model.save("copy.safetensors")
    small = r2former.Model.load("copy.safetensors", image_size=(224, 224), precision="f32")
    expected = small.extract(queries[0]).global_
    # As of an import, which has no file of this package's.
    bare = r2former.Model(_native.Model.load_bytes(small._native.file(), "cpu"))
    packed = pickle.dumps(small)
    assert len(packed) < 1000
    monkeypatch.chdir("/")
    again = pickle.loads(packed)
    assert (again.fingerprint, again.image_size) == (small.fingerprint, "224x224")
    assert np.array_equal(again.extract(queries[0]).global_, expected)
    assert bare.fingerprint == small.fingerprint
    again = pickle.loads(pickle.dumps(bare))
    assert again.fingerprint == bare.fingerprint
    assert np.array_equal(again.extract(queries[0]).global_, bare.extract(queries[0]).global_)
    model.save(tmp_path / "copy.safetensors", half=True)
    with pytest.raises(r2former.RequestError, match="another model"):
        pickle.loads(packed)


def test_spawned_processes(model: r2former.Model, index: r2former.Index, queries: list[str]) -> None:
    answer = index.query(queries[0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found, collection = pool.apply(_extract, (model, queries[0], answer))
    assert np.array_equal(found, model.extract(queries[0]).global_) and collection == answer.to_geojson()


def test_answers(index: r2former.Index, queries: list[str], image: np.ndarray, tmp_path: Path) -> None:
    answers = index.query(queries[:3], top=2)
    track = index.locate_sequence(queries[:3], times=[0, 1, 2])
    one = index.query(queries[0])
    for change in (copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))):
        for own in (answers, track, one, index.list(), r2former.AddReport({"added": 1})):
            assert change(own).to_dict() == own.to_dict()
            if hasattr(own, "to_geojson"):
                assert change(own).to_geojson() == own.to_geojson()
        assert change(change(answers))[1].matches == answers[1].matches
        assert [point.best for point in change(track)] == [point.best for point in track]
    bare = r2former.Index.create(tmp_path / "bare", positions="none")
    bare.add_images(image, "a")
    again = pickle.loads(pickle.dumps(bare.query(image)))
    with pytest.raises(r2former.RequestError, match="no positions"):
        again.to_geojson()


def test_scikit_learn_clones_models(town: r2former.Town, model: r2former.Model) -> None:
    pytest.importorskip("sklearn")
    pandas = pytest.importorskip("pandas")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    dataset = r2former.PhotoDataset(town.database_table)
    positions = np.array([photo.position for photo in dataset])
    neighbors = r2former.PlaceNeighbors(2, model=model)
    assert clone(neighbors).model is model
    for paths in (np.array(dataset.paths), pandas.Series(dataset.paths, index=range(len(dataset), 0, -1))):
        search = GridSearchCV(neighbors, {"n_neighbors": [1, 2]}, cv=2, error_score="raise").fit(paths, positions)
        assert search.best_estimator_.model is model
