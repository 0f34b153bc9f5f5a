"""torchvision's ResNet-50 with generated weights, and the R2Former heads."""

import torch
import torch.nn.functional as F
from generate import image, uniform
from safetensors.torch import save_file
from torchvision.models import resnet50


def generated(name, shape):
    """Generated weights, as in resnet.rs."""
    if name.endswith("running_var"):
        return uniform(name, shape, 0.5, 1.5)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if len(shape) > 1:
        bound = (3.0 / (shape[1] * (shape[2] * shape[3] if len(shape) == 4 else 1))) ** 0.5
        return uniform(name, shape, -bound, bound)
    if name.endswith("weight"):
        return uniform(name, shape, 0.5, 1.2)
    return uniform(name, shape, -0.3, 0.3)


def export(folder):
    model = resnet50(weights=None).eval()
    model.load_state_dict({k: generated(k, tuple(v.shape)) for k, v in model.state_dict().items()})
    images = image(64, 96)
    with torch.no_grad():
        x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
        third = model.layer3(model.layer2(model.layer1(x)))
        last = model.layer4(third)
        gem = lambda x, p: x.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p)
        unit = lambda x: F.normalize(x, dim=1)
        outputs = {"mean": unit(last.mean((2, 3))), "gem": unit(gem(last, 3))}

        weight = generated("head.weight", (256, 2048))
        bias = generated("head.bias", (256,))
        features = unit(last)
        for name, power in [("global", 3.0), ("global_power", 2.5)]:
            outputs[name] = unit(F.linear(gem(features, power), weight, bias))
        driven = F.conv2d(features.clamp(min=1e-6), weight[:, :, None, None]).clamp(min=1e-6).sum(1, keepdim=True)
        attention = F.interpolate(driven, scale_factor=2, mode="bicubic", align_corners=False)
        outputs["attention"] = attention.flatten(1)
        local_weight = generated("local_head.weight", (128, 1024))
        local_bias = generated("local_head.bias", (128,))
        outputs["local"] = F.linear(third.flatten(2).transpose(1, 2), local_weight, local_bias)
    print("layer4", last.abs().mean(), last.max(), "zero", (last == 0).float().mean())
    save_file({k: v.contiguous() for k, v in outputs.items()}, folder / "resnet.outputs.safetensors")
