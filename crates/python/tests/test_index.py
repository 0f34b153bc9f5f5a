"""Indexes: the same documents as the program's, images from memory, filters, threads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from datetime import date, datetime, timezone
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import without_times

import r2former


def test_queries_are_the_programs(index: r2former.Index, queries: list[str], run: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photograph")
    asked = [*queries[:3], str(broken)]
    for options, flags in (
        ({}, []),
        ({"top": 2, "rerank": "ransac"}, ["--top", 2, "--rerank", "ransac"]),
        ({"rerank": "none", "candidates": 7}, ["--rerank", "none", "--candidates", 7]),
        ({"near": (52.0, 0.0), "radius": 60}, ["--near", "52,0", "--radius", 60]),
        ({"near": "exif", "radius": 40}, ["--near", "exif", "--radius", 40]),
        ({"tags": {"condition": "day"}, "since": "2000", "until": date(2100, 1, 1)}, ["--tag", "condition=day", "--since", "2000", "--until", "2100-01-01"]),
        ({"tags": {"condition": "fog"}}, ["--tag", "condition=fog"]),
        ({"adaptive": 0.0}, ["--adaptive", 0]),
    ):
        answers = index.query(asked, **options)
        document = run("query", index.path, *asked, *flags, "--json", code=3)
        assert without_times(answers.to_dict()) == without_times(document)
        assert answers.to_geojson() == run("query", index.path, *asked, *flags, "--geojson", code=3)


def test_an_answer(index: r2former.Index, queries: list[str]) -> None:
    answer = index.query(queries[0], top=3)
    assert isinstance(answer, r2former.Answer)
    assert (answer.query, answer.status, answer.error) == (queries[0], "answered", None)
    assert [match.rank for match in answer.matches] == [1, 2, 3]
    first, estimate = answer.matches[0], answer.estimate
    assert estimate is not None and estimate.best == first.position
    assert isinstance(first.position, r2former.LatLon) and first.score_kind == "reranker_probability"
    assert first.path.startswith("database/database/") and first.tags["condition"] == "day"
    assert answer.confidence is not None and 0 < answer.confidence < 1 and estimate.ellipse is not None
    assert answer.rerank == "model" and not answer.reranking_skipped
    assert set(answer.timing) == {"decode_ms", "extract_ms", "search_ms", "fetch_ms", "rerank_ms"}
    assert answer.to_geojson()["features"][0]["properties"]["kind"] == "estimate"
    assert "answered" in repr(answer) and first.path in answer._repr_html_()
    with pytest.raises(TypeError):
        index.query(queries[:2])[0].to_geojson()


def test_tables(index: r2former.Index, queries: list[str]) -> None:
    pandas = pytest.importorskip("pandas")
    answers = index.query([*queries[:2], b"broken"], top=2, names=["a", "b", "c"])
    table = answers.to_pandas()
    assert table["query"].tolist() == ["a", "a", "b", "b", "c"] and table["rank"].tolist()[:4] == [1, 2, 1, 2]
    assert table["lat"].notna().sum() == 4 and table["error"].notna().sum() == 1
    assert len(answers[0].to_pandas()) == 2
    assert answers._repr_html_().count("<tr>") == 4
    places = index.list().to_pandas()
    assert isinstance(places, pandas.DataFrame) and len(places) == len(index) and "lat" in places


def test_lists_and_information_are_the_programs(index: r2former.Index, run: Any) -> None:
    assert index.list().to_dict() == run("index", "list", index.path, "--json")
    assert index.info() == run("index", "info", index.path, "--json")
    assert index.verify() == run("index", "verify", index.path, "--json")
    near = index.list(near=(52.0, 0.0), radius=40)
    assert near.to_dict() == run("index", "list", index.path, "--near", "52,0", "--radius", 40, "--json")
    assert 0 < len(near) < len(index)
    collection = near.to_geojson()
    assert len(collection["features"]) == len(near) and isinstance(near[0].position, r2former.LatLon)
    assert index.positions == "wgs84" and str(len(index)) in repr(index) and "r2former-tiny" in index._repr_html_()


def test_adding_is_the_programs(town: r2former.Town, run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    index = r2former.Index.create(ours)
    run("index", "create", theirs, "--json")
    folder = Path(town.dir, "queries", "day")
    (tmp_path / "more").mkdir()
    for i, photo in enumerate(sorted(folder.iterdir())):
        (tmp_path / "more" / f"{i}.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "more" / "broken.jpg").write_bytes(b"no photograph")
    (tmp_path / "more" / "plain.ppm").write_bytes(b"P6 1 1 255 abc")
    with caplog.at_level("INFO", logger="r2former"):
        for source in (town.database_table, tmp_path / "more", tmp_path / "more"):
            report = index.add(source)
            document = run("index", "add", theirs, source, "--json", code=0 if source == town.database_table else 3)
            assert without_times(report.to_dict()) == without_times(document)
    assert report.added == 0 and report.already_indexed == 4 and len(report.left_out) == 2
    with caplog.at_level("INFO", logger="r2former"):
        index.add(tmp_path / "more", cities=["oslo"])
    assert "the cities oslo are not used: no source is an MSLS tree" in caplog.text
    assert "4 already indexed" in repr(report) and "already_indexed" in report._repr_html_()
    assert index.list().to_dict() == run("index", "list", theirs, "--json")
    with pytest.raises(r2former.RequestError, match="add_images"):
        index.add(np.zeros((3, 3, 3), np.uint8))  # type: ignore[arg-type]


def test_addresses_are_sources(town: r2former.Town, queries: list[str], run: Any, tmp_path: Path) -> None:
    served, requested = tmp_path / "served", []
    served.mkdir()
    for i, photo in enumerate(queries[:4]):
        (served / f"{i}.jpg").write_bytes(Path(photo).read_bytes())
    (served / "list.txt").write_text("0.jpg\n1.jpg\ngone.jpg\n")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(served))

        def log_message(self, format: str, *arguments: Any) -> None:
            requested.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = f"http://127.0.0.1:{server.server_port}"
        index, theirs = r2former.Index.create(tmp_path / "ours"), tmp_path / "theirs"
        run("index", "create", theirs, "--json")
        table = tmp_path / "table.csv"
        table.write_text(f"path,lat,lon\n{own}/2.jpg?key=1,1,2\nserved/3.jpg,3,4\n")
        for source, code in ((f"{own}/list.txt", 3), (table, 0), (table, 0)):
            requested.clear()
            report = index.add(source)
            document = run("index", "add", theirs, source, "--json", code=code)
            assert without_times(report.to_dict()) == without_times(document)
        assert (report.added, report.already_indexed) == (0, 2)
        assert index.list().to_dict() == run("index", "list", theirs, "--json")
        assert {place.name for place in index.list()} >= {"list/0.jpg", "table/served/3.jpg"}
        # What answers is the model of the index, which reads files as before.
        assert index.query(queries[1]).matches[0].path == "list/1.jpg"
        with pytest.raises(r2former.NotFoundError, match="does not exist"):
            index.add(f"{own}/gone.txt")
        server.shutdown()
    with pytest.raises(r2former.Error, match="holds a name or a password"):
        index.add("https://user:secret@host/list.txt")


def test_images_from_memory(queries: list[str], image: np.ndarray, tmp_path: Path) -> None:
    index = r2former.Index.create(tmp_path / "robot")
    report = index.add_images(
        [image, queries[0], Path(queries[1]).read_bytes()],
        ["robot/0", "robot/1", "robot/2"],
        [(52.1, 0.5), (52.2, 0.5), None],
        headings=[450.0, None, 90.0],
        times=datetime(2024, 5, 1, tzinfo=timezone.utc),
        altitudes=[None, 3.5, None],
        tags={"camera": "front"},
        batch=2,
    )
    assert (report.added, len(index)) == (3, 3)
    places = {place.name: place for place in index.list()}
    assert places["robot/0"].position == r2former.LatLon(52.1, 0.5) and places["robot/0"].heading == 90
    # The photograph's own position.
    assert places["robot/2"].position is not None and places["robot/2"].heading == 90
    assert places["robot/1"].altitude == 3.5 and places["robot/1"].time == 1714521600
    assert all(place.tags["camera"] == "front" for place in places.values())
    answer = index.query(image, names="now")
    assert answer.query == "now" and answer.matches[0].path == "robot/0"
    assert answer.matches[0].similarity == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(index.descriptors(["robot/0"]), r2former.Model.load().extract(image).global_, atol=1e-6)

    again = index.add_images(image, "robot/0", (52.1, 0.5), headings=90, times=1714521600, tags={"camera": "front"})
    assert (again.added, again.already_indexed) == (0, 1)
    moved = index.add_images(image, "robot/0", (52.3, 0.5))
    assert [change["what"] for change in moved.changed[0]["changes"]][0] == "position"
    assert index.list(tags={"camera": "front"})[0].position == r2former.LatLon(52.1, 0.5)
    moved = index.add_images(image, "robot/0", {"lat": 52.3, "lon": 0.5}, update=True)
    assert len(moved.updated) == 1 and index.list()[0].position == r2former.LatLon(52.3, 0.5)

    rate = again.to_dict()["images_per_second"]
    assert rate == 0 and 0 < report.to_dict()["images_per_second"] < float("inf")
    broken = index.add_images([image, b"broken"], ["a", "b"], [(1, 2), (3, 4)])
    assert broken.added == 1 and broken.left_out[0]["path"] == "b"
    assert index.remove("a") == 1
    with pytest.raises(r2former.RequestError, match="not in the index: nowhere"):
        index.remove(["robot/0", "nowhere"])
    assert len(index) == 2


def test_refused(image: np.ndarray, tmp_path: Path, index: r2former.Index) -> None:
    robot = r2former.Index.create(tmp_path / "robot")
    for arguments, said in (
        ((image, "a"), "where was it taken"),
        ((image, "a", (520.0, 1.0)), "latitude 520"),
        ((image, "a", (1.0, 2.0, 3.0)), "latitude, longitude"),
        (([image, image], ["a", "a"], [(1, 2), (1, 2)]), "two images are called"),
        (([image, image], ["a", "b"], [(1, 2)]), "2 names and 1 positions"),
    ):
        with pytest.raises(r2former.RequestError, match=said):
            robot.add_images(*arguments)
    assert len(robot) == 0 and robot.query(image).status == "no_match"
    for options, said in (
        ({"near": (52.0, 0.0)}, "radius"),
        ({"near": (1, 2, 3), "radius": 5}, "latitude, longitude"),
        ({"top": 0}, "top=0"),
        ({"min_confidence": 2}, "min_confidence=2"),
        ({"adaptive": 3}, "adaptive=3"),
        ({"approximate": True}, "exact"),
        ({"rerank": "best"}, "best"),
        ({"since": "May"}, "since"),
        ({"since": datetime(2024, 1, 1)}, "zone"),
    ):
        with pytest.raises(r2former.RequestError, match=said):
            index.query(image, **options)
    # The built-in model is calibrated at its own size alone.
    small = r2former.Index.create(tmp_path / "small", model=r2former.Model.load(image_size=(64, 64)))
    with pytest.raises(r2former.RequestError, match="not calibrated"):
        small.query(image, min_confidence=0.5)
    with pytest.raises(r2former.NotFoundError, match="no place index"):
        r2former.Index.open(tmp_path)
    with pytest.raises(r2former.PlaceIndexError, match="not empty"):
        r2former.Index.create(tmp_path)
    with pytest.raises(r2former.RequestError, match="not the one of this index"):
        r2former.Index.open(index.path, model=r2former.Model.load(image_size=(64, 64)))


def test_addresses_of_collections_are_checked(tmp_path: Path) -> None:
    for address, said in (
        ("qdrant://localhost:6334", "names no collection"),
        (Path("qdrant://localhost:6334/streets"), "two slashes"),
        ("qdrant://secret@localhost:6334/streets", "R2FORMER_QDRANT_KEY"),
    ):
        with pytest.raises(r2former.RequestError, match=said):
            r2former.Index.open(address)
    for option in ({"shards": 2}, {"replicas": 2}, {"write_consistency": 1}, {"quantization": "int8"}, {"on_disk": True}):
        with pytest.raises(r2former.RequestError, match="options of a collection"):
            r2former.Index.create(tmp_path / "places", **option)
    with pytest.raises(r2former.RequestError, match="int4"):
        r2former.Index.create("qdrant://localhost:6334/streets", quantization="int4")
    assert not (tmp_path / "places").exists()


def test_local_metres(image: np.ndarray, tmp_path: Path) -> None:
    index = r2former.Index.create(tmp_path / "museum", positions="local")
    index.add_images([image, image[::-1]], ["a", "b"], [(1.0, 2.0), (8.0, 9.0, 1.5)])
    answer = index.query(image, near=(0, 0), radius=5)
    assert answer.matches[0].position == r2former.LocalPoint(1.0, 2.0, None) and len(answer.matches) == 1
    assert answer.estimate is not None and answer.estimate.best == r2former.LocalPoint(1.0, 2.0)
    with pytest.raises(r2former.RequestError, match="origin"):
        answer.to_geojson()
    placed = r2former.Index.create(tmp_path / "placed", positions="local", origin=(52.2, 0.1))
    placed.add_images(image, "a", (1.0, 2.0))
    point = placed.query(image).to_geojson()["features"][0]["geometry"]["coordinates"]
    assert point == pytest.approx([0.1, 52.2], abs=1e-4)
    bare = r2former.Index.create(tmp_path / "bare", positions="none")
    assert bare.add_images(image, "a").added == 1 and bare.query(image).estimate is None


def test_snapshots(index: r2former.Index, queries: list[str], tmp_path: Path) -> None:
    index.export(tmp_path / "snapshot")
    copy = r2former.Index.restore(tmp_path / "snapshot", tmp_path / "copy")
    assert copy.list().to_dict() == index.list().to_dict()
    assert without_times(copy.query(queries[0]).to_dict()) == without_times(index.query(queries[0]).to_dict())
    copy.remove([place.name for place in copy.list()[:3]])
    copy.compact()
    assert len(copy) == len(index) - 3 and copy.verify()["problems"] == []


def test_one_writer_at_a_time(image: np.ndarray, tmp_path: Path) -> None:
    index = r2former.Index.create(tmp_path / "places")
    other = (
        "import r2former, sys, numpy as np\n"
        "index = r2former.Index.open(sys.argv[1])\n"
        "try:\n"
        "    print(index.add_images(np.zeros((9, 9, 3), np.uint8), 'b', (1, 2)).added)\n"
        "except r2former.BusyError as error:\n"
        "    print('busy', error)\n"
    )

    def add() -> str:
        return subprocess.run(
            [sys.executable, "-c", other, index.path], capture_output=True, text=True, check=True
        ).stdout.strip()

    with index.writing() as same:
        assert same is index
        index.add_images(image, "a", (1, 2))
        assert add().startswith("busy") and len(index) == 1
    assert add() == "1" and len(index) == 2


def test_batches_share_a_writer(image: np.ndarray, tmp_path: Path) -> None:
    index, other = r2former.Index.create(tmp_path / "places"), r2former.Index.open(tmp_path / "places")
    busy = []

    def frames() -> Any:
        yield image
        yield image[::-1]
        # The first batch is written, and the writer is open for the next.
        assert len(index) == 2
        with pytest.raises(r2former.BusyError):
            other.remove("a")
        busy.append(True)
        time.sleep(0.5)
        yield image[:, ::-1]

    started = time.perf_counter()
    report = index.add_images(frames(), ["a", "b", "c"], [(1, 2), (3, 4), (5, 6)], batch=2)
    took = time.perf_counter() - started
    assert busy == [True] and report.added == 3
    # Of the whole, not of a batch.
    assert 3 / took <= report.to_dict()["images_per_second"] <= 3 / 0.5
    assert other.remove("a") == 1


def test_keeping_the_writer_lets_other_threads_run(image: np.ndarray, tmp_path: Path) -> None:
    index = r2former.Index.create(tmp_path / "places")
    begun, seen = threading.Event(), []

    def keep() -> None:
        begun.wait(30)
        with index.writing():
            pass

    def progress(_: str, done: int, total: int) -> None:
        # In the middle of this thread's change, another waits for the writer.
        seen.append((time.perf_counter(), done < total))
        begun.set()

    rows = "path,lat,lon\n"
    height, width, _ = image.shape
    for i in range(100):
        (tmp_path / f"{i}.ppm").write_bytes(f"P6 {width} {height} 255\n".encode() + np.roll(image, i).tobytes())
        rows += f"{i}.ppm,52,0.{i}\n"
    (tmp_path / "all.csv").write_text(rows)
    thread = threading.Thread(target=keep)
    thread.start()
    assert index.add(tmp_path / "all.csv", progress=progress).added == 100
    thread.join(30)
    assert not thread.is_alive()
    if seen[-1][0] - seen[0][0] > 0.5:
        assert sum(goes_on for _, goes_on in seen) > 2


def test_threads_share_an_index(index: r2former.Index, queries: list[str]) -> None:
    expected = [without_times(index.query(query).to_dict()) for query in queries[:4]]
    found: list[Any] = [None] * 4

    def ask(i: int) -> None:
        found[i] = without_times(index.query(queries[i]).to_dict())

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected
    json.dumps(found)


def test_shards_are_one_run(town: r2former.Town, index: r2former.Index, run: Any, tmp_path: Path) -> None:
    whole = {place.name for place in index.list()}
    parts: list[set[str]] = []
    for i in range(3):
        part = r2former.Index.create(tmp_path / str(i))
        manifest = tmp_path / f"{i}.shard-{i}-of-3.json"
        report = part.add(town.database_table, shard=(i, 3), manifest=manifest)
        assert report.added == len(part) and json.loads(manifest.read_text())["finished"]
        again = part.add(town.database_table, shard=f"{i}/3")
        assert (again.added, again.already_indexed) == (0, len(part))
        parts.append({place.name for place in part.list()})
    assert set().union(*parts) == whole and sum(map(len, parts)) == len(whole)
    job = run("shards", "check", tmp_path, "--json")
    assert job["whole"] and job["listed"] == len(whole)
    with pytest.raises(r2former.RequestError, match="0/3 to 2/3"):
        index.add(town.database_table, shard=(3, 3))
    with pytest.raises(r2former.RequestError, match="skip_duplicates"):
        index.add(town.database_table, shard=(0, 3), skip_duplicates=True)


def test_pixels_are_told_apart(image: np.ndarray, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    index = r2former.Index.create(tmp_path / "robot")
    assert index.add_images(image, "a", (52, 0)).added == 1
    for same in (image, np.asfortranarray(image), pil.fromarray(image)):
        for update in (False, True):
            report = index.add_images(same, "a", (52, 0), update=update)
            assert (report.already_indexed, report.changed, report.updated) == (1, [], [])
    for other in (image[::-1], pil.fromarray(image[:, ::-1]), image.reshape(120, 90, 3)):
        report = index.add_images(other, "a", (52, 0))
        assert [change["what"] for change in report.changed[0]["changes"]] == ["file"]
    assert len(index.add_images(image[::-1], "a", (52, 0), update=True).updated) == 1
    assert index.query(image[::-1]).matches[0].similarity == pytest.approx(1, abs=1e-4)


def test_closing(image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "places"
    with r2former.Index.create(path) as index:
        index.add_images(image, "a", (52, 0))
        with index.writing():
            index.close()
    for call in (index.info, lambda: len(index), lambda: index.query(image), lambda: index.path):
        with pytest.raises(r2former.RequestError, match="this index is closed"):
            call()
    assert "closed" in repr(index)
    index.close()
    shutil.rmtree(path)
    again = r2former.Index.create(path)
    again.add_images(image, "b", (52, 0))
    # One that is still open stands in the way of the next creation, and nothing is left of it.
    shutil.rmtree(path)
    with pytest.raises(r2former.PlaceIndexError, match="close it first"):
        r2former.Index.create(path)
    assert not path.exists() and "NotFoundError" in repr(again)
    again.close()
    assert len(r2former.Index.create(path)) == 0


def test_writing_locks_at_once(tmp_path: Path, image: np.ndarray) -> None:
    index, other = r2former.Index.create(tmp_path / "places"), r2former.Index.open(tmp_path / "places")
    with index.writing():
        with pytest.raises(r2former.BusyError), other.writing():
            pass
        index.add_images(image, "a", (52, 0))
    with other.writing():
        with pytest.raises(r2former.BusyError):
            index.remove("a")
        assert other.remove("a") == 1
    assert index.add_images(image, "a", (52, 0)).added == 1


def test_files_that_are_there_or_not(index: r2former.Index, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    with pytest.raises(r2former.RequestError, match="it exists already; choose another name"):
        index.export(tmp_path / "there")
    with pytest.raises(r2former.NotFoundError) as caught:
        r2former.Index.restore(tmp_path / "gone", tmp_path / "new")
    assert str(caught.value).count("gone") == 1 and not (tmp_path / "new").exists()
    with pytest.raises(r2former.DamagedError, match="nothing was imported"):
        r2former.Index.restore(tmp_path / "there", tmp_path / "new")


def test_places_on_the_map(image: np.ndarray, tmp_path: Path) -> None:
    local = r2former.Index.create(tmp_path / "local", positions="local", origin=(52.2, 0.1, 20))
    local.add_images([image, image[::-1]], ["a", "b"], [(10, 20, 3), (30, 40)])
    found = {one["properties"]["name"]: one["geometry"]["coordinates"] for one in local.list().to_geojson()["features"]}
    answer = local.query(image, names="q", top=2).to_geojson()
    for feature in answer["features"]:
        if (name := feature["properties"].get("path")) in found:
            assert feature["geometry"]["coordinates"] == found.pop(name)
    assert found == {}
    for positions, said in (("local", "without an origin"), ("none", "has no positions")):
        bare = r2former.Index.create(tmp_path / positions / "x", positions=positions)
        with pytest.raises(r2former.RequestError, match=said):
            bare.list().to_geojson()
