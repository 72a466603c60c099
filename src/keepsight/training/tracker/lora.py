"""LoRA (Hu et al. 2021) on the image encoder's attention: a few numbers that bend it to one's pictures, merged at the end."""

from __future__ import annotations

from typing import Any

from torch import nn

from keepsight.core import InputError

_ATTENTION = r".*vision_encoder.*\.(qkv|q_proj|k_proj|v_proj)"


def add_lora(model: nn.Module, rank: int) -> list[nn.Parameter]:
    """Puts low-rank updates beside the projections of queries, keys and values; they begin as no change.

    Args:
        rank: of the updates. Up: bends further, more to learn and to overfit with.

    Returns:
        The new parameters, the only ones of the encoder to learn.

    Raises:
        InputError: the package `peft` is missing, or the encoder has no attention.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("--lora needs the package peft: pip install 'keepsight[train]'.") from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, bias="none", target_modules=_ATTENTION)
    try:
        inject_adapter_in_model(config, model)
    except ValueError as error:
        raise InputError("This model's image encoder has no attention to put LoRA on; leave --lora out.") from error
    return [parameter for name, parameter in model.named_parameters() if "lora_" in name]


def merge_lora(model: nn.Module) -> None:
    """Adds the updates to the weights that they stand beside and takes them away: the model is an ordinary one again."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            merging: Any = layer
            merging.merge()
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], merging.get_base_layer())
