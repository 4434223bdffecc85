"""SNIP, single-shot network pruning by connection sensitivity (Lee et al., ICLR 2019, arXiv 1810.02340)."""

from __future__ import annotations

from pruning.masked import MaskedPruner


class SNIPPruner(MaskedPruner):
    """The first mini-batch chooses the mask (Algorithm 1): the largest |dL/dw * w| of all layers are kept, for good.

    dL/dw * w is the loss's derivative by the weight's mask at a mask of ones. The same batch makes the first optimiser
    step, with its gradient masked: the paper throws the batch away, and here all methods make the same steps. So
    BatchNorm, the classifier and the kept weights have one step by the dense network's gradient.
    """

    title = "SNIP"
    summary = (
        "before training, by connection sensitivity: the first mini-batch keeps the weights with the largest gradient "
        "times weight"
    )

    def after_backward(self) -> None:
        from pruning.weights import magnitude_mask

        if not self.pruned:
            self.take(magnitude_mask(self.weights.grad * self.weights.values, self.final_sparsity))
        super().after_backward()

    def phase(self) -> int | None:
        return super().phase() if self.pruned else None
