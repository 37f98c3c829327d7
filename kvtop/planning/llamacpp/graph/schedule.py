"""Which device computes what, and what that copies (`ggml_backend_sched_split_graph`, ggml-backend.cpp, b11434)."""

from kvtop.planning.llamacpp.graph.graph import UNASSIGNED, Graph, Resident, Tensor


def schedule(graph: Graph, copies: int) -> list[Tensor]:
    """The operations with the copies between devices where the scheduler puts them: at the start of a split.

    `copies` is 1, or 4 under pipeline parallelism: then copies and inputs are kept for the whole graph, and the list
    starts with all of them.
    """
    assign(graph)
    staging = _Staging(copies)
    if copies > 1:
        for tensor in graph.inputs:
            tensor.kept = True
            staging.keep(tensor.size_bytes, graph.host)
    current = UNASSIGNED
    split: list[Tensor] = []
    staged_here = False
    for operation in graph.operations:
        device = operation.device
        foreign = False
        for resident in operation.reads:
            if resident.home != device:
                foreign = True
        # A new split lets the memory of the weights staged before be used again.
        if device != current or (staged_here and foreign and _stages_weight(operation)):
            staging.ordered += split
            split = []
            current = device
            staged_here = False
        for source in operation.sources:
            if source.device != device:
                foreign = True
        if foreign:
            before = len(staging.ordered)
            operation.sources = staging.resolve(operation)
            staged_here = staged_here or len(staging.ordered) > before
        split.append(operation)
    return staging.kept + staging.ordered + split


class _Staging:
    """Copies made so far, one per tensor and device, and the order of everything."""

    __slots__ = ("_copies", "_made", "kept", "ordered")

    def __init__(self, copies: int) -> None:
        self._copies = copies
        self._made: dict[tuple[int, int], Tensor] = {}
        self.kept: list[Tensor] = []
        self.ordered: list[Tensor] = []

    def keep(self, size_bytes: int, device: int) -> None:
        """The further copies of pipeline parallelism."""
        for _ in range(self._copies - 1):
            tensor = Tensor(size_bytes, (), 0, (), device)
            tensor.kept = True
            self.kept.append(tensor)

    def resolve(self, operation: Tensor) -> list[Tensor]:
        """The sources of an operation as they are on its device."""
        device = operation.device
        staged: list[Tensor] = []
        resolved: list[Tensor] = []
        # Weights and caches are copied first but for attention, whose query comes before its caches.
        for index, source in enumerate(operation.sources):
            if index == operation.reads_after:
                staged = self._staged(operation)
            whole = source.within or source
            # A copy depends on its source, so that it is not freed before.
            resolved.append(whole if whole.device == device else self._copy(source, device, (whole,)))
        if len(resolved) <= operation.reads_after:
            staged = self._staged(operation)
        # Sources that may be overwritten come first.
        return resolved + staged

    def _staged(self, operation: Tensor) -> list[Tensor]:
        device = operation.device
        return [self._copy(resident, device, ()) for resident in operation.reads if resident.home != device]

    def _copy(self, original: Tensor | Resident, device: int, origin: tuple[Tensor, ...]) -> Tensor:
        key = id(original), device
        copy = self._made.get(key)
        if copy is None:
            size_bytes = original.staged_bytes if isinstance(original, Tensor) else original.size_bytes
            copy = Tensor(size_bytes, origin, 0, (), device)
            copy.copied = True
            copy.lasting = isinstance(original, Tensor) and original.lasting
            self._made[key] = copy
            self.ordered.append(copy)
            if self._copies > 1:
                copy.kept = True
                self.keep(size_bytes, device)
        return copy


def _stages_weight(operation: Tensor) -> bool:
    return any(resident.rows and resident.home != operation.device for resident in operation.reads)


def assign(graph: Graph) -> None:
    """Give every operation a device (passes 1 to 3).

    Operations without a weight follow their neighbours, accelerators first.
    """
    host = graph.host
    operations = graph.operations
    if host == 0:
        for operation in operations:
            operation.device = 0
        return
    for accelerators_only in (True, False):
        for ordered in (operations, operations[::-1]):
            if not _expand(ordered, host, accelerators_only):
                return
    for operation in operations:
        if operation.device == UNASSIGNED:
            operation.device = host


def _expand(operations: list[Tensor], host: int, accelerators_only: bool) -> bool:
    """Whether some operation is still without a device."""
    current = UNASSIGNED
    unassigned = False
    for operation in operations:
        device = operation.device
        if device != UNASSIGNED:
            current = UNASSIGNED if accelerators_only and device == host else device
        elif current != UNASSIGNED and (current == host or not operation.host_only):
            operation.device = current
        else:
            unassigned = True
    return unassigned
