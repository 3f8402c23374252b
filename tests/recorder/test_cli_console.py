from __future__ import annotations

import pytest
from rich.text import Text

from recorder.cli.console import console, table


def test_what_somebody_wrote_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    shown = table("name")
    shown.add_row("cell \x1b[31m")
    console().print(shown)
    console().print(Text("a reason \x9b31m", "red"))
    console().print("line\x1b]0;title\x07 [bold]\tand\nthe next")
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "cell \N{REPLACEMENT CHARACTER}[31" in said
    assert "a reason \N{REPLACEMENT CHARACTER}31m" in said
    assert "[bold]" in said
    assert said.splitlines()[-1] == "the next"
