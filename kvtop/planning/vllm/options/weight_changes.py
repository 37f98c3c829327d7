"""Options after which the weights on the card are not those of the file: adapters, and layers kept in host memory.

Source: vLLM 0.32.0, `config/lora.py`, `lora/layers/*.py` (`create_lora_weights`), `config/offload.py`.
"""

from dataclasses import dataclass

from kvtop.domain.launch import LaunchOptions

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class WeightChanges:
    """`lora_slots` adapters of `lora_rank` have buffers, 0 for none; `offload_bytes` of weights stay on the host.

    `offloads_groups`: `--offload-group-size` keeps some layers on the host, how many is not known here.
    """

    lora_slots: int = 0
    lora_rank: int = 16
    offload_bytes: int = 0
    offloads_groups: bool = False


NO_CHANGES = WeightChanges()


def weight_changes_of(options: LaunchOptions) -> WeightChanges:
    """What a command line says; numbers that are none count as the default."""
    has_lora = options.value("enable-lora") == "true"
    offload = _number(options.value("cpu-offload-gb"))
    return WeightChanges(
        lora_slots=int(_number(options.value("max-loras")) or 1) if has_lora else 0,
        lora_rank=int(_number(options.value("max-lora-rank")) or 16),
        offload_bytes=int(offload * _GIB),
        offloads_groups=_number(options.value("offload-group-size")) > 0,
    )


def _number(text: str | None) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        return 0.0
