"""Recall@1 over the pooled queries of several reports, with 95 % bootstrap intervals: `pool.py REPORT...`."""

import json
import pathlib
import random
import sys


def main():
    hits_by_ranking = {}
    for report in sys.argv[1:]:
        results = json.loads((pathlib.Path(report) / "results.json").read_text())
        for query in results["queries"]:
            for ranking, result in query["results"].items():
                hits_by_ranking.setdefault(ranking, []).append(result["first_positive"] == 1)
    for ranking, hits in hits_by_ranking.items():
        dice = random.Random(1)
        means = sorted(sum(dice.choices(hits, k=len(hits))) / len(hits) for _ in range(2000))
        share, low, high = (100 * v for v in (sum(hits) / len(hits), means[50], means[1949]))
        print(f"{ranking:10} {share:.1f} ({low:.1f} to {high:.1f}) of {len(hits)}")


main()
