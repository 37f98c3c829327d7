"""Recorded answers of the engine, shared by the tests of its rules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

_ORACLE = Path(__file__).parents[2] / "oracle"


@pytest.fixture(scope="session")
def oracle_cases() -> ModuleType:
    """`tests/oracle/cases.py`, which the oracle table shares: makes headers and settings of recorded rows."""
    path = _ORACLE / "cases.py"
    spec = importlib.util.spec_from_file_location("oracle_cases", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while they are built.
    sys.modules["oracle_cases"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def oracle(oracle_cases: ModuleType) -> SimpleNamespace:
    """All recorded cases and the headers they are about."""
    recorded = oracle_cases.load_oracle()
    return SimpleNamespace(headers=recorded.headers, cases=recorded.cases)


@pytest.fixture(scope="session")
def more_models(oracle_cases: ModuleType) -> SimpleNamespace:
    """More models at real size, of other architectures."""
    recorded = oracle_cases.load_oracle(oracle_cases.MORE_MODELS)
    return SimpleNamespace(headers=recorded.headers, cases=recorded.cases)
