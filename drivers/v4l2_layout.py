"""Structures and numbers of ``linux/videodev2.h``, as far as a capture driver needs them."""

from __future__ import annotations

import ctypes

_U8, _U32, _S32 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_int32

VIDEO_CAPTURE, MEMORY_MMAP, FIELD_ANY = 1, 1, 0
CAP_VIDEO_CAPTURE, CAP_STREAMING, CAP_DEVICE_CAPS = 0x1, 0x0400_0000, 0x8000_0000
BUF_FLAG_ERROR = 0x40
BUF_FLAG_TIMESTAMP_MASK, BUF_FLAG_TIMESTAMP_MONOTONIC = 0xE000, 0x2000
CTRL_FLAG_DISABLED, CTRL_FLAG_NEXT = 0x1, 0x8000_0000
CTRL_INTEGER, CTRL_BOOLEAN, CTRL_MENU = 1, 2, 3
FRAME_DISCRETE = 1
CAP_TIMEPERFRAME = 0x1000


def fourcc(code: str) -> int:
    """Return the number of a format's four letters."""
    return int.from_bytes(code.encode("ascii"), "little")


class Capability(ctypes.Structure):
    """What a node is: ``v4l2_capability``."""

    _fields_ = (
        ("driver", ctypes.c_char * 16), ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32), ("version", _U32), ("capabilities", _U32),
        ("device_caps", _U32), ("reserved", _U32 * 3),
    )  # fmt: skip


class PixFormat(ctypes.Structure):
    """A format of one plane: ``v4l2_pix_format``."""

    _fields_ = tuple(
        (name, _U32)
        for name in (
            "width", "height", "pixelformat", "field", "bytesperline", "sizeimage", "colorspace",
            "priv", "flags", "ycbcr_enc", "quantization", "xfer_func",
        )
    )  # fmt: skip


class _FormatUnion(ctypes.Union):
    # The longest member has a pointer in it, hence the alignment.
    _fields_ = (("pix", PixFormat), ("raw", _U8 * 200), ("aligned", ctypes.c_void_p))


class Format(ctypes.Structure):
    """A format of a kind of stream: ``v4l2_format``."""

    _fields_ = (("type", _U32), ("fmt", _FormatUnion))


class FormatDescription(ctypes.Structure):
    """One of the formats that a camera has: ``v4l2_fmtdesc``."""

    _fields_ = (
        ("index", _U32), ("type", _U32), ("flags", _U32), ("description", ctypes.c_char * 32),
        ("pixelformat", _U32), ("mbus_code", _U32), ("reserved", _U32 * 3),
    )  # fmt: skip


class Fraction(ctypes.Structure):
    """``v4l2_fract``."""

    _fields_ = (("numerator", _U32), ("denominator", _U32))


class CaptureParameters(ctypes.Structure):
    """``v4l2_captureparm``."""

    _fields_ = (
        ("capability", _U32), ("capturemode", _U32), ("timeperframe", Fraction),
        ("extendedmode", _U32), ("readbuffers", _U32), ("reserved", _U32 * 4),
    )  # fmt: skip


class _ParametersUnion(ctypes.Union):
    _fields_ = (("capture", CaptureParameters), ("raw", _U8 * 200))


class StreamParameters(ctypes.Structure):
    """The rate of a stream: ``v4l2_streamparm``."""

    _fields_ = (("type", _U32), ("parm", _ParametersUnion))


class FrameSize(ctypes.Structure):
    """One size of a format, or the range of sizes: ``v4l2_frmsizeenum``.

    Discrete: width and height are the first two of `values`; a range: least width, most, step,
    least height, most, step.
    """

    _fields_ = (
        ("index", _U32), ("pixel_format", _U32), ("type", _U32), ("values", _U32 * 6),
        ("reserved", _U32 * 2),
    )  # fmt: skip


class FrameInterval(ctypes.Structure):
    """One interval of a size, or the range of them: ``v4l2_frmivalenum``.

    Discrete: the first of `values`; a range: shortest, longest, step.
    """

    _fields_ = (
        ("index", _U32), ("pixel_format", _U32), ("width", _U32), ("height", _U32),
        ("type", _U32), ("values", Fraction * 3), ("reserved", _U32 * 2),
    )  # fmt: skip


class RequestBuffers(ctypes.Structure):
    """``v4l2_requestbuffers``."""

    _fields_ = (
        ("count", _U32), ("type", _U32), ("memory", _U32), ("capabilities", _U32),
        ("flags", _U8), ("reserved", _U8 * 3),
    )  # fmt: skip


class TimeValue(ctypes.Structure):
    """``timeval`` of the C library's own width."""

    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _BufferPlace(ctypes.Union):
    _fields_ = (("offset", _U32), ("userptr", ctypes.c_ulong), ("fd", _S32))


class Buffer(ctypes.Structure):
    """A buffer and the frame in it: ``v4l2_buffer``."""

    _fields_ = (
        ("index", _U32), ("type", _U32), ("bytesused", _U32), ("flags", _U32), ("field", _U32),
        ("timestamp", TimeValue), ("timecode", _U32 * 4), ("sequence", _U32), ("memory", _U32),
        ("m", _BufferPlace), ("length", _U32), ("reserved2", _U32), ("request_fd", _S32),
    )  # fmt: skip


class QueryControl(ctypes.Structure):
    """A control and its limits: ``v4l2_queryctrl``."""

    _fields_ = (
        ("id", _U32), ("type", _U32), ("name", ctypes.c_char * 32), ("minimum", _S32),
        ("maximum", _S32), ("step", _S32), ("default_value", _S32), ("flags", _U32),
        ("reserved", _U32 * 2),
    )  # fmt: skip


class Control(ctypes.Structure):
    """The value of a control: ``v4l2_control``."""

    _fields_ = (("id", _U32), ("value", _S32))


def _call(direction: int, number: int, kind: type[ctypes.Structure | ctypes.c_int]) -> int:
    # _IOC of asm-generic/ioctl.h, which x86 and ARM use.
    return direction << 30 | ctypes.sizeof(kind) << 16 | ord("V") << 8 | number


_WRITE, _READ, _BOTH = 1, 2, 3
QUERYCAP = _call(_READ, 0, Capability)
ENUM_FMT = _call(_BOTH, 2, FormatDescription)
S_FMT = _call(_BOTH, 5, Format)
REQBUFS = _call(_BOTH, 8, RequestBuffers)
QUERYBUF = _call(_BOTH, 9, Buffer)
QBUF = _call(_BOTH, 15, Buffer)
DQBUF = _call(_BOTH, 17, Buffer)
STREAMON = _call(_WRITE, 18, ctypes.c_int)
STREAMOFF = _call(_WRITE, 19, ctypes.c_int)
S_PARM = _call(_BOTH, 22, StreamParameters)
S_CTRL = _call(_BOTH, 28, Control)
QUERYCTRL = _call(_BOTH, 36, QueryControl)
ENUM_FRAMESIZES = _call(_BOTH, 74, FrameSize)
ENUM_FRAMEINTERVALS = _call(_BOTH, 75, FrameInterval)
