"""Cards of a cluster, from DCGM's exporter or from kvtop's own.

DCGM counts cards and not processes: the pod that a card is given to holds all that is used on it. Where more than one
pod is named for a card (time slices, MPS), nobody can divide it and the shares are unknown.
"""

from collections.abc import Mapping, Sequence

from kvtop.domain.device import Device, DeviceMemory, DeviceState, ProcessMemory
from kvtop.domain.driver import HOST_DRIVER, REMOTE_HOST_DRIVER
from kvtop.sources.devices import driver_named
from kvtop.sources.devices.dcgm import DCGM
from kvtop.sources.fleet.series import Series
from kvtop.text import INT64_MAX

_MIB = 1024 * 1024
USED, FREE, RESERVED = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE", "DCGM_FI_DEV_FB_RESERVED"
EXTRAS = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE")
KVTOP_TOTAL, KVTOP_USED = "kvtop_device_memory_total_bytes", "kvtop_device_memory_used_bytes"
KVTOP_RESERVED = "kvtop_device_memory_reserved_bytes"

STALE_SECONDS = 90.0
"""Older than three scrapes at the usual 30 s."""

KVTOP_DRIVER = "kvtop_process_memory_driver_bytes"


def dcgm_cards(
    series: Mapping[str, Sequence[Series]],
    taken_at: float,
    synthetic_pids: "SyntheticPids",
    scraped: Mapping[str, float] | None = None,
    stale_seconds: float = STALE_SECONDS,
) -> list[Device]:
    """One device a card or MIG slice. The driver's total is what is used, free and reserved together.

    `scraped` is the Unix time of each target's last scrape, where it is known.
    """
    cards: dict[str, list[Series]] = {}
    for it in series.get(USED, ()):
        cards.setdefault(_card_id(it), []).append(it)
    values = {name: {_card_id(it): it for it in series.get(name, ())} for name in (FREE, RESERVED, *EXTRAS)}
    devices = []
    for card, rows in sorted(cards.items()):
        first = rows[0]
        used, free = _mib(first), _mib(values[FREE].get(card))
        reserved = _mib(values[RESERVED].get(card))
        total = None if used is None or free is None else used + free + (reserved or 0)
        pods = sorted({it.pod for it in rows if it.pod is not None})
        shares = tuple(ProcessMemory(synthetic_pids.of(pod), used if len(pods) == 1 else None) for pod in pods)
        devices.append(
            Device(
                id=card,
                name=first.label("modelName", "model") or "GPU",
                driver=DCGM,
                memory=DeviceMemory(total, used, free, reserved),
                processes=shares if pods else None,
                measured_at=(scraped or {}).get(first.target, taken_at),
                state=_state((scraped or {}).get(first.target, taken_at), taken_at, used, stale_seconds),
                note="" if len(pods) < 2 else f"{len(pods)} pods share it, and DCGM does not say who holds what",
                uuid=first.label("UUID", "uuid"),
                utilization_ratio=_scaled(values[EXTRAS[0]].get(card), 0.01),
                temperature_celsius=_scaled(values[EXTRAS[1]].get(card), 1.0),
                power_watts=_scaled(values[EXTRAS[2]].get(card), 1.0),
            )
        )
    return devices


def kvtop_cards(
    series: Mapping[str, Sequence[Series]],
    taken_at: float,
    synthetic_pids: "SyntheticPids",
    scraped: Mapping[str, float] | None = None,
    stale_seconds: float = STALE_SECONDS,
) -> list[Device]:
    """Devices that a kvtop exporter tells of; its servers' totals are the shares. `scraped` as above."""
    used = {_kvtop_id(it): it.whole for it in series.get(KVTOP_USED, ())}
    reserved = {_kvtop_id(it): it.whole for it in series.get(KVTOP_RESERVED, ())}
    shares: dict[str, list[ProcessMemory]] = {}
    for it in series.get(KVTOP_DRIVER, ()):
        row = ProcessMemory(synthetic_pids.of(server_id(it)), it.whole)
        shares.setdefault(_kvtop_id(it), []).append(row)
    devices = []
    for it in series.get(KVTOP_TOTAL, ()):
        device = _kvtop_id(it)
        total, taken, kept = it.whole, used.get(device), reserved.get(device)
        backend = it.label("backend") or "unknown"
        free = None if total is None or taken is None else max(total - taken - (kept or 0), 0)
        at = (scraped or {}).get(it.target, taken_at)
        devices.append(
            Device(
                id=device,
                name=it.label("name") or it.label("device") or "device",
                driver=REMOTE_HOST_DRIVER if backend == HOST_DRIVER.name else driver_named(backend),
                memory=DeviceMemory(total, taken, free, kept),
                processes=tuple(shares.get(device, ())),
                measured_at=at,
                state=_state(at, taken_at, taken, stale_seconds),
                note="" if taken is not None else "its kvtop reports no use: the device does not answer there",
                uuid=it.label("uuid"),
            )
        )
    return sorted(devices, key=lambda it: it.id)


def deduplicate(ours: Sequence[Device], theirs: Sequence[Device]) -> tuple[Device, ...]:
    """A card that both exporters tell of is taken once, as kvtop tells it: it knows processes."""
    known = {it.uuid for it in ours if it.uuid}
    return (*ours, *(it for it in theirs if it.uuid is None or it.uuid not in known))


class SyntheticPids:
    """Numbers that stand for a pod's or a remote server's processes: negative, so that they are no pid of this host."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, name: str) -> int:
        """The number of a name, the same for as long as kvtop runs."""
        return self._known.setdefault(name, -1 - len(self._known))


def server_id(it: Series) -> str:
    """A server of another host's kvtop: its own name there, at that host."""
    return f"{it.host} {it.label('server', 'exported_server') or 'server'}"


def _state(measured_at: float, now: float, used_bytes: int | None, stale_seconds: float) -> DeviceState:
    if now - measured_at > stale_seconds:
        return DeviceState.STALE
    return DeviceState.OK if used_bytes is not None else DeviceState.ERROR


def _card_id(it: Series) -> str:
    slice_id = it.label("GPU_I_ID")
    return f"{it.host}:gpu{it.label('gpu') or '?'}{f':mig{slice_id}' if slice_id else ''}"


def _kvtop_id(it: Series) -> str:
    return f"{it.host}:{it.label('device', 'exported_device') or '?'}"


def _mib(it: Series | None) -> int | None:
    return None if it is None or it.whole is None or abs(it.whole) > INT64_MAX // _MIB else it.whole * _MIB


def _scaled(it: Series | None, factor: float) -> float | None:
    return None if it is None or it.whole is None else it.value * factor
