"""An installation by `make`: the tests of this file stand on each other, in their order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.units.box import CONFIG, NAMES

if TYPE_CHECKING:
    from hil.units.box import Box

UNITS = ("recorder-spool", "recorder-web", *(f"recorder-lane@{lane}" for lane in NAMES))
#: On a machine that has much else to do.
INSTALL_S = 1200.0
#: A stick's name may have blanks.
OFFLINE = "make -C /srv/recorder install WHEELS='/srv/my stick/wheels'"
#: Everything that an installation may touch, with owner, mode, and content or target.
TREE = (
    "find /etc /opt /usr /var/lib/recorder -xdev -path /var/lib/recorder/spool -prune -o -printf"
    " '%p %u %g %m %l\\n' | sort; find /etc /opt /usr -xdev -type f -print0 | sort -z |"
    " xargs -0 sha256sum"
)


def running(box: Box) -> dict[str, str]:
    return {unit: box.show(unit, "MainPID") for unit in UNITS}


def test_make_install_prepares_a_root_that_records_at_its_first_boot(made: Box) -> None:
    assert made.root.joinpath("opt").is_dir()
    made.prepare("make -C /srv/recorder install")
    assert not (made.root / "srv/recorder/.venv").exists()
    made.boot()
    assert made.try_("ip route get 192.0.2.1").code != 0
    for unit in UNITS:
        made.until(f"systemctl is-active {unit}")
    for lane in NAMES:
        made.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep absent")
    assert made.run("systemctl --failed --no-legend") == ""


def test_the_manual_the_completion_and_the_command_are_there(made: Box) -> None:
    assert made.run("recorder --version").startswith("recorder, version ")
    assert "recorder check" in made.run("zcat /usr/share/man/man1/recorder-check.1.gz")
    completion = "/usr/share/bash-completion/completions/recorder"
    assert "recorder" in made.run(f"bash -c '. {completion} && complete -p recorder'")
    words = "COMP_WORDS='recorder ch' COMP_CWORD=1 _RECORDER_COMPLETE=bash_complete"
    assert made.run(f"{words} recorder") == "plain,check"
    assert "compdef" in made.run("cat /usr/share/zsh/vendor-completions/_recorder")


def test_without_a_network_it_installs_from_a_folder_of_wheels(made: Box) -> None:
    made.run(f"echo '# mine' >> {CONFIG}")
    made.run(OFFLINE, INSTALL_S)
    assert made.run(f"tail -1 {CONFIG}") == "# mine"
    assert len(made.run("ls /opt/recorder/versions").split()) == 1
    for unit in UNITS:
        made.until(f"systemctl is-active {unit}")


def test_it_records_and_the_same_installation_again_changes_and_disturbs_nothing(made: Box) -> None:
    made.record()
    for lane in NAMES:
        made.until(f"find /var/lib/recorder/spool/sessions -path '*/{lane}/*.seg' | grep .")
    before, tree, session = running(made), made.run(TREE), made.sessions()[-1]["id"]
    made.run(OFFLINE, INSTALL_S)
    assert made.run(TREE) == tree
    assert running(made) == before
    assert made.sessions()[-1]["id"] == session


def test_what_was_damaged_since_is_mended(made: Box) -> None:
    tree = made.run(TREE)
    made.run("rm /usr/lib/systemd/system/recorder-web.service /usr/bin/recorder")
    made.run("echo '# old' >> /usr/lib/udev/rules.d/99-recorder.rules")
    made.run(OFFLINE, INSTALL_S)
    assert made.run(TREE) == tree


def test_what_a_newer_version_does_not_bring_any_more_goes(made: Box) -> None:
    made.run("touch /usr/share/doc/edge-recorder/old.md")
    made.run("echo /usr/share/doc/edge-recorder/old.md >> /usr/share/edge-recorder/files")
    made.run("sort -o /usr/share/edge-recorder/files /usr/share/edge-recorder/files")
    made.run(OFFLINE, INSTALL_S)
    assert made.try_("test -e /usr/share/doc/edge-recorder/old.md").code == 1


def test_make_uninstall_leaves_recordings_and_settings_and_nothing_else(made: Box) -> None:
    recorded = made.run("find /var/lib/recorder -name journal")
    assert recorded
    made.run(f"recorder sessions --json --config {CONFIG} > /srv/before.json")
    made.run("make -C /srv/recorder uninstall")
    assert made.run("systemctl list-units 'recorder*' --no-legend") == ""
    assert made.run("find /var/lib/recorder -name journal") == recorded
    assert made.run(f"grep -c name {CONFIG}") != "0"
    left = made.run("find /etc /opt /usr /run/systemd -xdev -name '*recorder*'").split()
    assert set(left) == {"/etc/recorder", CONFIG, "/etc/systemd/system/recorder-lane@.service.d"}
    made.run("make -C /srv/recorder uninstall")


def test_the_next_installation_finds_both_again(made: Box) -> None:
    before = {one["id"] for one in json.loads(made.run("cat /srv/before.json"))}
    made.run(OFFLINE, INSTALL_S)
    for lane in NAMES:
        made.until(f"systemctl show -P StatusText recorder-lane@{lane} | grep ^running")
    assert before < {one["id"] for one in made.sessions()}
    made.run("systemctl stop recorder.target 'recorder-*'")
    made.run("recorder verify /var/lib/recorder")
