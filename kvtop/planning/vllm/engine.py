"""vLLM as an engine of the registry: commands, plans and what-ifs of `vllm serve`."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kvtop.domain.answers.cache_speed import CacheSpeed
from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.model_file import Checkpoint, ModelFile
from kvtop.domain.plan import MemoryPlan, NoExactRuleError, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.commands import argparse_words
from kvtop.planning.commands.python_command import module_words, without_interpreter
from kvtop.planning.guards import refuse_endless
from kvtop.planning.protocol.decode_reads import DecodeReads
from kvtop.planning.protocol.engine_rules import EngineTraits
from kvtop.planning.protocol.knobs import Turn
from kvtop.planning.protocol.lint_traits import LintTraits
from kvtop.planning.protocol.measured import Measured
from kvtop.planning.protocol.placement_evidence import PlacedOptions, PlacementEvidence
from kvtop.planning.protocol.version_change import VersionChange
from kvtop.planning.vllm.rules.ranges import VERSIONS

if TYPE_CHECKING:
    from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
    from kvtop.planning.protocol.recommend_request import Candidate, RecommendRequest


class VllmRules:
    """See EngineRules."""

    name = "vllm"
    traits = EngineTraits(
        display_name="vLLM",
        versions=VERSIONS,
        program=("vllm", "serve"),
        distribution="vllm",
        model_format="safetensors",
        cache_type_options=("kv-cache-dtype", "kv-cache-dtype"),
        plans_whole_card=True,
    )

    def started_by(self, words: Sequence[str]) -> tuple[str, ...] | None:
        """`vllm serve …`, `python -m vllm.entrypoints.openai.api_server …`, `python /usr/bin/vllm serve …`."""
        module = module_words(words)
        if module is not None:
            name, own = module
            if name == "vllm.entrypoints.openai.api_server":
                return own
            return own[1:] if name == "vllm.entrypoints.cli.main" and own[:1] == ("serve",) else None
        plain = without_interpreter(words, ("vllm",))
        is_ours = bool(plain) and posixpath.basename(plain[0]) == "vllm" and plain[1:2] == ("serve",)
        return plain[2:] if is_ours else None

    def option_words(self, changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
        """See EngineRules."""
        return argparse_words.option_words(changes)

    def customary_words(self, changes: Sequence[tuple[str, str | None]]) -> tuple[str, ...]:
        """See EngineRules."""
        return argparse_words.option_words(changes)

    def without_options(self, argv: Sequence[str], base: LaunchOptions, names: set[str]) -> list[str]:
        """See EngineRules."""
        return argparse_words.without_options(argv, base, names)

    def prepare(self, model: ModelFile) -> PlannableModel:
        """A checkpoint is read as it is."""
        return model

    def version_changes(self, before: str | None, after: str | None) -> tuple[VersionChange, ...]:
        """None that can be told apart."""
        del before, after
        return ()

    def trained_tokens(self, model: PlannableModel) -> int | None:
        """`max_position_embeddings` of config.json."""
        said = model.config.get("max_position_embeddings") if isinstance(model, Checkpoint) else None
        return said if isinstance(said, int) else None

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
        """The plan of `vllm serve`; `at_tokens` changes nothing, since its whole pool is taken when it starts."""
        from kvtop.planning.vllm.planner import plan_options  # noqa: PLC0415  only what is asked for

        del draft, at_tokens
        if not isinstance(model, Checkpoint):
            raise NoExactRuleError(f"kvtop has no rules for a GGUF model under {self.name}")
        refuse_endless(model.config)
        return plan_options(launch, model, devices, measured)

    def measured(self, launch: LaunchOptions, reading: ServerReading) -> Measured:
        """See EngineRules."""
        from kvtop.planning.vllm.running import measured  # noqa: PLC0415  see above

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
        del launch, measured, model, devices, draft, observed
        return PlacedOptions()

    def as_started(self, launch: LaunchOptions) -> LaunchOptions:
        """See EngineRules."""
        return launch

    def devices_for(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> tuple[PlanDevice, ...]:
        """See EngineRules."""
        from kvtop.planning.vllm.running import devices_for  # noqa: PLC0415  see above

        return devices_for(launch, devices)

    def plan_running(
        self,
        launch: LaunchOptions,
        model: PlannableModel,
        devices: tuple[PlanDevice, ...],
        draft: PlannableModel | None,
        measured: Measured,
    ) -> MemoryPlan | Refusal:
        """As planned; without any accelerator it is the CPU build, which has rules of its own."""
        if not devices and isinstance(model, Checkpoint):
            from kvtop.planning.vllm.on_host import on_host  # noqa: PLC0415  see above

            return on_host(launch, model, measured)
        return self.plan(launch, model, devices, draft=draft, at_tokens=None, measured=measured)

    def assumption(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> str:
        """Nothing."""
        del launch, devices
        return ""

    def assumed_options(self, reading: ServerReading, plan: MemoryPlan) -> tuple[LaunchOption, ...]:
        """None."""
        del reading, plan
        return ()

    def kept(self, measured: Measured, now: MemoryPlan | None) -> Measured:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.profiled_pool import kept  # noqa: PLC0415  see above

        return kept(measured, now)

    def expected(self, context: PlanContext, what_if: WhatIf) -> tuple[LaunchOptions, Measured]:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.profiled_pool import expected  # noqa: PLC0415  see above

        return expected(context, what_if)

    @property
    def knobs(self) -> Mapping[str, tuple[str, Turn]]:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.knobs import TURNS  # noqa: PLC0415  only what is asked for

        return TURNS

    @property
    def defaults(self) -> Mapping[str, str]:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.knobs import DEFAULTS  # noqa: PLC0415  see above

        return DEFAULTS

    def knob_values(self, what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.knobs import values  # noqa: PLC0415  see above

        return values(what_if, plan)

    def settle(self, kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.knobs import settle  # noqa: PLC0415  see above

        settle(kept, base, now)

    def frontier(self, context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.frontier import frontier  # noqa: PLC0415  see above

        return frontier(context, base, now, most_tokens)

    def candidates(self, request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
        """See EngineRules."""
        from kvtop.planning.vllm.what_if.candidates import candidates  # noqa: PLC0415  see above

        return candidates(request, tokens)

    def decode_reads(
        self, launch: LaunchOptions, model: PlannableModel, devices: tuple[PlanDevice, ...], at_tokens: int
    ) -> DecodeReads | str:
        """See EngineRules."""
        from kvtop.planning.vllm.decode_reads import decode_reads  # noqa: PLC0415  see above

        if not isinstance(model, Checkpoint):
            return "the checkpoint is not known"
        return decode_reads(launch, model, devices, at_tokens)

    def sequence_limit(self, requested_tokens: int, trained_tokens: int | None) -> tuple[int, str]:
        """As requested: a length beyond training is refused or allowed when it starts, never shortened."""
        del trained_tokens
        return requested_tokens, ""

    @property
    def lint_traits(self) -> LintTraits:
        """See EngineRules."""
        from kvtop.planning.vllm.lint_traits import TRAITS  # noqa: PLC0415  see above

        return TRAITS

    def cache_pair(self, what_if: WhatIf, plan: MemoryPlan | None) -> tuple[str, str]:
        """One type for both."""
        del plan
        dtype = what_if.value("kv-cache-dtype") or "auto"
        named = "fp8_e4m3" if dtype == "fp8" else dtype
        return named, named

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
        from kvtop.planning.vllm.cache_speed import cache_speed  # noqa: PLC0415  see above

        del plan, model, version, are_devices_known
        return cache_speed(launch.value("kv-cache-dtype") or "auto", devices)


RULES = VllmRules()
