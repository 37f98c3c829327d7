"""Multimodal classes around a text model of their own, as data; only the text model keeps a cache.

Source: vLLM 0.32.0, `model_executor/models/registry.py`, and the `text_config` of the classes' configurations.
"""

from collections.abc import Mapping

_WRAPPERS = """
    AriaForConditionalGeneration AudioFlamingo3ForConditionalGeneration
    BagelForConditionalGeneration BailingMoeV3VLForConditionalGeneration BeeForConditionalGeneration
    Blip2ForConditionalGeneration Cohere2VisionForConditionalGeneration
    CohereCompassForConditionalGeneration Cosmos3ForConditionalGeneration
    Cosmos3EdgeForConditionalGeneration DeepseekVLV2ForCausalLM DeepseekOCRForCausalLM
    DeepseekOCR2ForCausalLM UnlimitedOCRForCausalLM DotsOCRForCausalLM
    Eagle2_5_VLForConditionalGeneration Exaone4_5_ForConditionalGeneration
    FireRedASR2ForConditionalGeneration FunASRForConditionalGeneration
    FunAudioChatForConditionalGeneration Gemma4UnifiedForConditionalGeneration
    GlmAsrForConditionalGeneration Glm4vForConditionalGeneration Glm4vMoeForConditionalGeneration
    GlmOcrForConditionalGeneration GraniteSpeechForConditionalGeneration
    GraniteSpeechPlusForConditionalGeneration Granite4VisionForConditionalGeneration H2OVLChatModel
    InternVLChatModel InternS1ForConditionalGeneration InternVLForConditionalGeneration
    InternS1ProForConditionalGeneration InternS2MobiusForConditionalGeneration
    InternS2PreviewForConditionalGeneration Idefics3ForConditionalGeneration
    IsaacForConditionalGeneration KananaVForConditionalGeneration KeyeForConditionalGeneration
    KeyeVL1_5ForConditionalGeneration KimiVLForConditionalGeneration KimiK25ForConditionalGeneration
    KimiK3ForConditionalGeneration LightOnOCRForConditionalGeneration Lfm2VlForConditionalGeneration
    Llama_Nemotron_Nano_VL LlavaForConditionalGeneration LlavaNextForConditionalGeneration
    LlavaNextVideoForConditionalGeneration LlavaOnevisionForConditionalGeneration
    LlavaOnevision2ForConditionalGeneration MiDashengLMModel MiniCPMV4_6ForConditionalGeneration
    MiniCPMV4_7ForConditionalGeneration Mistral3ForConditionalGeneration
    Molmo2ForConditionalGeneration NemotronH_Nano_VL_V2 NemotronH_Nano_Omni_Reasoning_V3
    NemotronH_Super_Omni_Reasoning_V3 NemotronH_Omni_Reasoning_V3 NVLM_D
    OpenCUAForConditionalGeneration OpenPanguVLForConditionalGeneration Ovis Ovis2_5
    Ovis2_6ForCausalLM Ovis2_6_MoeForCausalLM PaddleOCRVLForConditionalGeneration
    QianfanOCRForConditionalGeneration Qwen2AudioForConditionalGeneration
    Qwen3OmniMoeForConditionalGeneration Qwen3ASRForConditionalGeneration Qwen3ASRRealtimeGeneration
    RForConditionalGeneration SkyworkR1VChatModel SmolVLMForConditionalGeneration
    StepVLForConditionalGeneration Step3VLForConditionalGeneration Step3p7ForConditionalGeneration
    UltravoxModel VoxtralForConditionalGeneration VoxtralRealtimeGeneration
    HunYuanVLForConditionalGeneration MossTranscribeDiarizeForConditionalGeneration
    Emu3ForConditionalGeneration ColQwen3 ColQwen3_5 ColPaliForRetrieval
"""
WRAPPERS = frozenset(_WRAPPERS.split())
"""The class of the text model follows from its part of the configuration."""
ONE_STAGE = frozenset(
    {
        "AriaForConditionalGeneration",
        "Idefics3ForConditionalGeneration",
        "PaddleOCRVLForConditionalGeneration",
        "SmolVLMForConditionalGeneration",
    }
)
"""Those that vLLM cannot split over pipeline stages."""
TEXT_CLASSES: Mapping[str, str] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "ministral3": "Ministral3ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "aria_text": "LlamaForCausalLM",
    "granite": "GraniteForCausalLM",
    "granitemoehybrid": "GraniteMoeHybridForCausalLM",
    "exaone4": "Exaone4ForCausalLM",
    "opt": "OPTForCausalLM",
    "paddleocr_vl_text": "Ernie4_5ForCausalLM",
    "ernie4_5": "Ernie4_5ForCausalLM",
    "ernie4_5_moe": "Ernie4_5_MoeForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "qwen3_next": "Qwen3NextForCausalLM",
    "qwen3_vl_text": "Qwen3ForCausalLM",
    "qwen3_vl_moe_text": "Qwen3MoeForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "glm4": "Glm4ForCausalLM",
    "glm4_moe": "Glm4MoeForCausalLM",
    "glm4v_text": "Glm4ForCausalLM",
    "glm4v_moe_text": "Glm4MoeForCausalLM",
    "glm_ocr_text": "Glm4ForCausalLM",
    "internlm2": "InternLM2ForCausalLM",
    "internlm3": "InternLM3ForCausalLM",
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
    "deepseek_v32": "DeepseekV32ForCausalLM",
    "deepseek_v4": "DeepseekV4ForCausalLM",
    "kimi_k2": "DeepseekV3ForCausalLM",
    "kimi_linear": "KimiLinearForCausalLM",
    "lfm2": "Lfm2ForCausalLM",
    "lfm2_moe": "Lfm2MoeForCausalLM",
    "qwen3_5_text": "Qwen3_5ForCausalLM",
    "qwen3_5_moe_text": "Qwen3_5MoeForCausalLM",
    "qwen3_asr_text": "Qwen3ForCausalLM",
    "qwen3_omni_moe_text": "Qwen3MoeForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gemma4_text": "Gemma4ForCausalLM",
    "gemma4_unified_text": "Gemma4ForCausalLM",
    "phi": "PhiForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "nemotron": "NemotronForCausalLM",
    "nemotron_h": "NemotronHForCausalLM",
    "minimax_m2": "MiniMaxM2ForCausalLM",
    "minimax_m3": "MiniMaxM3SparseForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "seed_oss": "SeedOssForCausalLM",
    "step3_text": "Step3TextForCausalLM",
    "step3p5": "Step3p5ForCausalLM",
    "step3p7": "Step3p5ForCausalLM",
    "llama4_text": "Llama4ForCausalLM",
    "hunyuan_v1_dense": "HunYuanDenseV1ForCausalLM",
    "hunyuan_v1_moe": "HunYuanMoEV1ForCausalLM",
    "mimo": "MiMoForCausalLM",
    "mimo_v2": "MiMoV2ForCausalLM",
    "mimo_v2_flash": "MiMoV2FlashForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
    "pangu_embedded": "PanguEmbeddedForCausalLM",
    "bailing_moe_v2": "BailingMoeV2ForCausalLM",
}
"""The class that vLLM builds for a text model of that `model_type`."""
