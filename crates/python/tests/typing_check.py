"""How a program uses the package, for mypy: nothing here runs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import r2former


def program(pixels: npt.NDArray[np.uint8]) -> float:
    model = r2former.Model.load(device="cpu", image_size=(320, 320))
    features: r2former.Features = model.extract([pixels, "a.jpg", b"..."], batch=8)
    globals_: npt.NDArray[np.float32] = features.global_
    index = r2former.Index.create("places", model)
    report: r2former.AddReport = index.add("photos")
    answer: r2former.Answer = index.query("holiday.jpg", top=3)
    answers: r2former.Answers = index.query(["a.jpg", "b.jpg"])
    for one in answers:
        best: r2former.Match = one.matches[0]
        print(best.path, best.similarity, one.to_dict())
    track: r2former.Track = index.locate_sequence(["a.jpg", "b.jpg"], times=[0, 0.5], max_speed=3, top=1)
    fix: r2former.Fix | None = index.sequence(candidates=20).push(pixels, moved=2.5)
    if fix is not None and track[0].best is not None:
        print(fix.place.path, track[0].best.probability, track.answers[0].status)
    estimate = answer.estimate
    if estimate is None or not isinstance(estimate.best, r2former.LatLon):
        return float(globals_[0, 0])
    recall: dict[str, dict[int, float]] = r2former.evaluate("database.csv", "queries.csv").recall
    return estimate.best.lat + report.added + recall["global"][1] + float(r2former.rerank("a", ["b"]).scores[0])
