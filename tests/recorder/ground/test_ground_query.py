"""Queries in the JSON that the vendor's SDK sends."""

from __future__ import annotations

import doctest
import itertools
import json

import pyarrow as pa
import pyarrow.flight as fl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.ground import clusters
from recorder.mosaico import ontology

DRIVES = {
    "drive-1": {"vehicle": {"id": "v1", "mass kg": 1500}, "wet": True, "visibility": 40, "lap": 7},
    "drive-2": {"vehicle": {"id": "v2", "mass kg": 2500.5}, "wet": False, "visibility": 90},
    "walk-10": {"vehicle": None, "visibility": "unknown", "lap": 7.0},
}


def put(client, session, locator, tag, rows, **metadata):
    schema = ontology.schema(tag)
    topic = client.create_topic(
        session.uuid,
        locator,
        ontology_tag=tag,
        serialization_format=ontology.serialization_format(tag),
        metadata=metadata,
    )
    client.put(locator, topic, schema, [pa.RecordBatch.from_pylist([row], schema) for row in rows])


def imu(time_ns, x, z):
    still = {"x": 0.0, "y": 0.0, "z": 0.0}
    return {"timestamp_ns": time_ns, "acceleration": {"x": x, "z": z}, "angular_velocity": still}


@pytest.fixture
def server(station, client):
    for number, (name, metadata) in enumerate(DRIVES.items()):
        client.create_sequence(name, metadata)
        session = client.create_session(name)
        rows = [imu(1, number, 9.8), imu(2, 10.0 * number, 1.0)]
        put(client, session, f"{name}/car/imu", "IMU", rows, rate=100 * number)
        notes = [{"timestamp_ns": 3, "data": f"lap 1{number} [ERR]"}]
        put(client, session, f"{name}/notes", "String", notes)
    client.create_sequence("empty", DRIVES["drive-1"])
    return station


@pytest.fixture
def ask(server):
    with fl.FlightClient(server.url) as flight:

        def asked(**query):
            action = fl.Action("query", json.dumps(query).encode())
            answer = b"".join(one.body.to_pybytes() for one in flight.do_action(action))
            told = json.loads(answer)
            assert told["action"] == "query"
            return {
                item["sequence"]: [topic["locator"] for topic in item["topics"]]
                for item in told["response"]["items"]
            }

        yield asked


def test_without_conditions_every_topic_is_found_under_its_sequence(ask):
    assert ask() == {name: [f"{name}/car/imu", f"{name}/notes"] for name in DRIVES}


def test_the_answer_tells_each_topics_tag(server):
    with fl.FlightClient(server.url) as flight:
        action = fl.Action("query", json.dumps({"sequence": {"name": {"$eq": "walk-10"}}}).encode())
        [result] = flight.do_action(action)
    assert json.loads(result.body.to_pybytes())["response"]["items"] == [
        {
            "sequence": "walk-10",
            "topics": [
                {"locator": "walk-10/car/imu", "ontology_tag": "IMU"},
                {"locator": "walk-10/notes", "ontology_tag": "String"},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("key", "wanted", "found"),
    [
        ("vehicle.id", {"$eq": "v1"}, "drive-1"),
        ("vehicle.id", {"$neq": "v1"}, "drive-2"),
        ("vehicle.id", {"$match": "v#"}, "drive-1 drive-2"),
        ("vehicle.id", {"$match": "v"}, ""),
        ("vehicle.id", {"$in": ["v2", "v3"]}, "drive-2"),
        ("vehicle.id", {"$gt": "v1"}, "drive-2"),
        ("vehicle.id", {"$between": ["v0", "v1"]}, "drive-1"),
        ("vehicle.mass kg", {"$geq": 1500}, "drive-1 drive-2"),
        ("vehicle.mass kg", {"$lt": 2500.5}, "drive-1"),
        ("visibility", {"$between": [40, 90]}, "drive-1 drive-2"),
        ("visibility", {"$outside": [40, 80]}, "drive-2"),
        ("visibility", {"$eq": "40"}, ""),
        ("visibility", {"$leq": 40}, "drive-1"),
        ("lap", {"$eq": 7}, "drive-1 walk-10"),
        ("lap", {"$in": [6, 7]}, "drive-1 walk-10"),
        ("wet", {"$eq": True}, "drive-1"),
        ("wet", {"$neq": True}, "drive-2"),
        ("wet", {"$eq": 1}, ""),
        ("wet", {"$ex": None}, "drive-1 drive-2"),
        ("wet", {"$nex": None}, "walk-10"),
        ("vehicle", {"$nex": None}, "walk-10"),
        ("vehicle.id", {"$ex": None}, "drive-1 drive-2"),
    ],
    ids=str,
)
def test_each_operator_on_a_sequences_metadata(ask, key, wanted, found):
    assert " ".join(ask(sequence={"user_metadata": {key: wanted}})) == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"$eq": "drive-1"}, "drive-1"),
        ({"$match": "drive*"}, "drive-1 drive-2"),
        ({"$match": "*-#"}, "drive-1 drive-2"),
        ({"$match": "*-##"}, "walk-10"),
        ({"$match": "[dw]????-?"}, "drive-1 drive-2"),
        ({"$match": "DRIVE*"}, ""),
        ({"$in": ["walk-10", "empty"]}, "walk-10"),
        ({"$gt": "drive-1"}, "drive-2 walk-10"),
    ],
    ids=str,
)
def test_each_operator_on_a_sequences_name(ask, wanted, found):
    assert " ".join(ask(sequence={"name": wanted})) == found


def test_topics_are_found_by_path_tag_format_and_metadata(ask):
    for wanted in (
        {"name": {"$eq": "car/imu"}},
        {"name": {"$eq": "/car/imu"}},
        {"name": {"$match": "/*imu"}},
        {"name": {"$in": ["/car/imu", "/car/gps"]}},
        {"ontology_tag": {"$eq": "IMU"}},
    ):
        assert ask(topic=wanted) == {name: [f"{name}/car/imu"] for name in DRIVES}, wanted
    assert ask(topic={"serialization_format": {"$eq": "image"}}) == {}
    rate = {"user_metadata": {"rate": {"$between": [100, 150]}}}
    assert ask(topic=rate) == {"drive-2": ["drive-2/car/imu"]}


def test_times_of_creation_are_compared(ask, client):
    assert ask(sequence={"created_at_ns": {"$geq": 2**62}}) == {}
    assert list(ask(topic={"created_at_ns": {"$between": [1, 2**62]}})) == list(DRIVES)


def test_conditions_on_sequence_and_topic_hold_together(ask):
    found = ask(sequence={"name": {"$match": "drive*"}}, topic={"name": {"$eq": "notes"}})
    assert found == {"drive-1": ["drive-1/notes"], "drive-2": ["drive-2/notes"]}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"IMU.acceleration.x": {"$gt": 5}}, "drive-2 walk-10"),
        ({"IMU.acceleration.x": {"$gt": 5.0}, "IMU.acceleration.z": {"$gt": 5.0}}, ""),
        ({"IMU.acceleration.x": {"$geq": 2}, "IMU.acceleration.z": {"$gt": 5.0}}, "walk-10"),
        ({"IMU.acceleration.x": {"$in": [10, 11]}}, "drive-2"),
        ({"IMU.acceleration.x": {"$outside": [-1, 15]}}, "walk-10"),
        ({"IMU.acceleration.y": {"$ex": None}}, ""),
        ({"IMU.acceleration.y": {"$nex": None}}, "drive-1 drive-2 walk-10"),
        ({"IMU.timestamp_ns": {"$lt": 2}, "IMU.acceleration.x": {"$eq": 1}}, "drive-2"),
        ({"IMU.no.such": {"$eq": 1}}, ""),
        ({"IMU.acceleration.x": {"$eq": "1"}}, ""),
        ({"String.data": {"$match": "lap 1[01] *"}}, "drive-1 drive-2"),
        ({"String.data": {"$eq": "lap 12 [ERR]"}}, "walk-10"),
        ({"String.data": {"$match": "*1*"}, "IMU.acceleration.x": {"$gt": 15}}, "walk-10"),
    ],
    ids=str,
)
def test_rows_are_searched_for_values(ask, wanted, found):
    answer = ask(ontology=wanted)
    assert " ".join(answer) == found
    tags = {key.partition(".")[0] for key in wanted}
    assert all(len(topics) == len(tags) for topics in answer.values())


@pytest.mark.parametrize(
    "query",
    [
        {"sequence": []},
        {"sequence": {"nme": {"$eq": "x"}}},
        {"sequence": {"name": "drive"}},
        {"sequence": {"name": {"$eq": "a", "$neq": "b"}}},
        {"sequence": {"name": {"$eq": 7}}},
        {"sequence": {"name": {"$like": "x"}}},
        {"sequence": {"name": {"$match": ""}}},
        {"sequence": {"name": {"$match": 257 * "x"}}},
        {"sequence": {"name": {"$in": []}}},
        {"sequence": {"name": {"$in": ["a", 1]}}},
        {"sequence": {"created_at_ns": {"$eq": 2**63}}},
        {"topic": {"created_at_ns": {"$between": [2, 1]}}},
        {"topic": {"user_metadata": {"a": {"$between": [1]}}}},
        {"topic": {"user_metadata": {"a": {"$gt": True}}}},
        {"topic": {"user_metadata": {"a": {"$eq": None}}}},
        {"topic": {"user_metadata": {'a"b': {"$eq": 1}}}},
        {"ontology": {"IMU.acceleration.covariance[0]": {"$eq": 1}}},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(ask, query):
    with pytest.raises(pa.ArrowInvalid):
        ask(**query)


def test_the_examples_of_clusters_are_true():
    tried = doctest.testmod(clusters)
    assert (tried.attempted, tried.failed) == (3, 0)


times_of_topics = st.lists(
    st.lists(st.integers(0, 60), min_size=1, unique=True), min_size=2, max_size=3
)


@given(times_of_topics, st.integers(1, 8))
def test_clusters_hold_every_time_once_and_meet_where_all_have_one(lists, gap_ns):
    found = [list(clusters.clusters(sorted(times), gap_ns)) for times in lists]
    for times, some in zip(lists, found, strict=True):
        for time_ns in times:
            assert sum(one.start_ns <= time_ns <= one.end_ns for one in some) == 1
        assert all(b.start_ns - a.end_ns > gap_ns for a, b in itertools.pairwise(some))

    def all_have(time_ns):
        return all(any(one.start_ns <= time_ns <= one.end_ns for one in some) for some in found)

    met = list(clusters.intersections(found, 0))
    for time_ns in range(61):
        is_met = any(one.start_ns <= time_ns <= one.end_ns for one in met)
        assert is_met == all_have(time_ns)


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        ("topic_filter_clusterize", {"locator": "drive-1/car/imu", "ontology": {}}),
        ("topic_filter_clusterize", {"locator": "drive-1/car/imu", "ontology": {"GPS.x": {}}}),
        (
            "topic_filter_clusterize",
            {"locator": "drive-1/car/imu", "ontology": {"GPS.status.status": {"$eq": 1}}},
        ),
        ("topic_filter_intersect", {"topics": [{"locator": "drive-1/car/imu"}]}),
        (
            "topic_filter_intersect",
            {"topics": [{"locator": "drive-1/car/imu"}, {"locator": "drive-2/car/imu"}]},
        ),
        ("topic_filter_intersect", {"topics": 7}),
    ],
    ids=str,
)
def test_clusters_that_cannot_be_meant_are_refused(server, action, request_):
    with fl.FlightClient(server.url) as flight, pytest.raises(pa.ArrowInvalid):
        list(flight.do_action(fl.Action(action, json.dumps(request_).encode())))
