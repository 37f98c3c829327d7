"""Recorded models for the scenarios of rules."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kvtop.analysis.lint.rule import Example
from kvtop.analysis.lint.target import Subject


@pytest.fixture(scope="session")
def subject_of() -> Callable[[Example], Subject]:
    """Makes the Subject of an example command line from the recorded models."""
    spec = importlib.util.spec_from_file_location(
        "rule_models", Path(__file__).parents[1] / "models" / "rule_models.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rule_models"] = module
    spec.loader.exec_module(module)
    made: Callable[[Example], Subject] = module.subject_of
    return made
