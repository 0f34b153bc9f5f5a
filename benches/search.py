"""Exact retrieval beside FAISS, on the same vectors, in one run: `python benches/search.py [--graph] [NxD[xB] ...]`.

`benches/run search` installs FAISS (requirements.txt) and builds the program first. Each N x D is a row of the table:
one query at a time, the best 100, all cores for both; with B also a batch of B queries at once. The two sides take
turns, ROUNDS each; times are the medians of the best turn. Answers are compared: those that only one side has must be ties.
`--graph` adds FAISS's IndexHNSWFlat (M 16, efConstruction 100, efSearch 128). Vectors and index lie in TMPDIR: the
default rows need 9 GB there for a while, and 8 GB of memory.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import faiss
import numpy

root = pathlib.Path(__file__).resolve().parent.parent
program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/r2former"
BEST, QUERIES, ROUNDS, CHUNK = 100, 101, 3, 1 << 22
ROWS = ["20000x256", "100000x256", "1000000x256x64", "2800000x256", "100000x8448"]


def views(random, directions, places):
    shares = places + 0.3 * random.uniform(-1, 1, places.shape)
    noise = 0.2 * random.uniform(-1, 1, (len(places), directions.shape[1]))
    vectors = (shares @ directions + noise).astype("<f4")
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def write(folder, count, dim):
    """Views of places, 16 of each, a part at a time; and queries, further views."""
    random = numpy.random.default_rng(0)
    directions = random.uniform(-1, 1, (32, dim))
    places = random.uniform(-1, 1, (-(-count // 16), 32))
    step = max(16, CHUNK // dim // 16 * 16)
    with open(folder / "vectors", "wb") as file:
        for first in range(0, count, step):
            part = places[first // 16 : -(-(first + step) // 16)].repeat(16, 0)[: count - first]
            views(random, directions, part).tofile(file)
    views(random, directions, places[random.integers(len(places), size=QUERIES)]).tofile(folder / "queries")


def flat(folder, count, dim):
    vectors = numpy.memmap(folder / "vectors", "<f4", "r", shape=(count, dim))
    index = faiss.IndexFlatIP(dim)
    for first in range(0, count, max(1, CHUNK // dim)):
        index.add(numpy.ascontiguousarray(vectors[first : first + max(1, CHUNK // dim)]))
    return index


def timed(index, queries, batch):
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(index.search(query[None], BEST))
        times.append(1000 * (time.perf_counter() - start))
    together = []
    for _ in range(5 if batch > 1 else 0):
        block = queries[numpy.arange(batch) % len(queries)]
        start = time.perf_counter()
        index.search(block, BEST)
        together.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:]), statistics.median(together or [0]), found


def own(folder, count, dim, batch):
    command = [program, "bench", "search", "--images", str(count), "--dim", str(dim), "--batch", str(batch)]
    command += ["--candidates", str(BEST), "--runs", str(QUERIES - 1), "--json", "--index", folder / "index"]
    command += ["--vectors", folder / "vectors", "--queries", folder / "queries", "--answers", folder / "answers"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def differences(answers, found):
    """Answers of one side alone whose similarity is not that of the last one, but for rounding."""
    wrong = 0
    for ours, (scores, rows) in zip(answers, found):
        theirs = dict(zip(rows[0].tolist(), scores[0].tolist()))
        ours = dict((row, score) for row, score in ours)
        last = min(theirs.values())
        alone = [score for side, other in ((ours, theirs), (theirs, ours)) for row, score in side.items() if row not in other]
        wrong += sum(abs(score - last) > 1e-5 for score in alone) + abs(len(ours) - len(theirs))
    return wrong


def row(text, graph):
    count, dim, batch = ([int(part) for part in text.split("x")] + [1])[:3]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write(folder, count, dim)
        queries = numpy.fromfile(folder / "queries", "<f4").reshape(-1, dim)
        index = flat(folder, count, dim)
        turns = []
        for _ in range(ROUNDS):
            turns.append((own(folder, count, dim, batch), timed(index, queries, batch)))
        ours = min((turn[0] for turn in turns), key=lambda report: report["ms_per_query"])
        theirs = min(turn[1][0] for turn in turns)
        together = ""
        if batch > 1:
            a, b = min(turn[0]["batch_ms"] for turn in turns), min(turn[1][1] for turn in turns)
            together = f"{batch}: {a:.0f}, {b:.0f} ({a / b:.2f})"
        wrong = differences(json.loads((folder / "answers").read_text()), turns[-1][1][2])
        extra = ""
        if graph:
            hnsw = faiss.IndexHNSWFlat(dim, 16, faiss.METRIC_INNER_PRODUCT)
            hnsw.hnsw.efConstruction, hnsw.hnsw.efSearch = 100, 128
            start = time.perf_counter()
            hnsw.add(numpy.fromfile(folder / "vectors", "<f4").reshape(-1, dim))
            built = time.perf_counter() - start
            ms, _, found = timed(hnsw, queries, 1)
            both = sum(len(set(a[1][0]) & set(b[1][0])) for a, b in zip(turns[-1][1][2], found))
            extra = f"{ms:.2f} ms, {both / (len(found) * BEST):.3f} found, built in {built:.0f} s"
    mb = lambda name: f"{ours[name] / 1e6:.0f}" if name in ours else "?"
    memory = f"{mb('memory_anonymous_before')} to {mb('memory_anonymous_after_1000_queries')}"
    return (
        f"| {count} x {dim} | {ours['p50']:.2f} | {ours['p99']:.2f} | {theirs:.2f} | {ours['p50'] / theirs:.2f} | {together} "
        f"| {wrong} | {min(turn[0]['open_ms'] for turn in turns):.0f} | {memory} | {extra} |"
    )


def main():
    graph = "--graph" in sys.argv
    rows = [text for text in sys.argv[1:] if text != "--graph"] or ROWS
    print(f"{faiss.omp_get_max_threads()} threads, best {BEST}\n")
    print("| descriptors | r2former, p50, ms | p99, ms | FAISS, p50, ms | ratio | batch: r2former, FAISS, ms (ratio) | other answers | opening and first answer, ms | own memory over 1000 queries, MB | FAISS's graph |")
    print("|" + "---|" * 10)
    for text in rows:
        print(row(text, graph), flush=True)


main()
