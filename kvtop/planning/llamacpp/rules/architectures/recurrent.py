"""Architectures of state alone: nothing grows with the context. Data; see `ModelTraits`."""

from kvtop.planning.llamacpp.rules.traits import ModelTraits

RECURRENT = (
    ModelTraits("arwkv7", memory="recurrent", state="rwkv", recurrent_layers="all", graph="roughly_known"),
    ModelTraits(
        "mamba",
        memory="recurrent",
        state="ungrouped",
        recurrent_layers="all",
        scans=True,
        splits_tensors=False,
        ties_output=True,
        graph="measured",
        copies_unevenly=True,
        positions=0,
    ),
    ModelTraits(
        "mamba2",
        since=(5772, 5937),
        memory="recurrent",
        recurrent_layers="all",
        scans=True,
        splits_tensors=False,
        ties_output=True,
        graph="measured",
        copies_unevenly=True,
        positions=0,
    ),
    ModelTraits("rwkv6", memory="recurrent", state="rwkv", recurrent_layers="all", mixes=True),
    ModelTraits("rwkv6qwen2", memory="recurrent", state="rwkv", recurrent_layers="all", graph="roughly_known"),
    ModelTraits("rwkv7", memory="recurrent", state="rwkv", recurrent_layers="all", mixes=True),
)
