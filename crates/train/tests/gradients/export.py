"""Losses and gradients of a small model in PyTorch: `python export.py` writes golden.safetensors beside itself.

Every parameter's gradient under the triplet loss (both forms), under the reranker's cross-entropy with local
features cut off from the backbone and not, and under both losses together; of the same weights, images and
triplets.
"""

import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parents[1].parent / "model/tests/parity"))
import reranker as plain  # noqa: E402

PATCH, SIDE, DIM, HEADS, DEPTH, GLOBAL, LOCAL, COUNT = 4, 20, 16, 2, 3, 8, 12, 14
RERANKER = plain.PUBLISHED | dict(dim=8, heads=2, pair_depth=2, depth=2, neighbours=3)
VIT = dict(heads=HEADS, norm_eps=1e-6)


def weights(random):
    normal = lambda *shape, std=0.25: torch.randn(shape, generator=random) * std
    cells = (SIDE // PATCH) ** 2
    w = {
        "backbone.cls_token": normal(1, 1, DIM),
        "backbone.pos_embed": normal(1, 1 + cells, DIM),
        "backbone.patch_embed.proj.weight": normal(DIM, 3, PATCH, PATCH),
        "backbone.patch_embed.proj.bias": normal(DIM),
    }
    linears = {"head": (GLOBAL, DIM), "local_head": (LOCAL, DIM)}
    norms = ["backbone.norm"]
    for i in range(DEPTH):
        at = f"backbone.blocks.{i}"
        linears |= {f"{at}.attn.qkv": (3 * DIM, DIM), f"{at}.attn.proj": (DIM, DIM)}
        linears |= {f"{at}.mlp.fc1": (4 * DIM, DIM), f"{at}.mlp.fc2": (DIM, 4 * DIM)}
        norms += [f"{at}.norm1", f"{at}.norm2"]
    for name, shape in linears.items():
        w |= {f"{name}.weight": normal(*shape), f"{name}.bias": normal(shape[0])}
    for name in norms:
        w |= {f"{name}.weight": 1 + normal(DIM), f"{name}.bias": normal(DIM)}
    return w | {f"reranker.{k}": v for k, v in plain.weights(RERANKER, random).items()}


def attention(w, name, x):
    """Softmax of the last block's queries and keys, as the paper defines attention scores."""
    batch, tokens, dim = x.shape
    qkv = plain.linear(w, f"{name}.attn.qkv", plain.norm(w, f"{name}.norm1", x, 1e-6))
    q, k, _ = qkv.reshape(batch, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    return (q @ k.transpose(-1, -2) / (dim // HEADS) ** 0.5).softmax(-1)


def extract(w, images, detach):
    x = F.conv2d(images, w["backbone.patch_embed.proj.weight"], w["backbone.patch_embed.proj.bias"], stride=PATCH)
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([w["backbone.cls_token"].expand(len(x), 1, -1), x], 1) + w["backbone.pos_embed"]
    for i in range(DEPTH - 1):
        x = plain.block(w, f"backbone.blocks.{i}", x, VIT)
    last = f"backbone.blocks.{DEPTH - 1}"
    with torch.no_grad():
        seen = attention(w, last, x)[:, :, 0, 1:].sum(1)
    out = plain.norm(w, "backbone.norm", plain.block(w, last, x, VIT), 1e-6)
    descriptor = F.normalize(plain.linear(w, "head", out[:, 0]), dim=1)
    values, index = seen.topk(COUNT, dim=1)
    columns = SIDE // PATCH
    place = lambda cells: (cells * PATCH + PATCH / 2) / SIDE
    places = torch.stack([place(index % columns), place(index // columns), values / values[:, :1]], 2)
    tokens = x[:, 1:].gather(1, index[..., None].expand(-1, -1, DIM))
    if detach:
        tokens = tokens.detach()
    return descriptor, torch.cat([places, plain.linear(w, "local_head", tokens)], 2)


def triplet(d, triplets, squared):
    q, p, n = (d[[t[i] for t in triplets]] for i in range(3))
    if not squared:
        return F.triplet_margin_loss(q, p, n, margin=0.1)
    square = lambda a, b: ((a - b + 1e-6) ** 2).sum(1)
    return F.relu(square(q, p) - square(q, n) + 0.1).mean()


def main():
    random = torch.Generator().manual_seed(4)
    w = weights(random)
    images = torch.randn((8, 3, SIDE, SIDE), generator=random)
    # Two queries with two negatives each.
    triplets = [(0, 1, 2), (0, 1, 3), (4, 5, 6), (4, 5, 7)]
    pairs = [(0, 1, 1), (0, 2, 0), (0, 3, 0), (4, 5, 1), (4, 6, 0), (4, 7, 0)]
    golden = {f"weights.{k}": v for k, v in w.items()} | {"images": images}
    cases = {
        "triplet": (True, False, False, True),
        "triplet_squared": (True, True, False, True),
        "rerank_detached": (False, False, True, True),
        "rerank_through": (False, False, True, False),
        "both_detached": (True, False, True, True),
        "both_through": (True, False, True, False),
    }
    for name, (with_global, squared, with_rerank, detach) in cases.items():
        for value in w.values():
            value.grad = None
            value.requires_grad_(True)
        descriptor, local = extract(w, images, detach)
        loss = torch.zeros(())
        if with_global:
            loss = loss + triplet(descriptor, triplets, squared)
        if with_rerank:
            own = {k.removeprefix("reranker."): v for k, v in w.items() if k.startswith("reranker.")}
            logits = torch.stack([plain.logits(own, local[a], local[b], RERANKER) for a, b, _ in pairs])
            loss = loss + F.cross_entropy(logits, torch.tensor([same for *_, same in pairs]))
        loss.backward()
        golden[f"{name}.loss"] = loss.detach().reshape(1)
        for key, value in w.items():
            if value.grad is not None:
                golden[f"{name}.grad.{key}"] = value.grad.clone()
    save_file({k: v.detach().contiguous() for k, v in golden.items()}, here / "golden.safetensors")
    print({k: round(v.item(), 4) for k, v in golden.items() if k.endswith(".loss")})


main()
