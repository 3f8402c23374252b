"""A virtual machine: QEMU's own processor emulation, so that it runs where there is no KVM."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.usb.redir import Plug

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.usb.device import UsbDevice
    from hil.vm.image import Image

PATIENCE_S, BOOT_S, COPY_S, POLL_S = 600.0, 900.0, 600.0, 0.2
#: What devices can be plugged into; a saved machine can be woken by one with the same only.
PORTS = ("gps", "imu", "camera")
SAVED = "ready"
MOST_WORDS = 2000


class Machine:
    """A machine that starts from a copy of an image; a context manager.

    Everything in it happens at the pace of an emulated processor. It has no network.

    Args:
        image: what it starts from; it stays as it is.
        more: further arguments for QEMU.
    """

    def __init__(self, image: Image, more: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recorder-vm-"))
        self.image = image
        self._disk = self.folder / "disk.qcow2"
        self._command = [
            *("qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", "1024", "-nodefaults", "-display", "none", "-no-reboot"),
            *("-kernel", str(image.kernel), "-initrd", str(image.initrd)),
            *("-append", "console=ttyS0 root=/dev/vda rw quiet panic=-1"),
            *("-serial", f"file:{self.folder}/console"),
            *("-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"),
            *("-drive", f"file={self._disk},if=none,id=root,format=qcow2,cache=unsafe"),
            *("-device", "virtio-blk-pci,drive=root", "-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=agent,path={self.folder}/agent,server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=recorder.bench"),
            *("-device", "virtio-rng-pci", "-device", "qemu-xhci,id=xhci"),
        ]
        for name in PORTS:
            place = self.socket_path(name)
            self._command += ["-chardev", f"socket,id={name},path={place},server=on,wait=off"]
            self._command += ["-device", f"usb-redir,chardev={name},bus=xhci.0"]
        self._command += more
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: socket.socket | None = None
        self._said = bytearray()

    def socket_path(self, port: str) -> Path:
        """Return the socket that a device is plugged into."""
        return self.folder / f"{port}.usb"

    def plug(self, name: str, device: UsbDevice) -> Plug:
        """Return the plug of a device for a port; it is not in."""
        return Plug(device, self.socket_path(name))

    def boot(self, powered: Callable[[], None] | None = None) -> float:
        """Switch it on, and return the seconds until its agent answers.

        Args:
            powered: called as soon as it has power, such as to plug devices in.
        """
        back = ["-b", str(self.image.disk), "-F", "raw"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *back, self._disk], check=True)
        begin_s = time.monotonic()
        self._start()
        if powered is not None:
            powered()
        self._answer(BOOT_S)  # its greeting
        return time.monotonic() - begin_s

    def wake(self, saved: Path) -> float:
        """Go on where another machine was saved, and return the seconds that it took.

        Its clock stood still meanwhile, and is set to the time that it is.
        """
        begin_s = time.monotonic()
        subprocess.run(["cp", "--sparse=always", str(saved), self._disk], check=True)
        self._start("-loadvm", SAVED)
        self.run(f"date --set=@{time.time():.3f}")
        return time.monotonic() - begin_s

    def save(self, place: Path) -> None:
        """Save it as it is, for others to `wake` from, and switch it off."""
        said = self.monitor(f"savevm {SAVED}")
        if said:
            raise RuntimeError(f"the machine is not saved: {said}")
        self._stop()
        shutil.move(self._disk, place)

    def _start(self, *more: str) -> None:
        with (self.folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                [*self._command, *more], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
            )
        self._agent = self._connect(self.folder / "agent")

    def monitor(self, command: str) -> str:
        """Give QEMU itself a command, and return what it said."""
        asked: tuple[tuple[str, dict[str, str]], ...] = (
            ("qmp_capabilities", {}),
            ("human-monitor-command", {"command-line": command}),
        )
        with self._connect(self.folder / "qmp") as one, one.makefile("rw") as talk:
            talk.readline()  # its greeting
            for execute, arguments in asked:
                talk.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
                talk.flush()
                while "return" not in (answer := json.loads(talk.readline())):
                    if "error" in answer:
                        raise RuntimeError(f"{command}: {answer['error']}")
        return str(answer["return"]).strip()

    def _connect(self, path: Path) -> socket.socket:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            one = socket.socket(socket.AF_UNIX)
            if not one.connect_ex(str(path)):
                return one
            one.close()
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError((self.folder / "errors").read_text())
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{path}: the machine does not listen")
            time.sleep(POLL_S)

    def _answer(self, patience_s: float) -> dict[str, Any]:
        agent = self._agent
        if agent is None:
            raise RuntimeError("the machine is off")
        deadline_s = time.monotonic() + patience_s
        searched = 0
        while (end := self._said.find(b"\n", searched)) < 0:
            searched = len(self._said)
            agent.settimeout(max(deadline_s - time.monotonic(), 0.01))
            more = agent.recv(65536)
            if not more:
                raise RuntimeError(f"the machine's agent is gone: {self._last_words()}")
            self._said += more
        found: dict[str, Any] = json.loads(self._said[:end])
        del self._said[: end + 1]
        return found

    def _last_words(self) -> str:
        """Return what QEMU said, and the end of what the machine wrote to its console."""
        console = (self.folder / "console").read_text(errors="replace")
        return (self.folder / "errors").read_text() + console[-MOST_WORDS:]

    def _ask(self, request: dict[str, Any], patience_s: float) -> dict[str, Any]:
        if self._agent is None:
            raise RuntimeError("the machine is off")
        self._agent.sendall(json.dumps(request).encode() + b"\n")
        return self._answer(patience_s)

    def try_(self, command: str, patience_s: float = PATIENCE_S) -> tuple[int, str]:
        """Run a shell command in it as root; return its exit code and what it said."""
        found = self._ask({"run": command, "patience_s": patience_s}, patience_s + 10)
        return found["code"], found["said"].strip()

    def run(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Run a shell command that must succeed, and return what it said."""
        code, said = self.try_(command, patience_s)
        assert code == 0, f"{command}: {code}\n{said}"
        return said

    def crash(self, command: str, patience_s: float = BOOT_S) -> float:
        """Run a shell command that it does not survive; return the seconds until it is up again."""
        begin_s = time.monotonic()
        found = self._ask({"run": command, "patience_s": patience_s}, patience_s)
        assert "hello" in found, f"{command}: it lives: {found}"
        return time.monotonic() - begin_s

    def lose_power(self) -> float:
        """Stop it at once and start it again; return the seconds until it is up again.

        What its disk was told stays: of its own caches everything is lost, of the disk's nothing
        (`hil.cuts` shows that).
        """
        return self.crash("echo b > /proc/sysrq-trigger")

    def fit(self, tpm: Path) -> float:
        """Switch it off, put its disk into a board with a TPM, and switch that on.

        Args:
            tpm: a folder with the chip's memory; an empty one makes another chip.

        Returns:
            The seconds until it is up.
        """
        begin_s = time.monotonic()
        self.run("sync")
        if self._agent is None or self._process is None:
            raise RuntimeError("the machine is off")
        off = {"run": "echo o > /proc/sysrq-trigger", "patience_s": PATIENCE_S}
        self._agent.sendall(json.dumps(off).encode() + b"\n")
        self._process.wait(PATIENCE_S)
        self._stop()
        place = self.folder / "tpm"
        # It is there when this returns, and ends with QEMU.
        command = ["swtpm", "socket", "--tpm2", "--daemon", "--terminate"]
        more = ["--tpmstate", f"dir={tpm}", "--ctrl", f"type=unixio,path={place}"]
        subprocess.run([*command, *more], check=True)
        self._start(
            *("-chardev", f"socket,id=tpm,path={place}", "-tpmdev", "emulator,id=tpm,chardev=tpm"),
            *("-device", "tpm-tis,tpmdev=tpm"),
        )
        self._answer(BOOT_S)
        return time.monotonic() - begin_s

    def until(self, command: str, patience_s: float = PATIENCE_S) -> str:
        """Run a command again and again until it succeeds, and return what it said then."""
        deadline_s = time.monotonic() + patience_s
        while True:
            code, said = self.try_(command)
            if code == 0:
                return said
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{command}: not within {patience_s} s: {code}\n{said}")
            time.sleep(POLL_S)

    def put(self, text: str, path: str) -> None:
        """Write a file in it."""
        self._ask({"put": path, "data": base64.b64encode(text.encode()).decode()}, PATIENCE_S)

    def take(self, folder: str, place: Path) -> None:
        """Copy a folder of it out of it, by way of an archive."""
        archive = base64.b64decode(self.run(f"tar -C {folder} -cz . | base64 -w 0", COPY_S))
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(place, filter="data")

    def _stop(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Cut its power and remove everything; may be called twice."""
        self._stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
