"""One process of a two-process launch from the repository's root; started by tests/test_house.py, not collected."""

import os

import accelerate  # looks for Hugging Face `datasets` when it is imported
import datasets
import torch
import torch.distributed as dist

import worldmodel.datasets.nuscenes
import worldmodel.datasets.pairs

state = accelerate.PartialState(cpu=True)
ones = torch.ones(1)
dist.all_reduce(ones)
assert dist.get_backend() == "gloo" and ones.item() == 2, (dist.get_backend(), ones)
assert hasattr(datasets, "load_dataset") and not str(datasets.__file__).startswith(os.getcwd() + "/datasets"), datasets
assert "PixelPair" in vars(worldmodel.datasets.pairs)
print("probe passed")
state.destroy_process_group()
