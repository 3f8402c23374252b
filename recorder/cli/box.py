"""`recorder box` and `recorder key`: which box this is, and the API key that it uses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recorder.box import keys, seal
from recorder.box.identity import identify, keep
from recorder.cli import options
from recorder.cli.console import console, print_json
from recorder.configfile import load
from recorder.errors import RecorderError
from recorder.upload import wake

if TYPE_CHECKING:
    from recorder.box.identity import Identity
    from recorder.config import Config


@click.command()
@options.config
@click.option(
    "--adopt",
    is_flag=True,
    help="Say that this card was moved here and its other box is no more: this box takes its name,"
    " sends its recordings, and uses its key.",
)
@options.as_json
def box(config_file: Path, adopt: bool, as_json: bool) -> None:
    """Show which box this is, under which name it records, and whether its card was copied.

    A card that was made in another box counts as a copy: it records under a name of its own, sends
    none of the recordings that it came with (`recorder upload ID` does it one by one), and needs a
    key of its own. As root it sees everything.
    """
    config = load(config_file)
    found = identify(config)
    if adopt:
        _adopt(config, found)
        found = identify(config)
    facts = {
        **dataclasses.asdict(found),
        "records_as": found.name,
        "key": keys.own_fingerprint(config, found),
        "key_sealed": seal.is_sealed(config, found.box),
    }
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _adopt(config: Config, found: Identity) -> None:
    if found.twin is None:
        raise RecorderError("this card was made in this box; there is nothing to adopt")
    keep(config, dataclasses.replace(found, twin=None))
    keys.take_over(config, found, found.twin.box)
    click.echo("adopted; now `systemctl restart recorder-spool recorder-upload`", err=True)


def _print(facts: dict[str, Any]) -> None:
    out = console()
    out.print(f"box {facts['box']}, records as {facts['records_as']!r}")
    twin = facts["twin"]
    if twin:
        came = "those that it came with" if twin["sessions"] else "none"
        out.print(
            f"its card was made in box {twin['box']} ({twin['vehicle']!r}); recordings of that box,"
            f" not sent from here: {came}. `recorder box --adopt` if the card was moved"
        )
    sealed = ", sealed by the TPM" if facts["key_sealed"] else ""
    out.print(
        f"key of its own: {'…' + facts['key'] if facts['key'] else 'none (recorder key)'}{sealed}"
    )


@click.group()
def key() -> None:
    """Ask for an API key for this box, and enroll the one that comes back.

    A key that is enrolled goes before upload.key_file, belongs to this box alone, and replaces the
    one before: that is how keys are rotated. Without a login the same is done by putting the answer
    as a file NAME.json into the folder `keys` beside the spool: the upload process takes it. Where
    the board has a TPM, the key is sealed by it: on another board the disk does not give it away.
    """


@key.command()
@options.config
@click.option("-o", "--output", type=options.FILE, help="Write it there.  [default: stdout]")
def request(config_file: Path, output: Path | None) -> None:
    """Print this box's request for a key.

    It is no secret. A ground station answers it: `recorder ground --new-key read,write
    --for-request FILE`; the answer is one, and fits no other box.
    """
    config = load(config_file)
    text = json.dumps(keys.request_of(config, identify(config)), indent=1) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text)


@key.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.config
def enroll(file: Path, config_file: Path) -> None:
    """Keep the key in FILE, an answer to this box's request or a bare key, and use it from now on.

    To be done as root, or as the user of the upload process. FILE is not needed any more then.
    """
    config = load(config_file)
    told = keys.enroll(config, identify(config), file.read_text())
    click.echo(f"key …{told} is this box's from now on")
    _tell_upload(config)


@key.command("seal")
@options.config
def seal_key(config_file: Path) -> None:
    """Have the TPM seal the key of this box if it lies open, and else open the sealed one.

    recorder-key.service does it at each boot, and when a key has come as a file. As root.
    """
    config = load(config_file)
    if not seal.is_possible():
        raise RecorderError(f"{seal.DEVICE}: this board has no TPM 2.0, or you are not root")
    keys.secure(config, identify(config))
    _tell_upload(config)


def _tell_upload(config: Config) -> None:
    try:
        wake.tell(config.spool.run_dir / wake.SOCKET, wake.NOW)
    except RecorderError as error:
        click.echo(f"{error}: it will take the key when it starts", err=True)
