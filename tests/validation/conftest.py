"""These tests give what no annotation admits, and ask for a `ValueError` or a finite result."""

import jaxtyping
import pytest


@pytest.fixture(autouse=True)
def annotations_are_not_checked():
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
