"""Every architecture with a rule, by name (b11434).

A name that is not here has no checked rule, and planning refuses it instead of guessing. Left out on purpose:
encoder-decoders, speech and codec models, draft heads that share another model's context (eagle3, dflash,
gemma4-assistant), and caches without a rule here (qwen4exp, graniteswitch, clef).
"""

from collections.abc import Mapping
from types import MappingProxyType

from kvtop.planning.llamacpp.rules.architectures.dense import DENSE
from kvtop.planning.llamacpp.rules.architectures.encoders import ENCODERS
from kvtop.planning.llamacpp.rules.architectures.hybrid import HYBRID
from kvtop.planning.llamacpp.rules.architectures.latent import LATENT
from kvtop.planning.llamacpp.rules.architectures.mixtures import MIXTURES
from kvtop.planning.llamacpp.rules.architectures.recurrent import RECURRENT
from kvtop.planning.llamacpp.rules.architectures.windowed import WINDOWED
from kvtop.planning.llamacpp.rules.traits import ModelTraits

ARCHITECTURES: Mapping[str, ModelTraits] = MappingProxyType(
    {
        each.name: each
        for each in sorted(
            (*DENSE, *ENCODERS, *HYBRID, *LATENT, *MIXTURES, *RECURRENT, *WINDOWED), key=lambda each: each.name
        )
    }
)
