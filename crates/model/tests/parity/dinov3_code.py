"""DINOv3's own code (facebookresearch/dinov3 on PYTHONPATH), and transformers' DINOv2 and DINOv3: descriptors of small
transformers with generated weights, on grids of several shapes.

    PYTHONPATH=.../dinov3 python dinov3_code.py
"""

import json
import pathlib
import tempfile

import torch
from dinov3.hub import backbones
from dinov3.models.vision_transformer import DinoVisionTransformer
from generate import fill, image, weight
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model, DINOv3ViTConfig, DINOv3ViTModel

# Square, wide, high, odd, and one patch.
SIZES = [(64, 64), (48, 112), (80, 16), (16, 16)]
DINOV2_SIZES = [(70, 70), (56, 98)]
DIM, DEPTH, HEADS = 128, 3, 2


def own(build):
    """One of the published models as its function in the hub builds it, with fewer and narrower blocks."""

    def small(**options):
        return DinoVisionTransformer(**options | dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS))

    import dinov3.models.vision_transformer as module

    module.DinoVisionTransformer = small
    model = build(pretrained=False)
    module.DinoVisionTransformer = DinoVisionTransformer
    return model


def through_a_folder(model):
    """The same model read from a folder of generated weights under the names that the library saves, and their shapes."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        file = pathlib.Path(folder) / "model.safetensors"
        state = {name: weight(name, tuple(value.shape)) for name, value in load_file(file).items()}
        save_file(state, file, metadata={"format": "pt"})
        return type(model).from_pretrained(folder).eval(), {name: list(value.shape) for name, value in state.items()}


def compare(outputs, name, tokens, prefix, size):
    outputs[f"{name}.{size[0]}x{size[1]}.cls"] = tokens[0, 0].clone()
    outputs[f"{name}.{size[0]}x{size[1]}.mean"] = tokens[0, prefix:].mean(0).clone()


def export(folder):
    outputs, shapes = {}, {}
    builds = {"s": backbones.dinov3_vits16, "splus": backbones.dinov3_vits16plus}
    for name, build in builds.items():
        model = own(build)
        shapes[name] = json.dumps(fill(model))
        for size in SIZES:
            with torch.no_grad():
                found = model.forward_features(image(*size))
            tokens = torch.cat([found["x_norm_clstoken"][:, None], found["x_norm_patchtokens"]], 1)
            compare(outputs, name, tokens, 1, size)
    sizes = dict(hidden_size=DIM, num_hidden_layers=DEPTH, num_attention_heads=HEADS)
    models = {
        "hub_s": (DINOv3ViTModel(DINOv3ViTConfig(**sizes, intermediate_size=4 * DIM, num_register_tokens=4)), SIZES, 5),
        "hub_splus": (
            DINOv3ViTModel(
                DINOv3ViTConfig(**sizes, intermediate_size=256, num_register_tokens=4, use_gated_mlp=True, hidden_act="silu")
            ),
            SIZES,
            5,
        ),
        "hub_dinov2": (Dinov2Model(Dinov2Config(**sizes, image_size=126)), DINOV2_SIZES, 1),
    }
    for name, (model, wanted, prefix) in models.items():
        model, saved = through_a_folder(model)
        shapes[name] = json.dumps(saved)
        for size in wanted:
            with torch.no_grad():
                compare(outputs, name, model(image(*size)).last_hidden_state, prefix, size)
    save_file(outputs, folder / "dinov3.outputs.safetensors", metadata=shapes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    export(pathlib.Path(__file__).resolve().parent)
