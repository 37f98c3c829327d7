"""One Frame as JSON, schema `kvtop.snapshot/1`. Names are a contract: within a version they are only added to."""

import json
from datetime import UTC, datetime

from kvtop.domain.figure import Figure
from kvtop.domain.frame import DeviceView, Finding, Frame, ServerView, Split
from kvtop.domain.memory import Segment
from kvtop.domain.server import Slot
from kvtop.views.export.snapshot.engine_json import engine_parts
from kvtop.views.export.snapshot.outlook_json import outlook
from kvtop.views.export.snapshot.snapshot_types import (
    SCHEMA,
    CacheJson,
    CacheSegmentJson,
    DeviceJson,
    FailureJson,
    FindingJson,
    MemoryJson,
    ModelJson,
    OptionJson,
    SegmentJson,
    SegmentsJson,
    ServerJson,
    SlotJson,
    SnapshotJson,
    SplitJson,
)
from kvtop.views.export.untrusted import visible_values


def snapshot(frame: Frame) -> SnapshotJson:
    """The Frame as plain values, ready for `json.dumps`."""
    return SnapshotJson(
        schema=SCHEMA,
        taken_at=datetime.fromtimestamp(frame.taken_at, UTC).isoformat(timespec="milliseconds"),
        kvtop_version=frame.kvtop_version,
        host=frame.host,
        devices=[_device(view) for view in frame.devices],
        servers=[_server(view) for view in frame.servers],
        failures=[FailureJson(source=it.source, message=it.message, remedy=it.remedy) for it in frame.failures],
        pending=list(frame.pending),
        is_demo=frame.is_demo,
    )


def snapshot_text(frame: Frame) -> str:
    """The Frame as indented JSON with a final newline."""
    return json.dumps(visible_values(snapshot(frame)), indent=2, ensure_ascii=False) + "\n"


def _device(view: DeviceView) -> DeviceJson:
    device, memory = view.device, view.device.memory
    return DeviceJson(
        id=device.id,
        name=device.name,
        backend=device.driver.name,
        uuid=device.uuid,
        parent_id=device.parent_id,
        state=device.state.value,
        note=device.note,
        age_seconds=view.age_seconds,
        memory=MemoryJson(
            total_bytes=memory.total_bytes,
            used_bytes=memory.used_bytes,
            free_bytes=memory.free_bytes,
            reserved_bytes=memory.reserved_bytes,
        ),
        other_bytes=view.other_bytes,
        utilization_ratio=device.utilization_ratio,
        temperature_celsius=device.temperature_celsius,
        power_watts=device.power_watts,
        compute_api=device.driver.compute_api.name,
        pci_address=device.pci_address,
        unified_memory=device.unified_memory,
        lists_all_processes=device.lists_all_processes,
    )


def _server(view: ServerView) -> ServerJson:
    reading = view.reading
    launch = reading.launch
    return ServerJson(
        **outlook(view),
        **engine_parts(reading),
        id=reading.id,
        engine=reading.engine,
        version=reading.version,
        url=reading.url,
        state=reading.state.value,
        hint=reading.hint,
        pids=list(reading.pids),
        is_remote=reading.is_remote,
        model=ModelJson(
            name=reading.model.name,
            path=reading.model.path,
            architecture=view.plan.architecture if view.plan is not None else None,
            quantization=reading.model.quantization,
            parameters=reading.model.parameters,
            tensor_bytes=reading.model.tensor_bytes,
            trained_context_tokens=reading.model.trained_context_tokens,
        ),
        launch=None
        if launch is None
        else {it.name: OptionJson(value=it.value, origin=it.origin.value, detail=it.detail) for it in launch.options},
        kv_cache=CacheJson(
            type_k=view.kv_cache.type_k,
            type_v=view.kv_cache.type_v,
            types_source=view.kv_cache.types_source,
            capacity_tokens=view.kv_cache.capacity_tokens,
            used_tokens=view.kv_cache.used_tokens,
            used_ratio=view.kv_cache.used_ratio,
            used_is_upper_bound=view.kv_cache.used_is_upper_bound,
            bytes_per_token=view.kv_cache.bytes_per_token,
        ),
        slots=None if reading.slots is None else [_slot(slot) for slot in reading.slots],
        memory=[_split(split) for split in view.splits],
        plan_note=view.plan_note,
        findings=[_finding(finding) for finding in view.findings],
    )


def _slot(slot: Slot) -> SlotJson:
    return SlotJson(
        id=slot.id,
        context_tokens=slot.context_tokens,
        used_tokens=slot.used_tokens,
        is_processing=slot.is_processing,
    )


def _split(split: Split) -> SplitJson:
    segments = {segment: _segment(figure) for segment, figure in split.memory.parts}
    return SplitJson(
        device=split.device_id,
        driver_bytes=split.driver.value_bytes,
        driver_basis=split.driver.basis.value,
        segments=SegmentsJson(
            weights=segments[Segment.WEIGHTS],
            kv_cache=CacheSegmentJson(**segments[Segment.KV_CACHE], used_bytes=split.kv_used_bytes),
            recurrent_state=segments[Segment.RECURRENT],
            compute=segments[Segment.COMPUTE],
            runtime=segments[Segment.RUNTIME],
            unattributed=segments[Segment.UNATTRIBUTED],
        ),
    )


def _segment(figure: Figure) -> SegmentJson:
    return SegmentJson(
        bytes=figure.value_bytes,
        basis=figure.basis.value,
        low_bytes=figure.low_bytes,
        high_bytes=figure.high_bytes,
        source=figure.source,
    )


def _finding(finding: Finding) -> FindingJson:
    return FindingJson(
        code=finding.code,
        slug=finding.slug,
        severity=finding.severity,
        subject=finding.subject,
        message=finding.message,
        evidence=finding.evidence,
        cost=finding.cost,
        fix=finding.fix,
    )
