"""Engines and tools that kvtop knows by name and has no memory rules for: "no rule", which is not "bad usage"."""

import posixpath
import re
from collections.abc import Sequence

_PYTHON = re.compile(r"(?:[Pp]ython|pypy)[\d.]*(?:\.exe)?")
_PROGRAMS = {
    "sglang": "SGLang",
    "koboldcpp": "koboldcpp",
    "koboldcpp.py": "koboldcpp",
    "llamafile": "llamafile",
    "llama-swap": "llama-swap",
    "lms": "LM Studio",
    "lmdeploy": "LMDeploy",
    "local-ai": "LocalAI",
    "mistralrs": "mistral.rs",
    "mistralrs-server": "mistral.rs",
    "tritonserver": "Triton",
    "trtllm-serve": "TensorRT-LLM",
    "text-generation-launcher": "text-generation-inference",
    "text-generation-server": "text-generation-inference",
    "text-embeddings-router": "text-embeddings-inference",
    "mlx_vlm.server": "mlx-vlm",
    "mlx_lm.chat": "mlx_lm.chat",
    "mlx_lm.generate": "mlx_lm.generate",
}
_MODULES = {
    "sglang": "SGLang",
    "llama_cpp": "llama-cpp-python",
    "lmdeploy": "LMDeploy",
    "mlx_vlm": "mlx-vlm",
    "mlx_lm": "this program of mlx-lm",
    "tensorrt_llm": "TensorRT-LLM",
    "koboldcpp": "koboldcpp",
}
"""By the first part of the module that `python -m` runs."""
_TOOLS = re.compile(
    r"llama-(?:cli|bench|run|perplexity|embedding|simple|tts|imatrix|batched|mtmd-cli|completion)[\w.-]*"
)
"""Other programs of llama.cpp: they size their context by rules of their own."""
_IMAGES = (
    (re.compile(r"(?:^|/)ollama(?:/ollama)?(?::|@|$)"), "Ollama"),
    (re.compile(r"(?:^|/)sglang(?::|@|$)"), "SGLang"),
    (re.compile(r"(?:^|/)text-generation-inference(?::|@|$)"), "text-generation-inference"),
    (re.compile(r"(?:^|/)tritonserver(?::|@|$)"), "Triton"),
    (re.compile(r"(?:^|/)koboldcpp(?::|@|$)"), "koboldcpp"),
    (re.compile(r"(?:^|/)lmdeploy(?::|@|$)"), "LMDeploy"),
    (re.compile(r"(?:^|/)localai(?::|@|$)"), "LocalAI"),
)


def unplanned_engine(words: Sequence[str], *, in_container: bool = False) -> str | None:
    """The name of the engine that these words start, where it is one without rules; None for anything else.

    `in_container`: they begin with `docker run` or the like, whose image names the engine.
    """
    if not words:
        return None
    if in_container:
        found = (name for word in words[1:] for pattern, name in _IMAGES if pattern.search(word))
        return next(found, None)
    program = posixpath.basename(words[0])
    if program.endswith(".llamafile"):
        return "llamafile"
    if _TOOLS.fullmatch(program):
        return program
    if program in {"llama", "llama.exe"} and len(words) > 1 and not words[1].startswith("-"):
        return f"llama {words[1]}"
    if _PYTHON.fullmatch(program):
        return _of_python(list(words[1:]))
    return _PROGRAMS.get(program)


def _of_python(words: list[str]) -> str | None:
    """What `python -m MODULE` or `python SCRIPT` starts."""
    while words and words[0].startswith("-") and words[0] != "-m":
        words = words[2:] if words[0] in {"-X", "-W"} else words[1:]
    if words[:1] == ["-m"]:
        return _MODULES.get(words[1].partition(".")[0]) if len(words) > 1 else None
    return _PROGRAMS.get(posixpath.basename(words[0])) if words else None
