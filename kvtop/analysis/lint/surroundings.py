"""What stands around a server or a command line: the machine, and the files of its models."""

from dataclasses import dataclass

from kvtop.domain.answers.room import Room, room_of
from kvtop.domain.model_file import Checkpoint, GgufHeader
from kvtop.domain.plan import PlanDevice
from kvtop.planning.llamacpp.memory.prepared import PreparedModel


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine that a server runs on, or is meant for.

    `are_devices_known` False: no accelerator was found or named, and the command may be meant for another machine.
    `environ` is what redaction lets in, with `NAME=<set>` for secrets; None: it may not be read. `published` are ports
    that a container publishes, as typed; None without a container, or on the host's network. `has_unread_variables`:
    some come from a file that a container is given.
    """

    devices: tuple[PlanDevice, ...] = ()
    are_devices_known: bool = True
    host_total_bytes: int | None = None
    environ: tuple[tuple[str, str], ...] | None = ()
    published: tuple[str, ...] | None = None
    has_unread_variables: bool = False

    @property
    def rooms(self) -> dict[str, Room | None]:
        """What each device has for it; None is unknown."""
        return {it.name: room_of(it) for it in self.devices}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What was read of the model and of a draft model. `note` and `draft_note` say why one is None."""

    name: str = ""
    """Every name that the model goes by, in one text."""
    model: GgufHeader | PreparedModel | Checkpoint | None = None
    note: str = ""
    draft: GgufHeader | PreparedModel | None = None
    draft_note: str = ""

    @property
    def header(self) -> GgufHeader | None:
        """Of a GGUF model, whether kvtop has rules for it or not."""
        return self.model.header if isinstance(self.model, PreparedModel) else _gguf(self.model)


def _gguf(model: object) -> GgufHeader | None:
    return model if isinstance(model, GgufHeader) else None
