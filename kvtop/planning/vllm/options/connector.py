"""KV connectors: what they switch off, and what they keep in host memory.

Source: vLLM 0.32.0, `config/vllm.py` (hybrid KV cache manager rules), `distributed/kv_transfer/kv_connector/v1/*.py`
(which classes are `SupportsHMA`), `config/cache.py` (`kv_offloading_size`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.launch import LaunchOptions
from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.refusals import StartRefusedError

_KEEP_GROUPS = frozenset(
    {
        *("DecodeBenchConnector", "ExampleHiddenStatesConnector", "MoRIIOConnector", "MooncakeConnector"),
        *("MooncakeStoreConnector", "MultiConnector", "NixlConnector", "NixlPullConnector", "NixlPushConnector"),
        *("OffloadingConnector", "SimpleCPUOffloadConnector"),
    }
)
"""Connectors under which layers keep groups of their own."""
_LAYOUT = frozenset({"HiSparseConnector"})


@dataclass(frozen=True, slots=True)
class Connector:
    """`keeps_groups` False: local attention is kept for all tokens. `note` is for a person, "" for nothing."""

    keeps_groups: bool = True
    note: str = ""


def connector_of(options: LaunchOptions) -> Connector:
    """What a command line says.

    Raises:
        StartRefusedError: no JSON, in argparse's words.
        NoExactRuleError: a connector that lays the pool out anew.
    """
    size = options.value("kv-offloading-size")
    note = "" if size is None else f"{size} GiB of host memory hold a second tier of the cache (--kv-offloading-size)"
    text = options.value("kv-transfer-config")
    if text is None:
        return Connector(note=note)
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, Mapping):
        raise StartRefusedError(f"argument --kv-transfer-config: Value {text} cannot be converted to <function loads>.")
    name = str(parsed.get("kv_connector", ""))
    if name in _LAYOUT:
        raise NoExactRuleError(
            f"--kv-transfer-config {name}: another layout of the pool, which kvtop cannot plan exactly"
        )
    keeps = name in _KEEP_GROUPS or not name
    told = f"{name} moves blocks to and from elsewhere: the pool on the card stays as it is"
    if not keeps:
        told = f"{name} switches the hybrid KV cache manager off: windows are kept for all tokens"
    return Connector(keeps, "; ".join(part for part in (told if name else "", note) if part))
