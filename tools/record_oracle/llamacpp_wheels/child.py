"""Start one server of a wheel and leave: run as a program of its own, since a server that refuses ends its process.

    python child.py FOLDER MODEL [llama-server's options]

Exit code 3: the build has no such option.
"""

import os
import sys
import types

NO_SUCH_OPTION = 3

_INTEGERS = {"-c": "n_ctx", "-np": "n_parallel", "-b": "n_batch", "-ub": "n_ubatch"}
_TYPES = {"-ctk": "cache_type_k", "-ctv": "cache_type_v"}
_FLAGS = {"-kvu": "kv_unified", "--swa-full": "swa_full", "--embeddings": "embedding"}


def main() -> int:
    """Apply the options to the server's parameters and load the model."""
    folder, model, *words = sys.argv[1:]
    sys.path.insert(0, folder)
    for name in ("gguf", "numpy", "orjson", "requests"):  # of the wheel's helpers, which nothing here calls
        stand_in = types.ModuleType(name)
        stand_in.__getattr__ = lambda wanted: type(wanted, (), {})  # type: ignore[method-assign]
        sys.modules.setdefault(name, stand_in)
    import xllamacpp as engine  # type: ignore[import-not-found]  # noqa: PLC0415  of the folder given

    params = engine.CommonParams()
    if hasattr(params.model, "path"):
        params.model.path = model
    else:
        params.model = model
    params.warmup = False
    if hasattr(params, "verbosity"):
        params.verbosity = 4
    if hasattr(params, "fit_params"):
        params.fit_params = False
    rest = iter(words)
    for word in rest:
        if not _applied(engine, params, word, rest):
            return NO_SUCH_OPTION
    server = engine.Server(params)
    assert server is not None  # kept: its end waits for its threads
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without waiting for the server's threads


def _applied(engine, params, word, rest) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001
    if word in _INTEGERS:
        setattr(params, _INTEGERS[word], int(next(rest)))
    elif word in _TYPES:
        setattr(params, _TYPES[word], getattr(engine.ggml_type, f"GGML_TYPE_{next(rest).upper()}"))
    elif word == "-fa":
        value = next(rest)
        if hasattr(params, "flash_attn_type"):
            kinds = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}
            params.flash_attn_type = getattr(engine.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{kinds[value]}")
        elif value == "auto":
            return False
        else:
            params.flash_attn = value == "on"
    elif not hasattr(params, _FLAGS[word]):
        return False
    else:
        setattr(params, _FLAGS[word], True)
    return True


if __name__ == "__main__":
    sys.exit(main())
