"""Mosaico over Arrow Flight: the writing workflow, reading back, and the calls below them."""

from __future__ import annotations

from recorder.key import read_key
from recorder.mosaico.buffer import Limits
from recorder.mosaico.client import MosaicoClient
from recorder.mosaico.codec import (
    Notification,
    SequenceInfo,
    ServerInfo,
    Session,
    SessionInfo,
    TopicInfo,
)
from recorder.mosaico.message import (
    GPS,
    IMU,
    BatteryState,
    Boolean,
    CompressedImage,
    Floating64,
    GPSStatus,
    Header,
    Image,
    Integer64,
    Magnetometer,
    Message,
    NMEASentence,
    Pressure,
    Quaternion,
    String,
    Temperature,
    Time,
    Vector3d,
)
from recorder.mosaico.policies import SessionLevelErrorPolicy, TopicLevelErrorPolicy
from recorder.mosaico.reader import rows, table
from recorder.mosaico.sequence_updater import SequenceHandler, SequenceUpdater
from recorder.mosaico.sequence_writer import SequenceWriter
from recorder.mosaico.topic_writer import TopicWriter
from recorder.mosaico.wire import PutStream

__all__ = [
    "GPS",
    "IMU",
    "BatteryState",
    "Boolean",
    "CompressedImage",
    "Floating64",
    "GPSStatus",
    "Header",
    "Image",
    "Integer64",
    "Limits",
    "Magnetometer",
    "Message",
    "MosaicoClient",
    "NMEASentence",
    "Notification",
    "Pressure",
    "PutStream",
    "Quaternion",
    "SequenceHandler",
    "SequenceInfo",
    "SequenceUpdater",
    "SequenceWriter",
    "ServerInfo",
    "Session",
    "SessionInfo",
    "SessionLevelErrorPolicy",
    "String",
    "Temperature",
    "Time",
    "TopicInfo",
    "TopicLevelErrorPolicy",
    "TopicWriter",
    "Vector3d",
    "read_key",
    "rows",
    "table",
]
