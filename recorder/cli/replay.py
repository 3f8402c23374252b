"""`recorder replay`: a recording of a server again, in the order of its time."""

from __future__ import annotations

import base64
import datetime
import heapq
import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recorder.cli import options, words
from recorder.cli.console import print_json
from recorder.cli.sessions import server_url
from recorder.errors import RecorderError
from recorder.ground.copying import Copy
from recorder.ground.merge import TIME
from recorder.ground.observe import SUMMARY, Address
from recorder.ground.replay import Pace, find, slices, sources, wide
from recorder.service import stop_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from recorder.ground.replay import Slice, Source
    from recorder.mosaico import MosaicoClient

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)
_ROWS_AT_ONCE = 1000


def _time(_ctx: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Read a time in UTC: ns since 1970, or ISO 8601."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    try:
        when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        told = f"{text!r} is no time like 2014-03-26T12:38:25Z, nor ns since 1970"
        raise click.BadParameter(told) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return (when - _EPOCH) // _MICROSECOND * 1000


class _Told:
    """Counts what was replayed, and shows it on a terminal."""

    def __init__(self, bar: Progress, rows: int | None) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=rows)
        self.rows: Counter[str] = Counter()
        self.first_ns: int | None = None
        self.last_ns: int | None = None

    def add(self, one: Slice) -> None:
        """Count a slice that is out."""
        for source, table in one.pieces:
            self.rows[source.lane] += table.num_rows
            first_ns, last_ns = (int(table.column(TIME)[at].as_py()) for at in (0, -1))
            self.first_ns = first_ns if self.first_ns is None else min(self.first_ns, first_ns)
            self.last_ns = max(last_ns, self.last_ns or last_ns)
        self._bar.update(self._task, completed=self.rows.total())

    def facts(self, recording: str, where: str) -> dict[str, Any]:
        """What is said at the end."""
        return {
            "recording": recording,
            "to": where,
            "rows": self.rows.total(),
            "topics": dict(self.rows),
            "first_utc_ns": self.first_ns,
            "last_utc_ns": self.last_ns,
        }


@click.command()
@click.argument("recording", metavar="ID")
@click.option(
    "--server", metavar="URL", callback=server_url, required=True, help="Where the recording is."
)
@options.key_file
@options.certificate
@click.option(
    "--topic",
    "topics",
    multiple=True,
    help="Only this lane or topic, such as imu or 'camera/*'; may be given again.  [default: all]",
    show_default=False,
)
@click.option(
    "--from",
    "start_ns",
    metavar="TIME",
    callback=_time,
    help="Only from this UTC time on, such as 2014-03-26T12:38:25Z, or ns since 1970.",
)
@click.option("--to", "end_ns", metavar="TIME", callback=_time, help="Only before this UTC time.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True, max=1e6),
    help="Let so many seconds of the recording pass in one.  [default: as fast as possible]",
    show_default=False,
)
@click.option(
    "--to-file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an Arrow file: timestamp_ns, topic, and a struct for each topic.",
)
@click.option(
    "--to-server", "target", metavar="URL", callback=server_url, help="Copy it to another server."
)
@click.option("--to-key-file", type=options.EXISTING_FILE, help="API key for --to-server.")
@click.option("--to-certificate", type=options.EXISTING_FILE, help="Roots for --to-server (PEM).")
@click.option("--json", "as_json", is_flag=True, help="Tell what was written as a JSON object.")
def replay(
    *,
    recording: str,
    server: str,
    key_file: Path | None,
    certificate: Path | None,
    topics: tuple[str, ...],
    start_ns: int | None,
    end_ns: int | None,
    speed: float | None,
    file: Path | None,
    target: str | None,
    to_key_file: Path | None,
    to_certificate: Path | None,
    as_json: bool,
) -> None:
    """Replay one recording of a server, all topics of it merged by time.

    ID is that of the recording, or its first characters, or the name of any sequence. Without
    --to-file and --to-server each row is printed as a line of JSON with its topic; bytes, such as
    pictures, are in base64, and what is not a number is null. A copy on another server has the same
    name, metadata and rows; the commit mark goes only with the whole of it. Exit code 1: nothing to
    replay, or stopped before the end.
    """
    if file is not None and (target is not None or speed is not None):
        raise click.UsageError("--to-file goes neither with --to-server nor with --speed")
    if file is not None and file.exists():
        raise click.UsageError(f"{file} exists already")
    pace = Pace(speed, stop_on_signals())
    bar = _progress(is_shown=file is not None or target is not None)  # else among the rows
    with Address(server, key_file, certificate).connect() as client, bar:
        info = find(client, recording, lambda text: click.echo(f"note: {text}", err=True))
        chosen = sources(info, topics)
        is_whole = not topics and start_ns is None and end_ns is None
        told = _Told(bar, _all_rows(chosen) if start_ns is None and end_ns is None else None)
        if target is not None:
            kept = [one for one in chosen if is_whole or one.lane != SUMMARY or topics]
            with Address(target, to_key_file, to_certificate).connect() as other:
                copy = Copy(client, other, info, kept, pace=pace, show=told.add)
                copy.run(start_ns, end_ns)
        else:
            found = slices(client, chosen, start_ns, end_ns, pace.step_ns)
            if file is None:
                _print_rows(found, pace, told)
            else:
                _write(file, _schema(client, chosen), found, told)
    if not told.rows:
        raise RecorderError(f"{info.name} has no rows there")
    if file is not None or target is not None:
        _tell(told.facts(info.name, str(file or target)), as_json=as_json)


def _all_rows(chosen: Iterable[Source]) -> int:
    return sum(one.topic.row_count or 0 for one in chosen)


def _progress(*, is_shown: bool) -> Progress:
    err = Console(stderr=True)
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(
        *columns, console=err, transient=True, disable=not (is_shown and err.is_terminal)
    )


def _tell(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    each = ", ".join(f"{lane} {words.count(rows)}" for lane, rows in facts["topics"].items())
    span = f"{words.utc(facts['first_utc_ns'])} to {words.utc(facts['last_utc_ns'])}"
    click.echo(f"{words.count(facts['rows'])} rows ({each}), {span}: in {facts['to']}")


# --- lines


def _print_rows(found: Iterable[Slice], pace: Pace, told: _Told) -> None:
    for one in found:
        for time_ns, line in _lines(one):
            if not pace.wait_for(time_ns):
                raise RecorderError("stopped before the end")
            click.echo(line)
        told.add(one)


def _lines(one: Slice) -> Iterator[tuple[int, str]]:
    def of(source: Source, table: pa.Table) -> Iterator[tuple[int, str]]:
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield row[TIME], _json({"topic": source.lane, **row})

    return heapq.merge(*(of(*piece) for piece in one.pieces), key=lambda line: line[0])


def _json(row: dict[str, Any]) -> str:
    try:
        return json.dumps(row, separators=(",", ":"), default=_base64, allow_nan=False)
    except ValueError:  # JSON knows neither NaN nor infinity: they become null
        return _json(_finite(row))


def _finite(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


# --- an Arrow file


def _schema(client: MosaicoClient, chosen: Sequence[Source]) -> pa.Schema:
    """The columns of the file: of each lane those that its first rows have."""
    lanes: dict[str, pa.Schema] = {}
    for source in chosen:
        if source.lane not in lanes and source.topic.last_ns is not None:
            lanes[source.lane] = next(client.read(source.topic.locator)).schema
    structs = [
        pa.field(lane, pa.struct([field for field in schema if field.name != TIME]))
        for lane, schema in lanes.items()
    ]
    return pa.schema([pa.field(TIME, pa.int64()), pa.field("topic", pa.string()), *structs])


def _write(file: Path, schema: pa.Schema, found: Iterable[Slice], told: _Told) -> None:
    """Write a file that is either whole or not there."""
    begun = file.with_name(f"{file.name}.part")
    try:
        with pa.OSFile(str(begun), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for one in found:
                rows = pa.concat_tables(
                    [schema.empty_table(), wide(one)], promote_options="default"
                )
                writer.write_table(rows, max_chunksize=_ROWS_AT_ONCE)
                told.add(one)
        if told.rows:
            begun.replace(file)
    except pa.ArrowException as error:
        raise RecorderError(
            f"{file}: rows of one topic differ in their columns: {error}"
        ) from error
    finally:
        begun.unlink(missing_ok=True)
