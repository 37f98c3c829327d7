"""Architectures with a plain cache and a mixture of experts. Data; see `ModelTraits`."""

from kvtop.planning.llamacpp.rules.traits import ModelTraits

MIXTURES = (
    ModelTraits("arctic", ties_output=True),
    ModelTraits("bailingmoe", expert_shares="by_key"),
    ModelTraits("bailingmoe2", since=(6751, 6900), prediction="never", expert_shares="by_key"),
    ModelTraits("dbrx", layer_norm=True),
    ModelTraits("deepseek", ties_output=True, expert_shares="as_they_are"),
    ModelTraits("dots1", since=(5456, 5671), expert_shares="by_key"),
    ModelTraits("ernie4_5-moe", since=(5772, 5937), ties_output=True, graph="measured"),
    ModelTraits(
        "glm4moe",
        since=(5937, 6123),
        prediction="on_demand",
        ties_output=True,
        graph="measured",
        expert_shares="by_key",
    ),
    ModelTraits("granitemoe", ties_output=True, scales_embedding="alike"),
    ModelTraits("grok", splits_tensors=False, ties_output=True, fuses_attention=False, scales_embedding="alike"),
    ModelTraits("grovemoe", since=(6451, 6628), ties_output=True),
    ModelTraits("hunyuan-moe", since=(5772, 5937), ties_output=True),
    ModelTraits(
        "hy_v3",
        since=(9760, 10068),
        prediction="on_demand",
        ties_output=True,
        expert_shares="by_key",
        narrows_at_the_end=True,
        normalises_before_narrowing=True,
    ),
    ModelTraits("minimax-m2", since=(6900, 7079), splits_tensors=False, graph="measured"),
    ModelTraits(
        "minimax-m3",
        since=(10068, 10566),
        indexer="after_dense",
        splits_tensors=False,
        graph="roughly_known",
        chooses_blocks=True,
        expert_shares="by_key",
    ),
    ModelTraits("olmoe", splits_tensors=False, expert_shares="as_they_are"),
    ModelTraits("phimoe"),
    ModelTraits("qwen2moe", graph="measured", expert_shares="as_they_are"),
    ModelTraits("qwen3moe", ties_output=True, graph="measured"),
    ModelTraits("qwen3vlmoe", since=(6751, 6900), ties_output=True, positions=4),
)
