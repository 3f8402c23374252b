"""A real ground station, a client of it, and a certificate for one."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from recorder.ground import GroundStation
from recorder.mosaico import MosaicoClient


@pytest.fixture
def station(tmp_path):
    with GroundStation(tmp_path / "ground") as running:
        yield running


@pytest.fixture
def client(station):
    with MosaicoClient.connect_url(station.url) as connected:
        yield connected


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A private key and a certificate for the loopback address, signed by itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -keyout key.pem -out cert.pem -subj /CN=localhost"
        " -addext subjectAltName=IP:127.0.0.1,DNS:localhost"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=30)
    return (folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes()
