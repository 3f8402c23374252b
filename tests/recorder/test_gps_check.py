"""What `recorder check` finds about a receiver's line: measured where the receiver speaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.sim.nmea_render import Fix, render
from drivers.sim.receiver import Receiver
from drivers.sim.receiver_unit import Ublox, Unit
from recorder.cli.look import Look, bus_loads, look
from recorder.configfile import load

START_NS = 1_750_507_195_000_000_000
PERIOD_NS = 100_000_000
SENTENCES = ("RMC", "GGA", "GSA", "VTG", "GST", "ZDA")


@pytest.fixture
def looked_at(tmp_path: Path) -> Iterator[Callable[[Unit, str], Look]]:
    """Return what looks at a receiver that sends ten epochs of six sentences a second."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def looks(unit: Unit, keys: str) -> Look:
        fixes = [Fix(START_NS + n * PERIOD_NS, 47.5, 11.25, 500.0, 3.0, 90.0) for n in range(300)]
        source = [(one.utc_ns, one.utc_ns - START_NS, render(one, SENTENCES)) for one in fixes]
        receiver = Receiver(source, tmp_path / "gps", tmp_path / "log", unit=unit)
        threads.append(threading.Thread(target=receiver.run, args=(stop,)))
        threads[-1].start()
        while not (tmp_path / "gps").exists():
            assert threads[-1].is_alive()
            stop.wait(0.01)
        file = tmp_path / "recorder.toml"
        lane = f'name = "gps"\ndriver = "nmea_gps"\ndevice = "{tmp_path}/gps"\n{keys}'
        file.write_text(f'[[lanes]]\n{lane}\n[spool]\nrun_dir = "run"\n[upload]\nmode = "off"\n')
        config = load(file)
        return look(config, config.lanes[0])

    yield looks
    stop.set()
    for thread in threads:
        thread.join(20)


def test_a_line_of_unknown_speed_is_found_and_its_load_measured(looked_at) -> None:
    seen = looked_at(Unit(57_600), "")
    size = len(render(Fix(START_NS, 47.5, 11.25, 500.0, 3.0, 90.0), SENTENCES))
    assert seen.state == "present"
    assert seen.device["interface"]["baud"] == "57600"
    (load_of_line,) = bus_loads([seen]).values()
    assert load_of_line == pytest.approx(size * 100 / 57_600, rel=0.1)


def test_a_line_that_is_nearly_full_needs_nearly_all_of_it(looked_at) -> None:
    (load_of_line,) = bus_loads([looked_at(Unit(38_400), "")]).values()
    assert 0.8 < load_of_line < 1.1


def test_a_receiver_from_the_factory_is_set_up_and_says_who_it_is(looked_at) -> None:
    seen = looked_at(Ublox(32.0), 'receiver = "ublox"')
    assert (seen.state, seen.device["vendor"]) == ("present", "u-blox")
    assert seen.device["interface"]["baud"] == "115200"


def test_a_receiver_that_is_not_there_has_the_load_of_its_set_up(tmp_path: Path) -> None:
    file = tmp_path / "recorder.toml"
    lane = f'name = "gps"\ndriver = "nmea_gps"\ndevice = "{tmp_path}/gps"\nreceiver = "ublox"'
    file.write_text(f'[[lanes]]\n{lane}\n[spool]\nrun_dir = "run"\n[upload]\nmode = "off"\n')
    config = load(file)
    seen = look(config, config.lanes[0])
    assert seen.state == "absent"
    assert bus_loads([seen]) == {f"uart {tmp_path}/gps": pytest.approx(34_000 / 115_200)}
