"""llama.cpp as an engine of the registry: llama-server's commands, plans, what-ifs."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kvtop.domain.answers.cache_speed import CacheSpeed
from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.model_file import Checkpoint, GgufHeader, ModelFile
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.llamacpp.rules.ranges import VERSIONS, rules_for
from kvtop.planning.protocol.decode_reads import DecodeReads
from kvtop.planning.protocol.engine_rules import EngineTraits
from kvtop.planning.protocol.knobs import Turn
from kvtop.planning.protocol.lint_traits import LintTraits
from kvtop.planning.protocol.measured import Measured
from kvtop.planning.protocol.placement_evidence import PlacedOptions, PlacementEvidence
from kvtop.planning.protocol.version_change import VersionChange

if TYPE_CHECKING:
    from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
    from kvtop.planning.protocol.recommend_request import Candidate, RecommendRequest

_PROGRAM = re.compile(r"llama-server(?:-[\w.-]+)?(?:\.exe)?")


class LlamaCppRules:
    """See EngineRules."""

    name = "llama.cpp"
    traits = EngineTraits(
        display_name="llama.cpp",
        versions=VERSIONS,
        program=("llama-server",),
        model_format="gguf",
        cache_type_options=("cache-type-k", "cache-type-v"),
        is_python=False,
        options_from_environment=True,
        frees_all_asleep=True,  # tools/server/server-context.cpp, handle_sleeping_state
        endpoint_describes_model=True,
        default_cache_types=("f16", "f16"),
        cache_quality_tool="llama-perplexity",
    )

    def started_by(self, words: Sequence[str]) -> tuple[str, ...] | None:
        """`llama-server …`, `llama serve …`."""
        program = posixpath.basename(words[0]) if words else ""
        if _PROGRAM.fullmatch(program):
            return tuple(words[1:])
        is_multiplexed = program in {"llama", "llama.exe"} and tuple(words[1:2]) in {("serve",), ("server",)}
        return tuple(words[2:]) if is_multiplexed else None

    def option_words(self, changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.options.spelling import option_words  # noqa: PLC0415  only what is asked for

        return option_words(changes)

    def customary_words(self, changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.options.spelling import customary_words  # noqa: PLC0415  see above

        return customary_words(changes)

    def without_options(self, argv: Sequence[str], base: LaunchOptions, names: set[str]) -> list[str]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.options.spelling import without_options  # noqa: PLC0415  see above

        del base  # its own spellings say which words are an option's
        return without_options(argv, names)

    def prepare(self, model: ModelFile) -> PlannableModel:
        """The header as the rules read it, once for many plans."""
        from kvtop.planning.llamacpp.memory.prepared import prepare  # noqa: PLC0415  see above

        return prepare(_gguf(model))

    def plan(
        self,
        launch: LaunchOptions,
        model: PlannableModel,
        devices: tuple[PlanDevice, ...],
        *,
        draft: PlannableModel | None,
        at_tokens: int | None,
        measured: Measured,
    ) -> MemoryPlan | Refusal:
        """The plan of a llama-server; `at_tokens` changes nothing, since its cache is allocated when it starts."""
        from kvtop.planning.llamacpp.memory.prepared import (  # noqa: PLC0415  see above
            PreparedModel,
            overridden_model,
            prepare,
        )
        from kvtop.planning.llamacpp.options.overrides import overridden_header  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.options.parse import settings_of  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.planner import plan  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.refusals import unknown_architecture  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.running import as_measured  # noqa: PLC0415  see above

        del at_tokens
        if isinstance(model, Checkpoint):
            raise NoExactRuleError(f"{model.path} is no GGUF file, and llama.cpp loads nothing else")
        settings = settings_of(launch)
        if isinstance(settings, Refusal):
            return settings
        settings = as_measured(settings, measured)
        if draft is None and settings.draft is not None:
            raise NoExactRuleError(
                "a draft model is loaded too, and its file could not be read: without it the total would be wrong"
            )

        rules = rules_for(launch.engine_version, launch.borrowed_rules)

        def as_read(file: PlannableModel) -> PreparedModel:
            text = launch.value("override-kv")
            if isinstance(file, PreparedModel):
                return overridden_model(file.under(rules), text)
            return prepare(overridden_header(_gguf(file), text), rules)

        header = model.header if isinstance(model, PreparedModel) else _gguf(model)
        refusal = unknown_architecture(header.architecture, rules)
        if refusal is not None:
            return refusal
        return plan(as_read(model), settings, devices, None if draft is None else as_read(draft))

    def version_changes(self, before: str | None, after: str | None) -> tuple[VersionChange, ...]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.rules.changes import version_changes  # noqa: PLC0415  see above

        return version_changes(before, after)

    def trained_tokens(self, model: PlannableModel) -> int | None:
        """`context_length` of the file."""
        from kvtop.planning.llamacpp.memory.prepared import PreparedModel, prepare  # noqa: PLC0415  see above

        ready = model if isinstance(model, PreparedModel) else prepare(_gguf(model))
        return ready.hparams.n_ctx_train

    def measured(self, launch: LaunchOptions, reading: ServerReading) -> Measured:
        """See EngineRules."""
        from kvtop.planning.llamacpp.running import measured  # noqa: PLC0415  see above

        return measured(launch, reading)

    def running_placement(
        self,
        launch: LaunchOptions,
        measured: Measured,
        model: PlannableModel,
        devices: tuple[PlanDevice, ...],
        draft: PlannableModel | None,
        observed: PlacementEvidence,
    ) -> PlacedOptions:
        """See EngineRules."""
        from kvtop.planning.llamacpp.fit.live_placement import RunningModel, live_placement  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.memory.prepared import PreparedModel, overridden_model  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.options.parse import settings_of  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.running import as_measured  # noqa: PLC0415  see above

        typed = settings_of(launch)
        if not isinstance(model, PreparedModel) or isinstance(typed, Refusal):
            return PlacedOptions()
        told = as_measured(typed, measured)
        ready = overridden_model(model, launch.value("override-kv"))
        second = draft if isinstance(draft, PreparedModel) else None
        return live_placement(RunningModel(ready, typed, told, devices, second), observed)

    def as_started(self, launch: LaunchOptions) -> LaunchOptions:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.restarted import as_started  # noqa: PLC0415  see above

        return as_started(launch)

    def devices_for(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...]:
        """As they are: one process sees them all."""
        del launch
        return devices

    def plan_running(
        self,
        launch: LaunchOptions,
        model: PlannableModel,
        devices: tuple[PlanDevice, ...],
        draft: PlannableModel | None,
        measured: Measured,
    ) -> MemoryPlan | Refusal:
        """See EngineRules."""
        return self.plan(launch, model, devices, draft=draft, at_tokens=None, measured=measured)

    def assumption(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> str:
        """See EngineRules."""
        from kvtop.planning.llamacpp.running import assumption  # noqa: PLC0415  see above

        return assumption(launch, devices)

    def assumed_options(self, reading: ServerReading, plan: MemoryPlan) -> tuple[LaunchOption, ...]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.running import assumed_options  # noqa: PLC0415  see above

        return assumed_options(reading, plan)

    def kept(self, measured: Measured, now: MemoryPlan | None) -> Measured:
        """All of it."""
        del now
        return measured

    def expected(self, context: PlanContext, what_if: WhatIf) -> tuple[LaunchOptions, Measured]:
        """As changed; a server that is started anew fits itself to the memory that is free."""
        if not context.is_restart or not what_if.changes:
            return what_if.launch, context.measured
        from kvtop.planning.llamacpp.what_if.restarted import restarted  # noqa: PLC0415  see above

        return restarted(context, what_if)

    @property
    def knobs(self) -> Mapping[str, tuple[str, Turn]]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.knobs import TURNS  # noqa: PLC0415  only what is asked for

        return TURNS

    @property
    def defaults(self) -> Mapping[str, str]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.knobs import DEFAULTS  # noqa: PLC0415  see above

        return DEFAULTS

    def knob_values(self, what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.knobs import values  # noqa: PLC0415  see above

        return values(what_if, plan)

    def settle(self, kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.knobs import settle  # noqa: PLC0415  see above

        settle(kept, base, now)

    def frontier(self, context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.frontier import frontier  # noqa: PLC0415  see above

        return frontier(context, base, now, most_tokens)

    def candidates(self, request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
        """See EngineRules."""
        from kvtop.planning.llamacpp.what_if.candidates import candidates  # noqa: PLC0415  see above

        return candidates(request, tokens)

    def decode_reads(
        self, launch: LaunchOptions, model: PlannableModel, devices: tuple[PlanDevice, ...], at_tokens: int
    ) -> DecodeReads | str:
        """See EngineRules. What a draft model reads is not in it."""
        from kvtop.planning.llamacpp.decode_reads import decode_reads  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.memory.prepared import PreparedModel, overridden_model, prepare  # noqa: PLC0415
        from kvtop.planning.llamacpp.options.parse import settings_of  # noqa: PLC0415  see above

        settings = settings_of(launch)
        if isinstance(settings, Refusal):
            return settings.message
        ready = model if isinstance(model, PreparedModel) else prepare(_gguf(model))
        found = decode_reads(overridden_model(ready, launch.value("override-kv")), settings, devices, at_tokens)
        return found.message if isinstance(found, Refusal) else found

    def sequence_limit(self, requested_tokens: int, trained_tokens: int | None) -> tuple[int, str]:
        """No slot gets more than the trained context, whatever the pool (tools/server/server-context.cpp)."""
        if trained_tokens is None or requested_tokens <= trained_tokens:
            return requested_tokens, ""
        capped = f"llama-server caps a sequence at the {trained_tokens} trained ones"
        return trained_tokens, f"{requested_tokens} tokens were asked for; {capped}"

    @property
    def lint_traits(self) -> LintTraits:
        """See EngineRules."""
        from kvtop.planning.llamacpp.lint_traits import TRAITS  # noqa: PLC0415  see above

        return TRAITS

    def cache_pair(self, what_if: WhatIf, plan: MemoryPlan | None) -> tuple[str, str]:
        """The types of the plan, which a rule may have changed, else those of the options."""
        typed = what_if.value("cache-type-k") or "f16", what_if.value("cache-type-v") or "f16"
        return typed if plan is None or plan.type_k is None else (plan.type_k, plan.type_v or plan.type_k)

    def cache_speed(
        self,
        launch: LaunchOptions,
        plan: MemoryPlan,
        model: PlannableModel | None,
        devices: tuple[PlanDevice, ...],
        *,
        version: str | None,
        are_devices_known: bool,
    ) -> CacheSpeed:
        """See EngineRules."""
        from kvtop.planning.llamacpp.cache_speed import cache_speed  # noqa: PLC0415  see above
        from kvtop.planning.llamacpp.memory.prepared import PreparedModel  # noqa: PLC0415  see above

        hparams = model.hparams if isinstance(model, PreparedModel) else None
        return cache_speed(launch, plan, hparams, devices, version=version, are_devices_known=are_devices_known)


def _gguf(model: ModelFile | PlannableModel) -> GgufHeader:
    if isinstance(model, GgufHeader):
        return model
    if not isinstance(model, Checkpoint):
        raise TypeError("a prepared model is prepared already")
    raise NoExactRuleError(f"{model.path} is no GGUF file, and llama.cpp loads nothing else")


RULES = LlamaCppRules()
