"""What one engine contributes to planning: the protocol that the registry holds every engine to.

The mirror of `sources.engine.Engine`, which reads a running server of the same kind. A new engine is a folder here
whose `engine.py` has these members, and a line in `registry.ENGINES`. Its members import the engine's rules when they
are asked, so that a plan of one engine never pays for the rules of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kvtop.domain.answers.cache_speed import CacheSpeed
from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.what_if import WhatIf
from kvtop.domain.launch import LaunchOption, LaunchOptions
from kvtop.domain.model_file import ModelFile
from kvtop.domain.plan import MemoryPlan, PlanDevice, Refusal
from kvtop.domain.server import ServerReading
from kvtop.planning.protocol.decode_reads import DecodeReads
from kvtop.planning.protocol.knobs import Turn
from kvtop.planning.protocol.lint_traits import LintTraits
from kvtop.planning.protocol.measured import Measured
from kvtop.planning.protocol.placement_evidence import PlacedOptions, PlacementEvidence
from kvtop.planning.protocol.version_change import VersionChange
from kvtop.planning.versions import VersionRange

if TYPE_CHECKING:  # the request and the context name this protocol's own registry
    from kvtop.planning.protocol.plan_context import PlanContext, PlannableModel
    from kvtop.planning.protocol.recommend_request import Candidate, RecommendRequest


@dataclass(frozen=True, slots=True)
class EngineTraits:
    """Facts about an engine that attribution, views and exports ask for."""

    display_name: str
    versions: tuple[VersionRange, ...]
    """Ranges of versions whose rules were checked against the engine, the oldest first."""
    program: tuple[str, ...]
    """The first words of a command that starts it ("vllm", "serve")."""
    model_format: str
    """What its model files are called in exports: "gguf" or "safetensors"."""
    cache_type_options: tuple[str, str]
    """The options that choose the K and V types; the same one twice where one option sets both."""
    distribution: str = ""
    """Its distribution on PyPI; "" for a program that says its version itself."""
    is_python: bool = True
    """Its process holds an interpreter and libraries beside the model."""
    plans_whole_card: bool = False
    """Its plan of a card has the process's context and all temporary buffers in it: nothing is reserved beside."""
    cache_grows: bool = False
    """Its KV cache is taken as requests need it: a plan assumes one length of sequence (`WhatIf.at_tokens`)."""
    options_from_environment: bool = False
    """Any of its options may stand in the environment."""
    frees_all_asleep: bool = False
    """Asleep it gives back all device memory, weights included."""
    endpoint_describes_model: bool = False
    """A server that is up says itself what model it has, whatever the command line called it."""
    endpoint_names_model: bool = True
    """False: the name of the model is known from the command line alone."""
    default_cache_types: tuple[str, str] | None = None
    """K and V types without any option, where no endpoint says them; None: the plan or the metrics do."""
    cache_quality_tool: str = ""
    """The program that measures a pair of cache types on a model and a text; "" where there is none."""
    reports_through_wrapper: bool = False
    """It says nothing of its memory unless `kvtop wrap` starts it."""

    @property
    def checked_version(self) -> str:
        """The newest version that the rules were checked on ("b11434")."""
        return self.versions[-1].last


class EngineRules(Protocol):
    """Everything that planning knows of one engine. Amounts and errors are those of `registry.plan_launch`."""

    @property
    def name(self) -> str:
        """The engine's name in every export ("llama.cpp")."""

    @property
    def traits(self) -> EngineTraits: ...

    # Commands

    def started_by(self, words: Sequence[str], /) -> tuple[str, ...] | None:
        """The server's own words where `words` (the program first, wrappers removed) start this engine; else None."""

    def option_words(self, changes: Sequence[tuple[str, str | None]], /) -> tuple[str, ...]:
        """Changed options as they are typed, in the long spelling; an option that goes has no words."""

    def customary_words(self, changes: Sequence[tuple[str, str | None]], /) -> tuple[str, ...]:
        """The same as most people type them."""

    def without_options(self, argv: Sequence[str], base: LaunchOptions, names: set[str], /) -> list[str]:
        """A whole command without the options of these canonical names."""

    # Plans

    def prepare(self, model: ModelFile, /) -> PlannableModel:
        """The model in a form that many plans share. Raises NoExactRuleError."""

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
        """The plan, or the refusal in the engine's words. Raises NoExactRuleError."""

    def version_changes(self, before: str | None, after: str | None, /) -> tuple[VersionChange, ...]:
        """The rules in which two versions differ; each can be borrowed alone (`LaunchOptions.borrowed_rules`)."""

    def trained_tokens(self, model: PlannableModel, /) -> int | None:
        """The context length the model was trained for, where its file says so."""

    # Running servers

    def measured(self, launch: LaunchOptions, reading: ServerReading, /) -> Measured:
        """What a running server says of what its engine found out, where its options leave that to the engine."""

    def running_placement(
        self,
        launch: LaunchOptions,
        measured: Measured,
        model: PlannableModel,
        devices: tuple[PlanDevice, ...],
        draft: PlannableModel | None,
        observed: PlacementEvidence,
        /,
    ) -> PlacedOptions:
        """Where a running server's model lies that the engine placed itself; `launch` is as it was started."""

    def as_started(self, launch: LaunchOptions, /) -> LaunchOptions:
        """What would be typed to start a running server again: without what was inferred of it."""

    def devices_for(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...], /) -> tuple[PlanDevice, ...]:
        """The devices to plan for, ranks that kvtop cannot see included."""

    def plan_running(
        self,
        launch: LaunchOptions,
        model: PlannableModel,
        devices: tuple[PlanDevice, ...],
        draft: PlannableModel | None,
        measured: Measured,
        /,
    ) -> MemoryPlan | Refusal:
        """The plan of a server that runs: of what it holds at the least, where its cache grows."""

    def assumption(self, launch: LaunchOptions, devices: tuple[PlanDevice, ...], /) -> str:
        """What a running server's plan assumes without evidence, or ""."""

    def assumed_options(self, reading: ServerReading, plan: MemoryPlan, /) -> tuple[LaunchOption, ...]:
        """Options that nobody set and the plan of a running server took a value for, each with its origin."""

    def kept(self, measured: Measured, now: MemoryPlan | None, /) -> Measured:
        """What a what-if of a running server stands on, by its plan `now`."""

    # What-ifs, frontiers, recommendations

    @property
    def knobs(self) -> Mapping[str, tuple[str, Turn]]:
        """Knob -> what it is called here, and what turning it does."""

    @property
    def defaults(self) -> Mapping[str, str]:
        """Options of the knobs -> their values where they are absent, spelled as the knobs spell them."""

    def knob_values(self, what_if: WhatIf, plan: MemoryPlan | None, /) -> Mapping[str, str]:
        """Knob -> where it stands, in words."""

    def settle(self, kept: dict[str, str | None], base: LaunchOptions, now: MemoryPlan, /) -> None:
        """Take changes out of `kept` that hold anyway under the plan `now` of `base`."""

    def expected(self, context: PlanContext, what_if: WhatIf, /) -> tuple[LaunchOptions, Measured]:
        """The changed launch as the engine would find the machine, and what of `context.measured` it would find."""

    def frontier(self, context: PlanContext, base: WhatIf, now: MemoryPlan, most_tokens: int, /) -> Frontier:
        """The grid of amounts and cache types around a configuration."""

    def candidates(self, request: RecommendRequest, tokens: int | None, /) -> Iterator[Candidate]:
        """What a recommendation may try, in the order of advice; sequences of `tokens` (None: as they are)."""

    def decode_reads(
        self, launch: LaunchOptions, model: PlannableModel, devices: tuple[PlanDevice, ...], at_tokens: int, /
    ) -> DecodeReads | str:
        """What one token of a sequence of `at_tokens` reads, or why that is not known. Raises NoExactRuleError."""

    def sequence_limit(self, requested_tokens: int, trained_tokens: int | None, /) -> tuple[int, str]:
        """The longest sequence that the engine gives, and a sentence where that is less than requested."""

    # Lint

    @property
    def lint_traits(self) -> LintTraits:
        """What lint rules ask of it."""

    # Cache types

    def cache_pair(self, what_if: WhatIf, plan: MemoryPlan | None, /) -> tuple[str, str]:
        """The K and V types as evidence names them."""

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
        """What the cache types do to speed, for a plan that the engine would start."""
