"""Inlier counts of OpenCV on matches with a known homography, for ransac.rs.

    pip install opencv-python-headless numpy
    python export.py > golden.json

OpenCV fits each case several times with its pairs shuffled, which gives other random samples. The mean and the highest
inlier count are recorded.
"""

import json

import cv2
import numpy as np

TOLERANCE = 24.0
SHUFFLES = 25

random = np.random.default_rng(5)


def case(inliers, outliers, noise, tilt):
    angle, zoom = random.uniform(-0.4, 0.4), random.uniform(0.7, 1.4)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    shift = random.uniform(-120, 120, 2)
    lean = random.uniform(-tilt, tilt, 2)
    h = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [*lean, 1]])
    # Centres of patches of 16 pixels, as of local features.
    query = random.integers(0, [40, 30], (inliers + outliers, 2)) * 16.0 + 8.0
    mapped = cv2.perspectiveTransform(query[None], h)[0] + random.normal(0, noise, query.shape)
    mapped[inliers:] = random.uniform(0, [640, 480], (outliers, 2))
    reference = np.round(mapped, 1)
    counts = []
    for _ in range(SHUFFLES):
        shuffled = random.permutation(len(query))
        found, mask = cv2.findHomography(query[shuffled], reference[shuffled], cv2.RANSAC, TOLERANCE)
        counts.append(0 if found is None else int(mask.sum()))
    pairs = np.concatenate([query, reference], 1).tolist()
    return {"planted": inliers, "mean": float(np.mean(counts)), "highest": max(counts), "pairs": pairs}


cases = [
    case(inliers, outliers, noise, tilt)
    for inliers, outliers in [(60, 0), (60, 20), (60, 60), (30, 90), (15, 60), (0, 80), (5, 0)]
    for noise, tilt in [(0.5, 0.0), (4.0, 2e-4), (9.0, 4e-4)]
]
print(json.dumps({"opencv": cv2.__version__, "tolerance": TOLERANCE, "cases": cases}))
