"""Public measurements of decode speed, and what kvtop estimates for them."""

import csv
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path

from kvtop.domain.answers.decode_speed import DecodeSpeed
from kvtop.domain.model_file import GgufHeader
from kvtop.domain.plan import PlanDevice
from kvtop.planning.decode_speed import decode_speed
from kvtop.planning.gpus.bandwidths import bandwidth_of
from kvtop.planning.llamacpp.decode_reads import decode_reads
from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare
from kvtop.planning.llamacpp.options.parse import parse_llama_server, settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.protocol.decode_reads import DecodeReads
from kvtop.text import parse_bandwidth
from tests.models.rule_models import gguf_models

FIXTURE = Path(__file__).parents[1] / "fixtures" / "decode" / "measurements.csv"
_ROOMY = 512 * 2**30
_MXFP4 = (39, "mxfp4", 32, 17)


@dataclass(frozen=True, slots=True)
class Measured:
    """One row. `gpus` is as `--gpu` takes it, with "2x " before two of them; "none" is the processor alone."""

    origin: str
    date: str
    model: str
    file_gib: float
    gpus: str
    host_bytes_per_second: int | None
    flags: str
    at_tokens: int
    tokens_per_second: float
    note: str

    def estimate(self) -> DecodeSpeed:
        """What kvtop says of it."""
        settings = settings_of(parse_llama_server(("-m", "m.gguf", "-c", "65536", "-np", "1", *self.flags.split()), {}))
        assert isinstance(settings, LlamaSettings)
        devices = self.devices()
        reads = decode_reads(model_of(self.model, self.file_gib), settings, devices, self.at_tokens)
        assert isinstance(reads, DecodeReads)
        found = decode_speed(reads, devices, self.host_bytes_per_second)
        assert isinstance(found, DecodeSpeed), found
        return found

    def devices(self) -> tuple[PlanDevice, ...]:
        """The cards, with room for everything."""
        if self.gpus == "none":
            return ()
        count, _, one = self.gpus.rpartition("x ")
        name, *settings = one.split(",")
        given = dict(setting.split("=") for setting in settings)
        bandwidth = parse_bandwidth(given["bandwidth"]) if "bandwidth" in given else None
        assert bandwidth is not None or bandwidth_of(name) is not None, name
        api = given.get("backend") or _usual_api(name)
        return tuple(
            PlanDevice(f"gpu{at}", _ROOMY, _ROOMY, compute_api=api, product=name, bytes_per_second=bandwidth)
            for at in range(int(count or 1))
        )


def _usual_api(name: str) -> str:
    if name.startswith("Apple"):
        return "metal"
    return "rocm" if name.startswith(("RX", "PRO", "AI PRO")) else "cuda"


@lru_cache(maxsize=1)
def measurements() -> tuple[Measured, ...]:
    """All rows."""
    with FIXTURE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Measured(
                row["origin"],
                row["date"],
                row["model"],
                float(row["file_gib"]),
                row["gpus"],
                round(float(row["host_gb_s"]) * 10**9) if row["host_gb_s"] else None,
                row["flags"],
                int(row["at_tokens"]),
                float(row["tokens_per_second"]),
                row["note"],
            )
            for row in csv.DictReader(file)
        )


@lru_cache(maxsize=64)
def model_of(name: str, file_gib: float) -> PreparedModel:
    """A recorded model with its tensors as much larger or smaller as the file was; `:mxfp4` has such experts."""
    base, _, kind = name.partition(":")
    header = gguf_models()[base]
    if kind:
        header = with_mxfp4_experts(header)
    ratio = file_gib * 2**30 / sum(it.size_bytes or 0 for it in header.tensors)
    tensors = tuple(replace(it, size_bytes=round((it.size_bytes or 0) * ratio)) for it in header.tensors)
    return prepare(replace(header, tensors=tensors, file_size_bytes=round(file_gib * 2**30)))


def with_mxfp4_experts(header: GgufHeader) -> GgufHeader:
    """As gpt-oss is published: the recorded 120B has experts of another type."""
    type_id, type_name, values, size = _MXFP4
    tensors = tuple(
        replace(it, type_id=type_id, type_name=type_name, size_bytes=prod(it.shape) // values * size)
        if it.name.endswith("_exps.weight")
        else it
        for it in header.tensors
    )
    return replace(header, tensors=tensors, file_size_bytes=sum(it.size_bytes or 0 for it in tensors))
