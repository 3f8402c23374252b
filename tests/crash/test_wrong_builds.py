from __future__ import annotations

import pytest

from tests.crash.campaign import first_failure
from tests.crash.wrong import BUILDS

#: What each mistake does to the rows; that is what the model has to see.
CAUGHT = {
    "acknowledge_before_sync": r"committed rows lost [1-9]",
    "free_before_commit": r"committed rows lost [1-9]",
    "no_sync_of_folders": r"committed rows lost [1-9]|no session",
    "no_check_of_place": r"rows (doubled|wrong) [1-9]",
    "no_cut_at_the_watermark": r"committed rows lost [1-9]",
    "no_sync_of_what_is_rewritten": r"no session|lines of the journal do not verify",
}


@pytest.mark.parametrize("build", BUILDS)
def test_the_model_finds_out_what_a_wrong_build_does_to_the_rows(build: str) -> None:
    with BUILDS[build]():
        assert first_failure(400, 2, CAUGHT[build]), f"{build} was not noticed in 400 examples"
