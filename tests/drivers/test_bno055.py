from __future__ import annotations

from itertools import pairwise

import pytest

from drivers.bno055 import RESULT_BYTES, Bno055
from drivers.sim.motion import Sense
from tests.drivers.imus import KINDS, Bench, G, read_rows, scaled, unpacked


@pytest.fixture
def bench(tmp_path):
    made = []

    def build(**options) -> Bench:
        made.append(Bench(KINDS["bno055"], tmp_path, **options))
        return made[-1]

    yield build
    for one in made:
        one.stop()


def test_all_results_have_their_units(bench):
    imu = bench(motion=lambda _: Sense(0.0, 0.0, G, 0.0, 0.0, 0.5))
    with imu.driver(mode="ndof") as driver:
        device = driver.open()
        row = scaled(driver, unpacked(driver, read_rows(driver, 20)[-1])[0])
    assert device.firmware == "0x0311"
    assert row["acceleration.z"] == pytest.approx(G, abs=0.03)
    assert row["angular_velocity.z"] == pytest.approx(0.5, abs=0.003)
    assert row["orientation.w"] ** 2 + row["orientation.z"] ** 2 == pytest.approx(1, abs=0.01)
    assert row["orientation.z"] > 0  # it has turned to the left
    assert row["gravity.z"] == pytest.approx(G, abs=0.1)
    assert row["linear_acceleration.z"] == pytest.approx(0, abs=0.1)
    assert row["magnetic_field.z"] == pytest.approx(-600 / 16 * 1e-6)
    assert row["temperature"] == 25


def test_without_the_compass_its_field_is_unknown_and_not_zero(bench):
    imu = bench()
    with imu.driver() as driver:
        driver.open()
        row = unpacked(driver, read_rows(driver, 3)[-1])[0]
    fields = {one.name: one for one in driver.fields}
    assert row["magnetic_field.x"] == fields["magnetic_field.x"].null


def test_rows_come_at_the_rate_and_a_row_is_what_the_chip_gave(bench):
    imu = bench()
    with imu.driver(rate_hz=50) as driver:
        driver.open()
        samples = read_rows(driver, 50)
        assert driver.finish() == []
    assert {len(b"".join(sample.payload)) for sample in samples} == {RESULT_BYTES}
    lasted_s = (samples[-1].boot_ns - samples[0].boot_ns) / 1e9
    assert lasted_s >= 0.95  # later polls are allowed, earlier ones are not
    stamps = [sample.boot_ns for sample in samples]
    assert stamps == sorted(set(stamps))


def test_polls_that_the_bus_held_up_are_left_out_and_show_in_the_times(bench):
    imu = bench()
    with imu.driver() as driver:
        driver.open()
        read_rows(driver, 20)
        imu.bus.fault("overflow", seconds=0.3)
        samples = read_rows(driver, 20)
    stamps = [sample.boot_ns for sample in samples]
    assert max(b - a for a, b in pairwise(stamps)) > 100_000_000


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rate_hz": 200.0}, "rate_hz is 200, a BNO055 has 1 to 100"),
        ({"mode": "amg"}, 'mode is "amg", allowed are imu, ndof'),
    ],
)
def test_what_the_chip_has_not_is_refused_with_what_it_has(options, text):
    with pytest.raises(ValueError, match=text):
        Bno055(**options)
