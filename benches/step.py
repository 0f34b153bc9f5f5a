"""A training step of r2former and of PyTorch eager, in one run, in turn: `python benches/step.py [ROUNDS]`.

ViT-Tiny with a head of 256 numbers, 24 images of 224x224 as triplets, f32, AdamW, all cores of both; every
parameter learns. Each side gets ROUNDS (3) turns in a process of its own; the table tells the best turn of each.
`benches/run step` installs the peer and builds the program first.
"""

import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

root = pathlib.Path(__file__).resolve().parent.parent
program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/r2former"
BATCH, RUNS = 24, 5


def torch_turn():
    import timm
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(os.cpu_count())
    model = timm.create_model("vit_tiny_patch16_224", num_classes=256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.03)
    images = torch.rand(BATCH, 3, 224, 224) * 2 - 1
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        d = F.normalize(model(images), dim=1)
        loss = F.triplet_margin_loss(d[0::3], d[1::3], d[2::3], margin=0.1)
        forward = time.perf_counter()
        loss.backward()
        backward = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        times.append((forward - start, backward - forward, time.perf_counter() - backward))
    medians = [statistics.median(part) for part in zip(*times[1:])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return dict(zip(["forward_s", "backward_s", "optimizer_s"], medians)) | {"peak_bytes": peak}


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def whole(turn):
    return turn["forward_s"] + turn["backward_s"] + turn["optimizer_s"]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    sides = {
        "r2former": [program, "bench", "step", "--batch", str(BATCH), "--runs", str(RUNS), "--json"],
        "PyTorch": [sys.executable, __file__, "--turn"],
    }
    turns = {name: [] for name in sides}
    for _ in range(rounds):
        for name, command in sides.items():
            turns[name].append(run(command))
    best = {name: min(all, key=whole) for name, all in turns.items()}
    print("| who | forward s | backward s | optimizer s | images/s | peak memory MB |")
    print("|---|---|---|---|---|---|")
    for name, t in best.items():
        parts = " | ".join(f"{t[k]:.2f}" for k in ["forward_s", "backward_s", "optimizer_s"])
        print(f"| {name} | {parts} | {BATCH / whole(t):.1f} | {t['peak_bytes'] / 1e6:.0f} |")
    own, peer = best["r2former"], best["PyTorch"]
    for name, of in [("forward", lambda t: t["forward_s"]), ("backward", lambda t: t["backward_s"]), ("step", whole)]:
        print(f"\n{name}: r2former is {of(peer) / of(own):.2f} x as fast as PyTorch")


if sys.argv[1:] == ["--turn"]:
    print(json.dumps(torch_turn()))
else:
    main()
