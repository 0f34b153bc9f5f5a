"""CricaVPR, SelaVPR and SelaVPR++ by their own code, at reduced sizes with generated weights, one image a batch.

    XFORMERS_DISABLED=1 CRICAVPR=Lu-Feng/CricaVPR SELAVPR=Lu-Feng/SelaVPR SELAVPRPLUSPLUS=Lu-Feng/SelaVPRplusplus \
        python adapters_code.py

where each variable is the folder of a clone.
"""

import importlib
import json
import os
import pathlib
import sys
import types

import torch
from generate import fill, image
from safetensors.torch import save_file

DIM, HEADS, WIDTH = 192, 3, 96
# What the published sizes are of an adapter's width.
SIZES = (WIDTH, WIDTH // 2, WIDTH // 16, WIDTH // 4, WIDTH // 16, WIDTH // 4)


def modules(variable, *names):
    """Modules of a clone, whose packages have the same names as those of the others."""
    for name in [name for name in sys.modules if name.split(".")[0] in ("backbone", "network", "model")]:
        del sys.modules[name]
    sys.path.insert(0, os.environ[variable])
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.pop(0)


def narrow(adapter):
    return lambda *_, **options: adapter(DIM, *SIZES, **options)


def cricavpr():
    network, vit, block = modules("CRICAVPR", "network", "backbone.vision_transformer", "backbone.dinov2.block")
    block.MulConvAdapter = narrow(block.MulConvAdapter)
    small = dict(embed_dim=DIM, depth=2, num_heads=HEADS, block_fn=block.Block)
    network.vit_base = lambda **options: vit.DinoVisionTransformer(**options | small)
    model = network.CricaVPRNet()
    layer = torch.nn.TransformerEncoderLayer(DIM, 16, 256, activation="gelu", dropout=0.1, batch_first=False)
    model.encoder = torch.nn.TransformerEncoder(layer, num_layers=2)
    return model, lambda x: model(x)


def selavpr(registers):
    """Its network supposes 1024 channels."""
    network, vit, block = modules("SELAVPR", "network", "backbone.vision_transformer", "backbone.dinov2.block")
    small = dict(embed_dim=1024, depth=1, num_heads=16, block_fn=block.Block)
    network.vit_large = lambda **options: vit.DinoVisionTransformer(**options | small)
    model = network.GeoLocalizationNet(types.SimpleNamespace(registers=registers, foundation_model_path=None, resume=""))
    return model, lambda x: model(x)[1]


def selavprplusplus(depth, rerank):
    network, vit = modules("SELAVPRPLUSPLUS", "model.network", "model.vision_transformer")
    vit.MulConvAdapter = narrow(vit.MulConvAdapter)
    block = importlib.import_module("model.dinov2.block").Block
    small = dict(embed_dim=DIM, depth=depth, num_heads=HEADS, block_fn=block)
    for name in ("vit_base", "vit_large"):
        setattr(network, name, lambda **options: vit.DinoVisionTransformer(**options | small))
    backbone = "dinov2-base" if depth == 12 else "dinov2-large"
    options = dict(backbone=backbone, aggregation="gem", hashing=rerank, rerank=rerank, resume=True)
    model = network.GeoLocalizationNet(types.SimpleNamespace(**options))
    model.linear1, model.linear2 = torch.nn.Linear(DIM, DIM), torch.nn.Linear(DIM, 80)
    if rerank:
        model.linear3, model.linear4 = torch.nn.Linear(DIM, DIM), torch.nn.Linear(DIM, 64)
    return model, lambda x: model(x)[2] if rerank else model(x)


def export(folder):
    outputs, shapes = {}, {}
    cases = {
        "cricavpr": (cricavpr, [224]),
        "selavpr": (lambda: selavpr(False), [224]),
        "selavpr_reg": (lambda: selavpr(True), [224]),
        "selavprplusplus_base": (lambda: selavprplusplus(12, False), [98, 322]),
        "selavprplusplus_large_rerank": (lambda: selavprplusplus(24, True), [98]),
    }
    for name, (build, sides) in cases.items():
        model, descriptor = build()
        # Published from parallel training.
        shapes[name] = json.dumps(fill(model))
        for side in sides:
            with torch.no_grad():
                outputs[f"{name}.{side}x{side}"] = descriptor(image(side, side))[0].contiguous()
    save_file(outputs, folder / "adapters.outputs.safetensors", metadata=shapes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    export(pathlib.Path(__file__).resolve().parent)
