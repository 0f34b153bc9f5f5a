"""DINOv2's own code (facebookresearch/dinov2 on PYTHONPATH, XFORMERS_DISABLED=1): position embeddings at sizes other than
the stored one, and descriptors of small transformers with registers and SwiGLU, with generated weights."""

import json
from functools import partial

import torch
from dinov2.layers import MemEffAttention, NestedTensorBlock
from dinov2.models.vision_transformer import DinoVisionTransformer
from generate import fill, image, uniform
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

SIZES = [(224, 224), (322, 322), (518, 518), (560, 420), (1022, 770)]
# What hub/backbones.py passes for models without and with registers.
PLAIN = dict(interpolate_antialias=False, interpolate_offset=0.1)
REGISTERS = dict(interpolate_antialias=True, interpolate_offset=0.0, num_register_tokens=4)


def transformer(dim, depth, heads, **more):
    """As `vit_base` and others build it, for 518 x 518 pixels in patches of 14."""
    return DinoVisionTransformer(
        img_size=518,
        patch_size=14,
        embed_dim=dim,
        depth=depth,
        num_heads=heads,
        mlp_ratio=4,
        init_values=1.0,
        block_chunks=0,
        block_fn=partial(NestedTensorBlock, attn_class=MemEffAttention),
        **more,
    )


def fit(embedding, size, patch, registers):
    """A position embedding `[1, 1 + side * side, dim]` at another size in pixels, by the rule of either kind of model."""
    side = int((embedding.shape[1] - 1) ** 0.5)
    rule = REGISTERS if registers else PLAIN
    model = DinoVisionTransformer(
        img_size=side * patch, patch_size=patch, embed_dim=embedding.shape[2], depth=1, num_heads=1, block_chunks=0, **rule
    )
    model.pos_embed.data = embedding
    tokens = torch.zeros(1, 1 + (size[0] // patch) * (size[1] // patch), embedding.shape[2])
    with torch.no_grad():
        return model.interpolate_pos_encoding(tokens, *size)


def positions(outputs):
    """One channel of each interpolated grid."""
    embedding = uniform("positions", (1, 1370, 1), -1.0, 1.0)
    for name, registers in [("dinov2", False), ("antialias", True)]:
        for size in SIZES:
            fitted = fit(embedding, size, 14, registers)[:, 1:]
            outputs[f"{name}.{size[0]}x{size[1]}"] = fitted.flatten().clone()
            if registers:
                timm = resample_abs_pos_embed(embedding, [side // 14 for side in size], [37, 37])[:, 1:]
                assert torch.equal(timm, fitted), "timm and DINOv2 with registers follow one rule"


def export(folder):
    outputs, shapes = {}, {}
    positions(outputs)
    cases = {"plain": PLAIN, "reg": REGISTERS, "swiglu": PLAIN | dict(ffn_layer="swiglufused")}
    for name, rule in cases.items():
        model = transformer(48, 2, 3, **rule)
        shapes[name] = json.dumps(fill(model))
        for height, width in SIZES:
            with torch.no_grad():
                tokens = model.forward_features(image(height, width))
            outputs[f"{name}.{height}x{width}.cls"] = tokens["x_norm_clstoken"][0].contiguous()
            outputs[f"{name}.{height}x{width}.mean"] = tokens["x_norm_patchtokens"].mean(1)[0].contiguous()
    save_file(outputs, folder / "dinov2.outputs.safetensors", metadata=shapes)
