"""Recorded models for the scenarios of rules."""

from collections.abc import Callable

import pytest

from kvtop.analysis.lint.rule import Example
from kvtop.analysis.lint.target import LintTarget
from tests.models import rule_models


@pytest.fixture(scope="session")
def target_of() -> Callable[[Example], LintTarget]:
    """Makes the target of an example command line from the recorded models."""
    return rule_models.target_of
