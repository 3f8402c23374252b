from __future__ import annotations

import sys
import unicodedata

from recorder.spool.said import _UNSAID


def test_what_no_text_may_hold_is_what_unicode_calls_control_and_surrogate() -> None:
    refused = {each for each in map(chr, range(sys.maxunicode + 1)) if _UNSAID.search(each)}
    assert refused == {
        each
        for each in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(each) in ("Cc", "Cs")
    }
