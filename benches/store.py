"""What the index's store does on this machine: `python benches/store.py [IMAGES]`.

`benches/run store` builds the program first. Adds images with 500 local features in synced commits of 64, and fetches the
local features of 100 at a time, warm; the best of 3 turns. It has no peer and stands alone.
"""

import json
import os
import pathlib
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/r2former"
command = [program, "bench", "store", "--images", *(sys.argv[1:] or ["8000"]), "--json"]
turns = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(3)]
print(f"{turns[0]['threads']} threads, {turns[0]['images']} images of 500 local features\n")
print("| | best | all turns |\n|---|---|---|")
for name, what, best in [
    ("images_per_second", "images added and synced per second", max),
    ("fetch_ms", "local features of 100 images, p50, ms", min),
    ("fetch_p99_ms", "the same, p99, ms", min),
]:
    values = [turn[name] for turn in turns]
    print(f"| {what} | {best(values):.2f} | {', '.join(f'{value:.2f}' for value in values)} |")
