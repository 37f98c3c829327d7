"""Recorded models for the scenarios of rules."""

from collections.abc import Callable

import pytest

from kvtop.analysis.lint.rule import Example
from kvtop.analysis.lint.target import Subject
from tests.models import rule_models


@pytest.fixture(scope="session")
def subject_of() -> Callable[[Example], Subject]:
    """Makes the Subject of an example command line from the recorded models."""
    return rule_models.subject_of
