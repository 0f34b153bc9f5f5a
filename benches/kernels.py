"""Each kernel against the measured peak of a core (8-bit products against that of 8-bit products): `python benches/kernels.py [LEVEL]` (avx2).

Runs `cargo bench -p r2former-kernels` for the level and reads criterion's samples: the fastest (what the kernel
can do) and the median (what it did, on a machine that others may use too).
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
level = sys.argv[1] if len(sys.argv) > 1 else "avx2"
bench = ["cargo", "bench", "-q", "-p", "r2former-kernels", "--bench", "kernels", "--", f"^{level}/"]
subprocess.run(bench, check=True, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))

rows = []
for file in (target / "criterion").rglob("new/sample.json"):
    about = json.loads((file.parent / "benchmark.json").read_text())
    if about["group_id"] != level:
        continue
    sample = json.loads(file.read_text())
    each = [time / count for time, count in zip(sample["times"], sample["iters"])]
    work = about["throughput"]["Elements"]
    name = " ".join(filter(None, [about["function_id"], about["value_str"]]))
    rows.append((name, work / min(each), work / statistics.median(each)))
peaks = {name: fastest for name, fastest, _ in rows if name in ("peak", "int8 peak")}
print("| kernel | fastest, G/s | of peak | median, G/s |\n|---|---|---|---|")
for name, fastest, median in sorted(rows, key=lambda row: -row[1]):
    peak = peaks["int8 peak" if name.startswith("int8") else "peak"]
    share = "" if name.startswith("map") else f"{fastest / peak:.0%}"
    print(f"| {name} | {fastest:.1f} | {share} | {median:.1f} |")
