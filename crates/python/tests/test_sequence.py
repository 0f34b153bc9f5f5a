"""Frames in order: the program's track, live frames, what is refused."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import without_times

import r2former


def test_the_track_is_the_programs(index: r2former.Index, queries: list[str], run: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table, geojson, points = tmp_path / "list.csv", tmp_path / "track.geojson", tmp_path / "track.csv"
    lost = str(tmp_path / "lost.jpg")
    frames = [queries[0], lost, *queries[1:3]]
    times, moved = [0.0, None, 4.0, 6.5], [None, 3.0, None, 20.0]
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "time", "moved"])
        rows.writerows(zip(frames, times, moved))
    track = index.locate_sequence(frames, times=times, moved=moved, max_speed=5, max_step=8, top=2, rerank="ransac")
    asked = ["--max-speed", 5, "--max-step", 8, "--top", 2, "--rerank", "ransac", "--json"]
    document = run("query", index.path, "--sequence", table, "--track", geojson, "--track", points, *asked, code=3)
    assert without_times(track.to_dict()) == without_times(document)
    assert track.to_geojson() == json.loads(geojson.read_text())
    own, theirs = track.to_pandas(), pandas.read_csv(points)
    assert list(own.columns) == list(theirs.columns)
    pandas.testing.assert_frame_equal(own, theirs, check_dtype=False)

    assert [point.frame for point in track] == [1, 2, 3, 4] and len(track[1:]) == 3
    first = track[0]
    assert first.time == 0.0 and first.query == queries[0] and first.best is not None and first.live is not None
    assert isinstance(first.best.position, r2former.LatLon) and 0 < first.best.probability <= 1
    assert first.best.place.path.startswith("database/")
    # A frame that cannot be read is where the motion puts it.
    assert track.answers[1].status == "unreadable" and track[1].best is not None
    assert "4 frames" in repr(track) and first.best.place.path in track._repr_html_()


def test_live_frames_are_those_of_the_track(index: r2former.Index, queries: list[str], image: np.ndarray) -> None:
    sequence = index.sequence(max_speed=3, candidates=10, rerank="none")
    begun = datetime(2024, 5, 1, tzinfo=timezone.utc)
    fixes = [
        sequence.push(queries[0], time=begun),
        sequence.push(Path(queries[1]).read_bytes(), time=begun.timestamp() + 2.5, name="second"),
        sequence.push(image, moved=1.5),
    ]
    track = sequence.track()
    assert len(sequence) == 3 and [point.live for point in track] == fixes
    assert [point.query for point in track] == [queries[0], "second", "image 2"]
    assert [point.time for point in track] == [1714521600.0, 1714521602.5, None]
    assert track[2].best is not None and track[2].best.place.path
    assert len(track.answers[0].matches) == 5
    assert "3 frames" in repr(sequence)
    # Another look at the same frames.
    assert sequence.track().to_dict() == track.to_dict()


def test_refused(index: r2former.Index, queries: list[str], image: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(r2former.RequestError, match="2 frames and 1 times"):
        index.locate_sequence(queries[:2], times=[1.0])
    with pytest.raises(r2former.RequestError, match="its zone is not known"):
        index.locate_sequence(queries[:1], times=[datetime(2024, 5, 1)])
    with pytest.raises(r2former.RequestError, match="max_speed=-1"):
        index.sequence(max_speed=-1)
    with pytest.raises(r2former.RequestError, match="top=0"):
        index.sequence(top=0)
    with pytest.raises(TypeError, match="speed"):
        index.locate_sequence(queries[:1], speed=3)  # type: ignore[call-arg]
    sequence = index.sequence()
    for given in ({"moved": -1.0}, {"moved": float("nan")}, {"time": float("inf")}):
        with pytest.raises(r2former.RequestError, match=next(iter(given))):
            sequence.push(queries[0], **given)  # type: ignore[arg-type]
    # What was refused is no frame.
    assert len(sequence) == 0 and len(sequence.track()) == 0

    bare = r2former.Index.create(tmp_path / "bare", positions="none")
    bare.add_images([image, image[:, ::-1]], ["a", "b"])
    track = bare.locate_sequence([image, image[:, ::-1]])
    assert [point.best.place.path for point in track if point.best] == ["a", "b"]
    with pytest.raises(r2former.RequestError, match="has no positions"):
        track.to_geojson()
