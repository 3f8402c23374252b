"""API keys that lie in files: a file that others can use is refused, wherever a key is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from recorder.errors import ConfigError

#: Permissions of everybody but the owner.
_OTHERS = 0o077
#: Where systemd keeps the credentials of its services, each's in a folder of its own.
_CREDENTIALS = Path("/run/credentials")


def read_key(path: Path) -> str:
    """Read an API key from a file that only its owner can read.

    A file in systemd's credentials directory is taken as it is: systemd lets nobody but the service
    and root into that directory, and shows the service's own access as that of the file's group.

    Raises:
        ConfigError: the file cannot be read, is empty, or is open to its group or to everybody.
    """
    try:
        # The mode is that of the very file that is read, whatever the path means by then.
        with path.open() as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the API key cannot be read: {error}") from error
    if mode & _OTHERS and not _is_credential(path):
        raise ConfigError(f"{path}: others can use this API key (mode {mode:04o}); chmod 600 it")
    if not key:
        raise ConfigError(f"{path}: the file holds no API key")
    return key


def _is_credential(path: Path) -> bool:
    own, folder = os.environ.get("CREDENTIALS_DIRECTORY"), path.resolve().parent
    return folder.parent == _CREDENTIALS or (bool(own) and folder == Path(own or "").resolve())
