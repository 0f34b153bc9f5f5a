"""Recall@1 of several reports of one set, pooled, with 95 % bootstrap intervals: `pool.py REPORT...`."""

import json
import pathlib
import random
import sys


def main():
    hits = {}
    for report in sys.argv[1:]:
        results = json.loads((pathlib.Path(report) / "results.json").read_text())
        for query in results["queries"]:
            for ranking, result in query["results"].items():
                hits.setdefault(ranking, []).append(result["first_positive"] == 1)
    for ranking, found in hits.items():
        dice = random.Random(1)
        means = sorted(sum(dice.choices(found, k=len(found))) / len(found) for _ in range(2000))
        share, low, high = (100 * v for v in (sum(found) / len(found), means[50], means[1949]))
        print(f"{ranking:10} {share:.1f} ({low:.1f} to {high:.1f}) of {len(found)}")


main()
