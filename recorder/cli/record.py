"""A session record in words, from its plain values (`Session.to_dict`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from recorder.cli import words
from recorder.cli.console import console, state, table
from recorder.replaced import note
from recorder.session.ledger import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType


def quality(record: Mapping[str, Any]) -> str:
    """Return the quality with its basis."""
    basis = record["quality_basis"]
    if basis == "delivered":
        basis = _destination(record)
    return f"{record['quality']:.4f} {basis}"


def _destination(record: Mapping[str, Any]) -> str:
    """Return what it means that a sample came where it was to go."""
    return "held in the spool" if record.get("destination") == "spool" else "delivered"


def losses(counts: Mapping[str, int]) -> str:
    """Return how many samples were lost to each cause, in words.

    Args:
        counts: of some keys of `CAUSES`.
    """
    told = [f"{words.count(counts[one])} {text}" for one, text in CAUSES.items() if counts.get(one)]
    return ", ".join(told) or "-"


def rows(record: Mapping[str, Any]) -> int:
    """Return how many samples of all lanes were stored."""
    return sum(one["stored"] for one in record["lanes"])


def print_list(records: Iterable[Mapping[str, Any]]) -> None:
    """Print one line for each session."""
    shown = table(
        "id", "state", "start (UTC)", "duration", "quality", "rows", right=("duration", "rows")
    )
    for one in records:
        said = one["state"] if one["recording"] == "stopped" else f"{one['state']}, recording"
        shown.add_row(
            one["id"][:8],
            state(said),
            _second(one["start_utc_ns"]),
            words.duration(one["duration_ns"]),
            quality(one),
            words.count(rows(one)),
        )
    console().print(shown)


def _second(utc_ns: int | None) -> str:
    text = words.utc(utc_ns)
    return "-" if text is None else text[:19].replace("T", " ")


def print_whole(record: Mapping[str, Any]) -> None:
    """Print everything that a session record says."""
    out = console()
    out.print(_facts(record))
    out.print(_ledger(record))
    out.print(_lost(record))


def _facts(record: Mapping[str, Any]) -> RenderableType:
    shown = table("session", record["id"])
    shown.add_row("name", record["identifier"] or "-")
    shown.add_row("vehicle", f"{record['vehicle']} ({record['type']})")
    if told := note(record.get("sequence", ""), record.get("sent_anew_as", "")):
        shown.add_row("sent anew", told)
    why = f", recording {record['recording']}"
    why += f" ({record['end_reason']})" if record["end_reason"] else ""
    shown.add_row("state", state(record["state"]) + Text(why))
    shown.add_row(
        "start",
        f"{words.utc(record['start_utc_ns']) or '-'} ({_clock(record)})",
    )
    shown.add_row("duration", words.duration(record["duration_ns"]))
    shown.add_row(
        "quality",
        f"{quality(record)}{words.worst(record)}, at least {record['quality_lower']:.4f}",
    )
    shown.add_row(
        "heartbeat",
        f"{words.utc(record['heartbeat_utc_ns'])}, number {record['heartbeat_seq']},"
        f" every {record['heartbeat_s']:g} s",
    )
    model = record["model"]
    shown.add_row("model", f"{model.get('group', '-')}, version {model.get('version', 0)}")
    for key in ("details", "dependencies"):
        for name, value in record[key].items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            shown.add_row(f"{key[:-1] if key == 'details' else 'needs'} {name}", text)
    for kind, ids in record.get("dependencies_missing", {}).items():
        shown.add_row(f"MISSING {kind}", Text(", ".join(ids), style="red"))
    if record.get("predecessor"):
        shown.add_row("follows", f"{record['predecessor']} without a gap")
    if record["sources"]:
        shown.add_row("sources", ", ".join(record["sources"]))
    for one in record.get("marks", ()):
        shown.add_row("mark", _mark(record, one))
    return shown


def _mark(record: Mapping[str, Any], mark: Mapping[str, Any]) -> str:
    """Return a mark: when it was set after the first sample, what it is, and why."""
    start = record["start_boot_ns"]
    when = "before its first sample"
    if start is not None and mark["boot_ns"] >= start:
        when = f"at {words.duration(mark['boot_ns'] - start)}"
    where = f", set in {mark['session'][:8]}" if mark.get("session") else ""
    return f"{when}: {mark.get('label') or '-'} ({mark.get('cause', 'operator')}){where}"


def _clock(record: Mapping[str, Any]) -> str:
    """Return who vouches for the times of a session, and how well."""
    source, bound_ns = record["clock_source"], record.get("utc_uncertainty_ns")
    told = f"clock: {source}"
    return f"{told}, no bound" if bound_ns is None else f"{told}, true to {bound_ns / 1e6:,.3g} ms"


def _ledger(record: Mapping[str, Any]) -> RenderableType:
    columns = ("expected", "acquired", "stored", "delivered", "pending", "lost")
    heads = [_destination(record) if one == "delivered" else one for one in columns]
    shown = table("lane", "rate", *heads, right=("rate", *heads), title="samples")
    for one in record["lanes"]:
        shown.add_row(
            one["name"] if one["required"] else f"{one['name']} (optional)",
            f"{one['rate_hz']:g} Hz" if one["rate_hz"] else "events",
            *(words.count(one[key]) for key in columns[:-1]),
            words.count(sum(one[cause] for cause in CAUSES)),
        )
    return shown


def _lost(record: Mapping[str, Any]) -> RenderableType:
    lines = [f"{one['name']}: {losses(one)}" for one in record["lanes"] if losses(one) != "-"]
    if not record["ledger_ok"]:
        lines.append("the ledger does not balance: this is a defect of the recorder")
    if record["unaccounted_max_ns"]:
        lines.append(
            f"unaccounted: at most {words.duration(record['unaccounted_max_ns'])} at its end"
        )
    if given_up := sum(record.get("given_up", {}).values()):
        told_since = f"{words.count(given_up)} samples of it were given up since it ended"
        lines.append(f"{told_since}; its state stays {record['state']}")
    told = ["Lost:", *lines] if lines else [_whole(record)]
    told += [_valid(one) for one in record["lanes"] if one.get("invalid")]
    return Text("\n".join(told))


def _valid(lane: Mapping[str, Any]) -> str:
    """Return how much of what a lane stored says something; the rest is no loss."""
    share = (lane["stored"] - lane["invalid"]) / max(lane["stored"], 1)
    said = f"{words.count(lane['invalid'])} of {words.count(lane['stored'])}"
    return f"{lane['name']}: {share:.1%} valid; {said} stored say that the device knew nothing"


def _whole(record: Mapping[str, Any]) -> str:
    if any(one["expected"] or one["acquired"] for one in record["lanes"]):
        return "Nothing was lost."
    if record.get("is_announcement"):
        return "The server was told that it began, and nothing else; the vehicle knows more."
    return "Nothing was recorded." if record["recording"] == "stopped" else "Nothing yet."
