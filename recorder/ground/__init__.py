"""The ground station: a small Mosaico-compatible server for bench, depot laptop and tests.

The server, from the wire inwards:

    station     all of it, in one directory
    flight      the Flight calls; `beat` keeps resting streams alive
    actions     the actions by name; `answers` what is told, `refusals` what is said no with
    keys        API keys and permissions; `names` rules for names and metadata
    query       queries, of `conditions`; `rows` searches values; `clusters` when they were
    catalogue   sequences, sessions, notes; `topics` their topics and chunks; `database` the file
    store       rows in Parquet files; `merge` gives them by rising time

And what looks at any Mosaico server from outside:

    observe     which recordings are live, stale, draining, ended, abandoned
    watch       the same again and again; abandons by the rules of the session model
    replay      one recording by rising time; `copying` brings it to another server
"""

from __future__ import annotations

from recorder.ground.station import DEFAULT_PORT, GroundStation, run

__all__ = ["DEFAULT_PORT", "GroundStation", "run"]
