"""Attention over many keys, in tiles, against the plain formula."""

import torch

from keepsight.models.sam2.memory_attention import CPU_KEY_TILE, attend


def test_attention_in_tiles_is_attention():
    generator = torch.Generator().manual_seed(0)
    count = 4 * CPU_KEY_TILE + 77
    query = torch.randn(2, 300, 32, generator=generator)
    keys, values = torch.randn(2, count, 32, generator=generator), torch.randn(2, count, 8, generator=generator)
    query[0, 5] *= 30  # a row whose softmax is nearly one key
    plain = torch.softmax((query.double() @ keys.double().transpose(1, 2)), -1) @ values.double()
    assert torch.allclose(attend(query, keys, values, None).double(), plain, atol=1e-5)
    # With a bias the rows are taken whole; nothing masked gives the same.
    nothing = torch.zeros(2, 1, count)
    assert torch.allclose(attend(query, keys, values, nothing).double(), plain, atol=1e-5)
