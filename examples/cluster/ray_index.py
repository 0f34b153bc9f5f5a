"""One source in shards as tasks of a Ray cluster; a worker that is lost has its shard run again elsewhere.

    python ray_index.py SOURCE WORK [--shards 8] [--cpus 4] [--address auto] [--target qdrant://HOST/COLLECTION]

Each shard fills WORK/I, an index of its own (on a disk of the worker; WORK is the same path everywhere, and of a cluster of several
machines a target is what gathers them), or the collection that `r2former index create` made. Indexes in folders become one by
`r2former index copy WORK/*[0-9] places`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import ray


@ray.remote(max_retries=5)
def add(i: int, n: int, source: str, work: str, target: str | None) -> dict[str, Any]:
    """Shard i of n; run again, it resumes."""
    # Tasks side by side share the machine's cores.
    os.environ.setdefault("RAYON_NUM_THREADS", str(max(1, int(ray.get_runtime_context().get_assigned_resources().get("CPU", 1)))))
    import r2former

    folder = Path(work)
    folder.mkdir(parents=True, exist_ok=True)
    own = target or str(folder / str(i))
    # A worker that was killed may have left a folder without an index in it.
    if target or (folder / str(i) / "manifest.json").exists():
        index = r2former.Index.open(own)
    else:
        index = r2former.Index.create(own)
    manifest = folder / f"{i}.shard-{i}-of-{n}.json"
    report = index.add(source, shard=(i, n), manifest=manifest)
    return {"shard": i, "added": report.added, "already_indexed": report.already_indexed, "process": os.getpid()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("work", type=Path)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--cpus", type=float, default=1, help="cores of each task")
    parser.add_argument("--address", help="a running cluster; by default one is started on this machine")
    parser.add_argument("--target", help="a collection, in place of an index for each shard")
    asked = parser.parse_args()

    ray.init(address=asked.address)
    task = add.options(num_cpus=asked.cpus)
    source, work = os.path.abspath(asked.source), str(asked.work.absolute())
    waiting = [task.remote(i, asked.shards, source, work, asked.target) for i in range(asked.shards)]
    failed = []
    while waiting:
        done, waiting = ray.wait(waiting)
        try:
            print(json.dumps(ray.get(done[0])), flush=True)
        except ray.exceptions.RayError as error:
            failed.append(error)
            print(f"a shard failed: {error}", flush=True)
    # The manifests say it, whatever became of this process.
    checked = subprocess.run(["r2former", "shards", "check", str(asked.work)], check=False)
    raise SystemExit(1 if failed else checked.returncode)


if __name__ == "__main__":
    main()
