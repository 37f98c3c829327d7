"""Recorded answers of the engine, shared by the tests of its rules."""

import pytest

from tests.oracle.cases import MORE_MODELS, Oracle, load_oracle


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    """All recorded cases and the headers they are about."""
    return load_oracle()


@pytest.fixture(scope="session")
def more_models() -> Oracle:
    """More models at real size, of other architectures."""
    return load_oracle(MORE_MODELS)
