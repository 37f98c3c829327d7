"""The `architectures` of config.json that kvtop knows exactly, and which rules build them.

Source: vLLM 0.32.0, `model_executor/models/registry.py`. Anything else is refused: no number is better than a guess.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from kvtop.domain.plan import NoExactRuleError
from kvtop.planning.vllm.models import compressed, dense, hybrid, latent
from kvtop.planning.vllm.models.cached_layers import BuildTerms, CachedLayer
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.models.multimodal import ONE_STAGE, TEXT_CLASSES, WRAPPERS

Build = Callable[[ConfigView, BuildTerms], tuple[CachedLayer, ...]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one class of vLLM is planned. `family` names the rule for tables and messages.

    `is_hybrid`: vLLM aligns block sizes with recurrent state. `attention_free`: recurrent state alone, so no prefix
    caching. `mm_prefix`: images attend in both directions, which rules some backends out. `pipeline`: the class can be
    split over stages.
    """

    family: str
    build: Build
    is_hybrid: bool = False
    attention_free: bool = False
    mm_prefix: bool = False
    pipeline: bool = True
    encoder_decoder: bool = False
    is_latent: bool = False
    """Keeps latent vectors where the configuration has a `kv_lora_rank`."""


def _dense(windows: dense.Windows) -> Build:
    return partial(dense.dense, windows=windows)


UNIFORM = Architecture("full attention", _dense(dense.everywhere))
"""Or one window for all layers, where the configuration has a `sliding_window`."""
QWEN = Architecture("full attention", _dense(dense.qwen_window))
MLA = Architecture("MLA", latent.mla, is_latent=True)

_SAME: tuple[tuple[Architecture, str], ...] = (
    (
        UNIFORM,
        (
            "CohereForCausalLM DbrxForCausalLM Ernie4_5ForCausalLM Ernie4_5_MoeForCausalLM GPT2LMHeadModel "
            "GPTJForCausalLM GPTNeoXForCausalLM GemmaForCausalLM Glm4ForCausalLM Glm4MoeForCausalLM GlmForCausalLM "
            "GraniteMoeForCausalLM GraniteMoeSharedForCausalLM HunYuanDenseV1ForCausalLM HunYuanMoEV1ForCausalLM "
            "InternLM2ForCausalLM InternLM3ForCausalLM MiniMaxM2ForCausalLM NemotronForCausalLM OPTForCausalLM "
            "OlmoForCausalLM Olmo2ForCausalLM OlmoeForCausalLM OrionForCausalLM PhiForCausalLM SeedOssForCausalLM "
            "SolarForCausalLM StableLmForCausalLM TeleChat3ForCausalLM BailingMoeForCausalLM BailingMoeV2ForCausalLM "
            "ExaoneForCausalLM FlexOlmoForCausalLM HyperCLOVAXForCausalLM TeleFLMForCausalLM TeleChat2ForCausalLM "
            "DeepseekForCausalLM MiniCPMForCausalLM ChatGLMModel ChatGLMForConditionalGeneration LlamaModel "
            "MistralModel InternLM2ForRewardModel Step3TextForCausalLM GPTBigCodeForCausalLM Jais2ForCausalLM "
            "PanguEmbeddedForCausalLM SarvamMoEForCausalLM HYV3ForCausalLM Step1ForCausalLM NanbeigeForCausalLM "
            "Param2MoEForCausalLM IQuestLoopCoderForCausalLM K2HorizonForCausalLM LlamaBidirectionalModel "
            "Phi3VForCausalLM Phi4MMForCausalLM Phi4ForCausalLMV MiniCPMV MiniCPMO MolmoForCausalLM GLM4VForCausalLM "
            "Ernie4_5_VLMoeForConditionalGeneration HCXVisionV2ForCausalLM MoonshotKimiaForCausalLM OPTModel "
            "PixtralForConditionalGeneration"
        ),
    ),
    (
        UNIFORM,
        (
            "LlamaForCausalLM LLaMAForCausalLM MistralForCausalLM Ministral3ForCausalLM MixtralForCausalLM "
            "Phi3ForCausalLM PhiMoEForCausalLM Starcoder2ForCausalLM ArceeForCausalLM "
            "ApertusForCausalLM IQuestCoderForCausalLM CwmForCausalLM SmolLM3ForCausalLM"
        ),
    ),
    (
        QWEN,
        (
            "MiMoForCausalLM Qwen2Model Qwen2ForRewardModel Qwen2ForProcessRewardModel "
            "Qwen2ForCausalLM Qwen2MoeForCausalLM Qwen3ForCausalLM Qwen3MoeForCausalLM "
            "Qwen2_5OmniModel Qwen2_5OmniForConditionalGeneration "
            "Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration "
            "Qwen3VLForConditionalGeneration Qwen3VLMoeForConditionalGeneration"
        ),
    ),
    (
        MLA,
        (
            "DeepseekV2ForCausalLM DeepseekV3ForCausalLM DeepseekV32ForCausalLM Glm4MoeLiteForCausalLM "
            "GlmMoeDsaForCausalLM AXK1ForCausalLM MistralLarge3ForCausalLM "
            "PanguUltraMoEForCausalLM SarvamMLAForCausalLM"
        ),
    ),
    (
        Architecture("gated delta net", hybrid.gated_delta, is_hybrid=True),
        (
            "Qwen3NextForCausalLM Qwen3_5ForCausalLM Qwen3_5MoeForCausalLM Qwen3_5ForConditionalGeneration "
            "Qwen3_5MoeForConditionalGeneration OlmoHybridForCausalLM"
        ),
    ),
    (Architecture("Mamba-2 hybrid", hybrid.granite_hybrid, is_hybrid=True), "GraniteMoeHybridForCausalLM"),
    (
        Architecture("Mamba-2 hybrid", hybrid.nemotron_h, is_hybrid=True),
        "NemotronHForCausalLM NemotronHPuzzleForCausalLM",
    ),
    (Architecture("Mamba-2 hybrid", hybrid.falcon_h1, is_hybrid=True), "FalconH1ForCausalLM"),
    (Architecture("Mamba-2 hybrid", hybrid.zamba2, is_hybrid=True, pipeline=False), "Zamba2ForCausalLM"),
    (Architecture("Mamba-1 hybrid", hybrid.jamba, is_hybrid=True), "JambaForCausalLM"),
    (Architecture("short convolution", hybrid.lfm2, is_hybrid=True), "Lfm2ForCausalLM Lfm2MoeForCausalLM"),
    (Architecture("Mamba-1", hybrid.mamba1_alone, attention_free=True), "MambaForCausalLM FalconMambaForCausalLM"),
    (Architecture("Mamba-2", hybrid.mamba2_alone, attention_free=True, pipeline=False), "Mamba2ForCausalLM"),
    (Architecture("Kimi delta attention", latent.kimi_linear, is_hybrid=True, is_latent=True), "KimiLinearForCausalLM"),
    (Architecture("MLA", latent.longcat, is_latent=True), "LongcatFlashForCausalLM LongcatFlashNgramForCausalLM"),
    (Architecture("full attention", _dense(dense.everywhere), mm_prefix=True), "PaliGemmaForConditionalGeneration"),
    (Architecture("full attention", dense.falcon), "FalconForCausalLM"),
    (Architecture("full attention", dense.alibi), "BloomForCausalLM"),
    (Architecture("full attention", dense.minicpm3), "MiniCPM3ForCausalLM"),
    (Architecture("full attention", dense.granite), "GraniteForCausalLM"),
    (Architecture("sliding window", dense.granite), "GraniteSWAForCausalLM GraniteMoeSWAForCausalLM"),
    (Architecture("sliding window", dense.gpt_oss), "GptOssForCausalLM"),
    (
        Architecture("sliding window", dense.mimo_v2),
        "MiMoV2FlashForCausalLM MiMoV2ForCausalLM MiMoV2OmniForCausalLM MiMoV2ProForCausalLM",
    ),
    (Architecture("sliding window", _dense(dense.listed_windows)), "Plamo3ForCausalLM"),
    (
        Architecture("sliding window", _dense(dense.rope_windows)),
        "MuseGlimmerForCausalLM MuseGlimmerForConditionalGeneration",
    ),
    (Architecture("full attention", dense.blocks_listed), "DeciLMForCausalLM"),
    (
        Architecture("sparse attention", latent.minimax_m3),
        "MiniMaxM3SparseForCausalLM MiniMaxM3SparseForConditionalGeneration MiniMaxM3ForCausalLM",
    ),
    (
        Architecture("compressed attention", compressed.deepseek_v4),
        "DeepseekV4ForCausalLM DeepseekV4ForConditionalGeneration",
    ),
    (Architecture("sliding window", _dense(dense.by_type)), "LagunaForCausalLM"),
    (Architecture("sliding window", _dense(dense.by_type_or_everywhere)), "MellumForCausalLM"),
    (Architecture("sliding window", _dense(dense.exaone_moe)), "ExaoneMoeForCausalLM ExaoneMoEForCausalLM"),
    (Architecture("sliding window", _dense(dense.cohere2_moe)), "Cohere2MoeForCausalLM"),
    (Architecture("sliding window", dense.step3p5), "Step3p5ForCausalLM Step3p7FlashForCausalLM"),
    (Architecture("sliding window", _dense(dense.every(2))), "Gemma2ForCausalLM Gemma2Model VaultGemmaForCausalLM"),
    (Architecture("sliding window", _dense(dense.every(6, "sliding_window_pattern"))), "Gemma3ForCausalLM"),
    (
        Architecture("sliding window", _dense(dense.every(6, "sliding_window_pattern")), mm_prefix=True),
        "Gemma3ForConditionalGeneration",
    ),
    (Architecture("sliding window", _dense(dense.every(4, "sliding_window_pattern", 1))), "Cohere2ForCausalLM"),
    (Architecture("sliding window", _dense(dense.every(4, "sliding_window_pattern"))), "Exaone4ForCausalLM"),
    (Architecture("sliding window", _dense(dense.every(4, "global_attn_every_n_layers"))), "AfmoeForCausalLM"),
    (Architecture("sliding window", _dense(dense.every(4))), "Olmo3ForCausalLM"),
    (
        Architecture("shared KV layers", dense.gemma3n, pipeline=False),
        "Gemma3nForCausalLM Gemma3nForConditionalGeneration",
    ),
    (Architecture("shared KV layers", dense.gemma4), "Gemma4ForCausalLM Gemma4ForConditionalGeneration"),
    (Architecture("chunked attention", dense.llama4), "Llama4ForCausalLM Llama4ForConditionalGeneration"),
    (
        Architecture("encoder-decoder", dense.whisper, encoder_decoder=True, pipeline=False),
        "WhisperForConditionalGeneration",
    ),
)

ARCHITECTURES: Mapping[str, Architecture] = {
    name: architecture for architecture, names in _SAME for name in names.split()
}


def architecture_of(view: ConfigView) -> tuple[str, Architecture]:
    """The first of the checkpoint's architectures that kvtop knows, with its name.

    Raises:
        NoExactRuleError: none of them is known (the message names them), or the model is made an encoder.
    """
    if view.raw("is_causal") is False:
        raise NoExactRuleError("kvtop has no rule of vLLM for a model that attends in both directions")
    names = view.root.get("architectures")
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list | tuple) else []
    for name in listed:
        if name in ARCHITECTURES:
            return name, ARCHITECTURES[name]
        text_class = _text_class(view) if name in WRAPPERS else None
        if text_class is not None:
            found = ARCHITECTURES[text_class]
            return name, replace(found, pipeline=found.pipeline and name not in ONE_STAGE)
    raise NoExactRuleError(
        f"kvtop has no rule of vLLM for the architecture {', '.join(listed) or '(none named in config.json)'}"
    )


def _text_class(view: ConfigView) -> str | None:
    """The class of the text model inside a multimodal one: as its own part names it, else by its `model_type`."""
    if view.values is not view.root:
        named = view.values.get("architectures")
        for name in named if isinstance(named, list | tuple) else ():
            if name in ARCHITECTURES:
                return str(name)
    return TEXT_CLASSES.get(view.word("model_type") or "")


def draft_architecture(view: ConfigView) -> Architecture:
    """The class of a draft: one of a model's own, or a head of layers by `layer_types`, latent where it says so."""
    names = view.root.get("architectures")
    for name in names if isinstance(names, list | tuple) else ():
        if name in ARCHITECTURES:
            return ARCHITECTURES[str(name)]
    if view.whole("kv_lora_rank"):
        return MLA
    return Architecture("draft head", _dense(dense.by_type))
