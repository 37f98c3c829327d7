"""A compute graph as the scheduler's memory planning sees it: tensors with sizes, in the order they are computed.

Views cost nothing and are left out: a use of a view is a use of the tensor under it. Weights and caches live in buffers
of their own; they appear only as things that may have to be staged on another device.
"""

from collections.abc import Sequence

from kvtop.planning.llamacpp.memory.attention_scratch import Scratch

UNASSIGNED = -1
OFFLOADED_ROWS = 32
"""Rows from which a GPU takes over operations on host weights (`ggml_backend_cuda_device_offload_op`)."""


class Resident:
    """A tensor with memory of its own on device `home`: a weight, a cache, a state. `columns` and
    `rows` are its first two extents (0: no weight)."""

    __slots__ = ("columns", "home", "on_gpu", "rows", "size_bytes")

    def __init__(self, size_bytes: int, home: int, rows: int = 0, on_gpu: bool = True, columns: int = 0) -> None:
        self.size_bytes = size_bytes
        self.home = home
        self.rows = rows
        self.columns = columns
        self.on_gpu = on_gpu
        """Whether a GPU can run the operation that uses it."""


class Tensor:
    """One computed tensor, or an input.

    `reuse`: so many of the first sources may hand their memory over when this is their last use, because the operation
    works in place (`ggml_op_can_inplace`) and the layouts agree. `size_bytes` 0: written into a cache.
    """

    __slots__ = (
        "copied",
        "device",
        "gpu_bytes",
        "host_only",
        "kept",
        "lasting",
        "number",
        "reads",
        "reads_after",
        "reuse",
        "size_bytes",
        "sources",
        "staged_bytes",
        "uses",
        "view_first",
        "within",
    )

    def __init__(
        self,
        size_bytes: int,
        sources: "Sequence[Tensor]" = (),
        reuse: int = 0,
        reads: Sequence[Resident] = (),
        device: int = UNASSIGNED,
    ) -> None:
        self.size_bytes = size_bytes
        self.sources = sources
        self.reuse = reuse
        self.reads = reads
        self.device = device
        self.gpu_bytes = 0
        """What an accelerator allocates behind the tensor for its kernel."""
        self.host_only = False
        self.reads_after = 0
        """So many sources come before what it reads."""
        self.staged_bytes = size_bytes
        """What a copy on another device takes, if only a part of it is read there."""
        self.view_first = False
        """The first source is a view, whose memory is not taken over unless it is a copy from another device."""
        self.within: Tensor | None = None
        """The tensor that this is a part of: nothing is computed, but another device copies only the part."""
        self.uses = 0
        self.number = -1
        """In the allocator's script; -1: none yet, or nothing to allocate."""
        self.copied = False
        self.kept = False
        """Allocated before everything else and never freed (pipeline parallelism)."""
        self.lasting = False
        """Used by blocks that are not walked through: not freed."""


class Graph:
    """Tensors in the order of computation, and the inputs that the host fills before."""

    __slots__ = (
        "constants",
        "expanded",
        "fused",
        "host",
        "inputs",
        "keeps_experts",
        "offloads",
        "operations",
        "rows",
        "scratch",
    )

    def __init__(self, host: int, offloads: bool, scratch: Scratch = Scratch.COPIES_OTHER_TYPES) -> None:
        self.scratch = scratch
        """What fused attention allocates for itself on accelerators."""
        self.host = host
        """Index of the CPU: one more than the last accelerator's."""
        self.offloads = offloads
        """Whether operations on host weights may move to the first accelerator."""
        self.rows = 0
        """Tokens that matrix products work on."""
        self.inputs: list[Tensor] = []
        self.constants: list[Tensor] = []
        """Tensors without sources that the graph fills itself; they exist before anything is computed."""
        self.operations: list[Tensor] = []
        self.fused: list[tuple[Tensor, int]] = []
        """Fused attention, and the device of its block."""
        self.keeps_experts = False
        """Whether what the experts give is kept until it has been summed (ggml-cuda's fused reduction)."""
        self.expanded = 0
        """How many operations come before the next one that depends on none of the latest."""

    def input(self, size_bytes: int) -> Tensor:
        """A tensor that the host fills before the graph runs."""
        tensor = Tensor(size_bytes, (), 0, (), self.host)
        self.inputs.append(tensor)
        return tensor

    def constant(self, size_bytes: int, device: int) -> Tensor:
        """A tensor that an operation fills with one value."""
        tensor = Tensor(size_bytes, (), 0, (), device)
        self.constants.append(tensor)
        return tensor

    def compute(self, size_bytes: int, sources: Sequence[Tensor], reuse: int = 0) -> Tensor:
        """A tensor computed from others alone."""
        tensor = Tensor(size_bytes, sources, reuse)
        self.operations.append(tensor)
        return tensor

    def part(self, whole: Tensor, size_bytes: int) -> Tensor:
        """A part of a tensor that its reader alone needs."""
        tensor = Tensor(size_bytes)
        tensor.within = whole
        return tensor

    def weighted(
        self, size_bytes: int, weight: Resident, sources: Sequence[Tensor], reuse: int = 0, batch: int = 0
    ) -> Tensor:
        """A tensor computed with a weight: it runs where the weight is, or is offloaded from 32 rows on.

        `batch`: those rows (`get_op_batch_size`), tokens unless the weight is a vector that scales rows of its length.
        """
        home = weight.home
        if home == self.host and self.offloads and weight.on_gpu:
            if not batch:
                batch = size_bytes // (4 * weight.columns) if weight.rows == 1 and weight.columns else self.rows
            if batch >= OFFLOADED_ROWS:
                home = 0
        tensor = Tensor(size_bytes, sources, reuse, (weight,), home)
        self.operations.append(tensor)
        return tensor

    def expand(self) -> None:
        """The builder asks for everything so far (`ggml_build_forward_expand`): what comes next cannot move before."""
        self.expanded = len(self.operations)

    def store(self, cache: Resident, sources: Sequence[Tensor]) -> None:
        """Write into a cache: runs where the cache is and allocates nothing."""
        self.operations.append(Tensor(0, sources, 0, (), cache.home))
        self.expand()

    def clear(self, cache: Resident) -> None:
        """Clear a state in place, at once: it runs where the state is, and so do its neighbours."""
        self.operations.insert(self.expanded, Tensor(0, (), 0, (), cache.home))
        self.expanded += 1

    def gather(self, size_bytes: int, cache: Resident, rows: Tensor) -> Tensor:
        """Rows of a state: asked for at once, so that they come before all that nobody asked for yet."""
        self.clear(cache)
        tensor = Tensor(size_bytes, (rows,), 0, (cache,))
        written = Tensor(0, (tensor,), 0, (), cache.home)
        self.operations[self.expanded : self.expanded] = (tensor, written)
        self.expanded += 2
        return tensor

    def read(self, size_bytes: int, caches: Sequence[Resident], sources: Sequence[Tensor]) -> Tensor:
        """A tensor computed from caches, on whatever device its neighbours run."""
        tensor = Tensor(size_bytes, sources, 0, caches)
        self.operations.append(tensor)
        return tensor
