"""The reranker in plain PyTorch, first checked against the golden tensors of the published code."""

import json

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

PUBLISHED = dict(
    dim=32, heads=4, pair_depth=2, depth=6, mlp_ratio=4, neighbours=5, use_xy=True, use_attention=True,
    use_correlation=True, use_position_embedding=True, norm_eps=1e-6,
)  # fmt: skip


def norm(w, name, x, eps):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def block(w, name, x, c):
    batch, tokens, dim = x.shape
    qkv = linear(w, f"{name}.attn.qkv", norm(w, f"{name}.norm1", x, c["norm_eps"]))
    q, k, v = qkv.reshape(batch, tokens, 3, c["heads"], -1).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim)
    x = x + linear(w, f"{name}.attn.proj", y)
    y = F.gelu(linear(w, f"{name}.mlp.fc1", norm(w, f"{name}.norm2", x, c["norm_eps"])))
    return x + linear(w, f"{name}.mlp.fc2", y)


def stack(w, name, token, x, depth, c):
    if depth == 0:
        return norm(w, "decoder_norm", x.mean(1), c["norm_eps"])
    x = torch.cat([w[token].expand(len(x), 1, -1), x], 1)
    for i in range(depth):
        x = block(w, f"{name}.{i}", x, c)
    return norm(w, "decoder_norm", x, c["norm_eps"])[:, 0]


def sine_cosine(uv, dim):
    frequencies = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    parts = []
    for axis in range(2):
        angles = uv[..., axis, None].double() * frequencies
        parts += [angles.sin(), angles.cos()]
    return torch.cat(parts, -1).float()


def logits(w, query, reference, c):
    """One pair: query (Nq, 3 + d) and reference (Nr, 3 + d) -> (2,)."""
    places = [rows[:, :3].clamp(0, 1) for rows in (query, reference)]
    fq, fr = (F.normalize(rows[:, 3:], dim=1) for rows in (query, reference))
    similarity = fq @ fr.T
    tokens = []
    for of_query, matrix in [(True, similarity), (False, similarity.T)]:
        k = min(c["neighbours"], matrix.shape[1])
        order = matrix.argsort(dim=1, descending=True)[:, :k]
        s = matrix.gather(1, order)[..., None]
        own = places[0 if of_query else 1][:, None].expand(-1, k, -1)
        other = places[1 if of_query else 0][order]
        q, r = (own, other) if of_query else (other, own)
        channels = []
        for side in (q, r):
            channels += [side[..., :2]] * c["use_xy"] + [side[..., 2:]] * c["use_attention"]
        channels += [s] * c["use_correlation"]
        x = linear(w, "pair_head", torch.cat(channels, -1))
        if c["use_position_embedding"]:
            x = x + sine_cosine(r[..., :2], c["dim"])
        x = linear(w, "pair_head_2", stack(w, "blocks_2", "cls_token_2", x, c["pair_depth"], c))
        if c["use_position_embedding"]:
            x = x + sine_cosine(q[:, 0, :2], c["dim"])
        tokens.append(x)
    x = torch.cat(tokens)[None]
    return linear(w, "decoder_pred", stack(w, "blocks", "cls_token", x, c["depth"], c))[0]


def check_golden(golden):
    checkpoint = torch.load(golden / "tiny.pth", weights_only=False)["model_state_dict"]
    w = {k.removeprefix("module.Reranker."): v for k, v in checkpoint.items() if "Reranker" in k}
    outputs = load_file(golden / "tiny.outputs.safetensors")
    worst = 0.0
    for size in ["96x128", "64x96", "96x64", "160x128", "112x192"]:
        query, reference = outputs[f"{size}.local"], outputs[f"{size}.local2"]
        pairs = [(0, 0), (1, 1), (0, 1), (1, 0)]
        found = torch.stack([logits(w, query[i], reference[j], PUBLISHED) for i, j in pairs])
        worst = max(worst, (found - outputs[f"{size}.rerank_logits"]).abs().max().item())
    print("golden logits: largest difference", worst)
    assert worst < 1e-5


def weights(c, random):
    normal = lambda *shape, std=0.25: torch.randn(shape, generator=random) * std
    dim, hidden = c["dim"], c["dim"] * c["mlp_ratio"]
    channels = 4 * c["use_xy"] + 2 * c["use_attention"] + c["use_correlation"]
    linears = {"pair_head": (dim, channels), "pair_head_2": (dim, dim), "decoder_pred": (2, dim)}
    norms = ["decoder_norm"]
    for name, depth in [("blocks_2", c["pair_depth"]), ("blocks", c["depth"])]:
        for i in range(depth):
            at = f"{name}.{i}"
            linears |= {f"{at}.attn.qkv": (3 * dim, dim), f"{at}.attn.proj": (dim, dim)}
            linears |= {f"{at}.mlp.fc1": (hidden, dim), f"{at}.mlp.fc2": (dim, hidden)}
            norms += [f"{at}.norm1", f"{at}.norm2"]
    w = {"cls_token": normal(1, 1, dim), "cls_token_2": normal(1, 1, dim)}
    for name, shape in linears.items():
        w |= {f"{name}.weight": normal(*shape), f"{name}.bias": normal(shape[0])}
    for name in norms:
        w |= {f"{name}.weight": 1 + normal(dim), f"{name}.bias": normal(dim)}
    return w


def rows(pairs, count, dim, random):
    # Places slightly outside 0..1, so that the clamp has an effect.
    places = torch.rand((pairs, count, 3), generator=random) * 1.2 - 0.1
    return torch.cat([places, torch.randn((pairs, count, dim), generator=random) * 3], 2)


def export(folder, golden):
    check_golden(golden)
    small = PUBLISHED | dict(dim=16, heads=2, pair_depth=1, depth=2)
    dropped = lambda *names: small | {f"use_{name}": False for name in names}
    # Name: configuration, features of query and reference, feature length.
    cases = {
        "one_neighbour": (small | dict(neighbours=1), 7, 7, 16),
        "three_neighbours": (small | dict(neighbours=3), 33, 33, 16),
        "unequal_counts": (small, 7, 33, 16),
        "unequal_counts_turned": (small, 33, 7, 8),
        "fewer_than_neighbours": (small, 3, 4, 8),
        "single_feature": (small, 1, 7, 8),
        "without_xy": (dropped("xy"), 9, 8, 8),
        "without_attention": (dropped("attention"), 9, 8, 8),
        "without_correlation": (dropped("correlation"), 9, 8, 8),
        "correlation_alone": (dropped("xy", "attention"), 9, 8, 8),
        "without_position_embedding": (dropped("position_embedding"), 9, 8, 8),
        "nothing_of_places": (dropped("xy", "attention", "position_embedding"), 9, 8, 8),
        "without_pair_blocks": (small | dict(pair_depth=0), 9, 8, 8),
        "without_blocks": (small | dict(depth=0), 9, 8, 8),
        "other_sizes": (small | dict(dim=24, heads=3, mlp_ratio=2, norm_eps=1e-3), 9, 8, 8),
    }
    tensors, configs = {}, {}
    for seed, (name, (config, nq, nr, dim)) in enumerate(cases.items()):
        random = torch.Generator().manual_seed(seed)
        w, query, reference = weights(config, random), rows(2, nq, dim, random), rows(2, nr, dim, random)
        found = torch.stack([logits(w, q, r, config) for q, r in zip(query, reference)])
        configs[name] = config
        tensors |= {f"{name}.query": query, f"{name}.reference": reference, f"{name}.logits": found}
        tensors |= {f"{name}.weights.reranker.{k}": v for k, v in w.items()}
    save_file(tensors, folder / "reranker.safetensors")
    (folder / "reranker.json").write_text(json.dumps(configs, indent=1) + "\n")
