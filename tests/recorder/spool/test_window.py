from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.spool import window
from recorder.spool.journal import Journal, line_of
from recorder.spool.names import segments_in
from recorder.spool.segment import SegmentReader, read_head
from recorder.spool.window import Window
from tests.crash.replacing import replaced
from tests.powercut import disk
from tests.recorder.building import Shelf
from tests.recorder.spool.bad_disk import ROOT, bad_disk

LACKING = disk.missing()
needs_fuse = pytest.mark.skipif(bool(LACKING), reason=f"no bad disk to be had here: {LACKING}")
RECORD_ROWS, RECORDS, PAGE_BYTES = 500, 20, 4096


@given(st.data())
def test_every_stretch_is_what_the_file_holds_there(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = data.draw(st.binary(max_size=300))
    path = tmp_path_factory.mktemp("window") / "file"
    path.write_bytes(raw)
    limit = data.draw(st.none() | st.integers(0, 320))
    with replaced((window, "WINDOW_BYTES", data.draw(st.integers(4, 64)))):
        one = Window(path, limit)
        assert one.end_bytes == min(len(raw), len(raw) if limit is None else limit)
        for _ in range(data.draw(st.integers(1, 8))):
            begin = data.draw(st.integers(0, one.end_bytes))
            end = data.draw(st.integers(begin, one.end_bytes))
            wanted = data.draw(st.sampled_from([raw[begin : begin + 3], b"ab", b"\0"])) or b"a"
            assert bytes(one.get(begin, end)) == raw[begin:end]
            assert one.find(wanted, begin, end) == raw.find(wanted, begin, end)
        one.close()
        one.close()


def test_what_was_given_stays_as_it_was_when_another_stretch_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 64)
    with replaced((window, "WINDOW_BYTES", 100)):
        one = Window(path)
        early = one.get(0, 50)
        one.get(5000, 5050)
        assert bytes(early) == bytes(range(50))
        one.close()


def shelf(folder: Path) -> tuple[Path, list[int]]:
    """Record; return the segment and where its records begin."""
    one = Shelf(folder)
    for _ in range(RECORDS):
        assert one.producer.put(RECORD_ROWS)
        one.commit()
    one.end()
    (path,) = segments_in(one.recording.spool.session_dir(one.recording.session.id) / "imu")
    one.reader.close()
    one.producer.close()
    with SegmentReader(path) as segment:
        return path, [at for at, _, _ in segment.records()]


def test_a_segment_that_is_cut_while_it_is_read_ends_there_and_nobody_dies(tmp_path: Path) -> None:
    path, places = shelf(tmp_path)
    with replaced((window, "WINDOW_BYTES", PAGE_BYTES)), SegmentReader(path) as segment:
        records = segment.records()
        next(records)
        os.truncate(path, places[2])
        assert len(list(records)) == 1


def _in_another_process(code: str, *arguments: Path) -> Any:
    """Run some code, which a bad place may kill, and return what it prints as JSON."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    return json.loads(done.stdout)


VERIFY = """
import json, sys
from pathlib import Path
from recorder.spool.verify import verify
print(json.dumps(verify(Path(sys.argv[1])).to_dict()))
"""


@needs_fuse
def test_a_bad_place_of_the_disk_costs_the_records_on_it_and_is_named(tmp_path: Path) -> None:
    path, places = shelf(tmp_path / "good")
    spool = tmp_path / "good" / "spool"
    begin = places[7] + 100
    # The kernel asks for more than it needs: what it got of the rest counts.
    with bad_disk(spool, tmp_path / "bad", path, begin, begin + 1) as served:
        found = _in_another_process(VERIFY, served)
    (lane,) = found["sessions"][0]["lanes"]
    hit = {at for at in places if at < begin - begin % PAGE_BYTES + PAGE_BYTES}
    hit &= {at for at in places if at + places[1] - places[0] > begin - begin % PAGE_BYTES}
    assert lane["rows"] == (RECORDS - len(hit)) * RECORD_ROWS
    assert lane["missing"] == len(hit) * RECORD_ROWS
    assert lane["damaged_records"] == 1
    assert not found["is_sound"]


HEAD = """
import json, sys
from pathlib import Path
from recorder.spool.segment import SegmentReader
with SegmentReader(Path(sys.argv[1])) as segment:
    rows = sum(header.rows for _, header, _ in segment.records())
    print(json.dumps([rows, segment.is_head_damaged]))
"""


@needs_fuse
def test_a_head_on_a_bad_place_is_taken_from_the_journal(tmp_path: Path) -> None:
    path, places = shelf(tmp_path / "good")
    spool = tmp_path / "good" / "spool"
    assert read_head(path).name == path.name
    with bad_disk(spool, tmp_path / "bad", path, 0, 1) as served:
        rows, is_head_damaged = _in_another_process(HEAD, served / path.relative_to(spool))
    assert is_head_damaged
    assert rows == sum(at >= PAGE_BYTES for at in places) * RECORD_ROWS


JOURNAL = """
import json, sys
from pathlib import Path
from recorder.spool import journal
from recorder.spool.tail import Tail
path = Path(sys.argv[1])
found, tail = journal.contents(path), Tail(path)
followed = [one["number"] for one in tail.news().entries]
read = [one["number"] for one in found.entries]
newest = journal.newest(path, "session")
print(json.dumps([read, followed, found.damaged_lines, tail.news().read_bytes, newest]))
"""


@needs_fuse
def test_a_bad_place_in_a_journal_costs_the_lines_on_it_and_no_session(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    with contextlib.closing(Journal(folder / "journal")) as journal:
        journal.append({"entry": "session", "number": -1})
        for number in range(1000):
            journal.append({"entry": "mark", "number": number})
        journal.sync()
    with bad_disk(folder, tmp_path / "bad", folder / "journal", 20_000, 20_001) as served:
        read, followed, damaged, again, newest = _in_another_process(JOURNAL, served / "journal")
    assert read == [-1, *followed]  # heartbeats are not followed
    assert newest["number"] == -1  # though it stands before the place that cannot be read
    lost = sorted(set(range(1000)) - set(read))
    assert lost == list(range(lost[0], lost[-1] + 1))
    line_bytes = len(line_of({"entry": "mark", "number": 500}))
    assert 0 < len(lost) <= PAGE_BYTES // line_bytes + 2
    assert damaged > 0
    assert again == 0
