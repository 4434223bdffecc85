"""Pruning of whole channels by the norm of their filters (Li et al., ICLR 2017, arXiv 1608.08710)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.experiment import ExperimentConfig
from configs.knobs import knob
from pruning.base import Pruner
from pruning.static import StaticPruner

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruning.narrow import Channels


class ChannelPruner(StaticPruner):
    """As static, with whole channels: a filter, its BatchNorm scale and shift, and the weights that read its output.

    In a residual network only the channels inside a block go, since what a block adds to has to keep its shape
    (section 3.3 of the paper); in VGG those of every convolution. The filters with the smallest norms go, in one order
    over all layers: of equal densities by a filter's rank within its layer, so that each gives up the same share, of
    global ones by its norm. The paper sums over a filter and compares within a layer alone; here the norm is a mean
    over the filter's weights, which in one layer is the same order and lets layers of other sizes be compared. Each
    layer keeps its largest filter. As many go as bring the share of prunable weights that are gone nearest to the
    sparsity: what it then is, the measured sparsity says.

    While it trains, channels are masked; what is stored, asked and exported is the network without them.
    """

    title = "Channel"
    summary = (
        "at `--prune-epoch` the channels with the smallest filters go whole, in residual networks those inside the "
        "blocks; the network that is stored is smaller and faster, and its sparsity the nearest to the one asked for"
    )
    example = "--channel-norm l2 --densities global"
    narrows = True
    networks = ("resnet", "wideresnet", "resnet18", "vgg16")

    @dataclass(frozen=True, kw_only=True)
    class Knobs(StaticPruner.Knobs):
        """Which filters are small."""

        channel_norm: str = knob("l1", "norm that filters are compared by", choices=("l1", "l2"))
        densities: str = knob(
            "uniform",
            "how many channels each layer keeps; uniform is the same share, global as many as have the largest norms",
            choices=("global", "uniform"),
        )

    def __init__(self, config: ExperimentConfig, steps_per_epoch: int) -> None:
        super().__init__(config, steps_per_epoch)
        assert isinstance(config.knobs, self.Knobs)
        self.norm, self.densities = config.knobs.channel_norm, config.knobs.densities

    def attach(self, model: nn.Module) -> nn.Parameter:
        import torch

        from pruning.narrow import channels_of

        leaf = super().attach(model)
        self.channels = channels_of(model)
        self.sizes = [len(model.get_parameter(f"{one.convolution}.weight")) for one in self.channels]
        # [C] 1 for each channel that is kept, and [C, layers] which layer it belongs to
        self.kept = torch.ones(sum(self.sizes), device=leaf.device)
        self.layer_of = torch.block_diag(*(torch.ones(size, 1, device=leaf.device) for size in self.sizes)).long()
        norms = [model.get_submodule(one.norm) for one in self.channels]
        self.scales = [[value.detach() for value in norm.parameters()] for norm in norms]
        return leaf

    def move_in(self, other: Pruner) -> None:
        super().move_in(other)
        assert isinstance(other, ChannelPruner)
        self.channels, self.sizes, self.layer_of = other.channels, other.sizes, other.layer_of
        self.kept, self.scales = other.kept, other.scales
        self.kept.fill_(1)

    def by_layer(self, flat: Tensor) -> dict[Channels, Tensor]:
        """A [C] vector over all channels as its parts, layer by layer."""
        return dict(zip(self.channels, flat.split(self.sizes), strict=True))

    def choose(self) -> Tensor:
        """The mask [P] without the channels that go, which `kept` says."""
        import torch

        weights = dict(zip(self.weights.names, self.weights.views(self.weights.values), strict=True))
        filters = [weights[f"{one.convolution}.weight"].flatten(1) for one in self.channels]
        power = 1 if self.norm == "l1" else 2
        norms = [(rows.abs() ** power).mean(1) for rows in filters]
        ranks = [(one.argsort(stable=True).argsort() + 0.5) / len(one) for one in norms]
        key = torch.cat(ranks if self.densities == "uniform" else norms)
        last = torch.cat([rank > 1 - 1 / len(rank) for rank in ranks])
        order = key.masked_fill(last, torch.inf).argsort(stable=True)
        left = self.weights_left(order)
        wanted = len(self.mask) - round(self.final_sparsity * len(self.mask))
        gone = (left - wanted).abs().argmin()
        self.kept.copy_(order.argsort() >= gone)
        mask = torch.ones_like(self.mask)
        views = dict(zip(self.weights.names, self.weights.views(mask), strict=True))
        for one, kept in self.by_layer(self.kept).items():
            views[f"{one.convolution}.weight"].mul_(kept.view(-1, 1, 1, 1))
            if f"{one.reader}.weight" in views:  # not the classifier
                views[f"{one.reader}.weight"].mul_(kept.view(1, -1, 1, 1))
        return mask

    def weights_left(self, order: Tensor) -> Tensor:
        """Prunable weights, int64, that are left when the first 0, 1, ... channels in this order are gone; up to where
        a layer would have none."""
        import torch

        gone = torch.cat([torch.zeros_like(self.layer_of[:1]), self.layer_of[order].cumsum(0)])
        gone = gone[: len(order) - len(self.sizes) + 1]
        counts = torch.tensor(self.sizes, device=gone.device) - gone
        made = {f"{one.convolution}.weight": counts[:, place] for place, one in enumerate(self.channels)}
        read = {f"{one.reader}.weight": counts[:, place] for place, one in enumerate(self.channels)}
        total = torch.zeros_like(gone[:, 0])
        for name, (out, inner, height, width) in zip(self.weights.names, self.weights.shapes, strict=True):
            total = total + made.get(name, out) * read.get(name, inner) * (height * width)
        return total

    def take(self, mask: Tensor) -> None:
        super().take(mask)
        self._silence()

    def after_step(self) -> None:
        super().after_step()
        if self.pruned:
            self._silence()

    def _silence(self) -> None:
        """A channel that is gone is 0 behind its BatchNorm as well."""
        for kept, scales in zip(self.by_layer(self.kept).values(), self.scales, strict=True):
            for value in scales:
                value.mul_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "kept": self.kept.bool()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.kept.copy_(state["kept"])
