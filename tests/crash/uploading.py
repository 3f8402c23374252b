"""The uploader of a world, as far as the spool can see it: what it writes into its journals."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from recorder.spool import journal, removal
from recorder.spool.names import epoch_of, first_seqno_of
from recorder.spool.receipts import covers, receipts
from recorder.spool.spool import Spool
from tests.crash.faults import Faults
from tests.crash.reading import Graves, segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.config import Config
    from tests.crash.world import World


def acknowledge(world: World) -> None:
    """Journal a receipt for everything that is durable and sealed."""
    with _a_sound_disk(world) as spool:
        for session_id in spool.session_ids():
            _acknowledge(world.config, spool, session_id)


def _acknowledge(config: Config, spool: Spool, session_id: str) -> None:
    file = config.upload_dir / session_id
    given, log = receipts(file), journal.Journal(file)
    graves = Graves(spool, session_id)
    there = {path for path in segments(spool, session_id) if path not in graves}
    folder = spool.session_dir(session_id)
    sealed = [one for one in spool.entries(session_id) if one["entry"] == "sealed"]
    for one in [one for one in sealed if folder / one["lane"] / one["file"] in there]:
        begin, epoch = first_seqno_of(one["file"]), epoch_of(one["file"])
        if not covers(given, one["lane"], epoch, begin, one["seqno"]):
            receipt = {"lane": one["lane"], "epoch": epoch, "rows": one["rows"]}
            ends = {"from_seqno": begin, "to_seqno": one["seqno"]}
            log.append({"entry": "receipt", **receipt, **ends})
    log.sync()
    log.close()


def conclude(world: World) -> None:
    """Say of recordings that ended that the server holds all it ever gets; forget removed ones."""
    with _a_sound_disk(world) as spool:
        for session_id in removal.removed(spool):
            (world.config.upload_dir / session_id).unlink(missing_ok=True)
        for session_id in spool.session_ids():
            is_over = spool.session(session_id).recording == "stopped"
            if is_over and not is_done(world.config, session_id):
                log = journal.Journal(world.config.upload_dir / session_id)
                log.record({"entry": "done", "server": ""})
                log.close()


def is_done(config: Config, session_id: str) -> bool:
    """Tell whether nothing more of a session will be sent."""
    told = journal.read(config.upload_dir / session_id)
    return any(one["entry"] == "done" for one in told)


@contextlib.contextmanager
def _a_sound_disk(world: World) -> Iterator[Spool]:
    """Give the spool; the disk's faults are the spool process's matter."""
    kept, world.disk.faults = world.disk.faults, Faults()
    try:
        yield Spool(world.spool)
    finally:
        world.disk.faults = kept
