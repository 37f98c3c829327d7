"""What llama.cpp b11434 does per architecture, as far as memory depends on it.

Every name is written out: a name that is not here has no checked rule, and planning refuses it instead of guessing.
Sources: `llm_arch_is_*` and LLM_ARCH_NAMES (src/llama-arch.cpp), `create_memory` (src/llama-model.cpp) and the
`load_arch_hparams` / `load_arch_tensors` functions of src/models/*.cpp.
"""

from dataclasses import dataclass


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True, slots=True)
class Window:
    """How an architecture finds its sliding window.

    `when`: "always" (the key may be missing only if `default_tokens` is set) or "if_set" (a window of 0 or none turns
    it off). `pattern`: every so many-th layer is full attention, 0: none is; None: the file must list the layers.
    `listed`: whether a list in the file wins over the pattern.
    """

    pattern: int | None
    when: str = "always"
    default_tokens: int | None = None
    forced_tokens: int | None = None
    dense_first: bool = False
    kind: str = "standard"
    listed: bool = True


WINDOWS: dict[str, Window] = {
    "afmoe": Window(4, "if_set"),
    "cohere2": Window(4),
    "cohere2moe": Window(4, dense_first=True),
    "dots3note": Window(None),
    "deepseek4": Window(0, listed=False),
    "exaone-moe": Window(4),
    "exaone4": Window(4, default_tokens=4096),
    "gemma2": Window(2, default_tokens=4096),
    "gemma3": Window(6, "if_set"),
    "gemma3n": Window(5),
    "gemma4": Window(None),
    "gemma-embedding": Window(6, kind="symmetric"),
    "gpt-oss": Window(2),
    "granite_swa": Window(None),
    "laguna": Window(4, "if_set", dense_first=True),
    "llama4": Window(4, default_tokens=8192, forced_tokens=8192, kind="chunked"),
    "maple": Window(None),
    "mellum": Window(4, "if_set"),
    "mimo2": Window(None),
    "modern-bert": Window(3, "if_set", dense_first=True, kind="symmetric"),
    "muse-glimmer": Window(4),
    "olmo2": Window(4, "if_set"),
    "plamo3": Window(8, "if_set"),
    "smallthinker": Window(4, "if_set", forced_tokens=4096, dense_first=True),
    "spark2_5": Window(None),
    "step35": Window(None),
}
"""`load_arch_hparams`. What does not fit a row (exaone4, llama4, lfm2) is in `layers.py`."""

NO_CACHE = _names("""
    bert jina-bert-v2 jina-bert-v3 nomic-bert nomic-bert-moe neo-bert eurobert modern-bert gemma-embedding
    dream llada llada-moe rnd1
""")
"""`create_memory` gives these none."""

ATTENDS_UNCACHED = NO_CACHE | {"llama-embed"}
"""`build_attn_inp_no_cache`: attention over the batch alone, whether there is a cache or not."""

NOT_CAUSAL = _names("gemma-embedding dream llada llada-moe rnd1")
"""`load_arch_hparams` turns causal attention off whatever the file says."""

RECURRENT = _names("mamba mamba2 rwkv6 rwkv6qwen2 rwkv7 arwkv7")
"""`llm_arch_is_recurrent`: state only."""

RWKV = _names("rwkv6 rwkv6qwen2 rwkv7 arwkv7")

RECURRENT_WITHOUT_KV_HEADS = _names("jamba granitehybrid lfm2 lfm2moe plamo2 kimi-linear kimi-k3 bailingmoe3 glm5-next")
"""Hybrids whose recurrent layers are those with `head_count_kv` 0."""

RECURRENT_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 8}
"""Hybrids with one attention layer in so many, unless the file says otherwise."""

HYBRID = RECURRENT_WITHOUT_KV_HEADS | RECURRENT_INTERVAL.keys() | _names("falcon-h1 nemotron_h nemotron_h_moe")
"""`llm_arch_is_hybrid`: a KV cache and recurrent state."""

SSM_SCAN = _names("mamba mamba2 jamba falcon-h1 granitehybrid nemotron_h nemotron_h_moe plamo2")
"""Architectures whose `ssm_a` is the operand of a state-space scan (LLM_TENSOR_SSM_A, not _NOSCAN)."""

DELTA_ATTENTION = _names("kimi-linear kimi-k3 bailingmoe3 glm5-next")
"""Kimi delta attention: state of `kda.head_dim` squared per head."""

ROLLBACK = _names("qwen35 qwen35moe nemotron_h nemotron_h_moe lfm2 lfm2moe kimi-k3 glm5-next bailingmoe3 deepseek4")
"""`llm_arch_supports_rs_rollback`: extra state rows for speculative decoding."""

LATENT = _names("""
    deepseek2 mistral4 deepseek32 glm-dsa dots3note hy_v4 kimi-linear kimi-k3 bailingmoe3 glm5-next
""")
"""These read `key_length_mla` and `value_length_mla`; with both set, only keys are cached."""

INDEXED = _names("deepseek32 glm-dsa dots3note hy_v4")
"""`llama_kv_cache_dsa` and `-dsa-iswa`: a second cache of one key head for the lightning indexer."""

MTP_ON_DEMAND = _names("""
    bailingmoe3 cohere2moe deepseek2 deepseek4 mistral4 deepseek32 glm-dsa glm4moe glm5-next hy_v3 mimo2 nemotron_h
    nemotron_h_moe qwen35 qwen35moe qwen3next step35
""")
"""Multi-token-prediction blocks are loaded with `--spec-type draft-mtp` only."""

MTP_NEVER = _names("bailingmoe2 dots3note exaone-moe exaone4 glm4")
"""Multi-token-prediction blocks are in the file and never loaded."""

NOT_TENSOR_SPLIT = _names("""
    grok mpt plamo2 minicpm3 gemma3n mamba mamba2 jamba falcon-h1 olmo2 olmoe deepseek2 deepseek32 hy_v4 dots3note
    glm-dsa bitnet t5 nemotron_h nemotron_h_moe granitehybrid minimax-01 minimax-m2 minimax-m3 mistral4
    kimi-linear bailingmoe3 kimi-k3 glm5-next qwen3tts
""")
"""`llm_arch_supports_sm_tensor` says no: `--split-mode tensor` is refused."""

TIED = _names("""
    afmoe arcee arctic bailingmoe3 bloom chameleon chatglm cogvlm cohere2 cohere2moe command-r deci deepseek
    deepseek2 deepseek2-ocr deepseek32 dots3note dream ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon
    falcon-h1 gemma gemma-embedding gemma2 gemma3 gemma3n gemma4 glm-dsa glm4 glm4moe gpt2 granite granite_swa
    granitehybrid granitemoe grok grovemoe hrm_text hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 jais2 jamba laguna
    lfm2 lfm2moe llada llama llama-embed llama4 maincoder mamba mamba2 minicpm minicpm3 minimax-01 mistral3
    mistral4 mpt nanbeige nemotron_h nemotron_h_moe olmo openelm paddleocr pangu-embedded phi3 plamo2 plamo3 plm
    qwen2 qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3vl qwen3vlmoe refact rnd1 seed_oss smallthinker
    smollm3 spark2_5 starcoder starcoder2
""")
"""Without `output.weight` the token embedding is created a second time for the output layer (TENSOR_DUPLICATED)."""

COPIED_FIRST = _names("codeshell gemma3n gemma4")
"""These create the copy before the original, so both exist even where they share a buffer."""

UNTIED = _names("""
    apertus baichuan bailingmoe bailingmoe2 bitnet codeshell dbrx deepseek4 dots1 glm5-next gpt-oss gptneox hy_v4
    internlm2 jais kimi-k3 kimi-linear maple mellum mimo2 minimax-m2 minimax-m3 muse-glimmer nemotron olmo2 olmoe
    orion phi2 phimoe plamo qwen qwen2moe stablelm step35 talkie xverse
""")

MEASURED = _names("""
    bert cohere2 command-r deepseek2 deepseek32 ernie4_5-moe falcon-h1 gemma2 gemma3 gemma3n gemma4 glm4moe gpt-oss
    granitehybrid internlm2 jamba lfm2 llama llama4 mamba mamba2 minimax-m2 nemotron_h nomic-bert olmo2 phi3 qwen2
    qwen2moe qwen3 qwen35 qwen35moe qwen3moe qwen3next seed_oss smollm3 starcoder2
""")
"""Architectures with recorded compute buffers of a model at real size."""

SUPPORTED = TIED | UNTIED | NO_CACHE | RECURRENT
"""Every architecture with a rule. Left out on purpose: encoder-decoders, speech and codec models, draft heads that
share another model's context (eagle3, dflash, gemma4-assistant), and caches without a rule here (qwen4exp,
graniteswitch, clef)."""
