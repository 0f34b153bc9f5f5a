"""Writes every file of this folder: python export.py (README.md)."""

import pathlib

import aggregations
import checkpoints
import dinov2_code
import local
import reranker
import resnet
import torch
import timm_code

folder = pathlib.Path(__file__).resolve().parent
golden = folder.parent / "golden"
torch.set_num_threads(1)

timm_code.export(folder, torch.save)
dinov2_code.export(folder)
aggregations.export(folder)
local.export(folder)
resnet.export(folder)
reranker.export(folder, golden)
checkpoints.export(folder, golden, torch.save)
