"""Asks vLLM's own planner. Run by the engine's interpreter, which has no kvtop: a case a line in, an answer a line out.

    python -m tools.record_oracle.vllm.planner cc9.0

A case is {"name", "config", "options", "available_bytes"}, and "flashinfer_experts" where those kernels are installed.
An answer holds what the engine core decides before it would allocate, or `error` with its words. The decisions are
those of `EngineCore._initialize_kv_caches` itself, run over an executor that builds each stage's model class on the
meta device and has that much memory. Each case has a process of its own, forked after the imports: vLLM keeps much in
globals.
"""

import copy
import dataclasses
import json
import logging
import os
import re
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tools.record_oracle.vllm.standin import absent, stand_in

_ALWAYS = {"skip_tokenizer_init": True, "load_format": "dummy", "enforce_eager": True, "disable_log_stats": True}
_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
_CONCURRENCY = re.compile(r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x")


class _Said(logging.Handler):
    """What vLLM logs, for versions that keep their results nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"


class _Executor:
    """Workers that have built their models and measured their memory."""

    def __init__(self, config: Any, available_bytes: int) -> None:  # noqa: ANN401
        self.config, self.available_bytes = config, available_bytes
        stages = config.parallel_config.pipeline_parallel_size
        self.stages = [copy.deepcopy(config) if stages > 1 else config for _ in range(stages)]
        self.weights = [_build(stage_config, stage) for stage, stage_config in enumerate(self.stages)]
        self.specs = [_specs(stage_config) for stage_config in self.stages]
        self.configs: list[Any] = []

    def get_kv_cache_specs(self) -> list[dict[str, Any]]:
        return self.specs

    def get_supported_kv_cache_layouts(self) -> list[list[str]]:
        from vllm.v1.worker.worker_base import WorkerBase  # noqa: PLC0415

        ask = WorkerBase.get_supported_kv_cache_layouts
        return [ask(SimpleNamespace(vllm_config=one)) for one in self.stages]

    def determine_available_memory(self) -> list[int]:
        return [self.available_bytes] * len(self.stages)

    def set_kv_cache_layout(self, name: str) -> None:
        pass

    def initialize_from_config(self, configs: list[Any]) -> None:
        self.configs = configs

    def compile_or_warm_up_model(self) -> None:
        pass

    def collective_rpc(self, *_: Any, **__: Any) -> list[Any]:  # noqa: ANN401
        return []


def _build(config: Any, stage: int) -> int:  # noqa: ANN401
    """The model of a stage's first rank, without memory; bytes of its parameters."""
    import torch  # noqa: PLC0415
    from vllm.config import set_current_vllm_config  # noqa: PLC0415
    from vllm.model_executor.model_loader.utils import initialize_model  # noqa: PLC0415
    from vllm.platforms import current_platform  # noqa: PLC0415
    from vllm.utils.torch_utils import set_default_torch_dtype  # noqa: PLC0415

    from tools.record_oracle.vllm.parallel import be_rank  # noqa: PLC0415

    be_rank(config.parallel_config, stage)
    with set_current_vllm_config(config), torch.device("meta"), set_default_torch_dtype(config.model_config.dtype):
        model = initialize_model(config)
        if hasattr(current_platform, "update_block_size_for_backend"):
            current_platform.update_block_size_for_backend(config)
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def _specs(config: Any) -> dict[str, Any]:  # noqa: ANN401
    from vllm.config import set_current_vllm_config  # noqa: PLC0415
    from vllm.v1.worker.gpu.attn_utils import get_kv_cache_spec  # noqa: PLC0415

    with set_current_vllm_config(config):
        specs: dict[str, Any] = get_kv_cache_spec(config)
    return specs


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """What vLLM decides about one case. Raises what vLLM raises."""
    from vllm.config import set_current_vllm_config  # noqa: PLC0415
    from vllm.engine.arg_utils import EngineArgs  # noqa: PLC0415
    from vllm.usage.usage_lib import UsageContext  # noqa: PLC0415
    from vllm.v1.engine.core import EngineCore  # noqa: PLC0415

    said = _Said()
    logging.getLogger("vllm").addHandler(said)
    logging.getLogger("vllm").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        arguments = EngineArgs(model=folder, **_ALWAYS, **case["options"])
        config = arguments.create_engine_config(usage_context=UsageContext.OPENAI_API_SERVER)
        executor = _Executor(config, case["available_bytes"])
        core = SimpleNamespace(
            model_executor=executor, available_gpu_memory_for_kv_cache=-1, collective_rpc=executor.collective_rpc
        )
        with set_current_vllm_config(config):
            result = EngineCore._initialize_kv_caches(core, config)
    return _decided(config, executor, result, said.text)


def _decided(config: Any, executor: _Executor, result: Any, said: str) -> dict[str, Any]:  # noqa: ANN401
    cache = result[-1] if isinstance(result, tuple) else result
    kept = config.cache_config
    tokens, concurrency = _capacity(config, cache, said)
    pools = [_block_bytes(executor.config, one) for one in executor.configs]
    return {
        "num_blocks": cache.num_blocks,
        "block_size": kept.block_size,
        "kv_tokens": tokens,
        "max_concurrency": concurrency,
        "backends": _backend_names(executor.stages[0]),
        "bytes_per_block": pools,
        "allocated_bytes": [pool * one.num_blocks for pool, one in zip(pools, executor.configs, strict=True)],
        "bytes_per_token": [_per_token(specs) for specs in executor.specs],
        "state_bytes": [sum(_unpadded(one) for one in specs.values() if _is_state(one)) for specs in executor.specs],
        "groups": [_group(one, config) for one in cache.kv_cache_groups],
        "layout": str(getattr(kept, "kv_cache_layout", None) or "") or None,
        "replicas": getattr(cache, "kv_tp_replicas", None),
        "weights": executor.weights,
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "max_model_len": config.model_config.max_model_len,
        "max_in_flight_tokens": getattr(config, "max_in_flight_tokens", None),
        "async_scheduling": getattr(config.scheduler_config, "async_scheduling", None),
        "cache_dtype": kept.cache_dtype,
    }


def _capacity(config: Any, cache: Any, said: str) -> tuple[int | None, float | None]:  # noqa: ANN401
    """Tokens and concurrency as vLLM computes them, or as it logs them where that is no function of its own."""
    from vllm.v1.core import kv_cache_utils  # noqa: PLC0415

    if hasattr(kv_cache_utils, "get_kv_cache_capacity"):
        tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(config, cache)
        return int(tokens), float(concurrency)
    logged, times = _TOKENS.search(said), _CONCURRENCY.search(said)
    return (
        int(logged.group(1).replace(",", "")) if logged else None,
        float(times.group(1)) if times else None,
    )


def _block_bytes(config: Any, cache: Any) -> int:  # noqa: ANN401
    """Bytes of one block of a worker's pool. Newer versions' tensors share their memory: their sum says nothing."""
    from vllm.v1.core import kv_cache_utils  # noqa: PLC0415

    if hasattr(kv_cache_utils, "_pool_bytes_per_block"):
        return int(kv_cache_utils._pool_bytes_per_block(config, cache.kv_cache_groups))
    return int(sum(tensor.size for tensor in cache.kv_cache_tensors)) // int(cache.num_blocks)


def _is_state(spec: Any) -> bool:  # noqa: ANN401
    return type(spec).__name__ == "MambaSpec"


def _unpadded(spec: Any) -> int:  # noqa: ANN401
    """Bytes of a block of one layer as its contents need them, without what unifying pages adds."""
    for name in ("unpadded_page_size_bytes", "real_page_size_bytes"):
        if hasattr(spec, name):
            return int(getattr(spec, name))
    if hasattr(spec, "page_size_padded"):
        return int(dataclasses.replace(spec, page_size_padded=None).page_size_bytes)
    return int(spec.page_size_bytes)


def _per_token(specs: dict[str, Any]) -> float:
    return float(sum(_unpadded(spec) / spec.block_size for spec in specs.values() if not _is_state(spec)))


def _group(group: Any, config: Any) -> dict[str, Any]:  # noqa: ANN401
    spec = group.kv_cache_spec
    blocks = -(-spec.max_memory_usage_bytes(config) // spec.page_size_bytes)
    return {
        "block_size": spec.block_size,
        "blocks_per_request_at_max_len": blocks,
        "kind": type(spec).__name__,
        "n_layers": len(group.layer_names),
    }


def _backend_names(config: Any) -> list[str]:  # noqa: ANN401
    from vllm.config import get_layers_from_vllm_config  # noqa: PLC0415
    from vllm.model_executor.layers.attention_layer_base import AttentionLayerBase  # noqa: PLC0415

    names = []
    for layer in get_layers_from_vllm_config(config, AttentionLayerBase).values():
        name = layer.get_attn_backend().get_name()
        if name not in names:
            names.append(name)
    return names


def _in_a_process(case: dict[str, Any]) -> dict[str, Any]:
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends[0])
        if case.get("flashinfer_experts"):
            absent.clear()
        try:
            found = answer(case)
        except Exception as error:  # noqa: BLE001  whatever the engine raises is its answer
            found = {"error": str(error), "error_type": type(error).__name__}
            if os.environ.get("KVTOP_TRACE"):
                import traceback  # noqa: PLC0415

                traceback.print_exc()
        with os.fdopen(ends[1], "w") as pipe:
            json.dump(found, pipe)
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    found = json.loads(text) if text else {"error": "the engine ended without a word", "error_type": "died"}
    return {"name": case["name"], **found}


def _import_early(cases: list[dict[str, Any]]) -> None:
    """What the cases will need, once and before the forks: model classes and attention backends."""
    from vllm.model_executor.models import registry  # noqa: PLC0415
    from vllm.v1.attention.backends.registry import AttentionBackendEnum  # noqa: PLC0415

    # A model class is looked at in another process, which would know nothing of the stand-in.
    registry._run_in_subprocess = lambda look: look()
    known = registry.ModelRegistry.models
    names = {name for case in cases for name in case["config"].get("architectures") or ()}
    loaders = [known[name].load_model_cls for name in sorted(names & known.keys())]
    loaders += [backend.get_class for backend in AttentionBackendEnum if backend.name != "CUSTOM"]
    for load in loaders:
        try:
            load()
        except Exception as error:  # noqa: BLE001  for another maker's card, or not there: the case that needs it says so
            print(f"not imported: {error}", file=sys.stderr)


def main() -> int:
    """Answer the cases of standard input for the card named on the command line."""
    stand_in(sys.argv[1])
    out = os.fdopen(os.dup(1), "w")
    with redirect_stdout(sys.stderr):
        import vllm.engine.arg_utils  # noqa: PLC0415
        import vllm.v1.engine.core  # noqa: F401, PLC0415

        cases = [json.loads(line) for line in sys.stdin]
        _import_early(cases)
        for case in cases:
            out.write(json.dumps(_in_a_process(case)) + "\n")
            out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
