"""Where a model may lie so that a configuration fits: whole on the devices, else in part on the host.

On one device experts, layers or feed-forward matrices go to the host; over several it is split as `--fit` splits it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvtop.domain.answers.room import Fit
from kvtop.domain.answers.what_if import WhatIf, WhatIfComparison
from kvtop.domain.plan import PlanDevice, Refusal
from kvtop.planning.bisection import largest
from kvtop.planning.gpus.bandwidths import bandwidth_of
from kvtop.planning.gpus.reserve import as_seen
from kvtop.planning.llamacpp.fit.fitted import fit, margins
from kvtop.planning.llamacpp.fit.measuring import End, given_parameters
from kvtop.planning.llamacpp.fit.pinned import pinning_changes
from kvtop.planning.llamacpp.fit.replay.trial import CPU_BUFFER
from kvtop.planning.llamacpp.fit.wording import change_in_words
from kvtop.planning.llamacpp.memory.placement import HOST, engine_devices, participating
from kvtop.planning.llamacpp.memory.prepared import PreparedModel
from kvtop.planning.llamacpp.options.parse import settings_of
from kvtop.planning.llamacpp.options.settings import LlamaSettings
from kvtop.planning.llamacpp.what_if.knobs import DEFAULTS
from kvtop.planning.protocol.knobs import unset
from kvtop.planning.protocol.recommend_request import RecommendRequest
from kvtop.planning.what_if import compare

OPTIONS = ("gpu-layers", "cpu-moe", "n-cpu-moe", "n-cpu-ffn", "override-tensor", "tensor-split")
_UNSET = {**DEFAULTS, "gpu-layers": "auto", "n-cpu-moe": "0", "n-cpu-ffn": "0"}
_TRIES = 5
_MUCH_FASTER = 1.2
"""From this ratio of bandwidths on a split by speed is worth a look."""


@dataclass(frozen=True, slots=True)
class WhereItLies:
    """One placement. `words` "" is where the engine puts it by itself when there is room.

    `uses_host`: weights or caches that a device could hold lie on the host.
    """

    what_if: WhatIf
    words: str = ""
    uses_host: bool = False


def placements(request: RecommendRequest, sized: WhatIf) -> Iterator[WhereItLies]:
    """Placements that fit on the devices, whatever the host has; the whole model where none does or none is needed."""
    search = _Search(request, sized)
    whole = search.whole
    if search.is_typed:
        yield WhereItLies(sized, "placed as typed", uses_host=True)
    if not request.places_model and search.is_typed:
        return
    if not request.places_model or not search.can_place:
        yield WhereItLies(whole)
        return
    if search.fits(whole):
        yield WhereItLies(whole)
        yield from search.faster_first()
        return
    found = list(search.several() if len(search.cards) > 1 else search.one())
    yield from found or [WhereItLies(whole)]


def unchanged_by_fit(request: RecommendRequest, what_if: WhatIf) -> WhatIf:
    """The same with `--fit off` where the engine would otherwise change it to keep its margins."""
    settings = settings_of(what_if.launch)
    if isinstance(settings, Refusal) or not settings.fit:
        return what_if
    taking = participating(settings, request.plan_context.devices)
    if isinstance(taking, Refusal) or not taking:
        return what_if
    rooms = request.plan_context.rooms
    needed = {it.name: it.needed for it in compare(request.plan_context, request.now, what_if).devices}
    is_left_alone = all(
        (used := needed.get(device.name)) is not None
        and (free_bytes := as_seen(device).free_bytes) is not None
        and (room := rooms.get(device.name)) is not None
        and used.most_bytes is not None
        # What lies beside the model, a projector, is off the room already.
        and min(free_bytes, room.available_bytes) - used.most_bytes >= margin
        for device, margin in zip(taking, margins(settings.fit_target_bytes, len(taking)), strict=True)
    )
    return what_if if is_left_alone else what_if.with_changes(fit="off")


class _Search:
    """Over the placements of one request; every question is a plan."""

    def __init__(self, request: RecommendRequest, sized: WhatIf) -> None:
        self._request = request
        model, context = request.plan_context.model, request.plan_context
        self._model = model if isinstance(model, PreparedModel) else None
        typed = {name for name in OPTIONS if sized.value(name) is not None}
        if self._model is not None and _is_all(sized.value("gpu-layers"), self._model.hparams.n_layer_all + 1):
            typed.discard("gpu-layers")
        self.is_typed = bool(typed)
        self.whole = sized.with_changes(**{name: unset(sized, name, _UNSET) for name in sorted(typed)})
        settings = settings_of(self.whole.launch)
        self._settings = settings if isinstance(settings, LlamaSettings) else None
        taking = () if self._settings is None else participating(self._settings, context.devices)
        self.cards: tuple[PlanDevice, ...] = () if isinstance(taking, Refusal) else taking

    @property
    def can_place(self) -> bool:
        """Whether there are devices whose room is known, and a model to place there."""
        rooms = self._request.plan_context.rooms
        return self._model is not None and bool(self.cards) and all(rooms.get(it.name) is not None for it in self.cards)

    def fits(self, what_if: WhatIf) -> bool:
        """Whether every device surely has room; the host is another question."""
        found = self._compared(what_if)
        return bool(found.devices) and all(it.fit is Fit.FITS for it in found.devices if it.name != HOST)

    def _room_bytes(self, card: PlanDevice) -> int:
        """What is surely there for the plan."""
        room = self._request.plan_context.rooms.get(card.name)
        return 0 if room is None else max(room.low_bytes, 0)

    def _compared(self, what_if: WhatIf) -> WhatIfComparison:
        return compare(self._request.plan_context, self._request.now, what_if)

    def one(self) -> Iterator[WhereItLies]:
        """On one device: experts of the first layers on the host, else whole layers or their feed-forwards."""
        if self._model is None:
            return
        hparams, card = self._model.hparams, self.cards[0].name
        layers = hparams.n_layer
        if hparams.n_expert:
            kept = largest(lambda count: self.fits(self._with(n_cpu_moe=layers - count)), layers)
            found = self._with(n_cpu_moe=layers - kept)
            if kept or self.fits(found):
                yield WhereItLies(found, f"experts of {layers - kept} of {layers} layers on the host", uses_host=True)
                return
            bare = self._with(cpu_moe=True)
            yield from self._by_layers(bare, f"all experts on the host, {{}} of {{}} layers on {card}")
            return
        yield from self._by_layers(self.whole, f"{{}} of {{}} layers on {card}, the others on the host")
        kept = largest(lambda count: self.fits(self._with(n_cpu_ffn=layers - count)), layers)
        found = self._with(n_cpu_ffn=layers - kept)
        if kept or self.fits(found):
            yield WhereItLies(
                found, f"feed-forward matrices of {layers - kept} of {layers} layers on the host", uses_host=True
            )

    def _by_layers(self, base: WhatIf, words: str) -> Iterator[WhereItLies]:
        most = 1 if self._model is None else self._model.hparams.n_layer_all + 1

        def at(count: int) -> WhatIf:
            return base.with_changes(**{"gpu-layers": str(count)})

        count = largest(lambda number: self.fits(at(number)), most)
        if count or self.fits(at(0)):
            yield WhereItLies(at(count), words.format(count, most), uses_host=count < most or "experts" in words)

    def _with(self, n_cpu_moe: int = 0, n_cpu_ffn: int = 0, cpu_moe: bool = False) -> WhatIf:
        changes: dict[str, str | None] = {}
        if cpu_moe:
            changes["cpu-moe"] = "true"
        if n_cpu_moe:
            changes["n-cpu-moe"] = str(n_cpu_moe)
        if n_cpu_ffn:
            changes["n-cpu-ffn"] = str(n_cpu_ffn)
        return self.whole.with_changes(**changes)

    def faster_first(self) -> Iterator[WhereItLies]:
        """Of two devices whose memory differs in speed, as many layers as fit on the faster one."""
        speeds = [it.bytes_per_second or bandwidth_of(it.product) or 0 for it in self.cards]
        if self._model is None or len(speeds) != 2 or min(speeds) * _MUCH_FASTER > max(speeds) or not min(speeds):
            return
        layers = self._model.hparams.n_layer_all + 1
        first_is_faster = speeds[0] > speeds[1]

        def shared(count: int) -> WhatIf:
            share = (count, layers - count) if first_is_faster else (layers - count, count)
            return self.whole.with_changes(**{"tensor-split": f"{share[0]},{share[1]}"})

        # With fewer than its share of the room the other one would have to hold more.
        rooms = [self._room_bytes(it) for it in self.cards]
        least = layers * max(rooms[0 if first_is_faster else 1], 1) // max(sum(rooms), 1)
        count = least + largest(lambda more: self.fits(shared(least + more)), layers - least)
        if count > least:
            fast, slow = (it.name for it in (self.cards if first_is_faster else reversed(self.cards)))
            others = f", {layers - count} on {slow}" if count < layers else ""
            yield WhereItLies(shared(count), f"{count} of {layers} layers on {fast}{others}")

    def several(self) -> Iterator[WhereItLies]:
        """Over several devices: what `--fit` chooses for the room there is, with more margin until it really fits."""
        if self._model is None or self._settings is None:
            return
        seen = tuple(
            it if it not in self.cards else replace(it, free_bytes=self._room_bytes(it))
            for it in self._request.plan_context.devices
        )
        draft = self._request.plan_context.draft
        spare = [0] * len(self.cards)
        for _ in range(_TRIES):
            settings = replace(self._settings, fit=True, fit_target_bytes=(*spare, 0))
            answer = fit(self._model, settings, seen, draft if isinstance(draft, PreparedModel) else None, end=End.HIGH)
            if isinstance(answer, Refusal):
                return
            found = self.whole.with_changes(**pinning_changes(answer.parameters))
            compared = {it.name: it for it in self._compared(found).devices}
            short = [
                0 if it is None else max((it.needed.most_bytes or 0) - self._room_bytes(card), 0)
                for card, it in ((card, compared.get(card.name)) for card in self.cards)
            ]
            if compared and not any(short):
                layers = self._model.hparams.n_layer + 1
                names = [card.name for card in self.cards]
                before = (answer.parameters.n_ctx, given_parameters(self._settings))
                known = {**engine_devices(self._request.plan_context.devices), "CPU": HOST}
                words = change_in_words(before, (before[0], answer.parameters), layers, names, known)
                chosen = answer.parameters
                on_host = any(buffer == CPU_BUFFER for _, buffer in chosen.overrides)
                yield WhereItLies(found, words, uses_host=on_host or 0 <= chosen.gpu_layers < layers)
                return
            spare = [now + more for now, more in zip(spare, short, strict=True)]


def _is_all(text: str | None, layers: int) -> bool:
    if text is None:
        return False
    return text in {"all", "auto", "-1", "-2"} or (text.isdecimal() and len(text) < 10 and int(text) >= layers)
