"""What a receiver's epochs state, by the judge's own reading of its sentences."""

from __future__ import annotations

import functools
import json
import operator

import pytest

from recorder.demo import oracle

A_FIX = ("GPGGA,120000,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",)


def sealed(body):
    return f"${body}*{functools.reduce(operator.xor, body.encode(), 0):02X}"


def produced(tmp_path, *bursts, heard=None):
    """Let the oracle read a model's log: one burst of sentences per second."""
    lines = [
        {
            "due_ns": number * 10**9 - 7,
            "boot_ns": number * 10**9,
            "end_boot_ns": number * 10**9 + 10**8,
            "pause_ns": number,
            "heard": heard is None or heard[number],
            "lines": [body if body.startswith("$") else sealed(body) for body in burst],
        }
        for number, burst in enumerate(bursts)
    ]
    log = tmp_path / "gps.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return oracle.gps(log)


def stated(tmp_path, *bodies):
    (one,) = produced(tmp_path, bodies)
    return {column: list(values) for column, values in one.stated.items()}


def test_an_epoch_states_place_movement_and_quality_in_the_units_of_the_ontology(tmp_path):
    found = stated(
        tmp_path,
        *A_FIX,
        "GPRMC,120000,A,4807.038,N,01131.000,W,022.4,090.0,230394,003.1,W",
        "GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1",
    )
    assert found["position.x"] == pytest.approx([48.1173, 48.1173])
    assert found["position.y"] == pytest.approx([11.516667, -11.516667])
    assert found["position.z"] == [545.4]
    assert found["velocity.y"] == pytest.approx([11.523556], abs=1e-5)
    assert found["status.status"] == [1, 1]
    assert found["status.satellites"] == [8]
    assert (found["status.hdop"], found["status.vdop"]) == ([0.9, 1.3], [2.1])


@pytest.mark.parametrize(
    "denial",
    [
        "GPRMC,120000,V,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
        "GPRMC,120000,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W,N",
        "GPGLL,4807.038,N,01131.000,E,120000,V,S",
        "GNGNS,120000,4807.038,N,01131.000,E,NN,08,0.9,545.4,46.9,,",
        "GPGSA,A,1,,,,,,,,,,,,,50.0,50.0,50.0",
    ],
)
def test_one_sentence_that_denies_the_fix_leaves_nothing_to_hold_but_quality_0(tmp_path, denial):
    found = stated(tmp_path, *A_FIX, denial)
    assert found["status.status"] == [0]
    assert [column for column in oracle.FIX_COLUMNS if found[column]] == []
    assert found["status.satellites"][0] == 8


def test_a_quality_0_denies_what_an_rmc_claims(tmp_path):
    found = stated(
        tmp_path,
        "GPGGA,120000,4807.038,N,01131.000,E,0,00,50.0,545.4,M,46.9,M,,",
        "GPRMC,120000,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W",
    )
    assert (found["status.status"], found["position.x"], found["velocity.x"]) == ([0], [], [])


def test_a_system_without_a_fix_denies_nothing_while_another_has_one(tmp_path):
    found = stated(tmp_path, *A_FIX, "GPGSA,A,3,04,,,,,,,,,,,,2,1,2", "GLGSA,A,1,,,,,,,,,,,,,,,")
    assert found["position.x"]


@pytest.mark.parametrize(
    ("sentences", "satellites"),
    [
        (["GPGSA,A,3,09,05,14,26,,,,,,,,,2.9,2.2,1.9"] * 5, 4),
        (["GPGSA,A,3,09,05,,,,,,,,,,,2,1,2", "GLGSA,A,3,71,72,73,,,,,,,,,,2,1,2"], 5),
        (["GNGSA,A,3,01,,,,,,,,,,,,2,1,2,1", "GNGSA,A,3,01,,,,,,,,,,,,2,1,2,3"], 2),
    ],
)
def test_without_a_gga_the_satellites_are_those_that_all_gsa_list(tmp_path, sentences, satellites):
    rmc = "GPRMC,120000,A,4807.038,N,01131.000,E,0.1,084.4,230394,,"
    assert stated(tmp_path, rmc, *sentences)["status.satellites"] == [satellites]


def test_a_gsa_that_lists_24_satellites_has_its_dilutions_behind_them(tmp_path):
    numbers = ",".join(f"{number:02}" for number in range(1, 21)) + ",,,,"
    rmc = "GPRMC,120000,A,4807.038,N,01131.000,E,0.1,084.4,230394,,"
    found = stated(tmp_path, rmc, f"GPGSA,A,3,{numbers},09.2,07.2,05.7")
    assert (found["status.hdop"], found["status.vdop"]) == ([7.2], [5.7])
    assert found["status.satellites"] == [20]


def test_standing_still_is_a_velocity_of_zero_without_any_course(tmp_path):
    still = stated(tmp_path, "GPRMC,120000,A,4807.038,N,01131.000,E,0.0,,230394,,")
    assert (still["velocity.x"], still["velocity.y"]) == ([0.0], [0.0])
    moving = stated(tmp_path, "GPRMC,120000,A,4807.038,N,01131.000,E,0.2,,230394,,")
    assert (moving["velocity.x"], moving["velocity.y"]) == ([], [])


def test_a_sentence_with_a_wrong_checksum_states_nothing(tmp_path):
    torn = sealed(A_FIX[0]).replace("4807", "4907")
    found = stated(tmp_path, torn, "GPRMC,120000,V,,,,,,,230394,,")
    assert (found["position.x"], found["status.satellites"]) == ([], [])


def test_a_burst_in_which_nothing_is_whole_is_no_sample(tmp_path):
    found = produced(tmp_path, A_FIX, ["$GPGGA,120001,48"], ["GPGSV,1,1,00"], A_FIX)
    assert [one.boot_ns for one in found] == [0, 3 * 10**9]


def test_a_burst_with_two_times_or_the_same_sentence_twice_is_two_samples(tmp_path):
    later = A_FIX[0].replace("120000", "120001")
    assert len(produced(tmp_path, [*A_FIX, later])) == 2
    assert len(produced(tmp_path, ["GPRMC,,V,,,,,,,,,,N"] * 2)) == 2
    assert len(produced(tmp_path, [*A_FIX, "GPRMC,120000.01,V,,,,,,,,,,N"])) == 1


def test_only_what_was_heard_and_what_lies_between_counts(tmp_path):
    heard = [False, True, False, True, False]
    found = produced(tmp_path, *[A_FIX] * 5, heard=heard)
    assert [one.boot_ns // 10**9 for one in found] == [1, 2, 3]
    assert [one.due_ns + 7 for one in found] == [one.boot_ns for one in found]
    assert [one.pause_ns for one in found] == [1, 2, 3]


def test_the_imu_and_the_camera_state_what_their_logs_say(tmp_path):
    imu, camera = tmp_path / "imu.csv", tmp_path / "camera.jsonl"
    imu.write_text("index,boot_ns,ax,ay,az,wx,wy,wz\n0,17,0,0,8192,655,0,0\n")
    camera.write_text('{"frame": 3, "boot_ns": 9, "bytes": 10, "crc32": 11}\n')
    (one,) = oracle.imu(imu)
    assert one.stated["acceleration.z"] == [9.80665]
    assert one.stated["angular_velocity.x"] == pytest.approx([0.174533])
    (frame,) = oracle.camera(camera)
    assert (frame.number, frame.boot_ns) == (3, 9)
    assert frame.stated == {"bytes": [10], "crc32": [11], "number": [3]}
