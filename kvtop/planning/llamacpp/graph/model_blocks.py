"""What a model's blocks consist of, read off its tensors, and which blocks are worth walking through."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from kvtop.planning.llamacpp.graph.graph import Resident
from kvtop.planning.llamacpp.graph.tensors import Tensors
from kvtop.planning.llamacpp.memory.layout import ModelLayout
from kvtop.planning.llamacpp.memory.placement import HOST, Placement
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.memory.weight import Weight
from kvtop.planning.llamacpp.memory.weights import INPUT, Pieces, blocks_named, repacked
from kvtop.planning.llamacpp.model.hparams import HParams


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its weights by name without `blk.N.` and `.weight`, and the index that decides its shape."""

    index: int
    weights: Mapping[str, Resident]
    home: int
    """The device that the block is assigned to, wherever its weights lie."""
    cache_home: int
    rope_factors: Resident | None
    """Frequency factors of rotary positions, where the model has a tensor of them."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks to walk through, and the weights outside of blocks."""

    walked: tuple[Block, ...]
    others: Mapping[str, Resident]
    mixed: bool
    """Whether anything that the accelerators work on lies in host memory."""
    indexed: Mapping[int, int]
    """Device of every block with a lightning indexer, walked through or not."""
    has_last_uses: bool = False
    """Whether the last block of every kind on every device is walked through: what is not used after is free."""


def blocks_of(prepared: PreparedModel, layout: ModelLayout, attends_on_host: bool = False) -> Blocks:
    """The blocks of a model under a layout.

    Equal neighbours repeat the same allocations, so that of every kind of neighbourhood only the first is kept.
    `attends_on_host`: fused attention has no kernel on the accelerators, so that every block copies its cache.
    """
    return prepared.remember(("blocks", layout, attends_on_host), lambda: _blocks(prepared, layout, attends_on_host))


def _blocks(prepared: PreparedModel, layout: ModelLayout, attends_on_host: bool) -> Blocks:
    hparams, placement = prepared.hparams, layout.placement
    homes = {name: index for index, name in enumerate((*placement.devices, HOST))}
    sorting = _Sorting(layout, homes)
    others = sorting.outside(prepared.weights.others)
    if "output" not in others and "token_embd" in others:
        embedding = others["token_embd"]
        others["output"] = Resident(embedding.size_bytes, homes[placement.output], embedding.rows, True)
    layers = range(hparams.n_layer)
    shapes = [sorting.shape(layer, prepared.weights.blocks.get(layer, ())) for layer in layers]
    mixed = sorting.mixed
    # The last block works on fewer rows. That shows where it has a device almost to itself, and where too few rows to
    # be worth the way stay on the host.
    spread_out = mixed or placement.kv_on_host or placement.pipeline_parallel
    spread_out = spread_out or len({*placement.layers, placement.output}) > 1
    kinds = [
        (
            shapes[layer],
            placement.layers[layer],
            hparams.is_swa[layer],
            hparams.is_recurrent[layer],
            hparams.has_kv(layer),
            hparams.n_head[layer],
            hparams.n_head_kv[layer],
            hparams.n_ff[layer],
            turns_by_position(hparams, layer),
            spread_out and layer == hparams.n_layer - 1,
            layer < hparams.traits.sparse_layers,
        )
        for layer in layers
    ]
    # Under pipeline parallelism every copy is kept: all blocks that stage something count. So they do where they read
    # caches of a block on another device: nothing is written in between that would begin another split.
    staging = mixed or attends_on_host or "per_layer_token_embd" in others
    borrowing = any(
        placement.cache_device(hparams.cache_layer(layer)) != placement.layers[layer]
        for layer in layers
        if not hparams.has_kv(layer)
    )
    every = borrowing or (placement.pipeline_parallel and staging)
    plain = not spread_out and not hparams.is_mla and not any(hparams.is_recurrent)
    repetitions = len(kinds) if every else 1 if plain else _REPETITIONS
    if hparams.traits.halves_apart:
        repetitions = len(kinds) if mixed or placement.kv_on_host else max(repetitions, _REPETITIONS_OF_HALVES)
    factors = next((others[name] for name in _ROPE_FACTORS if name in others), None)
    # Every device has its own copy of the factors, and so has the host.
    copies = {
        home: None if factors is None else Resident(factors.size_bytes, home, factors.rows) for home in homes.values()
    }
    walked = tuple(
        Block(
            layer,
            sorting.residents(layer, prepared.weights.blocks.get(layer, ())),
            homes[placement.layers[layer]],
            homes[placement.cache_device(hparams.cache_layer(layer))],
            None
            if hparams.traits.turns_in_window_plainly and hparams.is_swa[layer]
            else copies[homes[placement.layers[layer]]],
        )
        for layer in _representatives(kinds, repetitions, placement.layers if spread_out else ())
    )
    indexed = {
        layer: homes[placement.layers[layer]]
        for layer in layers
        if hparams.is_indexer_full and any(w.suffix == "indexer.attn_k" for w in prepared.weights.blocks.get(layer, ()))
    }
    return Blocks(walked, others, mixed or placement.kv_on_host, indexed, spread_out or len(walked) == len(kinds))


def prediction_block(prepared: PreparedModel, layout: ModelLayout) -> Block | None:
    """The first prediction block, None where it is not written down as one that joins a state and an embedding."""
    layer = prepared.hparams.n_layer
    pieces = prepared.weights.blocks.get(layer, ())
    if not any(weight.suffix == "nextn.eh_proj" for weight in pieces):
        return None
    homes = {name: index for index, name in enumerate((*layout.placement.devices, HOST))}
    placement = layout.placement
    return Block(
        layer,
        _Sorting(layout, homes).residents(layer, pieces),
        homes[placement.layers[layer]],
        homes[placement.cache_device(layer)],
        None,
    )


class _Sorting:
    """Where the weights of a layout lie, as numbers of devices."""

    def __init__(self, layout: ModelLayout, homes: Mapping[str, int]) -> None:
        self._layout = layout
        self._homes = homes
        self._host = homes[HOST]
        self._shapes: dict[tuple[Pieces, str], Hashable] = {}
        self._touched = blocks_named(layout.overridden)
        self.mixed = False
        """Whether some weight of a block lies in host memory, as far as blocks have been looked at."""

    def outside(self, others: Sequence[tuple[int, Weight]]) -> dict[str, Resident]:
        """Weights outside of blocks by name."""
        overridden, placement = self._layout.overridden, self._layout.placement
        found = Tensors("")
        for site, weight in others:
            home = self._homes[overridden.get(weight.name) or _outside(site, placement)]
            fits = self._moves(weight) and (weight.suffix != "token_types" or weight.tensor.type_name in {"f32", "f16"})
            found[weight.suffix] = Resident(weight.size_bytes, home, weight.rows, fits, weight.columns)
        return found

    def shape(self, layer: int, pieces: Pieces) -> Hashable:
        """Equal for blocks that allocate alike: rows of every matrix, and its size too where it may be staged."""
        if layer in self._touched:
            return self._shape(layer, pieces)
        key = pieces, self._layout.placement.layers[layer]
        found = self._shapes.get(key)
        if found is None:
            found = self._shapes[key] = self._shape(layer, pieces)
        return found

    def _shape(self, layer: int, pieces: Pieces) -> Hashable:
        rows = []
        for weight in pieces:
            home = self._home(layer, weight)
            staged = home == self._host
            self.mixed = self.mixed or staged
            rows.append((weight.suffix, weight.rows, home, weight.size_bytes if staged else 0))
        return tuple(sorted(rows))

    def residents(self, layer: int, pieces: Pieces) -> dict[str, Resident]:
        """The weights of a block by name."""
        found = Tensors(f"blk.{layer}.")
        for weight in pieces:
            found[weight.suffix] = self._resident(weight, self._home(layer, weight))
        return found

    def _resident(self, weight: Weight, home: int) -> Resident:
        """From the host an accelerator copies a weight into a buffer of its own, which may round it."""
        size_bytes = weight.size_bytes
        if home == self._host and self._layout.placement.devices:
            size_bytes = weight.allocated.get(self._layout.buffers[self._layout.placement.devices[0]], size_bytes)
        return Resident(size_bytes, home, weight.rows, self._moves(weight), weight.columns)

    def _moves(self, weight: Weight) -> bool:
        """Whether an accelerator can take the operation over when the weight is in host memory."""
        return weight.fits_gpu and not (self._layout.repacks and repacked(weight.tensor))

    def _home(self, layer: int, weight: Weight) -> int:
        override = self._layout.overridden.get(f"blk.{layer}.{weight.name}") if layer in self._touched else None
        if override is not None:
            return self._homes[override]
        return self._homes[self._layout.placement.layers[layer]] if weight.fits_gpu else self._host


_REPETITIONS = 2
"""Where everything lies on one device and every block attends, holes repeat from the second block of a kind on."""
_REPETITIONS_OF_HALVES = 6
"""Where halves stand apart, holes take longer to settle, and one decides for the next."""
_ROPE_FACTORS = ("rope_freqs", "rope_factors_short", "rope_factors_long")


def _outside(site: int, placement: Placement) -> str:
    """The device of a weight outside of blocks: some go with the first block."""
    if site == INPUT:
        return HOST
    return placement.layers[0] if site == 0 else placement.output


def turns_by_position(hparams: HParams, layer: int) -> bool:
    """Whether the layer rotates by position: some models leave it out on every fourth or every full layer."""
    rule = hparams.traits.rotary
    if rule == "in_window":
        return hparams.is_swa[layer]
    return rule != "never" and not (rule == "but_every_fourth" and layer % 4 == 3)


def _representatives(kinds: Sequence[object], repetitions: int, devices: Sequence[str] = ()) -> list[int]:
    """The first blocks of every pair of neighbouring kinds: where holes lie may alternate from block to block.

    With `devices`, by block, also the last block of every kind on each of them: there its masks are free.
    """
    numbers: dict[object, int] = {}
    ids = [numbers.setdefault(kind, len(numbers)) for kind in kinds]
    last = set({(number, devices[layer]): layer for layer, number in enumerate(ids)}.values()) if devices else set()
    seen: Counter[tuple[int, int]] = Counter()
    chosen = []
    for layer, number in enumerate(ids):
        pair = ids[layer - 1] if layer else -1, number
        if seen[pair] < repetitions or layer in last:
            seen[pair] += 1
            chosen.append(layer)
    return chosen
