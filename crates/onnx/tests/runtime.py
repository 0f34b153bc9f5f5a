"""Runs exported models in ONNX Runtime and compares what comes out. Prints one JSON line per case.

    python runtime.py MANIFEST      # written by runtime.rs: models, inputs and expected outputs as raw 32-bit floats
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def tensor(folder, entry):
    return np.fromfile(folder / entry["file"], dtype="<f4").reshape(entry["shape"])


def by_place(found, expected):
    """The largest difference of rows of the same place. Patches of nearly equal attention may change places, so rows are compared
    by x and y; of those that only one side has, attention may differ from the other side's least by that much only."""
    worst = 0.0
    for rows, others in zip(found, expected):
        key = lambda row: (round(float(row[0]), 4), round(float(row[1]), 4))
        ours = {key(row): row for row in rows if row[2] > 0}
        theirs = {key(row): row for row in others if row[2] > 0}
        for place in ours.keys() & theirs.keys():
            worst = max(worst, float(np.abs(ours[place] - theirs[place]).max()))
        for one, other in ((ours, theirs), (theirs, ours)):
            for place in one.keys() - other.keys():
                worst = max(worst, float(one[place][2] - min(row[2] for row in other.values())))
        assert all(a >= b - 1e-6 for a, b in zip(rows[:, 2], rows[1:, 2])), "not by descending attention"
    return worst


def main():
    manifest = Path(sys.argv[1])
    onnxruntime.set_default_logger_severity(3)
    for case in json.loads(manifest.read_text()):
        path = str(manifest.parent / case["model"])
        onnx.checker.check_model(path, full_check=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        worst = {}
        for run in case["runs"]:
            inputs = {name: tensor(manifest.parent, entry) for name, entry in run["inputs"].items()}
            expected = {name: tensor(manifest.parent, entry) for name, entry in run["outputs"].items()}
            outputs = session.run(list(expected), inputs)
            for found, (name, wanted) in zip(outputs, expected.items()):
                assert found.shape == wanted.shape, (case["name"], name, found.shape, wanted.shape)
                assert np.isfinite(found).all(), (case["name"], name)
                compare = by_place if name == "local" else lambda a, b: float(np.abs(a - b).max())
                worst[name] = max(worst.get(name, 0.0), compare(found, wanted))
        print(json.dumps({"name": case["name"], "nodes": len(onnx.load(path, load_external_data=False).graph.node), "worst": worst}))


main()
