"""What the vendor's SDK can do against a station, each on its own: HOST PORT KEY CERTIFICATE.

Prints one JSON object: of each capability what it gave, or the last line of its error.
"""

from __future__ import annotations

import json
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the SDK's own deprecations are not ours to report
    from mosaicolabs import (
        GPS,
        IMU,
        CompressedImage,
        Message,
        MosaicoClient,
        Point3d,
        Query,
        QueryOntologyCatalog,
        QuerySequence,
        QueryTopic,
        SessionLevelErrorPolicy,
        TopicLevelErrorPolicy,
        Vector3d,
    )
    from mosaicolabs.query.topic_cluster import TimestampRange

if TYPE_CHECKING:
    from collections.abc import Callable

CAPABILITIES: dict[str, Callable[[MosaicoClient], Any]] = {}


def capability(function: Callable[[MosaicoClient], Any]) -> Callable[[MosaicoClient], Any]:
    CAPABILITIES[function.__name__] = function
    return function


def fail(why: str) -> None:
    raise ValueError(why)


def imu(number: int) -> IMU:
    vector = Vector3d(x=float(number), y=0.5, z=9.8)
    return IMU(acceleration=vector, angular_velocity=vector)


def gps() -> GPS:
    return GPS(position=Point3d(x=1.0, y=2.0, z=3.0))


def write(client: MosaicoClient, name: str, rows: int = 3, **metadata: Any) -> None:
    with client.sequence_create(name, metadata) as writer:
        topic = writer.topic_create("imu", {"rate": rows}, IMU)
        for number in range(rows):
            topic.push(Message(timestamp_ns=number, data=imu(number)))


def times(client: MosaicoClient, name: str, topic: str) -> list[int]:
    return [one.timestamp_ns for one in client.topic_handler(name, topic).get_data_streamer()]


def names(answer: Any) -> dict[str, list[str]]:
    return {item.sequence.name: [topic.name for topic in item.topics] for item in answer}


@capability
def connect(client: MosaicoClient) -> Any:
    return client.info().version


@capability
def list_sequences(client: MosaicoClient) -> Any:
    return client.list_sequences()


@capability
def sequence_handler(client: MosaicoClient) -> Any:
    ours = client.sequence_handler("ours")
    return {
        "topics": sorted(ours.topics),
        "metadata": ours.user_metadata,
        "range": [ours.timestamp_ns_min, ours.timestamp_ns_max],
        "locked": [session.locked for session in ours.sessions],
        "missing": client.sequence_handler("no-such-sequence"),
        "exists": [client.sequence_exists(one) for one in ("ours", "no-such-sequence")],
    }


@capability
def topic_handler(client: MosaicoClient) -> Any:
    topic = client.topic_handler("ours", "imu")
    return {
        "metadata": topic.user_metadata,
        "tag": topic.ontology_tag,
        "exists": [client.topic_exists("ours", one) for one in ("imu", "no-such-topic")],
    }


@capability
def read_typed(client: MosaicoClient) -> Any:
    found = client.topic_handler("ours", "imu").get_data_streamer()
    positions = list(client.topic_handler("ours", "gps/fix").get_data_streamer())
    picture = next(iter(client.topic_handler("ours", "camera/front").get_data_streamer()))
    return {
        "imu": [
            (m.timestamp_ns, m.data.header.sample_counter, m.data.acceleration.z) for m in found
        ],
        "gps": [positions[0].data.position.x, positions[0].data.status.satellites],
        "no status": positions[1].data.status,
        "jpeg": picture.data.data.hex(),
    }


@capability
def read_merged(client: MosaicoClient) -> Any:
    merged = client.sequence_handler("ours").get_data_streamer()
    return [(topic, type(one.data).__name__, one.timestamp_ns) for topic, one in merged]


@capability
def read_some_topics(client: MosaicoClient) -> Any:
    merged = client.sequence_handler("ours").get_data_streamer(topics=["/imu", "/gps/fix"])
    return sorted({topic for topic, _ in merged})


@capability
def read_a_window(client: MosaicoClient) -> Any:
    topic = client.topic_handler("ours", "imu")
    window = topic.get_data_streamer(start_timestamp_ns=12, end_timestamp_ns=14)
    return [one.timestamp_ns for one in window]


@capability
def write_a_sequence(client: MosaicoClient) -> Any:
    with client.sequence_create("theirs", {"a": {"b": 1}}) as writer:
        t = writer.topic_create("imu", {"m": 1}, IMU)
        g = writer.topic_create("gps", {}, GPS)
        c = writer.topic_create("camera", {}, CompressedImage)
        for number in range(100):
            t.push(Message(timestamp_ns=number, data=imu(number)))
        g.push(Message(timestamp_ns=1, data=gps()))
        c.push(Message(timestamp_ns=1, data=CompressedImage(data=b"abc", format="jpeg")))
    return sorted(client.sequence_handler("theirs").topics)


@capability
def rows_out_of_order(client: MosaicoClient) -> Any:
    with client.sequence_create("shuffled", {}) as writer:
        topic = writer.topic_create("imu", {}, IMU)
        for number in (5, 1, 4, 2, 3):
            topic.push(Message(timestamp_ns=number, data=imu(number)))
    return times(client, "shuffled", "imu")


@capability
def update(client: MosaicoClient) -> Any:
    write(client, "grown")
    with client.sequence_handler("grown").update() as updater:
        updater.topic_create("late", {}, IMU).push(Message(timestamp_ns=5, data=imu(5)))
    grown = client.sequence_handler("grown")
    grown.reload()
    return [[session.locked, session.topics] for session in grown.sessions]


@capability
def report_policy(client: MosaicoClient) -> Any:
    with (
        suppress(ValueError),
        client.sequence_create("kept", {}, on_error=SessionLevelErrorPolicy.Report) as writer,
    ):
        writer.topic_create("imu", {}, IMU)
        fail("on purpose")
    locked = [session.locked for session in client.sequence_handler("kept").sessions]
    notes = [one.message for one in client.list_sequence_notifications("kept")]
    return {"locked": locked, "notes": notes}


@capability
def delete_policy(client: MosaicoClient) -> Any:
    with (
        suppress(ValueError),
        client.sequence_create("gone", {}, on_error=SessionLevelErrorPolicy.Delete) as writer,
    ):
        writer.topic_create("imu", {}, IMU)
        fail("on purpose")
    return "gone" in client.list_sequences()


@capability
def ignore_policy_of_a_topic(client: MosaicoClient) -> Any:
    with client.sequence_create("ignoring", {}) as writer:
        topic = writer.topic_create("imu", {}, IMU, on_error=TopicLevelErrorPolicy.Ignore)
        for number in range(4):
            with topic:
                if number == 2:
                    fail("on purpose")
                topic.push(Message(timestamp_ns=number, data=imu(number)))
    notes = [one.message for one in client.list_topic_notifications("ignoring", "imu")]
    return {"times": times(client, "ignoring", "imu"), "notes": notes}


@capability
def finalize_policy_of_a_topic(client: MosaicoClient) -> Any:
    with client.sequence_create("finalizing", {}) as writer:
        topic = writer.topic_create("imu", {}, IMU, on_error=TopicLevelErrorPolicy.Finalize)
        other = writer.topic_create("gps", {}, GPS)
        with topic:
            fail("on purpose")
        other.push(Message(timestamp_ns=1, data=gps()))
    notes = [one.message for one in client.list_topic_notifications("finalizing", "imu")]
    return {"times": times(client, "finalizing", "gps"), "notes": notes}


@capability
def notifications(client: MosaicoClient) -> Any:
    with (
        suppress(ValueError),
        client.sequence_create("noted", {}, on_error=SessionLevelErrorPolicy.Report) as writer,
    ):
        topic = writer.topic_create("imu", {}, IMU, on_error=TopicLevelErrorPolicy.Ignore)
        with topic:
            fail("of the topic")
        fail("of the sequence")
    before = [
        len(client.list_sequence_notifications("noted")),
        len(client.list_topic_notifications("noted", "imu")) > 0,
        type(client.list_sequence_notifications("noted")[0].created_datetime).__name__,
    ]
    client.clear_sequence_notifications("noted")
    client.clear_topic_notifications("noted", "imu")
    after = [
        len(client.list_sequence_notifications("noted")),
        len(client.list_topic_notifications("noted", "imu")),
    ]
    return [before, after]


@capability
def query_by_metadata(client: MosaicoClient) -> Any:
    for name, vehicle, visibility in (("q-1", "v1", 40), ("q-2", "v2", 90)):
        write(client, name, vehicle={"id": vehicle}, visibility=visibility, wet=vehicle == "v1")
    asked = {
        "eq": QuerySequence().with_user_metadata("vehicle.id", eq="v1"),
        "neq": QuerySequence().with_user_metadata("vehicle.id", neq="v1"),
        "lt": QuerySequence().with_user_metadata("visibility", lt=90),
        "leq": QuerySequence().with_user_metadata("visibility", leq=90),
        "gt": QuerySequence().with_user_metadata("visibility", gt=40),
        "geq": QuerySequence().with_user_metadata("visibility", geq=90),
        "match": QuerySequence().with_user_metadata("vehicle.id", match="v#"),
        "between": QuerySequence().with_user_metadata("visibility", between=(50, 100)),
        "outside": QuerySequence().with_user_metadata("visibility", outside=(50, 100)),
        "in_": QuerySequence().with_user_metadata("visibility", in_=[90, 91]),
        "ex": QuerySequence().with_user_metadata("wet", ex=True),
        "nex": QuerySequence().with_user_metadata("wet", ex=False).with_name_match("q-#"),
        "bool": QuerySequence().with_user_metadata("wet", eq=True),
    }
    return {name: sorted(names(client.query(one))) for name, one in asked.items()}


@capability
def query_by_name(client: MosaicoClient) -> Any:
    return [
        sorted(names(client.query(QuerySequence().with_name("ours")))),
        sorted(names(client.query(QuerySequence().with_name_match("o?r[a-z]")))),
        sorted(names(client.query(QuerySequence().with_name_match("no*")))) == ["noted"],
    ]


@capability
def query_topics(client: MosaicoClient) -> Any:
    ours = QuerySequence().with_name("ours")
    asked = (
        QueryTopic().with_name("camera/front"),
        QueryTopic().with_name_match("/gps/*"),
        QueryTopic().with_ontology_tag(IMU.ontology_tag()),
        QueryTopic().with_user_metadata("vendor", eq="inertix"),
        QueryTopic().with_created_timestamp(time_start=1),
    )
    return [names(client.query(ours, one)).get("ours") for one in asked]


@capability
def query_values(client: MosaicoClient) -> Any:
    catalog = QueryOntologyCatalog(IMU.Q.acceleration.z.gt(9.0))
    catalog.with_expression(IMU.Q.timestamp_ns.between([14, 20]))
    answer = client.query(query=Query(QuerySequence().with_name("ours"), catalog))
    return names(answer)


@capability
def query_in_an_answer(client: MosaicoClient) -> Any:
    first = client.query(QueryTopic().with_name("camera/front"))
    second = client.query(first.to_query_sequence(), QueryTopic().with_name("imu"))
    third = client.query(first.to_query_topic())
    return [names(second), names(third)]


@capability
def clusters(client: MosaicoClient) -> Any:
    for name in ("imu", "late"):
        offset = 0 if name == "imu" else 2
        writing = client.sequence_handler("bumps")
        opened = writing.update() if writing else client.sequence_create("bumps", {})
        with opened as writer:
            topic = writer.topic_create(name, {}, IMU)
            for time_ns in (10, 11, 20, 21, 22, 40):
                topic.push(Message(timestamp_ns=time_ns + offset, data=imu(time_ns)))
    client.clear_sequence_handlers_cache()
    wanted = QueryOntologyCatalog(IMU.Q.acceleration.x.lt(30))
    [item] = client.query(QuerySequence().with_name("bumps"), wanted)

    def spans(found: Any) -> list[list[int]]:
        return [[one.id, one.timerange.start, one.timerange.end] for one in found]

    each = item.clusterize_all(override_clustering_dt_ns=5)
    one, other = item.topics
    return {
        "each": {name: spans(found) for name, found in each.items()},
        "one": spans(one.clusterize()),
        "range": spans(one.clusterize(1, TimestampRange(11, 21))),
        "both": spans(one.intersect(other, override_clustering_dt_ns=5)),
        "near": spans(one.intersect(other, intersect_dt_ns=1, override_clustering_dt_ns=5)),
    }


@capability
def delete_a_session(client: MosaicoClient) -> Any:
    write(client, "shrunk")
    [session] = client.sequence_handler("shrunk").sessions
    client.session_delete(session.locator)
    client.clear_sequence_handlers_cache()
    return client.sequence_handler("shrunk").topics


@capability
def delete_a_sequence(client: MosaicoClient) -> Any:
    write(client, "short-lived")
    before = "short-lived" in client.list_sequences()
    client.sequence_delete("short-lived")
    return [before, "short-lived" in client.list_sequences()]


def main(host: str, port: str, key: str, certificate: str) -> None:
    facts: dict[str, Any] = {}
    with MosaicoClient.connect(
        host, int(port), enable_tls=True, tls_cert_path=certificate, api_key=key
    ) as client:
        for name, function in CAPABILITIES.items():
            try:
                facts[name] = function(client)
            except Exception as error:  # noqa: BLE001 - told to the test of this capability
                facts[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps(facts))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
