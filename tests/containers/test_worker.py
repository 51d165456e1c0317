"""The image at work: Google's Pub/Sub emulator, a GCS server, and workers, each in a container."""

from __future__ import annotations

from typing import Any

import docker
import pytest
import pyvips

from tests.containers.engine import ContainedWorker, ContainerStage
from tests.support.pictures import corners_jpeg, is_upright, noisy_jpeg
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)  # the first one may have to build the image

RUNGS = ["320", "512", "768", "1024", "1280", "1600", "2048", "2560", "full"]

QUICK = {"effort": "0", "full_effort": "0"}
SLOW = {"effort": "6", "full_effort": "6", "vcpus": "1"}
"""Renders long enough to be caught in the middle."""

STOP_SECONDS = 30
"""What a spot VM grants."""


def test_a_photo_is_registered_and_deregistered(stage: ContainerStage) -> None:
    worker = stage.contained()
    worker.wait_until_running()
    stage.register("a/photo", 1, corners_jpeg(3000, 2000, orientation=6))
    manifest = stage.wait_for("a/photo", "ready", 1)
    assert [each["rung"] for each in manifest["renditions"]] == RUNGS
    stage.assert_ready_is_true(manifest)
    assert is_upright(stage.read(manifest["renditions"][-1]["object"]))

    stage.deregister("a/photo", 2)
    stage.wait_for("a/photo", "deregistered", 2)
    eventually(lambda: worker.lines("handled", outcome="deregistered"), "it is acked")
    stage.assert_nothing_stray("a/photo")


def test_it_has_no_rights_and_its_children_none_at_all(stage: ContainerStage) -> None:
    worker = stage.contained()
    worker.wait_until_running()
    _, status = worker.execute("cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Name"] == "tini"
    assert fields["Uid"].split() == ["10001"] * 4
    assert (int(fields["CapEff"], 16), int(fields["CapBnd"], 16)) == (0, 0)
    assert fields["NoNewPrivs"] == "1"
    code, said = worker.execute("touch", "/opt/worker/x", "/etc/x", "/x")
    assert code == 1
    assert said.count("Read-only file system") == 3
    assert _refused(worker) == []


def _refused(worker: ContainedWorker) -> list[str]:
    """Parts of the children's sandbox that the engine refused; Landlock is the kernel's to have."""
    told = worker.lines("children run without part of their sandbox")
    refused = [part for line in told for part in line["refused"]]
    return [part for part in refused if not part.startswith("files: ")] + [
        part
        for part in refused
        if part.startswith("files: ")
        and not part.endswith(("Function not implemented", "Operation not supported"))
    ]


@pytest.mark.parametrize(
    ("port", "asked"), [("8080", True), ("9090", True), ("0", False)], ids=["8080", "9090", "off"]
)
def test_docker_finds_it_healthy(stage: ContainerStage, port: str, *, asked: bool) -> None:
    # The test itself is the image's; only its first look comes sooner.
    soon = docker.types.Healthcheck(interval=500_000_000)
    worker = stage.contained({"healthcheck": soon}, http_port=port)
    worker.wait_until_running()
    eventually(lambda: worker.state["Health"]["Status"] == "healthy", "it is healthy")
    code, answer = worker.execute("python", "-c", _ASK.format(port=port))
    assert (code == 0) is asked, answer


_ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/readyz').read())"


def test_docker_stop_finishes_what_runs_and_another_does_the_rest(stage: ContainerStage) -> None:
    picture = noisy_jpeg(2000, 1400)
    first = stage.contained(**SLOW, drain_seconds="25")
    first.wait_until_running()
    photo_ids = [f"photo-{n}" for n in range(3)]
    for photo_id in photo_ids:
        stage.register(photo_id, 1, picture)
    eventually(stage.objects, "a render is under way")
    assert first.stop(STOP_SECONDS) == 0, first.text()
    assert first.lines("stopped", in_time=True)
    finished = first.lines("handled", outcome="registered")
    assert len(finished) == 1, first.text()
    assert not first.lines("handled", outcome="dead_lettered")

    second = stage.contained(**QUICK)
    second.wait_until_running()
    for photo_id in photo_ids:
        stage.assert_ready_is_true(stage.wait_for(photo_id, "ready", 1))
    eventually(lambda: len(second.lines("handled", outcome="registered")) == 2, "they are acked")
    stage.assert_nothing_stray(*photo_ids)


def test_docker_stop_is_obeyed_in_time_when_a_render_takes_longer(stage: ContainerStage) -> None:
    first = stage.contained(**SLOW, drain_seconds="0.5")
    first.wait_until_running()
    stage.register("photo", 1, noisy_jpeg(5000, 4000))
    eventually(stage.objects, "a render is under way")
    assert first.stop(STOP_SECONDS) == 0, first.text()
    assert stage.manifest("photo") is None

    second = stage.contained(**QUICK)
    second.wait_until_running()
    stage.assert_ready_is_true(stage.wait_for("photo", "ready", 1))


def test_a_stop_at_any_time_before_it_runs_is_obeyed(stage: ContainerStage) -> None:
    worker = stage.contained()
    assert worker.stop(STOP_SECONDS) in {0, 143}, worker.text()


@pytest.mark.parametrize(("cpus", "slots"), [(1, 1), (1.5, 1), (2, 2)])
def test_its_cpus_decide_how_much_it_holds(
    stage: ContainerStage, engine: docker.DockerClient, cpus: float, slots: int
) -> None:
    if engine.info()["NCPU"] < cpus:
        pytest.skip(f"the engine has no {cpus} CPUs")
    running = stage.contained({"nano_cpus": int(cpus * 1e9)}).wait_until_running()
    assert (running["slots"], running["in_flight"]) == (slots, 3 * slots)


def test_it_stays_within_its_memory(stage: ContainerStage) -> None:
    limits: dict[str, Any] = {"mem_limit": "1g", "memswap_limit": "1g"}
    worker = stage.contained(limits, **QUICK)
    worker.wait_until_running()
    picture = noisy_jpeg(6000, 4000)
    photo_ids = [f"photo-{n}" for n in range(4)]
    for photo_id in photo_ids:
        stage.register(photo_id, 1, picture)
    for photo_id in photo_ids:
        stage.assert_ready_is_true(stage.wait_for(photo_id, "ready", 1))
    handled = worker.lines("handled")
    assert [line["outcome"] for line in handled] == ["registered"] * len(handled), worker.text()
    assert worker.state["Running"]
    assert not worker.state["OOMKilled"]


def test_text_in_a_drawing_has_letters(stage: ContainerStage) -> None:
    """Without a font these would be the same five boxes, or empty."""
    stage.contained().wait_until_running()
    words = ("Hanoi", "ionaH")
    for word in words:
        stage.register(word, 1, _drawing(word))
    one, other = (_pixels(stage, stage.wait_for(word, "ready", 1)) for word in words)
    assert (one - other).abs().max() > 200


def _drawing(word: str) -> bytes:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="600" height="200">'
        '<rect width="600" height="200" fill="white"/><text x="20" y="150" font-size="120" '
        f'font-family="Helvetica, sans-serif">{word}</text></svg>'
    ).encode()


def _pixels(stage: ContainerStage, manifest: dict[str, Any]) -> pyvips.Image:
    return pyvips.Image.new_from_buffer(stage.read(manifest["renditions"][-1]["object"]), "")


def test_a_missing_subscription_ends_it_with_4(stage: ContainerStage) -> None:
    worker = stage.contained(subscription="projects/none/subscriptions/none")
    assert worker.wait() == 4
    assert "projects/none/subscriptions/none" in worker.text()
