"""DP-SGD (Abadi et al., CCS 2016, arXiv 1607.00133): what it is told. How it trains stands in `training.private`."""

from __future__ import annotations

from dataclasses import dataclass

from configs.knobs import MethodKnobs, knob
from pruning.base import Pruner


class DPSGD(Pruner):
    """Prunes nothing: a network with a guarantee, for the others to be held against.

    The guarantee is (epsilon, delta)-differential privacy of adding or removing one member, for the network of the last
    epoch, by the Rényi accountant of Poisson batches (Mironov et al. 2019, arXiv 1908.10530). What it does not count:
    settings that are chosen by looking at trainings, the number of members, and normalisation, which is of the whole
    data set. Noise and batches come from the run's own seed, so that it can be trained again: whoever knows the seed
    is guaranteed nothing. It is a yardstick, and no network to publish.
    """

    title = "DP-SGD"
    summary = (
        "nothing is pruned, and training is (`--epsilon`, `--delta`)-differentially private: Poisson batches, each "
        "example's gradient clipped to `--clip-norm`, Gaussian noise, GroupNorm for BatchNorm; needs the package opacus"
    )
    example = "--epsilon 8"
    fixed_sparsity = 0.0
    networks = ("resnet", "wideresnet", "resnet18", "vgg16", "mlp")
    private = True
    package = "opacus"
    named_by = "epsilon"

    @dataclass(frozen=True, kw_only=True)
    class Knobs(MethodKnobs):
        """What is guaranteed, and what an example may move."""

        epsilon: float = knob(8.0, "epsilon of the guarantee, at most", kind=float, low=0.1, high=100.0)
        delta: float = knob(1e-5, "delta of the guarantee", kind=float, low=1e-10, high=0.01)
        clip_norm: float = knob(
            1.0, "largest Euclidean norm of one example's gradient, over all weights", kind=float, low=1e-6, high=1e6
        )

    step = 0

    def before_forward(self, step: int) -> None:
        self.step = step

    def phase(self) -> int | None:
        return None
