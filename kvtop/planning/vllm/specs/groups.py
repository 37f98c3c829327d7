"""From layers to groups that draw blocks from one pool.

Source: vLLM 0.32.0, `vllm/v1/core/kv_cache_utils.py` (`get_kv_cache_groups` and what it calls).
"""

from dataclasses import dataclass, replace

from kvtop.planning.vllm.refusals import StartRefusedError
from kvtop.planning.vllm.specs.layer_specs import LayerSpec, RequestTerms, SpecKind, blocks_per_request, ceil_div

COMPRESSED = "compressed"
"""The role of specs that their model class states itself, and groups by rules of its own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that share one block table. `layers` are positions in the whole model's list of cached layers.

    `specs` has one entry per layer: equal ones, or ones of one type with different pages.
    """

    layers: tuple[int, ...]
    specs: tuple[LayerSpec, ...]
    head: LayerSpec
    """The spec that stands for the group; it stays when a pipeline stage holds none of the layers."""

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one block of all the layers."""
        return sum(spec.stride_bytes for spec in self.specs)

    def blocks_per_request(self, terms: RequestTerms) -> int:
        """Blocks that one request of full length may hold of this group."""
        return max(blocks_per_request(spec, terms) for spec in {*self.specs, self.head})

    def only(self, start: int, stop: int) -> "Group":
        """The part that a pipeline stage with the layers [start, stop) holds, perhaps empty."""
        kept = [(layer, spec) for layer, spec in zip(self.layers, self.specs, strict=True) if start <= layer < stop]
        return Group(tuple(layer for layer, _ in kept), tuple(spec for _, spec in kept), self.head)


def group_layers(specs: tuple[LayerSpec, ...], *, hybrid: bool = True) -> tuple[Group, ...]:
    """Groups of the whole model, in vLLM's order.

    `hybrid` False is `--disable-hybrid-kv-cache-manager`: local attention is kept for all tokens.

    Raises:
        RefusedError: vLLM cannot bring the layers under one manager.
    """
    if not hybrid:
        specs = _promote_local(specs)
    if not specs:
        return ()
    if any(spec.role == COMPRESSED for spec in specs):
        return _compressed(specs)
    everything = tuple(range(len(specs)))
    if _merges(list(dict.fromkeys(specs))) or _one_type(specs):
        return (Group(everything, specs, specs[0]),)
    specs = _unify_pages(specs)
    return _split(specs)


def _compressed(specs: tuple[LayerSpec, ...]) -> tuple[Group, ...]:
    """DeepSeek V4 (`_get_kv_cache_groups_uniform_groups`): rows for all tokens in one group, windows by what they keep.

    The plain window's layers are dealt into as many groups as bring them nearest to the number of compressed ones.
    """
    kinds: dict[tuple[SpecKind, int, int | None], list[int]] = {}
    for index, spec in enumerate(specs):
        kinds.setdefault((spec.kind, spec.block_size, spec.window), []).append(index)
    pages = [spec.page_bytes for spec in specs if spec.kind.is_full]
    tuples = max((pages.count(page) for page in set(pages)), default=1)
    groups: list[Group] = []
    for (kind, _, _), layers in kinds.items():
        is_plain = kind is SpecKind.SLIDING and bool(specs[layers[0]].page_bytes)
        number = max(1, round(len(layers) / tuples)) if is_plain else 1
        for start in range(number):
            dealt = tuple(layers[start::number])
            groups.append(Group(dealt, tuple(specs[index] for index in dealt), specs[layers[0]]))
    return tuple(groups)


def _merges(specs: list[LayerSpec]) -> bool:
    """Whether vLLM's `merge` takes these specs for one: equal, but full layers may differ in their window."""
    first = specs[0]
    if first.kind not in (SpecKind.FULL, SpecKind.SINK):
        return all(spec == first for spec in specs[1:])
    bare = replace(first, window=None, chunk=None)
    if any(replace(spec, window=None, chunk=None) != bare for spec in specs[1:]):
        return False
    windows = {spec.window for spec in specs if spec.window is not None}
    chunks = {spec.chunk for spec in specs if spec.chunk is not None}
    return len(windows) <= 1 and len(chunks) <= 1 and not (windows and chunks)


def _one_type(specs: tuple[LayerSpec, ...]) -> bool:
    """Whether all layers always need the same number of token slots, whatever their page (one group, mixed pages)."""
    return len({_type_of(spec) for spec in specs}) == 1


def _type_of(spec: LayerSpec) -> tuple[object, ...]:
    """What two layers must share to live in one group with pages of their own."""
    shared = (spec.block_size, spec.dcp_sharded)
    if spec.kind.is_full:
        return (*shared, "full")
    if spec.kind is SpecKind.MAMBA:
        return (*shared, spec.kind, spec.page_bytes, spec.prefill_checkpoints)
    return (*shared, spec.kind, spec.window, spec.chunk)


def _promote_local(specs: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
    """Sliding-window and chunked layers beside full ones are kept for all tokens (`_promote_local_kv_cache_specs`)."""
    if not specs or _merges(list(dict.fromkeys(specs))) or _one_type(specs):
        return specs
    full_blocks = {spec.block_size for spec in specs if spec.kind.is_full}
    if full_blocks:
        block = next(iter(full_blocks)) if len(full_blocks) == 1 else None
        specs = tuple(
            replace(spec, kind=SpecKind.FULL, block_size=block or spec.block_size)
            if spec.kind in (SpecKind.SLIDING, SpecKind.CHUNKED)
            else spec
            for spec in specs
        )
    if not (_merges(list(dict.fromkeys(specs))) or _one_type(specs)):
        raise StartRefusedError("Failed to promote local KV cache specs to one unified type.")
    return specs


def _unify_pages(specs: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
    """Give every layer the largest page: by more tokens per block where it divides, by padding where it does not."""
    largest = max(spec.page_bytes for spec in specs)
    unified: dict[LayerSpec, LayerSpec] = {}
    for spec in dict.fromkeys(specs):
        if spec.page_bytes == largest:
            unified[spec] = spec
        elif spec.kind is SpecKind.MAMBA:
            unified[spec] = replace(spec, page_padded=largest)
        elif largest % spec.page_bytes == 0 and spec.page_padded is None:
            unified[spec] = spec.with_block(spec.block_size * (largest // spec.page_bytes))
        elif spec.kind is not SpecKind.MLA:
            unified[spec] = replace(spec, page_padded=largest)
        else:
            raise StartRefusedError(
                "page size is not divisible by the maximum page size and cannot be padded. "
                "Padding is only supported for non-MLA attention layers."
            )
    return tuple(unified[spec] for spec in specs)


def _split(specs: tuple[LayerSpec, ...]) -> tuple[Group, ...]:
    """Buckets of mergeable layers, dealt into groups of one size (`_get_kv_cache_groups_uniform_page_size`).

    The size is the smallest bucket, or the largest where that is less than half as large again. Layers are dealt
    round-robin so that a pipeline stage holds about as many of each group.
    """
    same: dict[LayerSpec, list[int]] = {}
    for index, spec in enumerate(specs):
        same.setdefault(spec, []).append(index)
    buckets: list[tuple[list[LayerSpec], list[int]]] = []
    for spec, indices in same.items():
        for members, layers in buckets:
            if members[0].kind is spec.kind and _merges([*members, spec]):
                members.append(spec)
                layers.extend(indices)
                break
        else:
            buckets.append(([spec], list(indices)))
    smallest = min(len(layers) for _, layers in buckets)
    largest = max(len(layers) for _, layers in buckets)
    size = largest if largest < smallest * 1.5 else smallest
    groups: list[Group] = []
    for members, layers in buckets:
        count = ceil_div(len(layers), size)
        for start in range(count):
            dealt = tuple(layers[start::count])
            groups.append(Group(dealt, tuple(specs[index] for index in dealt), members[0]))
    return tuple(groups)
