"""Empty → Uploading → Finalized, and everything that the station refuses on the way."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pyarrow as pa
import pyarrow.flight as fl
import pytest

from recorder.errors import RemoteRefusedError
from recorder.mosaico import rows
from tests.recorder.building import wait_until


def refused(match):
    return pytest.raises(RemoteRefusedError, match=match)


def raw_put(station, locator, uuid, schema):
    """Flight's own writer, which does what it is told, also the wrong thing."""
    flight = fl.FlightClient(station.url)
    command = json.dumps({"resource_locator": locator, "topic_uuid": uuid})
    writer, _ = flight.do_put(fl.FlightDescriptor.for_command(command), schema)
    return flight, writer


def test_a_sequences_name_is_taken_once(client):
    client.create_sequence("drive", {})
    with refused("already exists"):
        client.create_sequence("drive", {})


def test_a_topics_name_is_taken_over_all_sessions_of_its_sequence(client, bench):
    bench.drive(client)
    second = client.create_session("drive")
    with refused("already exists"):
        bench.topic(client, second, "drive/notes")


def test_a_session_needs_its_sequence(client):
    with refused("not found"):
        client.create_session("nothing")


def test_a_topic_needs_its_session(client, bench):
    session, _ = bench.drive(client)
    client.delete_session(session.locator, session.uuid)
    with refused("not found"):
        bench.topic(client, session, "drive/other")


def test_what_is_no_uuid_is_told_as_such(client, bench):
    bench.drive(client)
    with refused("Bad UUID 'seven'"):
        client.finalize_session("seven")


def test_a_topic_of_another_sequence_is_refused(client, bench):
    session, _ = bench.drive(client)
    client.create_sequence("other", {})
    with refused("not of sequence"):
        bench.topic(client, session, "other/notes")


def test_an_unknown_serialization_format_is_refused(client, bench):
    session, _ = bench.drive(client)
    with refused("serialization format"):
        client.create_topic(
            session.uuid, "drive/x", ontology_tag="X", serialization_format="xml", metadata={}
        )


def test_a_wrong_topic_uuid_is_refused_and_the_topic_stays_empty(client, bench):
    _, uuid = bench.drive(client)
    for wrong, told in (("00000000-no", "Bad UUID"), (str(uuid4()), "wrong topic uuid")):
        with refused(told):
            client.put("drive/notes", wrong, bench.schema, [bench.batch(1)])
    client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])


def test_a_schema_without_time_is_refused_and_the_topic_stays_empty(client, bench):
    _, uuid = bench.drive(client)
    for schema in (pa.schema([("a", pa.int64())]), pa.schema([("timestamp_ns", pa.uint64())])):
        with refused("timestamp_ns"):
            client.put("drive/notes", uuid, schema, [])
    client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])


def test_a_second_stream_is_refused_while_uploading_and_when_finalized(client, bench):
    _, uuid = bench.drive(client)
    with client.open_put("drive/notes", uuid, bench.schema) as first:
        first.write(bench.batch(1))
        wait_until(lambda: client.describe_topic("drive/notes").chunks == 1)
        with refused("already uploading"):
            client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])
    with refused("already been uploaded and finalized"):
        client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])
    assert client.describe_topic("drive/notes").row_count == 1


def test_a_put_of_no_batch_finalizes_an_empty_topic(client, bench):
    session, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [])
    topic = client.describe_topic("drive/notes")
    assert (topic.locked, topic.row_count, topic.chunks, topic.first_ns) == (True, 0, 0, None)
    client.finalize_session(session.uuid)


def test_a_batch_of_no_rows_is_a_chunk_without_a_range(client, bench):
    _, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [bench.batch(), bench.batch(1)])
    topic = client.describe_topic("drive/notes")
    assert (topic.chunks, topic.row_count, topic.first_ns) == (2, 1, 1)
    assert len(list(rows(client, "drive/notes"))) == 1


def test_rows_that_break_their_own_schema_are_refused(client, bench):
    _, uuid = bench.drive(client)
    broken = pa.RecordBatch.from_arrays(
        [pa.array([1, 2]), pa.array(["a", None])], schema=bench.schema
    )
    with refused("cannot be stored"):
        client.put("drive/notes", uuid, bench.schema, [broken])


def test_a_clean_half_close_finalizes_whatever_prefix_came(station, client, bench):
    session, uuid = bench.drive(client)
    flight, writer = raw_put(station, "drive/notes", uuid, bench.schema)
    writer.write_batch(bench.batch(1, 2))
    writer.close()
    flight.close()
    assert client.describe_topic("drive/notes").locked
    client.finalize_session(session.uuid)


@pytest.mark.parametrize("batches_before", [0, 2])
def test_a_message_without_rows_breaks_the_stream_and_leaves_uploading(
    station, client, bench, batches_before
):
    session, uuid = bench.drive(client)
    flight, writer = raw_put(station, "drive/notes", uuid, bench.schema)
    for time_ns in range(batches_before):
        writer.write_batch(bench.batch(time_ns))
    writer.write_metadata(b"abort")
    with pytest.raises(pa.ArrowInvalid, match="without rows"):
        writer.close()
    flight.close()
    topic = client.describe_topic("drive/notes")
    assert (topic.locked, topic.row_count, topic.first_ns) == (False, batches_before, None)
    with refused("still uploading"):
        client.finalize_session(session.uuid)


def test_a_message_above_the_announced_limit_costs_the_stream(station, client, bench):
    _, uuid = bench.drive(client)
    flight, writer = raw_put(station, "drive/notes", uuid, bench.schema)
    large = pa.RecordBatch.from_arrays(
        [pa.array([1]), pa.array(["x" * 53_000_000])], schema=bench.schema
    )
    writer.write_batch(large)
    with pytest.raises(fl.FlightCancelledError, match="message length too large"):
        writer.close()
    flight.close()
    assert not client.describe_topic("drive/notes").locked


def test_rows_of_an_unfinished_topic_are_readable_and_an_empty_one_is_refused(client, bench):
    _, uuid = bench.drive(client)
    with refused("holds no data"):
        list(client.read("drive/notes"))
    with client.open_put("drive/notes", uuid, bench.schema) as stream:
        stream.write(bench.batch(2, 1))
        wait_until(lambda: client.describe_topic("drive/notes").chunks == 1)
        assert [row["timestamp_ns"] for row in rows(client, "drive/notes")] == [1, 2]


def test_a_session_without_topics_is_not_finalized(client):
    client.create_sequence("drive", {})
    session = client.create_session("drive")
    with refused("no topics"):
        client.finalize_session(session.uuid)


def test_a_session_with_an_empty_topic_is_not_finalized(client, bench):
    session, _ = bench.drive(client)
    with refused("no data"):
        client.finalize_session(session.uuid)


def test_a_finalized_session_takes_neither_topics_nor_a_second_finalize(client, bench):
    session, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [])
    client.finalize_session(session.uuid)
    with refused("already finalized"):
        client.finalize_session(session.uuid)
    with refused("already finalized"):
        bench.topic(client, session, "drive/more")


def test_after_deleting_a_topic_of_a_finalized_session_a_new_session_takes_its_name(client, bench):
    session, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])
    client.finalize_session(session.uuid)
    client.delete_topic("drive/notes")
    with refused("already finalized"):
        bench.topic(client, session, "drive/notes")
    again = client.create_session("drive")
    client.put("drive/notes", bench.topic(client, again, "drive/notes"), bench.schema, [])


def test_finalized_objects_can_be_deleted_and_their_rows_go(station, client, bench, tmp_path):
    session, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [bench.batch(1)])
    client.finalize_session(session.uuid)
    assert [folder.name for folder in (tmp_path / "ground" / "rows").iterdir()] == [uuid]
    client.delete_sequence("drive")
    assert list((tmp_path / "ground" / "rows").iterdir()) == []
    for delete in (client.delete_sequence, client.delete_topic):
        with refused("not found"):
            delete("drive/notes" if delete == client.delete_topic else "drive")


def test_a_topic_deleted_under_an_open_stream_is_made_again_and_the_old_stream_changes_nothing(
    client, bench
):
    session, uuid = bench.drive(client)
    old = client.open_put("drive/notes", uuid, bench.schema)
    old.write(bench.batch(1))
    wait_until(lambda: client.describe_topic("drive/notes").chunks == 1)
    client.delete_topic("drive/notes")
    again = bench.topic(client, session, "drive/notes")
    with refused("was deleted"):
        old.finish()
    topic = client.describe_topic("drive/notes")
    assert (topic.locked, topic.chunks) == (False, 0)
    client.put("drive/notes", again, bench.schema, [bench.batch(1), bench.batch(2)])
    client.finalize_session(session.uuid)
    assert client.describe_topic("drive/notes").row_count == 2


def test_an_unknown_action_and_a_malformed_request_are_refused(station):
    with fl.FlightClient(station.url) as flight:
        for action, body in (
            ("session_abort", b"{}"),
            ("sequence_create", b"not json"),
            ("sequence_create", b"[]"),
            ("sequence_create", b'{"locator": "drive"}'),
            ("sequence_create", b'{"locator": 7, "user_metadata": null}'),
        ):
            with pytest.raises(pa.ArrowInvalid):
                list(flight.do_action(fl.Action(action, body)))


def test_info_and_version_tell_the_same_server(station):
    with fl.FlightClient(station.url) as flight:
        told = {
            action: json.loads(
                b"".join(r.body.to_pybytes() for r in flight.do_action(fl.Action(action, b"{}")))
            )
            for action in ("info", "version")
        }
    assert told["info"]["action"] == "info"
    assert told["info"]["response"]["semver"] == told["version"]["response"]["semver"]
    assert len(told["info"]["response"]["config"]) == 3


def test_get_schema_tells_the_streams_own_schema(station, client, bench):
    _, uuid = bench.drive(client)
    described = bench.schema.with_metadata({"k": "v"})
    client.put("drive/notes", uuid, described, [])
    command = fl.FlightDescriptor.for_command(b'{"resource_locator": "drive/notes"}')
    with fl.FlightClient(station.url) as flight:
        assert flight.get_schema(command).schema.equals(described, check_metadata=True)
        assert flight.get_flight_info(command).schema.equals(described, check_metadata=True)


def test_a_time_range_counts_its_rows_and_an_empty_one_is_refused(station, client, bench):
    _, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [bench.batch(1, 2, 3), bench.batch(4, 5)])
    told = [
        window_info(station, 2, 5),
        window_info(station, None, 1),
        window_info(station, 4, None),
    ]
    assert told == [
        {"row_count": 3, "interval": {"start_ns": 2, "end_ns": 4}},
        {"row_count": 0, "interval": None},
        {"row_count": 2, "interval": {"start_ns": 4, "end_ns": 5}},
    ]
    for start_ns, end_ns in ((3, 3), (4, 2)):
        with refused("empty time range"):
            list(client.read("drive/notes", start_ns, end_ns))
    with refused("64-bit"):
        list(client.read("drive/notes", 0, 2**63))


def window_info(station, start_ns, end_ns):
    command = json.dumps(
        {
            "resource_locator": "drive/notes",
            "timestamp_ns_start": start_ns,
            "timestamp_ns_end": end_ns,
        }
    )
    with fl.FlightClient(station.url) as flight:
        info = flight.get_flight_info(fl.FlightDescriptor.for_command(command))
    return json.loads(info.endpoints[0].app_metadata)["time_window_info"]


def test_many_streams_at_once_keep_their_rows_apart(client, bench):
    client.create_sequence("drive", {})
    session = client.create_session("drive")

    def upload(number):
        locator = f"drive/lane{number}"
        uuid = bench.topic(client, session, locator)
        batches = [bench.batch(*range(start, start + 10)) for start in range(number, 100, 10)]
        client.put(locator, uuid, bench.schema, batches)
        return locator, sum(batch.num_rows for batch in batches)

    with ThreadPoolExecutor(8) as pool:
        sent = dict(pool.map(upload, range(16)))
    client.finalize_session(session.uuid)
    stored = {each.locator: each.row_count for each in client.describe_sequence("drive").topics}
    assert stored == sent


def test_a_reader_that_stops_early_does_not_disturb_the_next(client, bench):
    _, uuid = bench.drive(client)
    client.put("drive/notes", uuid, bench.schema, [bench.batch(n) for n in range(50)])
    first = next(iter(client.read("drive/notes")))
    assert first.column("timestamp_ns").to_pylist() == [0]
    assert len(list(rows(client, "drive/notes"))) == 50
