"""Reads the configuration file, and reports everything that is wrong with it at once.

What there is, in which unit and within which limits is said in `recorder.config`; what a lane's
table may hold besides, by the constructor of its driver. One line for each problem: the file, the
key's path with the lane's name, what was found, and what is allowed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.configfile.check import Check
from recorder.configfile.values import shown
from recorder.errors import ConfigError
from recorder.key import read_key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recorder.config import Config

__all__ = ["check_files", "load", "read", "resolve"]

_PATHS = (
    ("spool", "directory"),
    ("spool", "run_dir"),
    ("upload", "key_file"),
    ("upload", "certificate"),
)


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and check a configuration file; no device is touched.

    Args:
        path: the TOML file. Relative paths in it count from its own folder; ``~`` is the home.
        overrides: tables that go over the file's, key by key.

    Returns:
        The resolved configuration, every default filled in.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong; one line for each problem.
    """
    return resolve(path, read(path), overrides)


def read(path: Path) -> str:
    """Return what stands in a configuration file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error


def resolve(path: Path, text: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """Check what stands in a configuration file, as `load` does.

    Args:
        path: the file.
        text: what stands in it.
        overrides: see `load`.

    Raises:
        ConfigError: something in it is wrong; one line for each problem.
    """
    try:
        raw = _merged(tomllib.loads(text), overrides or {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error
    for section, key in _PATHS:
        table = raw.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(path.absolute().parent / Path(table[key]).expanduser())
    check = Check()
    config = check.config(raw)
    if config is None:
        raise ConfigError("\n".join(f"{path}: {one}" for one in check.problems))
    return config


def check_files(config: Config) -> None:
    """Check the files that only the uploader reads; no lane has to wait for them.

    Raises:
        ConfigError: one cannot be read, or others can use the key; one line for each problem.
    """
    problems: list[str] = []
    key, certificate = config.upload.key_file, config.upload.certificate
    try:
        if key is not None:
            read_key(key)
    except ConfigError as error:
        problems.append(f"upload.key_file: {error}")
    try:
        if certificate is not None:
            certificate.read_bytes()
    except OSError as error:
        problems.append(f"upload.certificate: found {shown(certificate)}; {error.strerror}")
    if problems:
        raise ConfigError("\n".join(problems))


def _merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merged(below or {}, value) if both else value
    return merged
