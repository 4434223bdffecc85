"""Which device, precision and threads a run uses."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from configs.errors import RunError, UsageError

# What a CUDA context takes beside torch's own memory, in MiB; generous, and not measured.
CONTEXT_MIB = 1024


def pick_device(name: str) -> torch.device:
    """`auto` is cuda, then mps, then cpu. UsageError when the named device is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"argument --device: {name!r} is unknown; give auto, cpu, cuda, cuda:N or mps")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        have = torch.cuda.device_count()
        raise UsageError(f"argument --device: {name} is not available ({have} CUDA devices here); give auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("argument --device: mps is not available on this machine; give auto or cpu")
    return device


def cuda_names(name: str) -> list[str]:
    """The CUDA devices that `--device` stands for: all of them for auto and cuda, none where it is another device."""
    if pick_device(name).type != "cuda":
        return []
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] if name in ("auto", "cuda") else [name]


def own_share(device: torch.device, models: int) -> None:
    """Work on `device` alone from now on, and with `models` processes on it take no more than a share of its memory.

    Without a limit the queries of one process, which take the largest batches that fit, would starve the others.
    """
    if device.type != "cuda":
        return
    torch.cuda.set_device(device if device.index is not None else 0)
    if models > 1:
        total = torch.cuda.mem_get_info(device)[1] / 2**20
        share = max(total / models - CONTEXT_MIB, 0.5 * total / models)
        torch.cuda.set_per_process_memory_fraction(share / total, device)


@contextlib.contextmanager
def memory_errors(batch_size: int) -> Iterator[None]:
    """Within it, running out of memory is a RunError that names the flags to lower."""
    try:
        yield
    except RuntimeError as error:
        words = str(error)
        on_gpu = isinstance(error, torch.OutOfMemoryError) or ("CUDA" in words and "out of memory" in words)
        if not on_gpu and "can't allocate memory" not in words:
            raise
        where, other = ("the GPU", "--models-per-device") if on_gpu else ("this machine", "--jobs")
        raise RunError(f"out of memory on {where}; lower --batch-size ({batch_size}) or {other}") from None


def pick_precision(wanted: str, device: torch.device) -> str:
    """`auto` is bfloat16 where the hardware computes in it, else float32."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    if device.type == "cpu":
        # an older torch without this function gets float32, which is right everywhere
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
        return "bfloat16" if native else "float32"
    return "float32"


def to_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model, convolutions in channels_last, which is what they are fastest in everywhere."""
    return model.to(device).to(memory_format=torch.channels_last)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, recorded with each run; they may change last bits, not the experiment."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }
