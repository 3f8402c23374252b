from __future__ import annotations

import pytest

from tests.crash.campaign import first_failure
from tests.crash.wrong import BUILDS


@pytest.mark.parametrize("build", BUILDS)
def test_the_model_finds_a_wrong_build_out(build: str) -> None:
    with BUILDS[build]():
        assert first_failure(400, 2), f"{build} was not noticed in 400 examples"
