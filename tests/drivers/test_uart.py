from __future__ import annotations

import itertools
import os
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import DeviceAbsentError, DeviceLostError, boot_ns
from drivers.uart import MOST_LINE_BYTES, Lines, Port

BAUD = 115_200
BYTE_NS = 1e10 / BAUD


@pytest.fixture
def line():
    """A pseudo-terminal: its master and the path of its slave."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    yield master, path
    os.close(master)


def let_pass(duration_ns):
    until_ns = boot_ns() + duration_ns
    while boot_ns() < until_ns:
        pass


def test_bytes_arrive_as_they_were_sent(line):
    master, path = line
    port = Port(path, BAUD)
    before_ns = boot_ns()
    os.write(master, bytes(range(256)))
    data, first_ns = port.read_some(1.0)
    assert data == bytes(range(256))
    assert port.read_ns >= first_ns
    assert before_ns - 255 * BYTE_NS <= first_ns <= boot_ns()
    port.close()


def test_bytes_that_were_waiting_are_dated_back_to_the_first(line):
    master, path = line
    port = Port(path, BAUD)
    let_pass(20_000_000)
    os.write(master, b"x" * 101)
    data, first_ns = port.read_some(1.0)
    assert len(data) == 101
    assert port.read_ns - first_ns == int(100 * BYTE_NS)
    port.close()


def test_no_byte_is_dated_before_the_read_that_left_the_line_empty(line):
    master, path = line
    port = Port(path, BAUD)
    os.write(master, b"first")
    port.read_some(1.0)
    emptied_ns = port.read_ns
    os.write(master, b"x" * 4000)  # 347 ms at this speed: a pseudo-terminal is faster
    assert port.read_some(1.0)[1] == emptied_ns
    port.close()


def test_silence_gives_no_bytes(line):
    _, path = line
    port = Port(path, BAUD)
    assert port.read_some(0.01)[0] == b""
    assert port.read_some(-1)[0] == b""
    port.close()


def test_what_waited_before_the_opening_is_thrown_away(line):
    master, path = line
    first = os.open(path, os.O_RDWR | os.O_NOCTTY)  # so that the kernel keeps what comes
    os.write(master, b"old")
    port = Port(path, BAUD)
    os.write(master, b"new")
    assert port.read_some(1.0)[0] == b"new"
    port.close()
    os.close(first)


def test_an_absent_port_is_named_with_what_is_allowed(tmp_path):
    with pytest.raises(DeviceAbsentError, match=r"nothing-here: no such device; allowed is"):
        Port(str(tmp_path / "nothing-here"), BAUD)


def test_a_port_that_another_process_holds_is_absent(line):
    _, path = line
    port = Port(path, BAUD)
    with pytest.raises(DeviceAbsentError, match=f"{path}: another process holds it"):
        Port(path, BAUD)
    port.close()
    Port(path, BAUD).close()


def test_a_file_that_is_no_port_is_absent(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceAbsentError, match=r"file: .*ioctl.*; allowed is an existing tty"):
        Port(str(tmp_path / "file"), BAUD)


def test_an_impossible_speed_is_absent(line):
    with pytest.raises(DeviceAbsentError, match="-5 baud"):
        Port(line[1], -5)


def test_an_unplugged_port_is_lost():
    master, slave = os.openpty()
    port = Port(os.ttyname(slave), BAUD)
    os.close(master)
    with pytest.raises(DeviceLostError, match="gone"):
        port.read_some(1.0)
    port.close()
    os.close(slave)


def test_reading_after_closing_is_lost_and_closing_twice_is_fine(line):
    port = Port(line[1], BAUD)
    port.close()
    port.close()
    with pytest.raises(DeviceLostError):
        port.read_some(0.0)


def texts(lines):
    return [text for text, _ in lines]


def test_a_sentence_split_over_two_reads_arrives_whole():
    lines = Lines()
    assert lines.feed(b"$GPR", 100) == []
    assert lines.is_partial
    assert lines.feed(b"MC,1*00\r\n", 900) == [(b"$GPRMC,1*00", 100)]
    assert not lines.is_partial


def test_each_sentence_has_the_time_of_its_own_first_byte():
    lines = Lines().feed(b"$A*00\r\n$B*00\r\n", 1000, 1000 + 14)
    assert lines == [(b"$A*00", 1000), (b"$B*00", 1007)]


def test_a_sentence_without_line_end_ends_where_the_next_begins():
    assert texts(Lines().feed(b"$A*00$B*00\r\n", 0)) == [b"$A*00", b"$B*00"]


def test_binary_between_sentences_is_passed_over_and_counted_once():
    lines = Lines()
    assert texts(lines.feed(b"\xb5\x62\x01\x07\x00\xff$A*00\r\n", 0)) == [b"$A*00"]
    assert lines.dropped == 1


def test_an_over_long_line_is_dropped_once_and_the_next_one_arrives():
    lines = Lines()
    assert lines.feed(b"$" + b"x" * 10 * MOST_LINE_BYTES, 0) == []
    assert not lines.is_partial
    assert texts(lines.feed(b"x" * MOST_LINE_BYTES + b"\r\n$A*00\r\n", 0)) == [b"$A*00"]
    assert lines.dropped == 1


def test_empty_lines_are_no_garbage():
    lines = Lines()
    assert lines.feed(b"\r\n\n\r\r\n", 0) == []
    assert lines.dropped == 0


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=8))
def test_where_the_stream_is_cut_makes_no_difference(data, cuts):
    whole, cut = Lines(), Lines()
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    pieces = [line for a, b in itertools.pairwise(edges) for line in cut.feed(data[a:b], 0)]
    assert pieces == whole.feed(data, 0)
    assert cut.dropped == whole.dropped
    assert cut.is_partial == whole.is_partial
