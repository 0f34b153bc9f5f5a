"""Retrieval beside FAISS on this machine, in one run: `python benches/search.py [--exact] [IMAGES ...]`.

`benches/run search` installs FAISS (requirements.txt) and builds the program first. For each number of images
(20000 100000 1000000): one query at a time, the best 100 of synthetic 256-d descriptors, all cores for both.
FAISS IndexFlatIP compares with every vector, as r2former's exact search does; IndexHNSWFlat (M 16,
efConstruction 100, efSearch 128) walks a graph, which r2former has not; `--exact` leaves it out. Each side generates its own descriptors, of the same distribution. Both times are medians.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import faiss
import numpy

root = pathlib.Path(__file__).resolve().parent.parent
program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/r2former"
DIM, BEST, QUERIES = 256, 100, 100


def views(random, directions, places):
    shares = places + 0.3 * random.uniform(-1, 1, places.shape)
    noise = 0.2 * random.uniform(-1, 1, (len(places), DIM))
    vectors = (shares @ directions + noise).astype("float32")
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def median_ms(index, queries):
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(set(index.search(query[None], BEST)[1][0]))
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:]), found


def peer(count, graphs):
    random = numpy.random.default_rng(0)
    directions = random.uniform(-1, 1, (32, DIM))
    places = random.uniform(-1, 1, (-(-count // 16), 32))
    vectors = numpy.concatenate(
        [views(random, directions, p.repeat(16, 0)) for p in numpy.array_split(places, 1 + count // 50_000)]
    )[:count]
    queries = views(random, directions, places[random.integers(len(places), size=QUERIES + 1)])
    flat = faiss.IndexFlatIP(DIM)
    flat.add(vectors)
    exact_ms, best = median_ms(flat, queries)
    if not graphs:
        return f"{exact_ms:.2f} | | |"
    graph = faiss.IndexHNSWFlat(DIM, 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 100, 128
    start = time.perf_counter()
    graph.add(vectors)
    seconds = time.perf_counter() - start
    graph_ms, found = median_ms(graph, queries)
    share = sum(len(a & b) for a, b in zip(best, found)) / sum(map(len, best))
    return f"{exact_ms:.2f} | {graph_ms:.2f} | {share:.3f} | {seconds:.0f}"


def own(count):
    command = [program, "bench", "search", "--images", str(count), "--runs", str(QUERIES), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["ms_per_query"]


def main():
    graphs = "--exact" not in sys.argv
    counts = [int(text) for text in sys.argv[1:] if text != "--exact"] or [20_000, 100_000, 1_000_000]
    print(f"{faiss.omp_get_max_threads()} threads, best {BEST} of vectors of {DIM}\n")
    print("| images | who | exact, ms | graph, ms | found by it | built in, s |")
    print("|---|---|---|---|---|---|")
    for count in counts:
        print(f"| {count} | r2former | {own(count):.2f} | | | |", flush=True)
        print(f"| | FAISS | {peer(count, graphs)} |", flush=True)


main()
