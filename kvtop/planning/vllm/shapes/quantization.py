"""Which format each matrix of a checkpoint is loaded in, by its quantization configuration and `--quantization`.

Source: vLLM 0.32.0, `layers/quantization/*.py` (`get_quant_method`), `config/model.py` (`_verify_quantization`).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvtop.planning.vllm.shapes.formats import PLAIN, Format, Scheme
from kvtop.planning.vllm.shapes.matrix import Matrix
from kvtop.planning.vllm.shapes.module_lists import NO_MODULES, ModuleList

FP8_BLOCK, FP8, INT8 = Format(Scheme.FP8_BLOCK), Format(Scheme.FP8), Format(Scheme.INT8)
NVFP4, MXFP4, MXFP8, NF4 = Format(Scheme.NVFP4), Format(Scheme.MXFP4), Format(Scheme.MXFP8), Format(Scheme.NF4)
GROUPED_4 = Format(Scheme.GROUPED, 4)

_ALGORITHMS = {
    "FP8": FP8,
    "FP8_PER_CHANNEL_PER_TOKEN": FP8,
    "FP8_PB_WO": FP8_BLOCK,
    "FP8_BLOCK": FP8_BLOCK,
    "NVFP4": NVFP4,
    "NVFP4_AWQ": NVFP4,
    "W4A16_NVFP4": NVFP4,
    "W4A8_NVFP4": NVFP4,
    "MXFP4": MXFP4,
    "MXFP8": MXFP8,
    "W4A8_MXFP4_FP8": MXFP4,
    "W4A16_AWQ": GROUPED_4,
    "W4A8_AWQ": GROUPED_4,
    "INT8": INT8,
}
_ONLINE = {
    "fp8": FP8,
    "fp8_per_tensor": FP8,
    "fp8_per_channel": FP8,
    "fp8_per_block": FP8_BLOCK,
    "mxfp8": MXFP8,
    "experts_int8": INT8,
    "int8_per_channel_weight_only": INT8,
    "nvfp4_per_token": NVFP4,
    "bitsandbytes": NF4,
    "torchao": INT8,
}
"""What `--quantization` makes of weights that are not quantized."""
_NAMED = (
    (r"nvfp4|(?<!mx)fp4", NVFP4),
    (r"mxfp4", MXFP4),
    (r"fp8", FP8),
    (r"awq|gptq|w4a16|int4|4bit|w4a8", GROUPED_4),
    (r"int8|w8a8|8bit|w8a16", INT8),
)


@dataclass(frozen=True, slots=True)
class WeightFormats:
    """The formats of a model. `method` is the configuration's word, "" for none.

    `format` for every linear layer that `left_out` does not name; `by_module` lists come first. `experts` None: as
    other layers. `skips_experts`: only linear layers outside the experts. `doubt` says why the whole is a guess.
    """

    method: str = ""
    format: Format = PLAIN
    experts: Format | None = None
    left_out: ModuleList = NO_MODULES
    by_module: tuple[tuple[ModuleList, Format], ...] = ()
    only_experts: bool = False
    quantizes_head: bool = False
    doubt: str = ""

    def format_of(self, matrix: Matrix) -> Format:
        """The format that a matrix is loaded in."""
        if not matrix.is_linear or self.method == "":
            return PLAIN
        for modules, form in self.by_module:
            if modules.holds(matrix.name):
                return form
        if matrix.name == "lm_head" and not self.quantizes_head:
            return PLAIN
        if self.left_out.holds(matrix.name) or (self.only_experts and not matrix.is_expert):
            return PLAIN
        if self.by_module and self.format is PLAIN:
            return PLAIN
        return self.experts if matrix.is_expert and self.experts is not None else self.format


def quantization_of(config: Mapping[str, object], model: str, expert_dtype: str | None = None) -> WeightFormats:
    """The formats that a checkpoint's own configuration names; `model` is its name, for what that gives away.

    `expert_dtype`: a configuration may name the format of its experts apart ("fp4").
    """
    if not config:
        return _by_name(model)
    method = str(config.get("quant_method", "")).lower().replace("_", "-")
    if (
        method.startswith("modelopt")
        or "quantization" in config
        or ("quant_algo" in config and method in ("", "modelopt"))
    ):
        return _modelopt(config)
    left_out = _listed(config, "modules_to_not_convert", "ignored_layers", "llm_int8_skip_modules", "exclude", "ignore")
    if method in ("fp8", "deepseek-v4-fp8", "fbgemm-fp8"):
        return _fp8(config, _listed(config, "modules_to_not_convert", "ignored_layers"), expert_dtype)
    if method == "compressed-tensors":
        return _compressed(config)
    if method in ("mxfp4", "gpt-oss-mxfp4"):
        return WeightFormats(method, MXFP4, left_out=left_out, only_experts=True)
    if method == "quark":
        return _quark(config)
    if method == "bitsandbytes":
        is_4 = bool(config.get("load_in_4bit"))
        return WeightFormats(method, NF4 if is_4 else INT8, left_out=left_out)
    bits = config.get("bits", config.get("w_bit", config.get("weight_bits")))
    group = config.get("group_size", config.get("q_group_size"))
    if isinstance(bits, int) and bits > 0:
        zeros = method in ("awq", "auto-awq") or config.get("sym") is False
        form = Format(Scheme.GROUPED, bits, group if isinstance(group, int) else 128, has_zeros=zeros)
        return WeightFormats(method, form, left_out=left_out, quantizes_head=bool(config.get("lm_head")))
    return WeightFormats(
        method or "unknown", FP8, left_out=left_out, doubt=f"quantization {method or 'without a name'}"
    )


def online(asked: str, stored: WeightFormats) -> WeightFormats:
    """What `--quantization` adds: nothing to a checkpoint that is quantized, a format to one that is not."""
    word = asked.lower()
    if stored.method and not stored.doubt:
        return stored
    if word in _ONLINE:
        only = word == "experts_int8"
        return WeightFormats(word, _ONLINE[word], only_experts=only)
    if stored.doubt:
        return stored
    guess = next((form for pattern, form in _NAMED if re.search(pattern, word)), None)
    if guess is None:
        guess = NVFP4 if "modelopt" in word else GROUPED_4
    return WeightFormats(word, guess, doubt=f"--quantization {asked}, of which config.json says nothing")


def _by_name(model: str) -> WeightFormats:
    """A name that promises a format of which config.json says nothing: the rest stands in another file."""
    found = next((form for pattern, form in _NAMED if re.search(pattern, model.rsplit("/", 1)[-1].lower())), None)
    if found is None:
        return WeightFormats()
    return WeightFormats(
        "by name", found, doubt="the model's name promises a quantization of which config.json says nothing"
    )


def _listed(config: Mapping[str, object], *names: str) -> ModuleList:
    return ModuleList(word for name in names for word in _words(config.get(name)))


def _words(value: object) -> Iterable[str]:
    return (str(word) for word in value) if isinstance(value, list | tuple) else ()


def _fp8(config: Mapping[str, object], left_out: ModuleList, expert_dtype: str | None) -> WeightFormats:
    block = config.get("weight_block_size")
    form = FP8
    if isinstance(block, list | tuple) and len(block) == 2 and all(isinstance(side, int) for side in block):
        form = Format(Scheme.FP8_BLOCK, block=(int(block[0]), int(block[1])))
    experts = MXFP4 if expert_dtype == "fp4" else None
    if str(config.get("moe_quant_algo", "")).upper() == "NVFP4":
        experts = NVFP4
    return WeightFormats("fp8", form, experts=experts, left_out=left_out)


def _modelopt(config: Mapping[str, object]) -> WeightFormats:
    inner = config.get("quantization")
    inner = inner if isinstance(inner, Mapping) else config
    algorithm = str(inner.get("quant_algo") or config.get("quant_algo") or "").upper()
    left_out = ModuleList(word for key in ("exclude_modules", "ignore") for word in _words(inner.get(key)))
    layers = inner.get("quantized_layers", config.get("quantized_layers"))
    if algorithm == "MIXED_PRECISION":
        if not isinstance(layers, Mapping):
            return WeightFormats(
                "modelopt", NVFP4, left_out=left_out, doubt="a list of quantized layers that is not here"
            )
        by_form: dict[Format, list[str]] = {}
        for name, recipe in layers.items():
            word = str(recipe.get("quant_algo", "")).upper() if isinstance(recipe, Mapping) else ""
            by_form.setdefault(_ALGORITHMS.get(word, FP8), []).append(str(name))
        lists = tuple((ModuleList(names), form) for form, names in by_form.items())
        return WeightFormats("modelopt", PLAIN, left_out=left_out, by_module=lists, quantizes_head=True)
    form = _ALGORITHMS.get(algorithm)
    if form is None:
        return WeightFormats("modelopt", FP8, left_out=left_out, doubt=f"quantization {algorithm or 'without a name'}")
    return WeightFormats("modelopt", form, left_out=left_out)


def _compressed(config: Mapping[str, object]) -> WeightFormats:
    left_out = _listed(config, "ignore")
    groups = config.get("config_groups")
    forms: list[tuple[ModuleList, Format]] = []
    general: Format | None = None
    for group in groups.values() if isinstance(groups, Mapping) else ():
        if not isinstance(group, Mapping):
            continue
        form = _weights(group.get("weights"), str(group.get("format") or config.get("format") or ""))
        targets = list(_words(group.get("targets")))
        if form is None:
            continue
        if not targets or any(target in ("Linear", "MoE", "FusedMoE") for target in targets):
            general = form
        else:
            forms.append((ModuleList(targets), form))
    if general is None and not forms:
        general = FP8 if "float" in str(config.get("format", "")) else GROUPED_4
    return WeightFormats("compressed-tensors", general or PLAIN, left_out=left_out, by_module=tuple(forms))


def _weights(stated: object, layout: str) -> Format | None:
    if not isinstance(stated, Mapping):
        return None
    bits, kind = stated.get("num_bits"), str(stated.get("type", "int"))
    group = stated.get("group_size")
    if kind == "float" and bits == 4:
        return MXFP4 if group == 32 or "mxfp4" in layout else NVFP4
    if kind == "float":
        return FP8_BLOCK if stated.get("strategy") == "block" else MXFP8 if group == 32 else FP8
    if bits == 8 and "pack" not in layout:
        return INT8
    if isinstance(bits, int):
        return Format(
            Scheme.GROUPED, bits, group if isinstance(group, int) else -1, has_zeros=stated.get("symmetric") is False
        )
    return None


def _quark(config: Mapping[str, object]) -> WeightFormats:
    left_out = _listed(config, "exclude")
    general = _quark_weights(config.get("global_quant_config"))
    layers = config.get("layer_quant_config")
    lists = []
    for name, stated in layers.items() if isinstance(layers, Mapping) else ():
        form = _quark_weights(stated)
        if form is not None:
            lists.append((ModuleList([str(name)]), form))
    if general is None:
        return WeightFormats("quark", MXFP4, left_out=left_out, by_module=tuple(lists), doubt="quantization quark")
    return WeightFormats("quark", general, left_out=left_out, by_module=tuple(lists))


def _quark_weights(stated: object) -> Format | None:
    weight = stated.get("weight") if isinstance(stated, Mapping) else None
    if isinstance(weight, list | tuple) and weight:
        weight = weight[0]
    if not isinstance(weight, Mapping):
        return None
    dtype = str(weight.get("dtype", "")).lower()
    return {"fp4": MXFP4, "fp8_e4m3": FP8, "int8": INT8, "int4": GROUPED_4, "mxfp4": MXFP4}.get(dtype)
