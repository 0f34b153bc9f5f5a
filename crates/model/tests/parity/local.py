"""Local features of transformers: the weights of patches in SALAD's, MegaLoc's and BoQ's own code, the query, key and value
of each patch in DINOv2's own code, and matches counted as EffoVPR describes it.

EffoVPR has no official code: its selection and its counts are written here from its description. Repositories are on
PYTHONPATH as for aggregations.py.
"""

import json

import aggregations
import megaloc_model
import torch
from dinov2_code import PLAIN, REGISTERS, transformer
from generate import fill, image, uniform
from safetensors.torch import save_file

SIZES = [(98, 98), (126, 84)]
# DINOv2 with registers: width, blocks, heads, and a picture of odd sides.
DIM, DEPTH, HEADS, SIZE = 48, 3, 3, (98, 126)
# Thresholds of attention and of cosine, tamer than the published 0.05 and 0.65 for the noise of this test.
ATTENTION, COSINES = [0.0, 0.01, 0.02], [0.1, 0.4, 0.6]


def salad_weights(module, model, picture):
    """One minus the share of each patch that goes to the dust bin."""
    found = []
    original = module.get_matching_probs

    def recording(*arguments, **more):
        found.append(original(*arguments, **more))
        return found[-1]

    module.get_matching_probs = recording
    model(picture)
    module.get_matching_probs = original
    return 1 - found[0].exp()[0, -1]


def boq_weights(model, picture):
    """The attention of all queries, averaged over heads (by MultiheadAttention) and blocks."""
    found = model.aggregator(model.backbone(picture))
    return torch.stack([attention[0].sum(0) for attention in found[1]]).mean(0)


def aggregated(outputs, shapes):
    torch.hub.load = lambda *_, **__: transformer(aggregations.DIM, aggregations.DEPTH, aggregations.HEADS, **PLAIN)
    from models.aggregators import salad as salad_module

    cases = {
        "megaloc": (aggregations.megaloc, lambda m, x: salad_weights(megaloc_model, m, x)),
        "salad": (aggregations.salad, lambda m, x: salad_weights(salad_module, m, x)),
        "boq": (aggregations.boq, boq_weights),
    }
    for name, (build, weights) in cases.items():
        model = build()
        shapes[name] = json.dumps(fill(model))
        for height, width in SIZES:
            outputs[f"{name}.{height}x{width}"] = weights(model, image(height, width)).contiguous()


def facets(model, picture):
    """Input, queries, keys and values of each block, [tokens, width]."""
    inputs, products = [], []
    hooks = [block.register_forward_pre_hook(lambda _, x: inputs.append(x[0][0])) for block in model.blocks]
    hooks += [block.attn.qkv.register_forward_hook(lambda _, __, out: products.append(out[0])) for block in model.blocks]
    model.forward_features(picture)
    for hook in hooks:
        hook.remove()
    return [(tokens, *product.chunk(3, dim=-1)) for tokens, product in zip(inputs, products)]


def cls_key(queries, keys, prefix):
    return torch.softmax(queries[prefix:] @ keys[0] / queries.shape[1] ** 0.5, dim=0)


def count(query, reference, least):
    """Mutual nearest neighbours with a cosine above `least`."""
    query, reference = [torch.nn.functional.normalize(rows, dim=1) for rows in (query, reference)]
    if 0 in (len(query), len(reference)):
        return 0
    cosines = query @ reference.T
    there, back = cosines.argmax(1), cosines.argmax(0)
    rows = torch.arange(len(query))
    return int(((back[there] == rows) & (cosines[rows, there] > least)).sum())


def views():
    """A picture, and two that resemble it less and less."""
    shape = (1, 3, *SIZE)
    first = uniform("view 0", shape, -2.0, 2.0)
    return [first, 0.5 * first + 0.5 * uniform("view 1", shape, -2.0, 2.0), uniform("view 2", shape, -2.0, 2.0)]


def transformers(outputs, shapes):
    model, prefix = transformer(DIM, DEPTH, HEADS, **REGISTERS), 5
    shapes["reg"] = json.dumps(fill(model))
    pictures = [facets(model, view) for view in views()]
    for name, part in [("tokens", 0), ("query", 1), ("key", 2), ("value", 3)]:
        outputs[f"reg.{name}.2"] = pictures[0][2][part][prefix:].contiguous()
    outputs["reg.value.1"] = pictures[0][1][3][prefix:].contiguous()
    last = [picture[-1] for picture in pictures]
    outputs["reg.cls_key"] = cls_key(last[0][1], last[0][2], prefix)
    counts = []
    for attention in ATTENTION:
        selected = [values[prefix:][cls_key(q, k, prefix) > attention] for _, q, k, values in last]
        counts += [[len(selected[0])] + [count(selected[0], other, least) for other in selected[1:]] for least in COSINES]
    outputs["effovpr"] = torch.tensor(counts, dtype=torch.float32)


@torch.no_grad()
def export(folder):
    outputs, shapes = {}, {}
    aggregated(outputs, shapes)
    transformers(outputs, shapes)
    save_file(outputs, folder / "local.outputs.safetensors", metadata=shapes)
