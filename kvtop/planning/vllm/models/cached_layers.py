"""What a model class of vLLM builds: its layers that keep something in the pool, before any backend is chosen."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvtop.domain.plan import MalformedModelError
from kvtop.planning.vllm.dtypes import ELEMENT_BYTES
from kvtop.planning.vllm.models.config_view import ConfigView
from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, SpecKind


@dataclass(frozen=True, slots=True)
class CachedLayer:
    """One cache of one decoder layer on one rank; a layer may have several (latent and indexer, attention and state).

    `index` is the decoder layer, for pipeline stages and for layers that keep the native dtype.
    `kv_heads` is per rank. `state_bytes` is the recurrent state of MAMBA on one rank, `cell_bytes` the fixed bytes
    per token of an indexer.
    """

    index: int
    kind: SpecKind
    kv_heads: int = 1
    head_size: int = 0
    head_size_v: int = 0
    window: int | None = None
    chunk: int | None = None
    has_sink: bool = False
    state_bytes: int = 0
    prefill_checkpoints: int = 0
    cell_bytes: int = 0
    sparse: bool = False
    attention_type: str = "decoder"
    has_alibi: bool = False
    native_only: bool = False
    """The model class does not hand `--kv-cache-dtype` on to this layer."""
    fixed: LayerSpec | None = None
    """The spec that the model class itself states, whatever backend there is."""

    @property
    def is_indexer(self) -> bool:
        """The key cache with which sparse attention picks tokens."""
        return self.cell_bytes > 0

    @property
    def role_is_plain_window(self) -> bool:
        """A window of rows, and no state between them."""
        return self.fixed is None or self.fixed.page_bytes > 0


@dataclass(frozen=True, slots=True)
class BuildTerms:
    """What a model class needs besides config.json.

    `state_dtype` and `ssm_dtype`: `--mamba-cache-dtype` and `--mamba-ssm-cache-dtype`, "auto" for the model's own.
    """

    tp_size: int
    model_dtype: str = "bfloat16"
    state_dtype: str = "auto"
    ssm_dtype: str = "auto"
    draft_tokens: int = 0
    """Drafted a step: most convolution states keep a row more for each."""

    def conv_bytes(self) -> int:
        """Bytes of one element of a convolution state."""
        return ELEMENT_BYTES[self.model_dtype if self.state_dtype == "auto" else self.state_dtype]

    def ssm_bytes(self, default: str = "auto") -> int:
        """Bytes of one element of a recurrent state; `default` is what the model's configuration asks for."""
        chosen = default if self.ssm_dtype == "auto" else self.ssm_dtype
        return self.conv_bytes() if chosen == "auto" else ELEMENT_BYTES[chosen]


def heads_per_rank(total: int, tp_size: int) -> int:
    """KV heads on one rank: split, or one replica each when there are more ranks than heads.

    Raises:
        RefusedError: vLLM's model classes assert that one number divides the other.
    """
    if total >= tp_size:
        if total % tp_size:
            raise StartRefusedError(
                f"AssertionError: {total} KV heads cannot be split over {tp_size} tensor-parallel ranks"
            )
    elif tp_size % total:
        raise StartRefusedError(f"AssertionError: {total} KV heads cannot be replicated over {tp_size} ranks")
    return max(1, total // tp_size)


def check_layers(layers: tuple[CachedLayer, ...]) -> None:
    """Raises MalformedModelError for a layer whose cache has no size: a head of no width, a window of no tokens."""
    for layer in layers:
        sizes = (layer.state_bytes,) if layer.kind is SpecKind.MAMBA else (layer.kv_heads, layer.head_size)
        if layer.is_indexer:
            sizes = (layer.cell_bytes,)
        if min(sizes) < 1 or min(layer.window or 1, layer.chunk or 1) < 1:
            raise MalformedModelError(f"by config.json the {layer.kind} cache of layer {layer.index} has no size")


def divide(total: int, parts: int) -> int:
    """vLLM's `divide`.

    Raises:
        RefusedError: it does not divide, in vLLM's words.
    """
    if total % parts:
        raise StartRefusedError(f"AssertionError: {total} is not divisible by {parts}")
    return total // parts


def total_kv_heads(view: ConfigView) -> int:
    """KV heads of the whole model (`ModelArchConfigConvertorBase.get_total_num_kv_heads`)."""
    if view.word("model_type") == "falcon":
        if not view.flag("new_decoder_architecture") and view.flag("multi_query"):
            return 1
        return view.whole("n_head_kv", "num_kv_heads", "num_key_value_heads") or attention_heads(view)
    if view.word("model_type") == "gpt_bigcode" and view.whole("num_key_value_heads") is None:
        return 1 if view.raw("multi_query") in (None, True) else attention_heads(view)
    if view.word("model_type") == "dbrx":
        heads = view.part("attn_config").get("kv_n_heads")
        return heads if isinstance(heads, int) and heads > 0 else attention_heads(view)
    names = ("n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups")
    return view.whole(*names) or attention_heads(view)


def attention_heads(view: ConfigView) -> int:
    """Query heads of the whole model, under any of the names that the families use."""
    return view.positive("num_attention_heads", "n_head", "n_heads", "decoder_attention_heads", "num_heads")


def hidden_size(view: ConfigView) -> int:
    """The width of the model."""
    return view.positive("hidden_size", "n_embd", "d_model")


def head_size(view: ConfigView) -> int:
    """Head size where the configuration says none: the width divided by the heads."""
    stated = view.whole("head_dim")
    return stated or hidden_size(view) // attention_heads(view)


def layer_count(view: ConfigView) -> int:
    """Decoder layers; newer Nemotron-H configurations only list them."""
    listed = view.words("layers_block_type")
    if listed is not None and view.whole("num_hidden_layers") is None:
        return len(listed)
    return view.positive("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")


def partition(layers: int, stages: int, stated: str | None = None) -> tuple[tuple[int, int], ...]:
    """Layers [start, stop) of each pipeline stage; what is left over goes to the middle (`get_pp_indices`).

    `stated` are the sizes that VLLM_PP_LAYER_PARTITION names.

    Raises:
        RefusedError: those are no sizes of this model's stages, in vLLM's words.
    """
    sizes = [layers // stages] * stages
    for index in range(2, layers % stages + 2):
        sizes[-index] += 1
    if stated is not None and stages > 1:
        sizes = _stated_sizes(stated, layers, stages)
    starts = [sum(sizes[:index]) for index in range(stages)]
    return tuple((start, start + size) for start, size in zip(starts, sizes, strict=True))


def _stated_sizes(stated: str, layers: int, stages: int) -> list[int]:
    try:
        sizes = [int(size) for size in stated.split(",")]
    except ValueError:
        raise StartRefusedError(f"Invalid partition string: {stated}") from None
    if len(sizes) != stages:
        raise StartRefusedError(f"len(partitions)={len(sizes)} does not match pp_size={stages}.")
    if sum(sizes) != layers:
        raise StartRefusedError(f"sum(partitions)={sum(sizes)} does not match num_hidden_layers={layers}.")
    return sizes


def mamba1_state(inner: int, state: int, kernel: int, terms: BuildTerms) -> int:
    """Bytes of a Mamba-1 state on one rank (`mamba1_state_shape`)."""
    part = divide(inner, terms.tp_size)
    return part * (kernel - 1) * terms.conv_bytes() + part * state * terms.ssm_bytes()


def mamba2_state(shape: Mapping[str, int], terms: BuildTerms, ssm_default: str = "auto") -> int:
    """Bytes of a Mamba-2 state on one rank (`mamba2_state_shape`).

    `shape`: inner, groups, heads, head_dim, state, kernel. A single group is repeated on every rank.

    Raises:
        RefusedError: several groups that do not split evenly, in vLLM's words.
    """
    groups = shape["groups"]
    if groups % terms.tp_size:
        if groups != 1:
            raise StartRefusedError(
                "If tensor parallel world size does not divide num_groups, then num_groups must equal 1."
            )
        groups += terms.tp_size - groups
    width = divide(shape["inner"] + 2 * groups * shape["state"], terms.tp_size)
    state = divide(shape["heads"], terms.tp_size) * shape["head_dim"] * shape["state"]
    return width * (shape["kernel"] - 1 + terms.draft_tokens) * terms.conv_bytes() + state * terms.ssm_bytes(
        ssm_default
    )


def gated_delta_state(view: ConfigView, terms: BuildTerms, ssm_default: str = "auto") -> int:
    """Bytes of a gated-delta-net state on one rank (`gated_delta_net_state_shape`)."""
    key_heads, value_heads = view.required("linear_num_key_heads"), view.required("linear_num_value_heads")
    key_dim, value_dim = view.required("linear_key_head_dim"), view.required("linear_value_head_dim")
    width = divide(key_dim * key_heads * 2 + value_dim * value_heads, terms.tp_size)
    conv = width * (view.required("linear_conv_kernel_dim") - 1 + terms.draft_tokens) * terms.conv_bytes()
    return conv + divide(value_heads, terms.tp_size) * value_dim * key_dim * terms.ssm_bytes(ssm_default)


def kda_state(heads: int, head_dim: int, kernel: int, terms: BuildTerms) -> int:
    """Bytes of a Kimi delta attention state on one rank (`kda_state_shape`); the recurrent part is float32."""
    width = divide(3 * heads * head_dim, terms.tp_size)
    recurrent = divide(heads, terms.tp_size) * head_dim * head_dim
    return width * (kernel - 1 + terms.draft_tokens) * terms.conv_bytes() + recurrent * terms.ssm_bytes("float32")
