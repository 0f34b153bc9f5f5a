"""Where users already are: loaders, neighbours, hloc and VPR-methods-evaluation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import r2former


def test_photos(town: r2former.Town) -> None:
    photos = r2former.PhotoDataset(town.queries_table)
    assert len(photos) == town.queries
    photo = photos[0]
    assert photo.name == "queries/day/000000.jpg" and isinstance(photo.position, r2former.LatLon)
    assert photo.tags["condition"] == "day" and photos.paths[0] == photo.path and len(photos[1:3]) == 2
    named = r2former.PhotoDataset(town.queries_table, transform=lambda photo: photo.name)
    assert list(named)[0] == photo.name


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file systems refuse names that are no text")
def test_names_that_are_no_text(image: np.ndarray, tmp_path: Path, model: r2former.Model) -> None:
    folder = os.path.join(str(tmp_path), os.fsdecode(b"n\xe9"))
    os.mkdir(folder)
    path = os.path.join(folder, os.fsdecode(b"\xe8.ppm"))
    height, width, _ = image.shape
    Path(path).write_bytes(f"P6 {width} {height} 255\n".encode() + image.tobytes())
    photos = r2former.PhotoDataset(folder, positions=False)
    assert photos.paths == [path]
    found = model.extract(folder)
    assert len(found) == 1 and found.names == [os.fsencode(path).decode(errors="replace")]
    np.testing.assert_array_equal(found.global_, model.extract(image).global_)
    town = r2former.town(os.path.join(folder, "town"), blocks=(1, 1), spacing=200.0, queries=1, conditions=["day"], size=(32, 32))
    assert len(r2former.PhotoDataset(town.queries_table)) == 1


def test_loader(town: r2former.Town, model: r2former.Model) -> None:
    photos = r2former.PhotoDataset(town.queries_table)
    loader = r2former.FeatureLoader(photos, batch_size=3)
    batches = list(loader)
    assert len(loader) == len(batches) == -(-len(photos) // 3)
    assert np.concatenate([batch.indices for batch in batches]).tolist() == list(range(len(photos)))
    whole = model.extract(photos.paths)
    np.testing.assert_array_equal(np.concatenate([batch.global_ for batch in batches]), whole.global_)
    np.testing.assert_array_equal(batches[0].features.counts, whole.counts[:3])
    shuffled = r2former.FeatureLoader(photos, batch_size=3, shuffle=True, drop_last=True)
    first, second = (np.concatenate([batch.indices for batch in shuffled]) for _ in range(2))
    assert len(first) == len(photos) // 3 * 3 and first.tolist() != second.tolist()
    for batch in shuffled:
        np.testing.assert_array_equal(batch.global_, whole.global_[batch.indices])
        break


def test_loader_takes_what_extract_takes(image: np.ndarray, ppm: Path, model: r2former.Model) -> None:
    pil = pytest.importorskip("PIL.Image")
    images = [image, pil.fromarray(image[::-1]), ppm, ppm.read_bytes()]
    batches = list(r2former.FeatureLoader(images, model, batch_size=3))
    whole = model.extract(images)
    assert [name for batch in batches for name in batch.names] == whole.names
    np.testing.assert_array_equal(np.concatenate([batch.global_ for batch in batches]), whole.global_)
    np.testing.assert_array_equal(batches[0].local, batches[0].features.local)
    stacked = next(iter(r2former.FeatureLoader(np.stack([image, image[::-1]]), model)))
    np.testing.assert_array_equal(stacked.global_, whole.global_[:2])


def test_loader_takes_tensors(image: np.ndarray, model: r2former.Model) -> None:
    torch = pytest.importorskip("torch")
    tensors = torch.from_numpy(np.stack([image, image[::-1]])).permute(0, 3, 1, 2)
    batch = next(iter(r2former.FeatureLoader(tensors, model)))
    np.testing.assert_array_equal(batch.global_, model.extract(tensors).global_)


def test_torch_loader(town: r2former.Town) -> None:
    torch = pytest.importorskip("torch")
    photos = r2former.PhotoDataset(town.queries_table, transform=lambda photo: (photo.position.lat, photo.name))
    (positions, names) = next(iter(torch.utils.data.DataLoader(photos, batch_size=4)))
    assert positions.shape == (4,) and names[0] == "queries/day/000000.jpg"


def test_neighbors(town: r2former.Town, index: r2former.Index, queries: list[str]) -> None:
    photos = r2former.PhotoDataset(town.database_table)
    positions = [photo.position for photo in photos]
    neighbors = r2former.PlaceNeighbors(3).fit(photos.paths, positions)
    distances, numbers = neighbors.kneighbors(queries)
    assert distances.shape == numbers.shape == (len(queries), 3)
    assert (np.diff(distances, axis=1) >= -1e-6).all()
    for i, answer in enumerate(index.query(queries, rerank="none", top=3)):
        assert [photos.photos[n].name for n in numbers[i]] == [m.path.removeprefix("database/") for m in answer.matches]
        np.testing.assert_allclose(1 - distances[i], [m.similarity for m in answer.matches], atol=1e-5)
    reranked = r2former.PlaceNeighbors(1, rerank="ransac", candidates=20).fit(neighbors.features_, positions)
    numbers = reranked.kneighbors(queries[:2], return_distance=False)
    for i, answer in enumerate(index.query(queries[:2], rerank="ransac", candidates=20, top=1)):
        assert photos.photos[numbers[i, 0]].name == answer.matches[0].path.removeprefix("database/")
    assert numbers.shape == (2, 1)
    found = neighbors.predict(queries)
    assert found.shape == (len(queries), 2) and 0 <= neighbors.score(photos.paths[:4], positions[:4]) <= 1
    assert neighbors.score(photos.paths[:4], positions[:4]) == 1
    with pytest.raises(r2former.RequestError, match="n_neighbors"):
        neighbors.kneighbors(queries, 10_000)
    with pytest.raises(r2former.RequestError, match="fit"):
        r2former.PlaceNeighbors().kneighbors(queries)


def test_scikit_learn(town: r2former.Town) -> None:
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    photos = r2former.PhotoDataset(town.queries_table)
    labels = np.asarray([photo.tags["condition"] for photo in photos])
    estimator = r2former.PlaceNeighbors(2)
    copy = clone(estimator)
    assert copy is not estimator and copy.get_params() == estimator.get_params()
    pipeline = make_pipeline(r2former.PlaceNeighbors(1)).fit(photos.paths, labels)
    assert pipeline.predict(photos.paths[:2]).tolist() == labels[:2].tolist()
    search = GridSearchCV(estimator, {"n_neighbors": [1, 2]}, cv=2).fit(photos.paths, labels)
    assert search.best_params_["n_neighbors"] in (1, 2)


def test_vpr_methods_evaluation(model: r2former.Model, image: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    from r2former.integrations import vpr_evaluation

    method = vpr_evaluation.get_model(model).eval()
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    normalised = (torch.from_numpy(image).permute(2, 0, 1).float().div(255) - mean) / std
    found = method(torch.stack([normalised, normalised]))
    assert method.descriptors_dimension == model.global_dim
    np.testing.assert_array_equal(found.numpy(), np.repeat(model.extract(image).global_, 2, axis=0))
