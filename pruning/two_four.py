"""2:4 sparsity: of four neighbouring weights two are zero, the pattern that sparse tensor cores multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruning.static import StaticPruner

if TYPE_CHECKING:
    from torch import Tensor

GROUP, DROPPED = 4, 2


class TwoFourPruner(StaticPruner):
    """As static, with the two smallest of every four weights masked (Mishra et al. 2021, arXiv 2104.08378, section 2).

    The four lie next to each other along the input channels, the dimension that a product sums over: a convolution in
    channels_last, as a linear layer, reads them as one group. A layer whose number of input channels is no multiple of
    four, as the first convolution's, cannot have the pattern and stays dense; the measured sparsity then lies below
    0.5. Of equal magnitudes the earlier is masked.
    """

    title = "2:4"
    summary = (
        "at `--prune-epoch` the two smallest of every four neighbouring weights along the input channels are dropped, "
        "for good; always at sparsity 0.5, less the layers whose input channels are no multiple of four"
    )
    example = "--prune-epoch 0"
    fixed_sparsity = 0.5

    def choose(self) -> Tensor:
        import torch

        mask = torch.ones_like(self.mask)
        for weights, kept in zip(self.weights.views(self.weights.values), self.weights.views(mask), strict=True):
            rows = weights.movedim(1, -1)
            if rows.shape[-1] % GROUP == 0:
                groups = rows.reshape(-1, GROUP).abs()
                smallest = groups.sort(dim=1, stable=True).indices[:, :DROPPED]
                kept.movedim(1, -1).copy_(torch.ones_like(groups).scatter(1, smallest, 0.0).view(rows.shape))
        return mask
