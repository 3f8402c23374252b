"""What the spool's process does by itself, as the configuration's rules say.

Whether to record follows the rules when that changes, and only then: a person who stops a
recording while a rule holds has stopped it until the rule has not held and holds again.

Marks and new sessions are made when a rule begins to hold. Which of these rules hold stands in the
process's life sign, so that the next process of this boot does not take them to begin once more.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recorder import orders, status
from recorder.clock import boot_id, boot_ns
from recorder.errors import RecorderError, SpoolError
from recorder.rules import STALE_S, Newest, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from recorder.config import Config, Rule
    from recorder.orders import Spooler
    from recorder.ring import RingReader

log = logging.getLogger(__name__)


class Triggers:
    """Every rule of the configuration.

    Args:
        config: the resolved configuration.
    """

    def __init__(self, config: Config) -> None:
        self._looked_ns = now = boot_ns()
        self._newest = Newest([one.lane for one in config.rules if one.lane])
        left = _left_holding(config)
        self._all = [
            Trigger(one, now, next((at for rule, at in left if rule == asdict(one)), 0))
            for one in config.rules
        ]
        self._deciding = [one for one in self._all if one.rule.do == "record"]
        #: Values come with the first samples: until then a recording that was found goes on.
        self._settled_ns = now + round(STALE_S * 1e9)
        self._was_wanted: bool | None = None
        #: Whether to record from the beginning on.
        self.is_recording = not self._deciding or any(
            one.look(self._newest, now) for one in self._deciding
        )

    def holding(self) -> list[dict[str, Any]]:
        """Return the rules that hold and whose beginning was acted upon, for the life sign."""
        return [one.to_dict() for one in self._all if one.holds and one.rule.do != "record"]

    def look(self, rings: Iterable[RingReader]) -> None:
        """Keep what rules ask for of what was taken from the rings (see `Newest.look`)."""
        self._looked_ns = boot_ns()
        for one in rings:
            self._newest.look(one)

    def act(self, spooler: Spooler) -> bool:
        """Look at every rule, and do what they ask for; what cannot be done is logged.

        Without a disk there is nothing to begin, to end, or to mark.

        Returns:
            Whether what `holding` returns is another than before.
        """
        if not _has_disk(spooler):
            return False
        held = self.holding()
        now = self._looked_ns  # a commit may take seconds: it makes no lane silent, no value old
        began = [one.rule for one in self._all if one.look(self._newest, now)]
        if self._deciding:
            self._decide(spooler, now)
        for rule in began:
            if rule.do != "record" and spooler.recording is not None:
                _order(spooler, rule)
        return self.holding() != held

    def _decide(self, spooler: Spooler, now: int) -> None:
        """Begin or end the recording if what the rules want of it has changed."""
        is_recording = spooler.recording is not None
        if self._was_wanted is None:
            self._was_wanted = is_recording
        is_wanted = any(one.holds for one in self._deciding)
        if spooler.archive.is_held and now < self._settled_ns:
            self._was_wanted = is_wanted  # it was stopped by hand before this process came
        if is_wanted == self._was_wanted or (not is_wanted and now < self._settled_ns):
            return
        try:
            if is_wanted and not is_recording:
                spooler.announce()
            elif is_recording and not is_wanted:
                spooler.end("rule")
        except (RecorderError, OSError) as error:
            log.warning("a rule's recording cannot begin or end: %s; trying again", error)
            return
        self._was_wanted = is_wanted

    def close(self) -> None:
        """Let go of every line; may be called twice."""
        for one in self._all:
            one.close()


def _left_holding(config: Config) -> list[tuple[dict[str, Any], int]]:
    """Return which rules held when the process before ended, in this boot, and until when."""
    sign = status.read(config.spool.run_dir, "spool") or {}
    if sign.get("boot_id") != boot_id().hex():
        return []
    return [(one["rule"], one["held_boot_ns"]) for one in sign.get("rules", ())]


def _has_disk(spooler: Spooler) -> bool:
    try:
        return spooler.archive is not None
    except SpoolError:
        return False


def _order(spooler: Spooler, rule: Rule) -> None:
    request: dict[str, Any] = {"command": rule.do}
    if rule.do == "mark":
        request |= {"label": rule.label or rule.words, "cause": f"rule: {rule.words}"}
        request |= {"before_s": rule.before_s, "after_s": rule.after_s}
    try:
        told = orders.answer(spooler, request)
    except (RecorderError, OSError) as error:
        log.warning("rule %s: not done: %s", rule.words, error)
    else:
        log.info("rule %s: %s", rule.words, rule.do)
        if told.get("unpinned"):
            log.warning("rule %s: its window is not kept: %s", rule.words, told["unpinned"])
