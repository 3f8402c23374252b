"""Some tens of simulated boots; ``python -m tests.clock --boots 2000`` does many."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recorder import evidence, offsets, steady, time_model
from tests.clock.boot import FAMILIES, FAULTS
from tests.clock.campaign import LEAST_SHARE, Tally, broken, run, summed

BOOTS, SEED = 48, 7_000


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], Tally]:
    return run(BOOTS, SEED)


def test_published_times_are_within_their_bounds_and_the_bounds_are_tight(found):
    assert broken(found) == []
    assert len(summed(found).errors) > BOOTS * 100


def test_the_boots_have_every_family_and_every_fault(found):
    assert {family for (family, _), one in found.items() if one.boots} == set(FAMILIES)
    assert {fault for (_, fault), one in found.items() if one.boots} == set(FAULTS)


def test_a_bound_of_a_day_and_one_that_is_too_small_are_both_found_out(found):
    for factor, text in ((0.5, "within their bound"), (1000, "times the error's percentile")):
        wrong = copy.deepcopy(found)
        for one in wrong.values():
            one.bounds = [round(bound * factor) for bound in one.bounds]
        assert any(text in one for one in broken(wrong))


#: The fault that shows it, and what is put in place of what.
WRONG_MODELS: dict[str, tuple[str, Any, str, Any]] = {
    "rolled-over weeks are believed": ("week roll-over", evidence, "_weeks", lambda *_: 0),
    "no source mends another": ("week roll-over", evidence, "_mended", lambda found, _: found),
    "no leap second is expected": ("leap second", time_model, "_leaps", lambda _: []),
    "a suspend is taken for slewing": ("suspend", steady, "_SUSPEND_NS", 10**18),
    "an oscillator is taken to be perfect": ("late first fix", offsets, "DRIFT_PPB", 10),
}


@pytest.mark.parametrize("name", WRONG_MODELS)
def test_a_wrong_model_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch):
    fault, module, what, instead = WRONG_MODELS[name]
    monkeypatch.setattr(module, what, instead)
    assert summed(run(16, SEED, fault)).share < LEAST_SHARE
