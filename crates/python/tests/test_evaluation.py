"""Evaluation and town: the same documents as the program's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import without_times

import r2former


def test_recall_is_the_programs(town: r2former.Town, run: Any) -> None:
    evaluation = r2former.evaluate(
        town.database_table, town.queries_table, radius=15, rerank=["ransac", "model"], by=["condition"], empty="drop"
    )
    document = run(
        "eval", "photos", "--database", town.database_table, "--queries", town.queries_table, "--radius", 15, "--rerank",
        "ransac,model", "--by", "condition", "--empty", "drop", "--json",
    )
    assert without_times(evaluation.to_dict()) == without_times(document)
    assert set(evaluation.recall) == {"global", "ransac", "reranked"}
    assert 0 <= evaluation.recall["reranked"][1] <= 1 and evaluation.queries > 0 and evaluation.unusable == []
    assert "recall@1" in repr(evaluation) and "R@1" in evaluation._repr_html_()


def test_any_dataset(town: r2former.Town) -> None:
    pandas = pytest.importorskip("pandas")
    folder = Path(town.dir, "queries", "day")
    frames = {"kind": "frames", "database": folder, "queries": folder, "tolerance": 0}
    evaluation = r2former.evaluate(dataset=frames, rerank=())
    assert evaluation.recall == {"global": {n: 1.0 for n in evaluation.recall["global"]}}
    table = evaluation.to_pandas()
    assert isinstance(table, pandas.DataFrame) and table.loc["global", "recall@1"] == 1.0
    with pytest.raises(r2former.RequestError, match="vgg"):
        r2former.evaluate(dataset={"kind": "vgg", "path": "x"})
    with pytest.raises(r2former.RequestError, match="a database and queries"):
        r2former.evaluate(town.database_table)
    with pytest.raises(r2former.NotFoundError):
        r2former.evaluate("missing.csv", town.queries_table)


def test_town(town: r2former.Town, run: Any, tmp_path: Path) -> None:
    theirs = run(
        "town", tmp_path / "town", "--blocks", "1x1", "--spacing", 30, "--queries", 4, "--conditions", "day,rain", "--size",
        "120x160", "--json",
    )
    assert (town.database, town.queries) == (theirs["database"], theirs["queries"])
    for table in ("database.csv", "queries.csv"):
        assert Path(town.dir, table).read_bytes() == (tmp_path / "town" / table).read_bytes()
    photo = "database/000000_00.jpg"
    assert Path(town.dir, photo).read_bytes() == (tmp_path / "town" / photo).read_bytes()
    assert town.to_dict()["dir"] == town.dir
    with pytest.raises(r2former.RequestError, match="not empty"):
        r2former.town(town.dir)
    with pytest.raises(r2former.RequestError, match="fog"):
        r2former.town(tmp_path / "other", conditions=("fog",))
