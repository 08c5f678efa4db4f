"""LoRA: train low-rank adapters of the transformer's linear layers in place of its weights (peft)."""

from typing import Any

from worldmodel.errors import InputError, MissingDependency
from worldmodel.training.config import LoraConfig

NAME = "flowframes"


def add_adapters(transformer: Any, config: LoraConfig) -> None:
    """Give `transformer` adapters; only they require gradients then.

    Raises:
        InputError: peft is absent, or no layer has one of the names.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingDependency("lora.rank: peft is not installed; pip install peft, or train all weights") from error
    names = [name for name, _ in transformer.named_modules() if name.endswith(config.targets)]
    if not names:
        raise InputError(f"lora.targets={list(config.targets)}: no layer has such a name; LTX and Wan have to_q, to_k")
    transformer.add_adapter(
        peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=list(config.targets)), NAME
    )


def merge_adapters(transformer: Any) -> None:
    """Fold the adapters into the weights, which is exact up to rounding, and remove them."""
    transformer.fuse_lora()
    transformer.unload_lora()
