"""The recorder's errors, as one tree. A class exists because somebody reacts differently to it.

RecorderError
├── ConfigError            the configuration is wrong: exit 2, do not restart
├── RingError              not a ring of this recorder: the lane makes a new one
├── SpoolError
│   ├── NotMountedError    its partition is not there: the spool process waits for it
│   ├── SpoolFormatError   a spool of another format: left untouched
│   └── DamagedError       bytes that do not verify: the file is kept and named, reading goes on
└── RemoteError
    ├── RemoteAwayError    no link, refused, timed out: the uploader retries for ever
    └── RemoteRefusedError the server said no: retrying cannot help; park and report
        └── RemoteForbiddenError  it is the key: park nothing, a person must give another
"""

from __future__ import annotations


class RecorderError(Exception):
    """Something that a user of the recorder must be told in one sentence."""


class ConfigError(RecorderError):
    """The configuration file is wrong; the message names every key, what was found and allowed."""


class RingError(RecorderError):
    """A file is not a ring, or a ring of another boot, layout or schema."""


class SpoolError(RecorderError):
    """The spool on disk cannot be used as asked."""


class NotMountedError(SpoolError):
    """The partition that the spool lies on is not mounted; nothing is written in its place."""


class SpoolFormatError(SpoolError):
    """The spool was written in a format that this version does not know; it is left untouched."""


class DamagedError(SpoolError):
    """Bytes of the spool do not verify; the message names the file and the offset."""


class RemoteError(RecorderError):
    """The server could not be used."""


class RemoteAwayError(RemoteError):
    """The server cannot be reached or did not answer in time.

    Examples: no network, connection refused, the stream broke, a call timed out.
    The uploader asks the server what it holds and goes on from there, for ever.
    """


class RemoteRefusedError(RemoteError):
    """The server understood and said no.

    Examples: the key may not write; the name is taken; the schema does not fit.
    The uploader parks what was refused, with this text in sight, and goes on with the rest.
    """


class RemoteForbiddenError(RemoteRefusedError):
    """The server does not take the API key, or not for this; the message says which of the two.

    Examples: no key was given; it is cut or mistyped; the server does not know it; it was revoked;
    it may write but not delete.
    """
