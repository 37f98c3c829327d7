"""A Sample as a doctor reads it: for each thing that was probed, what it answered. Pure; no Failure gets lost."""

from kvtop.domain.answers.checkup import Area, Checkup, Outcome, Probe, ProbedHost
from kvtop.domain.device import Device, DeviceState
from kvtop.domain.model_file import Checkpoint, ModelFile
from kvtop.domain.process import Process
from kvtop.domain.sample import PROCESSES, Failure, Sample
from kvtop.domain.server import ServerReading, ServerState
from kvtop.text import bytes_text

_MODEL_SOURCE = "model file "
_WELL = {ServerState.READY: Outcome.OK, ServerState.LOADING: Outcome.NOTE, ServerState.SLEEPING: Outcome.NOTE}


def checkup(sample: Sample, around: ProbedHost, kvtop_version: str) -> Checkup:
    """All that was probed for this Sample, by area. What a failure says is told once, where it belongs."""
    left = list(dict.fromkeys(sample.failures))
    probes = (
        *_drivers(sample, around, left),
        *_processes(sample, around, left),
        *_endpoints(sample, left),
        *_model_files(sample, left),
    )
    rest = tuple(Probe(_area_of(it), it.source, Outcome.FAILED, it.message, it.remedy) for it in left)
    order = list(Area)
    found = sorted((*probes, *rest), key=lambda probe: order.index(probe.area))
    return Checkup(sample.host, sample.taken_at, kvtop_version, tuple(found), len(sample.servers), sample.is_demo)


def _taken(left: list[Failure], *sources: str) -> list[Failure]:
    """Failures from these sources, taken out of those that are left."""
    found = [it for it in left if it.source in sources]
    left[:] = [it for it in left if it not in found]
    return found


def _drivers(sample: Sample, around: ProbedHost, left: list[Failure]) -> list[Probe]:
    probes = []
    for driver in around.drivers:
        backend, maker = driver.name, driver.maker
        devices = [device for device in sample.devices if device.driver == driver]
        failures = _taken(left, backend)
        probes += [_device(device) for device in devices]
        is_missed = around.makers is None or not maker or maker in around.makers or bool(devices)
        for failure in failures:
            # What a driver answers else came from a driver, card on a bus or not (WSL).
            if is_missed or not failure.message.startswith(driver.absences):
                probes.append(Probe(Area.DRIVERS, backend, Outcome.FAILED, failure.message, failure.remedy))
            else:
                answer = f"{failure.message}; no {maker} card on this machine's buses either"
                probes.append(Probe(Area.DRIVERS, backend, Outcome.NOTE, answer))
        shown = {device.driver.maker for device in sample.devices}
        is_elsewhere = maker in shown or (around.makers is not None and maker not in around.makers)
        if not devices and not failures and not (maker and is_elsewhere):
            probes.append(Probe(Area.DRIVERS, backend, Outcome.NOTE, "no device of this kind"))
    known = {driver.maker for driver in around.drivers}
    for maker in sorted((around.makers or frozenset()) - known):
        answer = f"a card of {maker} is on this machine's buses, and this version of kvtop has no driver for it"
        remedy = "its servers are still explained, without a measured total"
        probes.append(Probe(Area.DRIVERS, maker, Outcome.NOTE, answer, remedy))
    return probes


def _device(device: Device) -> Probe:
    memory = device.memory
    answer = f"{device.name}, {bytes_text(memory.used_bytes)} of {bytes_text(memory.total_bytes)} used"
    if device.state is not DeviceState.OK:
        remedy = "look for driver errors in the kernel log (dmesg)"
        return Probe(Area.DRIVERS, device.id, Outcome.FAILED, f"{answer}; {device.state.value}: {device.note}", remedy)
    if device.is_host:
        return Probe(Area.DRIVERS, device.id, Outcome.OK, answer)
    if device.processes is None:
        answer += "; the list of its processes could not be read"
        return Probe(Area.DRIVERS, device.id, Outcome.FAILED, answer, "run kvtop as root, or update the driver")
    silent = [row.pid for row in device.processes if row.used_bytes is None]
    if silent:
        answer += f"; lists {len(device.processes)} processes, but not the memory of {len(silent)}"
        return Probe(Area.DRIVERS, device.id, Outcome.NOTE, answer, "drivers in WSL and under MIG may keep that back")
    answer += f", {_count(len(device.processes), 'process')}"
    if not device.lists_all_processes:
        answer += "; processes of other users cannot be looked at"
        return Probe(Area.DRIVERS, device.id, Outcome.NOTE, answer, "run kvtop as root to see what they hold")
    return Probe(Area.DRIVERS, device.id, Outcome.OK, answer)


def _processes(sample: Sample, around: ProbedHost, left: list[Failure]) -> list[Probe]:
    by_pid = {process.pid: process for process in sample.processes}
    mains = [by_pid[reading.pids[0]] for reading in sample.servers if reading.pids and reading.pids[0] in by_pid]
    probes = [_process(process, left) for process in mains]
    if not around.discovers:
        answer = "switched off in the configuration or by --no-discover"
        probes.append(Probe(Area.PROCESSES, "discovery", Outcome.NOTE, answer))
    elif not mains and PROCESSES not in sample.pending and not any(it.source == PROCESSES for it in left):
        answer = f"no server among this machine's processes (looked for {', '.join(around.engines)})"
        remedy = "start one, or name an endpoint with --url"
        probes.append(Probe(Area.PROCESSES, "discovery", Outcome.NOTE, answer, remedy))
    children = {pid for process in mains for pid in process.children}
    others = [it for it in sample.processes if it not in mains and it.pid not in children and it.argv is not None]
    if others:
        names = ", ".join(f"{it.name} ({it.pid})" for it in others[:4]) + (" …" if len(others) > 4 else "")
        probes.append(Probe(Area.PROCESSES, "others on devices", Outcome.OK, names))
    return probes


def _process(process: Process, left: list[Failure]) -> Probe:
    words = [process.name]
    if process.user is not None:
        words.append(f"user {process.user}")
    if process.container is not None:
        words.append(f"in {process.container.label}")
    if process.shares_network is False:
        words.append(f"own network ({', '.join(process.addresses) or 'no address'})")
    if process.listeners and process.listeners_certain:
        words.append("port " + ", ".join(sorted({str(it.port) for it in process.listeners}, key=int)))
    elif process.listeners:
        count = len({it.port for it in process.listeners})
        words.append(f"its port is one of {count} of its user's" if count > 1 else f"port {process.listeners[0].port}")
    if process.children:
        words.append(_count(len(process.children), "child", "children"))
    answer = ", ".join(words)
    subject = f"pid {process.pid}"
    failures = _taken(left, f"{subject} {process.name}", f"{subject} memory report")
    if failures:
        told = "; ".join(failure.message for failure in failures)
        return Probe(Area.PROCESSES, subject, Outcome.FAILED, f"{answer}; not readable: {told}", failures[0].remedy)
    if process.notes:
        remedy = "restart the server when you can: it runs what is no longer on the disk"
        return Probe(Area.PROCESSES, subject, Outcome.NOTE, f"{answer}; {'; '.join(process.notes)}", remedy)
    return Probe(Area.PROCESSES, subject, Outcome.OK, answer)


def _endpoints(sample: Sample, left: list[Failure]) -> list[Probe]:
    probes = []
    for reading in sample.servers:
        failures = _taken(left, f"server {reading.id}")
        name = f"{reading.engine} {reading.version or ''}".strip()
        outcome = _WELL.get(reading.state, Outcome.FAILED)
        answer = f"{name}: {reading.state.value}"
        if outcome is Outcome.OK:
            probes.append(Probe(Area.ENDPOINTS, reading.id, outcome, answer, reading.hint))
            continue
        hint = reading.hint or next((failure.message for failure in failures), "")
        probes.append(Probe(Area.ENDPOINTS, reading.id, outcome, f"{answer}; {hint}" if hint else answer, _do(reading)))
    for name in sample.pending:
        probes.append(
            Probe(Area.ENDPOINTS, name, Outcome.FAILED, "has not answered in time", "look at its load or disk")
        )
    return probes


def _do(reading: ServerReading) -> str:
    """What a person can do about an endpoint that does not answer as it should."""
    if reading.state is ServerState.LOADING:
        return "wait until it has loaded"
    if reading.state is ServerState.LOCKED:
        return "put its key into KVTOP_API_KEY, or into a file that the configuration names"
    if reading.url is None:
        return "make its port reachable from here, or run kvtop where it runs"
    if reading.state is ServerState.UNREACHABLE:
        return f"see whether {reading.url} is right and the server is up"
    return "" if reading.state is ServerState.SLEEPING else f"see what {reading.url} answers, and the server's log"


def _model_files(sample: Sample, left: list[Failure]) -> list[Probe]:
    probes = []
    for key in sorted({key for it in sample.servers for key in (it.model_key, it.draft_key) if key is not None}):
        model = sample.models.get(key)
        if model is not None:
            probes.append(Probe(Area.MODEL_FILES, key, Outcome.OK, _model_text(model)))
    for failure in [it for it in left if it.source.startswith(_MODEL_SOURCE)]:
        left.remove(failure)
        subject = failure.source.removeprefix(_MODEL_SOURCE)
        probes.append(Probe(Area.MODEL_FILES, subject, Outcome.FAILED, failure.message, failure.remedy))
    for reading in sample.servers:
        # Who does not answer has been told above, and who hosts several models has none of its own.
        is_asked = reading.state in _WELL and reading.hosted is None
        if is_asked and reading.model.path is None and reading.model_key is None:
            answer = "does not report which file it has loaded, so nothing can be computed"
            probes.append(Probe(Area.MODEL_FILES, reading.id, Outcome.NOTE, answer))
    return probes


def _model_text(model: ModelFile) -> str:
    if isinstance(model, Checkpoint):
        size, kind = model.tensor_bytes, f"{model.config.get('model_type', '?')} checkpoint"
    else:
        size, kind = model.file_size_bytes, f"{model.architecture or '?'} GGUF"
        kind += f" in {len(model.parts)} parts" if len(model.parts) > 1 else ""
    notes = f"; {'; '.join(model.notes)}" if model.notes else ""
    return f"{kind}, {_count(len(model.tensors), 'tensor')}, {bytes_text(size)}{notes}"


def _area_of(failure: Failure) -> Area:
    if failure.source.startswith(("pid ", "processes")) or " pid " in failure.source:
        return Area.PROCESSES
    return Area.ENDPOINTS if failure.source.startswith(("server ", "http")) else Area.DRIVERS


def _count(number: int, word: str, many: str = "") -> str:
    plural = many or (f"{word}es" if word.endswith("s") else f"{word}s")
    return f"{number} {word if number == 1 else plural}"
