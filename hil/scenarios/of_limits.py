"""Scenarios of the machine's limits: memory, processor, and a kernel that hangs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hil.scenarios.bench import PATIENCE_S
from hil.scenarios.of_imu import LONG
from hil.scenarios.of_upload import SETTINGS_LIVE
from hil.scenarios.scenario import Scenario, plug, records, recovers
from recorder.session.states import State

if TYPE_CHECKING:
    from hil.scenarios.bench import Bench
    from hil.scenarios.recording import Recording

HOG = "/opt/bench/hog.py"
#: Which unit is how dear to the kernel; the units' own `OOMScoreAdjust`.
KILLED = re.compile(r"Killed process \d+ \([^)]*\).*oom_score_adj:(-?\d+)")
WEB, UPLOAD = 800, 500
SETTINGS_ALL = SETTINGS_LIVE + "[web]\nenabled = true\n"
#: A hung kernel is reset after so long.
WATCHDOG_S = 10


def bring_hog(bench: Bench) -> None:
    """Put the hog into the machine."""
    bench.machine.put(Path(__file__).with_name("hog.py").read_text(), HOG)


def everything_runs(bench: Bench) -> None:
    """Wait until the upload and the page run beside the recording."""
    for unit in ("recorder-upload", "recorder-web", "recorder-spool"):
        bench.machine.until(f"systemctl -q is-active {unit}", PATIENCE_S)


def run_out_of_memory(bench: Bench) -> None:
    """Take all memory, as what would be killed last itself, until the upload is killed."""
    # Nor may the bench's own agent be killed, whose child the shell is.
    bench.machine.run(
        "echo -1000 > /proc/$PPID/oom_score_adj; echo -990 > /proc/self/oom_score_adj;"
        f" exec python3 {HOG} memory 'oom_score_adj:{UPLOAD}'",
        PATIENCE_S,
    )


def upload_and_page_were_killed(_: Recording, bench: Bench) -> None:
    """The kernel killed the page first, then the upload, and none of those that record."""
    killed = [int(adj) for adj in KILLED.findall(bench.machine.run("dmesg"))]
    assert list(dict.fromkeys(killed)) == [WEB, UPLOAD], killed
    said = bench.machine.run("journalctl --no-pager -b -u recorder-spool -u 'recorder-lane@*'")
    assert "Scheduled restart" not in said, said
    bench.told.append(f"killed: page {killed.count(WEB)}, upload {killed.count(UPLOAD)}")


def fill_the_page(bench: Bench) -> None:
    """Let a process in the page's control group take more than its `MemoryMax`."""
    bench.machine.run(
        f"(echo 1000 > /proc/self/oom_score_adj; GROUP=system.slice/recorder-web.service"
        f" exec python3 {HOG} memory never) ; test $? = 137",
        PATIENCE_S,
    )


def limits_are_in_force(bench: Bench) -> None:
    """Every unit has the limits that it names: the kernel controls memory here."""
    for unit in ("recorder-web", "recorder-upload", "recorder-spool", "recorder-lane@imu"):
        for named, file in (("MemoryMax", "memory.max"), ("MemoryMin", "memory.min")):
            wanted, real = bench.machine.run(
                f"systemctl show -P {named} {unit};"
                f' cat "/sys/fs/cgroup$(systemctl show -P ControlGroup {unit})/{file}"'
            ).split()
            assert wanted == real != "max", f"{unit}: {named} {wanted}, but {real}"


def only_the_page_was_short(_: Recording, bench: Bench) -> None:
    """What was killed was in the page's own group, and the machine had memory left."""
    said = bench.machine.run("dmesg")
    assert re.search(r"oom-kill:.*CONSTRAINT_MEMCG.*recorder-web.service", said), said
    assert "CONSTRAINT_NONE" not in said
    bench.told.append(f"killed in the page's group: {len(KILLED.findall(said))}")


def compete(bench: Bench) -> None:
    """Let a process in a lane's group and one in the upload's want the same processor."""
    groups = [
        bench.machine.run(f"systemctl show -P ControlGroup {one}")
        for one in ("recorder-lane@imu", "recorder-upload")
    ]
    before = [_used_us(bench, one) for one in groups]
    hogs = "".join(f"GROUP='{one[1:]}' taskset -c 1 python3 {HOG} cpu 15 & " for one in groups)
    bench.machine.run(f"{hogs} wait", PATIENCE_S)
    lane, upload = (_used_us(bench, one) - was for one, was in zip(groups, before, strict=True))
    share = lane / upload
    bench.told.append(f"processor: lane to upload {share:.1f} to 1, by weight 10 to 1")
    assert share > 4, f"lane {lane} us, upload {upload} us"


def _used_us(bench: Bench, group: str) -> int:
    said = bench.machine.run(f"grep usage_usec '/sys/fs/cgroup{group}/cpu.stat'")
    return int(said.split()[1])


def arm(bench: Bench) -> None:
    """Let systemd feed the hardware watchdog, as the documentation says."""
    machine = bench.machine
    # The machine's chipset has another one, which QEMU does not let reset; their order is chance.
    watchdog = machine.run("dirname $(grep -l i6300 /sys/class/watchdog/*/identity)")
    machine.put(
        f"[Manager]\nRuntimeWatchdogSec={WATCHDOG_S}\nWatchdogDevice=/dev/{Path(watchdog).name}\n",
        "/etc/systemd/system.conf.d/w.conf",
    )
    machine.run("systemctl daemon-reexec; sync")
    machine.until(f"test $(cat {watchdog}/state) = active")
    assert machine.run(f"cat {watchdog}/timeout") == str(WATCHDOG_S)


def hang(bench: Bench) -> None:
    """Stop the kernel for good: it panics, and does not start again by itself."""
    seconds = bench.machine.crash("sysctl -q kernel.panic=0; echo c > /proc/sysrq-trigger")
    bench.told.append(f"hung kernel to its agent again: {seconds:.0f} s")
    bench.now()


def went_on(recording: Recording, bench: Bench) -> None:
    """The session of before is abandoned, and there is one of this boot."""
    orphan, own = (recording.session(one) for one in recording.session_ids[-2:])
    assert (orphan.state, orphan.end_reason) == (State.abandoned, "power_loss")
    assert orphan.boot_id != own.boot_id
    assert any(one.stored for one in orphan.lanes)


SCENARIOS = (
    Scenario(
        "limits-memory",
        "When memory runs out the page is killed first, then the upload, and recording goes on.",
        (
            *(bring_hog, everything_runs, plug("imu"), records("imu", rows=LONG)),
            *(run_out_of_memory, records("imu", rows=LONG)),
        ),
        # Until somebody is killed the emulated machine serves nobody: what the FIFO could not hold
        # is lost and counted, 962 on a host with nothing beside, more with less of a processor.
        lost={"imu": {"lost_source": (0, 2000)}},
        settings=SETTINGS_ALL,
        shows=upload_and_page_were_killed,
    ),
    Scenario(
        "limits-own",
        "A process that takes more than its own share is killed alone; who records goes first.",
        (
            *(bring_hog, everything_runs, plug("imu"), records("imu", rows=LONG)),
            *(limits_are_in_force, fill_the_page, compete, records("imu", rows=LONG)),
        ),
        lost={"imu": {"lost_source": (0, 1000)}},
        settings=SETTINGS_ALL,
        shows=only_the_page_was_short,
    ),
    Scenario(
        "limits-watchdog",
        "A kernel that hangs is reset by the hardware watchdog, and the box records again.",
        (
            *(records("imu", rows=LONG), arm, hang),
            recovers("imu", "boot", rows=LONG),
        ),
        lost={"imu": {"lost_source": (0, 1000)}},
        shows=went_on,
        is_cold=True,
        power_on=("-device", "i6300esb", "-action", "watchdog=reset,reboot=reset"),
    ),
)
