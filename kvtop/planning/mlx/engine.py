"""MLX as an engine of the registry: commands, plans and what-ifs of mlx_lm.server."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from kvtop.domain.answers.cache_speed import CacheSpeed, Speed
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
from kvtop.planning.protocol.measured import NOTHING_MEASURED, Measured
from kvtop.planning.protocol.placement_evidence import PlacedOptions, PlacementEvidence
from kvtop.planning.protocol.version_change import VersionChange
from kvtop.planning.versions import VersionRange

if TYPE_CHECKING:
    from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
    from kvtop.planning.protocol.recommend_request import Candidate, RecommendRequest

STEP_TOKENS = 256
"""The smallest cache that a sequence has: a running server is planned with one step, which says nothing of the rest."""


class MlxRules:
    """See EngineRules."""

    name = "mlx"
    traits = EngineTraits(
        display_name="MLX",
        versions=(VersionRange("0.32.2", "0.32.2", "the recorded answers of tests/fixtures/oracle"),),
        program=("mlx_lm.server",),
        distribution="mlx-lm",
        model_format="safetensors",
        cache_type_options=("kv-bits", "kv-bits"),
        cache_grows=True,
        endpoint_names_model=False,
        reports_through_wrapper=True,
    )

    def started_by(self, words: Sequence[str]) -> tuple[str, ...] | None:
        """`mlx_lm.server …`, `mlx_lm server …`, `python -m mlx_lm.server …`."""
        module = module_words(words)
        plain = without_interpreter(words, ("mlx_lm", "mlx_lm.server")) if module is None else (module[0], *module[1])
        program = posixpath.basename(plain[0]) if plain else ""
        if program == "mlx_lm.server":
            return plain[1:]
        return plain[2:] if program == "mlx_lm" and plain[1:2] == ("server",) else None

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
        """The plan of one sequence of `at_tokens`; the server has one memory, so devices change nothing."""
        from kvtop.planning.mlx.planner import plan_options  # noqa: PLC0415  only what is asked for

        del draft, devices, measured
        if not isinstance(model, Checkpoint):
            raise NoExactRuleError(f"kvtop has no rules for a GGUF model under {self.name}")
        refuse_endless(model.config)
        return plan_options(launch, model, at_tokens)

    def measured(self, launch: LaunchOptions, reading: ServerReading) -> Measured:
        """Nothing: it leaves nothing to be found out."""
        del launch, reading
        return NOTHING_MEASURED

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
        """As they are."""
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
        """One step of one sequence: its cache depends on what it is asked."""
        return self.plan(launch, model, devices, draft=draft, at_tokens=STEP_TOKENS, measured=measured)

    def assumption(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...]) -> str:
        """Nothing."""
        del launch, devices
        return ""

    def assumed_options(self, reading: ServerReading, plan: MemoryPlan) -> tuple[LaunchOption, ...]:
        """None."""
        del reading, plan
        return ()

    def kept(self, measured: Measured, now: MemoryPlan | None) -> Measured:
        """All of it."""
        del now
        return measured

    def expected(self, context: PlanContext, what_if: WhatIf) -> tuple[LaunchOptions, Measured]:
        """As changed."""
        return what_if.launch, context.measured

    @property
    def knobs(self) -> Mapping[str, tuple[str, Turn]]:
        """See EngineRules."""
        from kvtop.planning.mlx.what_if.knobs import TURNS  # noqa: PLC0415  only what is asked for

        return TURNS

    @property
    def defaults(self) -> Mapping[str, str]:
        """See EngineRules."""
        from kvtop.planning.mlx.what_if.knobs import DEFAULTS  # noqa: PLC0415  see above

        return DEFAULTS

    def knob_values(self, what_if: WhatIf, plan: MemoryPlan | None) -> Mapping[str, str]:
        """See EngineRules."""
        from kvtop.planning.mlx.what_if.knobs import values  # noqa: PLC0415  see above

        return values(what_if, plan)

    def settle(self, kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan) -> None:
        """See EngineRules."""
        from kvtop.planning.mlx.what_if.knobs import settle  # noqa: PLC0415  see above

        settle(kept, base, now)

    def frontier(self, context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int) -> Frontier:
        """See EngineRules."""
        from kvtop.planning.mlx.what_if.frontier import frontier  # noqa: PLC0415  see above

        return frontier(context, base, now, most_tokens)

    def candidates(self, request: RecommendRequest, tokens: int | None) -> Iterator[Candidate]:
        """See EngineRules."""
        from kvtop.planning.mlx.what_if.candidates import candidates  # noqa: PLC0415  see above

        return candidates(request, tokens)

    def decode_reads(
        self, launch: LaunchOptions, model: PlannableModel, devices: tuple[PlanDevice, ...], at_tokens: int
    ) -> DecodeReads | str:
        """See EngineRules."""
        del launch, model, devices, at_tokens
        return "kvtop has no estimate of decode speed for this engine"

    def sequence_limit(self, requested_tokens: int, trained_tokens: int | None) -> tuple[int, str]:
        """As requested: the cache grows with the sequence."""
        del trained_tokens
        return requested_tokens, ""

    @property
    def lint_traits(self) -> LintTraits:
        """See EngineRules."""
        from kvtop.planning.mlx.lint_traits import TRAITS  # noqa: PLC0415  see above

        return TRAITS

    def cache_pair(self, what_if: WhatIf, plan: MemoryPlan | None) -> tuple[str, str]:
        """Bits and group size, one for both."""
        del plan
        bits = what_if.value("kv-bits")
        named = "16" if bits is None else f"mlx {bits}-bit g{what_if.value('kv-group-size') or '64'}"
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
        """A quantized cache ends batching."""
        del plan, model, devices, version, are_devices_known
        if launch.value("kv-bits") is None:
            return CacheSpeed(Speed.FINE)
        reason = "with --kv-bits the server answers one request at a time"
        return CacheSpeed(Speed.ONE_AT_A_TIME, reason, "mlx-lm 0.32.2, server.py")


RULES = MlxRules()
