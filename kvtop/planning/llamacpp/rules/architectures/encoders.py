"""Encoders and diffusion models, which have no cache or do not read it. Data; see `ModelTraits`."""

from kvtop.planning.llamacpp.rules.traits import ModelTraits, Window

ENCODERS = (
    ModelTraits(
        "bert",
        memory="none",
        attends_uncached=True,
        graph="measured",
        key_before_value=True,
        logits="never",
        rotary="never",
    ),
    ModelTraits(
        "dream",
        since=(5772, 5937),
        memory="none",
        attends_uncached=True,
        causal=False,
        ties_output=True,
        key_before_value=True,
    ),
    ModelTraits(
        "eurobert", since=(8156, 8672), memory="none", attends_uncached=True, key_before_value=True, logits="never"
    ),
    ModelTraits(
        "gemma-embedding",
        since=(6301, 6451),
        memory="none",
        window=Window(6, kind="symmetric"),
        attends_uncached=True,
        causal=False,
        ties_output=True,
        key_before_value=True,
        logits="never",
        scales_embedding="by_token",
    ),
    ModelTraits(
        "jina-bert-v2",
        memory="none",
        attends_uncached=True,
        alibi="always",
        key_before_value=True,
        positions=0,
        logits="never",
    ),
    ModelTraits(
        "jina-bert-v3",
        since=(6301, 6451),
        memory="none",
        attends_uncached=True,
        expert_shares="as_they_are",
        key_before_value=True,
        logits="never",
    ),
    ModelTraits(
        "llada",
        since=(5937, 6123),
        memory="none",
        attends_uncached=True,
        causal=False,
        ties_output=True,
        key_before_value=True,
    ),
    ModelTraits(
        "llada-moe",
        since=(6451, 6628),
        memory="none",
        attends_uncached=True,
        causal=False,
        expert_shares="as_they_are",
        key_before_value=True,
    ),
    ModelTraits("llama-embed", since=(7376, 7710), attends_uncached=True, ties_output=True, logits="never"),
    ModelTraits(
        "modern-bert",
        since=(7376, 7710),
        memory="none",
        window=Window(3, "if_set", dense_first=True, kind="symmetric"),
        attends_uncached=True,
        key_before_value=True,
        logits="never",
    ),
    ModelTraits(
        "neo-bert", since=(5671, 5772), memory="none", attends_uncached=True, key_before_value=True, logits="never"
    ),
    ModelTraits(
        "nomic-bert", memory="none", attends_uncached=True, graph="measured", key_before_value=True, logits="never"
    ),
    ModelTraits(
        "nomic-bert-moe",
        memory="none",
        attends_uncached=True,
        expert_shares="as_they_are",
        key_before_value=True,
        logits="never",
    ),
    ModelTraits(
        "rnd1",
        since=(7079, 7376),
        memory="none",
        attends_uncached=True,
        causal=False,
        ties_output=True,
        key_before_value=True,
    ),
)
