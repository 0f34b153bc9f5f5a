"""Vision transformers of timm, also with DINOv2's own names, and their outputs."""

import dinov2_code
import timm.layers
import torch
import torch.nn.functional as F
from generate import image
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

timm.layers.set_fused_attn(False)
SMALL = dict(embed_dim=48, depth=3, num_heads=3)


def shake(model, seed):
    """Random values everywhere: no bias, norm, scale or token may be zero or one."""
    random = torch.Generator().manual_seed(seed)
    normal = lambda p, std: torch.randn(p.shape, generator=random) * std
    for name, p in model.named_parameters():
        if "norm" in name and name.endswith("weight"):
            p.data = 1 + normal(p, 0.3)
        elif name.endswith("gamma"):
            p.data = 0.6 + normal(p, 0.3)
        elif "qkv.weight" in name:
            p.data = normal(p, 0.25)
        elif name.endswith(("token", "pos_embed")):
            p.data = normal(p, 0.5)
        elif name.endswith("bias"):
            p.data = normal(p, 0.2)
        else:
            p.data = normal(p, 0.1)
    return model.eval()


def compute(model, images, rows):
    """All compared outputs of a model whose first `rows` tokens are class tokens."""
    seen = {}
    last = model.blocks[-1]
    hooks = [
        last.register_forward_pre_hook(lambda _, x: seen.update(local=x[0])),
        last.attn.attn_drop.register_forward_pre_hook(lambda _, x: seen.update(softmax=x[0])),
    ]
    with torch.no_grad():
        tokens = model.forward_features(images)
    for hook in hooks:
        hook.remove()
    prefix = model.num_prefix_tokens
    patches = tokens[:, prefix:]
    unit = lambda x: F.normalize(x, dim=-1)
    return {
        "cls": unit(tokens[:, 0]),
        "mean": unit(patches.mean(1)),
        "gem": unit(patches.clamp(min=1e-6).pow(3).mean(1).pow(1 / 3)),
        "attention": seen["softmax"][:, :, :rows, prefix:].sum(dim=(1, 2)),
        "local": seen["local"][:, prefix:].contiguous(),
    }


def timms(position, grid, size, patch, prefix):
    """The position embedding of another size in pixels, as timm fits it."""
    target = [side // patch for side in size]
    return resample_abs_pos_embed(position, target, grid, num_prefix_tokens=prefix)


def dinov2s(registers):
    """As DINOv2's own code fits it; the rows of registers are zero in a timm model."""

    def fit(position, grid, size, patch, prefix):
        own = torch.cat([position[:, :1], position[:, prefix:]], 1)
        fitted = dinov2_code.fit(own, size, patch, registers)
        return torch.cat([fitted[:, :1], position[:, 1:prefix], fitted[:, 1:]], 1)

    return fit


def case(outputs, name, build, sizes, patch, rows=1, positions=1, seed=0, fit=timms, change=None):
    """Runs one model at every size (the first is its default) and returns its state."""
    model = shake(build(sizes[0]), seed)
    if change:
        change(model)
    state = {k: v.clone().contiguous() for k, v in model.state_dict().items()}
    grid = [side // patch for side in sizes[0]]
    for size in sizes:
        target = [side // patch for side in size]
        other = build(size).eval()
        fitted = state["pos_embed"]
        if target != grid:
            fitted = fit(fitted, grid, size, patch, positions)
        other.load_state_dict(state | {"pos_embed": fitted})
        for what, value in compute(other, image(*size), rows).items():
            outputs[f"{name}.{size[0]}x{size[1]}.{what}"] = value.contiguous()
    return state


def export(folder, save_pth):
    outputs = {}
    timm_vit = lambda **more: lambda size: VisionTransformer(img_size=size, **SMALL, **more)

    state = case(
        outputs, "timm_vit", timm_vit(patch_size=16, num_classes=10), [(96, 128), (64, 160), (112, 80)], 16, seed=1
    )
    save_file(state, folder / "timm_vit.safetensors")

    deit = lambda size: VisionTransformerDistilled(img_size=size, patch_size=16, num_classes=10, **SMALL)
    state = case(outputs, "deit", deit, [(96, 128), (128, 96)], 16, rows=2, positions=2, seed=2)
    save_pth({"model": state}, folder / "deit.pth")

    dino = dict(patch_size=14, num_classes=0, init_values=1e-5)
    state = case(outputs, "timm_dinov2", timm_vit(**dino), [(84, 112), (70, 98)], 14, seed=3)
    save_file(state, folder / "timm_dinov2.safetensors")
    registers = timm_vit(**dino, reg_tokens=4, no_embed_class=True)
    state = case(outputs, "timm_dinov2_reg", registers, [(70, 70), (56, 98)], 14, positions=0, seed=4)
    save_file(state, folder / "timm_dinov2_reg.safetensors")

    # DINOv2's own files: a position for CLS, none for registers, and an unused mask token.
    mask = {"mask_token": torch.full((1, SMALL["embed_dim"]), 0.3)}
    state = case(outputs, "dinov2", timm_vit(**dino), [(70, 70), (84, 56)], 14, seed=5, fit=dinov2s(False))
    save_pth(mask | state, folder / "dinov2.pth")

    def unplaced(model):
        model.pos_embed.data[:, 1:5] = 0

    with_places = timm_vit(**dino, reg_tokens=4)
    rule = dict(positions=5, fit=dinov2s(True), change=unplaced)
    state = case(outputs, "dinov2_reg", with_places, [(70, 70), (84, 56)], 14, seed=6, **rule)
    position = state.pop("pos_embed")
    state["pos_embed"] = torch.cat([position[:, :1], position[:, 5:]], 1)
    state["register_tokens"] = state.pop("reg_token")
    save_pth(mask | state, folder / "dinov2_reg.pth")

    save_file(outputs, folder / "transformers.outputs.safetensors")
