"""Arguments: what is taken as what, and what is said of the rest."""

from __future__ import annotations

import io
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import r2former


@pytest.fixture
def robot(tmp_path: Path) -> r2former.Index:
    return r2former.Index.create(tmp_path / "robot")


@pytest.fixture
def frames(image: np.ndarray) -> list[np.ndarray]:
    return [image, image[::-1], image[:, ::-1]]


def test_columns_of_tables_go_by_their_order(robot: r2former.Index, frames: list[np.ndarray]) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {
            "name": ["a", "b", "c"],
            "lon": [0.1, 0.2, 0.3],
            "lat": [52.1, 52.2, 52.3],
            "heading": [10, 20, 30],
            "time": pandas.to_datetime([1, 2, 3], unit="s", utc=True),
            "tags": [{"n": 1}, {"n": 2}, {"n": 3}],
        },
        index=[2, 0, 1],
    )
    robot.add_images(
        frames, table["name"], table[["lon", "lat"]], headings=table["heading"], times=table["time"], tags=table["tags"]
    )
    by_rows = [robot.list()[i] for i in range(3)]
    assert [place.position for place in by_rows] == [(52.1, 0.1), (52.2, 0.2), (52.3, 0.3)]
    assert [(place.heading, place.time, place.tags) for place in by_rows] == [
        (10.0, 1, {"n": "1"}), (20.0, 2, {"n": "2"}), (30.0, 3, {"n": "3"})
    ]
    # Columns without names that say it: in their order.
    table.columns = ["name", "v", "u", "heading", "time", "tags"]
    robot.add_images(frames, table["name"], table[["u", "v"]], headings=table["heading"], update=True)
    assert [place.position for place in robot.list()] == [(52.1, 0.1), (52.2, 0.2), (52.3, 0.3)]
    for positions in (table[["u"]], table[["u"]].T, table["u"], table[["name", "u"]], table[["u", "v"]].iloc[:2]):
        with pytest.raises((TypeError, r2former.RequestError), match="position"):
            robot.add_images(frames, ["x", "y", "z"], positions)
    robot.add_images(image := frames[0], "one", table[["u", "v"]].iloc[0], headings=table["heading"].iloc[:1])
    robot.add_images(image, "one", {"lat": 52.1, "lon": 0.1}, headings=10)
    assert robot.list()[3].position == (52.1, 0.1)


def test_numbers_of_numpy_are_numbers(robot: r2former.Index, frames: list[np.ndarray]) -> None:
    at = np.array([[52, 0], [53, 1], [54, 2]])
    moments = [date(2024, 5, 1), datetime(2024, 5, 1, tzinfo=timezone.utc), np.int64(5)]
    robot.add_images(frames, list("abc"), at, headings=np.array([1, 2, 3], np.float32), altitudes=np.float32(7), times=moments)
    robot.add_images(frames[0], "d", np.array([52.5, 0.5], np.float32), headings=np.array(4), batch=np.int64(1))
    places = robot.list(near=np.array([52, 0], np.int64), radius=np.float32(1e6), since=np.int64(0), until=date(2024, 5, 1))
    assert [(place.name, place.heading, place.altitude) for place in places] == [("a", 1, 7), ("b", 2, 7), ("c", 3, 7)]
    assert places[0].time == places[1].time == 1_714_521_600 and places[2].time == 5
    answer = robot.query(frames[0], top=np.int64(2), candidates=np.array(3), adaptive=np.float32(0.5), min_confidence=np.float32(0))
    assert len(answer.matches) == 2


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (TypeError, {"names": [None]}, r"names\[0\]: a text is needed, not None"),
        (TypeError, {"headings": "north"}, "headings: a number is needed, not str"),
        (r2former.RequestError, {"headings": [float("nan")]}, "headings: a=nan: a finite number is needed"),
        (TypeError, {"headings": [{}]}, "headings: a: a number is needed, not dict"),
        (TypeError, {"altitudes": True}, "altitudes: a number is needed, not bool"),
        (r2former.RequestError, {"times": "2024-05"}, "times: '2024-05': seconds since 1970 or a datetime are needed"),
        (TypeError, {"times": np.datetime64("2024-05-01")}, "times: 2024-05-01: its zone is not known"),
        (TypeError, {"times": [b"x"]}, "times: a: seconds since 1970"),
        (TypeError, {"tags": "x"}, "tags: a dictionary of texts is needed, not str"),
        (TypeError, {"tags": {"x": None}}, "tags: 'x': a text is needed, not None"),
        (TypeError, {"update": "yes"}, "update: True or False is needed, not 'yes'"),
        (TypeError, {"batch": 1.5}, "batch: a whole number is needed, not float"),
        (TypeError, {"progress": 3}, "progress: True, or a function"),
        (TypeError, {"positions": 52}, "positions: a list is needed, not int"),
        (r2former.RequestError, {"positions": (52, 0, 1, 2)}, "positions: .* not 4 values"),
        (r2former.RequestError, {"positions": (52, float("nan"))}, "positions=nan"),
        (r2former.RequestError, {"positions": [{"latitude": 52}]}, "positions: a: a position has the keys lat and lon"),
        (r2former.RequestError, {"positions": [(1, 2), (3, 4)]}, "there are 1 names and 2 positions"),
    ],
)
def test_what_is_wrong_with_images_is_named(
    robot: r2former.Index, image: np.ndarray, kind: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(kind, match=said):
        robot.add_images(image, **{"names": ["a"], "positions": (52, 0), **options})
    assert len(robot) == 0


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (TypeError, {"top": "a"}, "top: a whole number is needed, not str"),
        (r2former.RequestError, {"top": -1}, "top=-1: a whole number of 0 or more"),
        (r2former.RequestError, {"adaptive": float("nan")}, "adaptive=nan: a finite number"),
        (TypeError, {"adaptive": "x"}, "adaptive: a number is needed, not str"),
        (TypeError, {"radius": [1], "near": (52, 0)}, "radius: a number is needed, not list"),
        (r2former.RequestError, {"radius": 10**400, "near": (52, 0)}, "a finite number is needed"),
        (TypeError, {"near": 5, "radius": 5}, "near: .* is needed, not int"),
        (TypeError, {"tags": "x"}, "tags: a dictionary"),
        (TypeError, {"since": True}, "since: .* not bool"),
        (TypeError, {"approximate": 1}, "approximate: True or False is needed, not 1"),
        (TypeError, {"names": [3]}, r"names\[0\]: a text is needed, not int"),
    ],
)
def test_what_is_wrong_with_a_search_is_named(
    index: r2former.Index, image: np.ndarray, kind: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(kind, match=said):
        index.query(image, **options)


def test_what_is_wrong_elsewhere_is_named(index: r2former.Index, town: r2former.Town, tmp_path: Path) -> None:
    table = town.database_table
    calls: list[tuple[Any, str, Any]] = [
        (r2former.RequestError, r"shard=\(0, 2, 3\): \(i, n\) is needed", lambda: index.add(table, shard=(0, 2, 3))),  # type: ignore[arg-type]
        (TypeError, "shard: a whole number is needed, not float", lambda: index.add(table, shard=(0.5, 2))),  # type: ignore[arg-type]
        (TypeError, "update: True or False", lambda: index.add(table, update="yes")),  # type: ignore[arg-type]
        (r2former.RequestError, r"image_size=\(320,\)", lambda: r2former.Model.load(image_size=(320,))),  # type: ignore[arg-type]
        (r2former.RequestError, r"image_size=\(320, 320, 3\)", lambda: r2former.Model.load(image_size=(320, 320, 3))),  # type: ignore[arg-type]
        (TypeError, r"image_size: \(height, width\) is needed, not int", lambda: r2former.Model.load(image_size=320)),  # type: ignore[arg-type]
        (TypeError, "model: a Model is needed, not str", lambda: r2former.Index.create(tmp_path / "x", "x")),  # type: ignore[arg-type]
        (TypeError, "model: a Model is needed, not str", lambda: r2former.evaluate(table, table, model="x")),  # type: ignore[arg-type]
        (TypeError, "blocks: .* is needed, not int", lambda: r2former.town(tmp_path / "t", blocks=3)),  # type: ignore[arg-type]
        (TypeError, "heads: a whole number is needed, not str", lambda: r2former.Model.import_checkpoint("x", heads="x")),
        (TypeError, "dataset: a dictionary with a kind is needed, not str", lambda: r2former.evaluate(dataset="x")),  # type: ignore[arg-type]
        (TypeError, "max_speed: a number", lambda: index.sequence(max_speed="x")),  # type: ignore[arg-type]
        (r2former.RequestError, "max_speed=nan", lambda: index.sequence(max_speed=float("nan"))),
    ]
    for kind, said, call in calls:
        with pytest.raises(kind, match=said):
            call()
    size = r2former.Model.load(image_size=np.array([224, 224])).input_size  # type: ignore[arg-type]
    assert size == (224, 224)
    assert r2former.town(tmp_path / "t", blocks=(np.int64(1), 1), queries=1, spacing=90, conditions="day", size=(32, 32)).queries == 1


def test_pictures_of_many_bits(model: r2former.Model) -> None:
    pil = pytest.importorskip("PIL.Image")
    deep = np.random.default_rng(1).integers(0, 1 << 16, (60, 80), dtype=np.uint16)
    picture = pil.fromarray(deep)
    assert picture.mode == "I;16"
    file = io.BytesIO()
    picture.save(file, "PNG")
    assert np.array_equal(model.extract(picture).global_, model.extract(file.getvalue()).global_)
    for other in (np.int32, np.float32):
        with pytest.raises(r2former.RequestError, match="photo: a PIL image of mode [IF] does not say which value is white"):
            model.extract(pil.fromarray(deep.astype(other)), names="photo")


def test_arrays_of_other_kinds(model: r2former.Model, image: np.ndarray, ppm: Path) -> None:
    class Bare:
        __array_interface__ = np.ascontiguousarray(image).__array_interface__

    expected = model.extract(image).global_
    assert np.array_equal(model.extract(Bare()).global_, expected)
    assert np.array_equal(model.extract([Bare()]).global_, expected)
    for paths in (np.array([str(ppm)] * 2), np.array([ppm] * 2, object)):
        assert np.array_equal(model.extract(paths).global_, np.repeat(expected, 2, axis=0))
    grey = image[:, :, 0]
    assert np.array_equal(model.extract(np.matrix(grey)).global_, model.extract(grey).global_)
    for wrong, said in (
        (np.ma.masked_array(image, mask=image > 9), "a masked array: fill"),
        (np.zeros((5, 90, 120), np.uint8), "several grey images are a list"),
        (np.array([[str(ppm)]]), "a list of images"),
        (np.zeros(5), "neither an image"),
    ):
        with pytest.raises(r2former.RequestError, match=said):
            model.extract(wrong)


def test_tensors_and_local_features(model: r2former.Model, queries: list[str]) -> None:
    height, width = model.input_size
    for kind in (np.uint8, np.int64, bool):
        with pytest.raises(TypeError, match="normalised floats are needed"):
            model.extract_tensor(np.zeros((1, 3, height, width), kind))
    with pytest.raises(r2former.RequestError, match="images of one shape"):
        model.extract_tensor([np.zeros((3, 8, 8)), np.zeros((2, 8, 8))])
    features = model.extract(queries[:3])
    expected = model.rerank(features[0], features)
    rows = [features.rows(i) for i in range(3)]
    for query, references in (
        (rows[0], rows),
        (rows[0].astype(np.float64), [row.astype(np.float64) for row in rows]),
        (rows[0], (row for row in rows)),
        (features[0], list(features)),
    ):
        assert np.array_equal(model.rerank(query, references).scores, expected.scores)
    assert np.array_equal(model.rerank(features[0], list(features)).similarity, expected.similarity)  # type: ignore[arg-type]
    assert len(model.match(rows[0].astype(np.float64), rows[1])) == len(model.match(rows[0], rows[1]))
    for query, said in ((rows[0] * np.nan, "not finite"), (rows[0][:, :-1], r"local features of shape .*: \(k, 67\)")):
        with pytest.raises(r2former.RequestError, match=said):
            model.rerank(query, rows)
        with pytest.raises(r2former.RequestError, match=said):
            model.match(query, rows[0])
    with pytest.raises(r2former.RequestError, match="not mixed"):
        model.rerank(rows[0], [rows[1], queries[0]])
    # More than are compared at once.
    many = model.rerank(features[0], features[np.arange(300) % 3])
    assert many.logits is not None and many.logits.shape == (300, 2)
    assert np.array_equal(many.scores, expected.scores[np.arange(300) % 3])


def test_evaluations_refuse_what_the_program_refuses(town: r2former.Town) -> None:
    tables = town.database_table, town.queries_table
    for options, said in (
        ({"unknown": 1.5}, "unknown: '1.5' is not a share, 0 to 1"),
        ({"window": 1}, r"window: 1 is not in 2\.\.=1000"),
        ({"window": 1001}, r"window: 1001 is not in 2\.\.=1000"),
        ({"adaptive": -0.5}, "adaptive: '-0.5' is not a difference of two cosines, 0 to 2"),
        ({"heading": 400}, "heading: '400' is not an angle in degrees, 0 to 180"),
        ({"max_step": 3}, "max_speed and max_step go with window"),
        ({"candidates": 0}, r"candidates: 0 is not in 1\.\.=10000"),
    ):
        with pytest.raises(r2former.RequestError, match=said):
            r2former.evaluate(*tables, **options)  # type: ignore[arg-type]
    by_tag = r2former.evaluate(*tables, rerank=(), by="condition").to_dict()["recall_by"]
    assert by_tag and by_tag == r2former.evaluate(*tables, rerank=(), by=["condition"]).to_dict()["recall_by"]
