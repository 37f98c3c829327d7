"""Options that vLLM no longer has: versions before take them, the newest refuses them.

Source: the argument parsers of vLLM 0.8 to 0.19 as their documentation lists them.
"""

_FLAGS = """
    disable-log-requests use-v2-block-manager disable-async-output-proc worker-use-ray enable-reasoning
    disable-frontend-multiprocessing enable-multimodal-encoder-data-parallel disable-mm-preprocessor-cache
    multi-step-stream-outputs guided-decoding-disable-fallback guided-decoding-disable-any-whitespace
    guided-decoding-disable-additional-properties enable-prompt-adapter enable-lora-bias
"""
_VALUES = """
    swap-space num-lookahead-slots preemption-mode num-scheduler-steps guided-decoding-backend task rope-scaling
    rope-theta tokenizer-pool-size tokenizer-pool-type tokenizer-pool-extra-config device max-seq-len-to-capture
    speculative-model num-speculative-tokens speculative-draft-tensor-parallel-size speculative-max-model-len
    ngram-prompt-lookup-max ngram-prompt-lookup-min typical-acceptance-sampler-posterior-threshold
    max-prompt-adapters max-prompt-adapter-token scheduler-delay-factor scheduling-delay-factor
    override-pooler-config override-neuron-config qlora-adapter-name-or-path quantization-param-path
    long-lora-scaling-factors lora-extra-vocab-size max-num-partial-prefills max-long-partial-prefills
    cuda-graph-sizes logits-processor-pattern
"""
FLAGS = tuple(_FLAGS.split())
"""Switches without a value."""
VALUES = tuple(_VALUES.split())
"""One value."""


def is_former(version: tuple[int, ...] | None, newest: tuple[int, ...]) -> bool:
    """Whether a launch is of a version before the newest, whose own list is not known here."""
    return version is not None and version < newest
