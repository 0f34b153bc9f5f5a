"""Global-only files in both formats of torch.save, and malicious files."""

import os
import pathlib
from collections import OrderedDict

import torch


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/r2former_pickle_executed",)


def export(folder, golden, save_pth):
    checkpoint = torch.load(golden / "tiny.pth", weights_only=False)
    backbone = OrderedDict(
        (name.replace("module.backbone.", "module."), value)
        for name, value in checkpoint["model_state_dict"].items()
        if name.startswith("module.backbone.")
    )
    file = {"epoch_num": 3, "model_state_dict": backbone, "best_r5": 0.5}
    save_pth(file, folder / "global_only.pth")
    torch.save(file, folder / "global_only_legacy.pth", _use_new_zipfile_serialization=False)

    save_pth({"model_state_dict": Evil()}, folder / "evil.pth")
    torch.save(Evil(), folder / "evil_legacy.pth", _use_new_zipfile_serialization=False)
    few = OrderedDict([("module.cls_token", torch.ones(1, 1, 4)), ("module.evil", Evil())])
    save_pth({"model_state_dict": few}, folder / "evil_inside.pth")

    # The first entry of this archive's directory is as long as the zip64 records after it, for its name's sake.
    save_pth({"aggregation.1.p": torch.ones(1)}, folder / "ResNet18_512_cosplace.pth")

    # A few bytes that claim to be four terabytes: a stride of zero over one stored value.
    wide = torch.zeros(1).expand(10**6, 10**6)
    save_pth({"model_state_dict": {"module.cls_token": wide}}, folder / "expanded.pth")
    assert not pathlib.Path("/tmp/r2former_pickle_executed").exists()
