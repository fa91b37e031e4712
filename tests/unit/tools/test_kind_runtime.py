"""What kind-offline's runtime takes out of a container's description, and that it takes nothing else."""

import json
from pathlib import Path

import pytest

from tools.kind.runtime import WITHHELD, edit

WANTED = {"bounding": ["CAP_NET_ADMIN", WITHHELD], "effective": [WITHHELD]}
LEFT = {"bounding": ["CAP_NET_ADMIN"], "effective": []}


def test_a_new_container_does_not_ask_for_what_the_machine_withholds(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"hostname": "node", "process": {"args": ["init"], "capabilities": WANTED}}))
    edit(["--root", "/run", "create", "--bundle", str(tmp_path), "--pid-file", "pid", "node"])
    assert json.loads(config.read_text()) == {"hostname": "node", "process": {"args": ["init"], "capabilities": LEFT}}


def test_a_command_in_a_container_does_not_either(tmp_path: Path) -> None:
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["ls"], "capabilities": WANTED}))
    edit(["exec", "--process", str(process), "--detach", "node"])
    assert json.loads(process.read_text()) == {"args": ["ls"], "capabilities": LEFT}


@pytest.mark.parametrize("words", [["delete", "node"], ["state", "node"], ["start", "node"]])
def test_other_commands_change_nothing(words: list[str], tmp_path: Path) -> None:
    edit(words)
    assert list(tmp_path.iterdir()) == []
