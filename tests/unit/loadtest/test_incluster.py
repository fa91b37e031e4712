"""The load lab in a cluster that fails it: one sentence with the reason, and no stack trace.

helm and kubectl are stand-ins that answer what a broken cluster answers.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import pytest

from loadtest import __main__ as lab
from loadtest import incluster
from loadtest.commands import CommandError
from loadtest.runner import Target

RUN_ID = "abad1dea"
PULL_FAILED = {"reason": "ErrImageNeverPull", "message": "image energy-k6:dev is not present"}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv(incluster.HELM, raising=False)
    monkeypatch.setenv("LOAD_NAMESPACE", "energy")
    return folder


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{text}")
    path.chmod(0o755)


def kubectl_with(folder: Path, **answers: list[object]) -> None:
    container = {"name": "k6", "env": [{"name": "LOAD_RUN", "value": RUN_ID}]}
    job = {"metadata": {"name": "energy-load-1"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    found = {"jobs": [job], "pods": [], "events": [], **answers}
    program(folder, "kubectl", f"print(json.dumps({{'items': {found!r}[sys.argv[2]]}}))")


def why_it_failed(folder: Path) -> str:
    with pytest.raises(CommandError) as failed:
        incluster.drive("peak", Target((), "Peak"), folder, {}, RUN_ID, "")
    return str(failed.value)


def test_without_helm_the_lab_says_that_it_is_missing(programs: Path) -> None:
    assert why_it_failed(programs) == "helm is not installed or not on the PATH"


def test_the_lab_says_what_helm_said(programs: Path) -> None:
    program(programs, "helm", "sys.exit('level=WARN\\nError: UPGRADE FAILED: \"energy\" has no deployed releases')")
    assert why_it_failed(programs) == 'helm upgrade failed: Error: UPGRADE FAILED: "energy" has no deployed releases'


def test_a_job_whose_image_is_not_there_fails_at_once_with_the_pods_reason(programs: Path) -> None:
    program(programs, "helm", "")
    pod = {"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": PULL_FAILED}}]}}
    kubectl_with(programs, pods=[pod])
    assert why_it_failed(programs) == (
        "job/energy-load-1 in namespace energy does not start: ErrImageNeverPull: image energy-k6:dev is not present"
    )


def test_a_job_that_gets_no_pod_fails_with_the_reason_in_its_events(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(programs, "helm", "")
    monkeypatch.setattr(incluster, "START_TIMEOUT_S", 0.0)
    event = {"involvedObject": {"name": "energy-load-1"}, "message": "exceeded quota: compute"}
    kubectl_with(programs, events=[event])
    assert why_it_failed(programs).endswith("does not start: exceeded quota: compute")


@pytest.mark.usefixtures("programs")
def test_the_command_ends_in_one_sentence_and_says_that_nobody_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOAD_OUT_DIR", str(tmp_path / "load"))
    monkeypatch.setattr(sys, "argv", ["loadtest", "run-in-cluster", "peak"])
    assert lab.run_and_say() == lab.EXIT["unknown"]
    assert capsys.readouterr().err == "load lab: helm is not installed or not on the PATH\n"


def test_the_image_holds_k6_where_the_job_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD_IMAGE", "energy-k6:dev")
    (tmp_path / "k6").write_text("a program")
    monkeypatch.setattr(incluster, "K6", str(tmp_path / "k6"))
    with tarfile.open(incluster.image(tmp_path / "image.tar")) as image:
        manifest, config = (
            json.load(image.extractfile(name))  # type: ignore[arg-type]  # both are files
            for name in ("manifest.json", "config.json")
        )
        with tarfile.open(fileobj=image.extractfile("layer-0.tar")) as layer:
            assert layer.getnames() == ["usr/bin/k6"]
    assert manifest[0]["RepoTags"] == ["energy-k6:dev"]
    assert config["config"]["Env"] == ["PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"]
