"""r2former and its peers on this machine, in one run, in turn: `python benches/peers.py [ROUNDS [WHAT ...]]`.

`benches/run peers` installs the peers (requirements.txt) and builds the program first. Random weights on both
sides, batch 1, all cores for both. Each side gets ROUNDS (3) turns of its own; the table has the best turn's
median of each, and the ratio. Peers:

- reranking a pair of 500 x 131 features: PyTorch, eager and `torch.compile`, with fused attention and top-k
  instead of a sort (faster than the published code), at the better of 1 and 4 pairs per batch;
- DeiT-S at 480x640: timm in PyTorch eager with fused attention, in f32 and under bf16 autocast, and ONNX
  Runtime in f32; they compute the global descriptor alone, while r2former's time includes the selection of
  local features.

- the same in 8 bits, beside ONNX Runtime in f32 and with dynamically quantised weights and activations;
- published global descriptors (MegaLoc, SALAD, BoQ, CosPlace, MixVPR; `published.py`) in PyTorch eager and ONNX Runtime.

A whole query of r2former (JPEG to answer, 100 candidates reranked) has no peer and stands alone.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import published
import torch
import torch.nn.functional as F

root = pathlib.Path(__file__).resolve().parent.parent
program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target")) / "release/r2former"
sys.path.insert(0, str(root / "crates/model/tests/parity"))
import reranker as plain  # noqa: E402

K, DIM = 500, 128
# Those whose backbones have 8-bit kernels.
IN_8_BITS = ("megaloc", "salad", "boq-dinov2", "cosplace-r50", "mixvpr")
threads = os.cpu_count()
torch.set_num_threads(threads)
torch.set_grad_enabled(False)


def median(call, least=5, seconds=6.0):
    call()
    times, start = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - start < seconds:
        t = time.perf_counter()
        call()
        times.append(time.perf_counter() - t)
    return statistics.median(times)


def pairs_logits(w, query, reference, c):
    """`plain.logits` for a batch of pairs, in 32 bits throughout, with top-k in place of a full sort."""
    batch, nq, _ = query.shape
    places = [rows[..., :3].clamp(0, 1) for rows in (query, reference)]
    similarity = F.normalize(query[..., 3:], dim=2) @ F.normalize(reference[..., 3:], dim=2).transpose(1, 2)
    frequencies = 10000.0 ** (-torch.arange(c["dim"] // 4, dtype=torch.float32) / (c["dim"] // 4))

    def position(uv):
        angles = uv[..., None] * frequencies
        return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)

    tokens, k = [], c["neighbours"]
    for of_query, matrix in [(True, similarity), (False, similarity.transpose(1, 2))]:
        s, order = matrix.topk(k, dim=2)
        own, other = (places[0], places[1]) if of_query else (places[1], places[0])
        own = own[:, :, None].expand(-1, -1, k, -1)
        index = order.reshape(batch, -1, 1).expand(-1, -1, 3)
        other = other.gather(1, index).reshape(batch, -1, k, 3)
        q, r = (own, other) if of_query else (other, own)
        x = plain.linear(w, "pair_head", torch.cat([q, r, s[..., None]], -1)) + position(r[..., :2])
        x = plain.stack(w, "blocks_2", "cls_token_2", x.flatten(0, 1), c["pair_depth"], c)
        x = plain.linear(w, "pair_head_2", x).reshape(batch, nq, -1)
        tokens.append(x + position(q[:, :, 0, :2]))
    x = plain.stack(w, "blocks", "cls_token", torch.cat(tokens, 1), c["depth"], c)
    return plain.linear(w, "decoder_pred", x)


def torch_rerank(compiled):
    random = torch.Generator().manual_seed(0)
    c = plain.PUBLISHED
    w = plain.weights(c, random)
    check = [plain.rows(2, 40, DIM, random) for _ in range(2)]
    expected = torch.stack([plain.logits(w, q, r, c) for q, r in zip(*check)])
    assert (pairs_logits(w, *check, c) - expected).abs().max() < 1e-3
    best = float("inf")
    for batch in (1, 4):
        query, reference = (plain.rows(batch, K, DIM, random) for _ in range(2))
        run = lambda q, r: pairs_logits(w, q, r, c)
        run = torch.compile(run) if compiled else run
        best = min(best, median(lambda: run(query, reference)) / batch)
    return best


def deit():
    import timm

    model = timm.create_model("deit_small_distilled_patch16_224", img_size=(480, 640), num_classes=256)
    return model.eval(), torch.randn(1, 3, 480, 640)


def torch_extract(build, bf16=False):
    model, image = build()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return median(lambda: model(image))


def onnx_extract(build, int8=False):
    import onnxruntime

    model, image = build()
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.onnx"
        torch.onnx.export(model, (image,), file, input_names=["image"], dynamo=True, verbose=False)
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(file, f"{folder}/int8.onnx", weight_type=QuantType.QInt8)
            file = f"{folder}/int8.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: image.numpy()}
        return median(lambda: session.run(None, feed))


def r2former(what, field, scale, *more, preset="deit-s", size=(480, 640)):
    command = [program, "bench", what, "--preset", preset, "--image-size", f"{size[0]}x{size[1]}"]
    command += ["--threads", str(threads), "--json", *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)[field] * scale


def published_sides(name, precision="f32"):
    """The turns of a published descriptor."""
    build = lambda: published.model(name)
    size = published.SIZES[name]
    more = ["--runs", "15", "--precision", precision]
    own = lambda: r2former("extract", "seconds_per_image", 1.0, *more, preset=name, size=size)
    if precision == "int8":
        dynamic = lambda: onnx_extract(build, int8=True)
        return {"r2former": own, "ONNX Runtime, f32": lambda: onnx_extract(build), "ONNX Runtime, dynamic int8": dynamic}
    return {"r2former": own, "PyTorch": lambda: torch_extract(build), "ONNX Runtime": lambda: onnx_extract(build)}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    sides = {
        "rerank": {
            "r2former": lambda: r2former("rerank", "ms_per_pair", 1e-3),
            "PyTorch": lambda: torch_rerank(False),
            "PyTorch, torch.compile": lambda: torch_rerank(True),
        },
        "extract": {
            "r2former": lambda: r2former("extract", "seconds_per_image", 1.0),
            "PyTorch": lambda: torch_extract(deit),
            "ONNX Runtime": lambda: onnx_extract(deit),
        },
        "extract, bf16": {
            "r2former": lambda: r2former("extract", "seconds_per_image", 1.0, "--precision", "bf16"),
            "PyTorch, autocast": lambda: torch_extract(deit, bf16=True),
        },
        "extract, int8": {
            "r2former": lambda: r2former("extract", "seconds_per_image", 1.0, "--precision", "int8"),
            "ONNX Runtime, f32": lambda: onnx_extract(deit),
            "ONNX Runtime, dynamic int8": lambda: onnx_extract(deit, int8=True),
        },
        "query": {"r2former": lambda: r2former("query", "ms_per_query", 1e-3, "--images", "300")},
    }
    sides |= {f"{name} {h}x{w}": published_sides(name) for name, (h, w) in published.SIZES.items()}
    sides |= {f"{name} {h}x{w}, int8": published_sides(name, "int8") for name, (h, w) in published.SIZES.items() if name in IN_8_BITS}
    if sys.argv[2:]:
        sides = {what: calls for what, calls in sides.items() if what.split()[0].rstrip(",") in sys.argv[2:]}
    best = {(what, who): float("inf") for what, calls in sides.items() for who in calls}
    for _ in range(rounds):
        for what, calls in sides.items():
            for who, call in calls.items():
                try:
                    best[what, who] = min(best[what, who], call())
                except Exception as error:  # a peer that is not installed
                    print(f"{what}, {who}: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"{threads} threads, {rounds} rounds, f32 unless said\n")
    print("| what | who | ms | r2former is |\n|---|---|---|---|")
    for what, calls in sides.items():
        for who in calls:
            ratio = best[what, who] / best[what, "r2former"]
            print(f"| {what} | {who} | {1000 * best[what, who]:.1f} | {ratio:.2f} x as fast |")


if __name__ == "__main__":
    main()
