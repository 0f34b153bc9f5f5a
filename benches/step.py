"""A training step of r2former and of PyTorch eager, in one run, in turn: `python benches/step.py [ROUNDS]`.

Two steps, f32, AdamW, all cores for both; each side gets ROUNDS (3) turns in a process of its own, and the tables have
the best turn of each:

- the global stage: ViT-Tiny with a 256-d head, 24 images of 224x224 as triplets, all parameters trained;
- the reranker alone: 64 pairs of 200 random local features per side, cross-entropy. PyTorch runs it as in `peers.py`,
  with fused attention and top-k; local features have a gradient there too.

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
BATCH, PAIRS, COUNT, RUNS = 24, 64, 200, 5


def turn(parameters, loss):
    """Times of `loss`, of its backward pass, and of AdamW; peak memory of this process."""
    import torch

    torch.set_num_threads(os.cpu_count())
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.03)
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        value = loss()
        forward = time.perf_counter()
        value.backward()
        backward = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        times.append((forward - start, backward - forward, time.perf_counter() - backward))
    medians = [statistics.median(part) for part in zip(*times[1:])]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return dict(zip(["forward_s", "backward_s", "optimizer_s"], medians)) | {"peak_bytes": peak}


def torch_global():
    import timm
    import torch
    import torch.nn.functional as F

    model = timm.create_model("vit_tiny_patch16_224", num_classes=256)
    images = torch.rand(BATCH, 3, 224, 224) * 2 - 1

    def loss():
        d = F.normalize(model(images), dim=1)
        return F.triplet_margin_loss(d[0::3], d[1::3], d[2::3], margin=0.1)

    return turn(model.parameters(), loss)


def torch_rerank():
    import peers
    import torch
    import torch.nn.functional as F

    torch.set_grad_enabled(True)
    random = torch.Generator().manual_seed(0)
    c = peers.plain.PUBLISHED
    w = {name: value.requires_grad_() for name, value in peers.plain.weights(c, random).items()}
    query, reference = (peers.plain.rows(PAIRS, COUNT, peers.DIM, random).requires_grad_() for _ in range(2))
    same = torch.arange(PAIRS) % 2
    return turn(w.values(), lambda: F.cross_entropy(peers.pairs_logits(w, query, reference, c), same))


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def whole(turn):
    return turn["forward_s"] + turn["backward_s"] + turn["optimizer_s"]


def compare(title, unit, count, rounds, sides):
    turns = {name: [] for name in sides}
    for _ in range(rounds):
        for name, command in sides.items():
            turns[name].append(run(command))
    best = {name: min(all, key=whole) for name, all in turns.items()}
    print(f"## {title}\n")
    print(f"| who | forward s | backward s | optimizer s | {unit}/s | peak memory MB |")
    print("|---|---|---|---|---|---|")
    for name, t in best.items():
        parts = " | ".join(f"{t[k]:.2f}" for k in ["forward_s", "backward_s", "optimizer_s"])
        print(f"| {name} | {parts} | {count / whole(t):.1f} | {t['peak_bytes'] / 1e6:.0f} |")
    own, peer = best["r2former"], best["PyTorch"]
    for name, of in [("forward", lambda t: t["forward_s"]), ("backward", lambda t: t["backward_s"]), ("step", whole)]:
        print(f"\n{name}: r2former is {of(peer) / of(own):.2f} x as fast as PyTorch")
    print()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    own = [program, "bench", "step", "--runs", str(RUNS), "--json"]
    peer = [sys.executable, __file__, "--turn"]
    images = {"r2former": [*own, "--batch", str(BATCH)], "PyTorch": [*peer, "global"]}
    compare("Global stage", "images", BATCH, rounds, images)
    pairs = ["--pairs", str(PAIRS), "--local-features", str(COUNT)]
    compare("Reranker", "pairs", PAIRS, rounds, {"r2former": own + pairs, "PyTorch": [*peer, "rerank"]})


if sys.argv[1:2] == ["--turn"]:
    print(json.dumps({"global": torch_global, "rerank": torch_rerank}[sys.argv[2]]()))
else:
    main()
