"""One graph at many context lengths: what else is equal, only sizes change, and each of them by so much a cell.

A mask has so many bytes a cell, a score too, and what a kernel converts; everything else has a fixed size. So two walks
at two lengths tell the sizes at any other, and only the allocator has to be replayed there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kvtop.planning.llamacpp.context import ResolvedContext
from kvtop.planning.llamacpp.graph.allocation import Script, replayed
from kvtop.planning.llamacpp.model.hparams import HParams

LengthKey = tuple[object, ...]
"""What graphs have in common that differ in the length of the context alone."""


def length_key(context: ResolvedContext, hparams: HParams, types: tuple[str, str]) -> LengthKey:
    """The key of a context with these types of K and V. What it does not name decides no graph: `n_batch`, `n_ctx`."""
    return (
        *types,
        context.flash_attention,
        context.n_seq_max,
        context.n_stream,
        context.n_outputs_max,
        context.n_ubatch,
        context.n_rs_seq,
        context.kv_unified,
        context.embeddings,
        min(context.n_ctx, context.n_ubatch),
        # A window as long as the context grows with it.
        -1 if context.swa_cells == context.n_ctx_seq else context.swa_cells,
        min(hparams.indexer_top_k, context.n_ctx_seq),
    )


@dataclass(slots=True)
class Lengths:
    """Graphs that differ in their cells alone. The first two are walked, the others' sizes follow from those."""

    alignments: Sequence[int]
    _walked: dict[int, Script] = field(default_factory=dict)
    _slopes: tuple[Mapping[int, int], Mapping[int, int]] | None = None
    _alike: bool = True

    def peaks(self, cells: int, walk: Callable[[], Script]) -> list[int]:
        """Highest address per device at so many cells a stream. `walk` writes the graph of that length."""
        if len(self._walked) < 2 or not self._alike:
            script = walk()
            if self._alike:
                self._walked[cells] = script
                self._compare()
            return replayed(script, script.sizes_bytes, script.extras_bytes, self.alignments)
        (base_cells, base), _ = self._walked.items()
        assert self._slopes is not None
        more = cells - base_cells
        sizes, extras = list(base.sizes_bytes), list(base.extras_bytes)
        for values, slopes in zip((sizes, extras), self._slopes, strict=True):
            for number, slope in slopes.items():
                values[number] += slope * more
        return replayed(base, sizes, extras, self.alignments)

    def _compare(self) -> None:
        if len(self._walked) < 2:
            return
        (first_cells, first), (second_cells, second) = self._walked.items()
        apart = second_cells - first_cells
        sizes = _slopes(first.sizes_bytes, second.sizes_bytes, apart)
        extras = _slopes(first.extras_bytes, second.extras_bytes, apart)
        if sizes is None or extras is None or first.moves != second.moves or first.devices != second.devices:
            self._alike = False
            self._walked.clear()
        else:
            self._slopes = sizes, extras


def _slopes(first: Sequence[int], second: Sequence[int], apart: int) -> Mapping[int, int] | None:
    """Bytes a cell, by tensor, of those that grow; None where that is no whole number, or a size vanishes."""
    if len(first) != len(second):
        return None
    found = {}
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        if one != other:
            slope, rest = divmod(other - one, apart)
            if rest or not one or not other:
                return None
            found[number] = slope
    return found
