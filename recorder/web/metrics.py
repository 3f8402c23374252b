"""The board in the text format of Prometheus, version 0.0.4.

A counter that belongs to a lane's ring or to a session begins again at 0 with the next one, as
Prometheus expects of a process that was started again. What nobody said is left out, never 0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Name, type and help of every metric, in the order in which they are printed.
METRICS = (
    ("recorder_process_up", "gauge", "1 if the process gave a life sign in the last 5 s."),
    ("recorder_samples_total", "counter", "Samples that got a number since the lane's ring began."),
    ("recorder_expected_samples_total", "counter", "Samples due since the lane's ring began."),
    (
        "recorder_lost_samples_total",
        "counter",
        "Samples lost, by cause: until the ring since it began, behind it since the session began.",
    ),
    ("recorder_rate_hertz", "gauge", "Samples per second over the last seconds."),
    ("recorder_nominal_rate_hertz", "gauge", "Samples per second that the device was told."),
    ("recorder_last_sample_age_seconds", "gauge", "Time since the lane's last sample."),
    ("recorder_recording", "gauge", "1 while a session is being recorded."),
    ("recorder_session_quality_ratio", "gauge", "Completeness of the newest session, 0 to 1."),
    ("recorder_session_duration_seconds", "gauge", "Data time of the newest session."),
    ("recorder_spool_in_trouble", "gauge", "1 while the disk takes nothing or is not there."),
    ("recorder_spool_free_bytes", "gauge", "Bytes that may still be written on the spool's disk."),
    ("recorder_commit_interval_seconds", "gauge", "Time between two commits, as it is in force."),
    ("recorder_loss_window_seconds", "gauge", "What a power cut may cost at present."),
    ("recorder_commit_seconds", "histogram", "Time that commits took."),
    ("recorder_device_written_bytes_total", "counter", "Bytes written to the spool's device."),
    ("recorder_device_flushes_total", "counter", "Flushes of the spool's device."),
    ("recorder_upload_backlog_samples", "gauge", "Stored samples that the server does not hold."),
    ("recorder_upload_backlog_bytes", "gauge", "Bytes of the spool that wait for the server."),
    ("recorder_upload_sessions_pending", "gauge", "Sessions of which anything is not delivered."),
    ("recorder_upload_sessions_waiting", "gauge", "Sessions that are parked, or above the cap."),
    ("recorder_upload_month_bytes", "gauge", "Bytes that were sent in this month."),
    ("recorder_upload_state", "gauge", "1 for what the upload process does now."),
)


_PART_OF_HISTOGRAM = re.compile(r"(?<=recorder_commit_seconds)_(bucket|sum|count)$")


def text(board: dict[str, Any]) -> str:
    """Return the metrics of what `recorder.web.board.Board.look` returned."""
    found: dict[str, list[str]] = {}
    for name, labels, value in _samples(board):
        if value is not None:
            family = _PART_OF_HISTOGRAM.sub("", name)
            found.setdefault(family, []).append(f"{name}{_labels(labels)} {value}\n")
    return "".join(
        f"# HELP {name} {words}\n# TYPE {name} {kind}\n{''.join(found[name])}"
        for name, kind, words in METRICS
        if name in found
    )


def _samples(board: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    for name, life in board["processes"].items():
        yield "recorder_process_up", {"process": name}, int(not life["is_silent"])
    for lane in board["lanes"]:
        yield from _of_lane(lane)
    session, upload = board["session"] or {}, board["upload"]
    yield "recorder_recording", {}, int(session.get("is_recorded", False))
    yield "recorder_session_quality_ratio", {}, session.get("quality")
    if session:
        yield "recorder_session_duration_seconds", {}, session["duration_ns"] / 1e9
    yield "recorder_spool_in_trouble", {}, int(board["spool"]["is_in_trouble"])
    yield "recorder_spool_free_bytes", {}, board["spool"]["free_bytes"]
    yield from _of_commits(board["spool"]["commits"], board["spool"]["wear"])
    yield "recorder_upload_backlog_samples", {}, upload.get("backlog_rows")
    yield "recorder_upload_backlog_bytes", {}, upload.get("backlog_bytes")
    yield "recorder_upload_sessions_pending", {}, upload.get("sessions_pending")
    if "state" in upload:
        yield "recorder_upload_sessions_waiting", {}, len(upload["waits"])
        yield "recorder_upload_month_bytes", {}, upload.get("month_bytes")
        yield "recorder_upload_state", {"state": upload["state"]}, 1


def _of_commits(
    commits: dict[str, Any], wear: dict[str, Any]
) -> Iterator[tuple[str, dict[str, str], Any]]:
    if commits:
        yield "recorder_commit_interval_seconds", {}, commits["interval_ms"] / 1e3
        yield "recorder_loss_window_seconds", {}, commits["promise_ms"] / 1e3
        below = 0
        for bound, count in commits["histogram_ms"].items():
            below += count
            le = "+Inf" if bound == "inf" else f"{float(bound) / 1e3:g}"
            yield "recorder_commit_seconds_bucket", {"le": le}, below
        yield "recorder_commit_seconds_sum", {}, commits["total_ms"] / 1e3
        yield "recorder_commit_seconds_count", {}, commits["count"]
    yield "recorder_device_written_bytes_total", {}, wear.get("device_bytes")
    yield "recorder_device_flushes_total", {}, wear.get("device_flushes")


def _of_lane(lane: dict[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    labels = {"lane": lane["name"]}
    yield "recorder_samples_total", labels, lane["samples"]
    yield "recorder_expected_samples_total", labels, lane["expected"]
    for loss in lane["losses"]:
        yield "recorder_lost_samples_total", {**labels, "cause": loss["cause"]}, loss["samples"]
    yield "recorder_rate_hertz", labels, lane["measured_hz"]
    yield "recorder_nominal_rate_hertz", labels, lane["rate_hz"]
    yield "recorder_last_sample_age_seconds", labels, lane["last_sample_age_s"]


def _labels(labels: dict[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
