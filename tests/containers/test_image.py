"""What the image is by itself: its verbs without any cloud, its user, its health check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import docker
import pytest

from tests.containers.engine import ContainedWorker, contained
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)  # the first one may have to build the image

HEALTH = ["/opt/worker/bin/python", "-I", "-S", "/opt/worker/health.py"]

Run: TypeAlias = Callable[..., ContainedWorker]


@pytest.fixture
def run(image: str) -> Iterator[Run]:
    """Start a container with these arguments, without a network."""
    with ExitStack() as stack:

        def start(*command: str, **more: Any) -> ContainedWorker:
            container = contained(image, *command, network_mode="none", **more)
            return ContainedWorker(stack.enter_context(container))

        yield start


def test_settings_that_are_missing_are_all_named_with_3(run: Run) -> None:
    worker = run()
    assert worker.wait() == 3
    for name in ("SUBSCRIPTION", "ORIGINALS_BUCKETS", "RENDITIONS_BUCKET"):
        assert f"WORKER_{name} is not set" in worker.text()
    assert "Traceback" not in worker.text()


def test_verbs_that_need_no_cloud_need_none(run: Run) -> None:
    usage = run("run", "--help")
    plan = run("plan", "--no-check")
    assert (usage.wait(), plan.wait()) == (0, 0)
    assert "Example: photo-worker run" in usage.text()
    assert "render slots" in plan.text()


@pytest.mark.parametrize(("cpus", "slots"), [(1.5, 1), (2, 2)])
def test_the_plan_is_made_of_what_the_container_is_granted(
    run: Run, engine: docker.DockerClient, cpus: float, slots: int
) -> None:
    limits = {"nano_cpus": int(cpus * 1e9), "mem_limit": "1g"}
    if engine.info()["NCPU"] < cpus:
        pytest.skip(f"the engine has no {cpus} CPUs")
    worker = run("plan", "--no-check", "--json", **limits)
    assert worker.wait() == 0, worker.text()
    plan = json.loads(worker.text())
    assert (plan["vcpus"], plan["render_slots"], plan["in_flight"]) == (slots, slots, 3 * slots)
    assert plan["memory_bytes"] == 1 << 30


def test_less_memory_than_one_render_takes_is_refused_with_3(run: Run) -> None:
    names = ("SUBSCRIPTION", "ORIGINALS_BUCKETS", "RENDITIONS_BUCKET")
    environment = {f"WORKER_{name}": "projects/p/subscriptions/a" for name in names[:1]}
    environment |= {f"WORKER_{name}": f"b-{name[:1].lower()}" for name in names[1:]}
    environment["PUBSUB_EMULATOR_HOST"] = "127.0.0.1:1"
    environment["STORAGE_EMULATOR_HOST"] = "http://127.0.0.1:1"
    worker = run(environment=environment, mem_limit="256m")
    assert worker.wait() == 3
    assert "leaves no room for one render" in worker.text()


@pytest.mark.parametrize(
    ("port", "code"),
    [("8080", 1), ("", 1), ("soon", 1), ("0", 0)],
    ids=["on", "empty", "wrong", "off"],
)
def test_the_health_check_fails_where_nobody_answers_but_should(
    run: Run, port: str, code: int
) -> None:
    check = run(entrypoint=HEALTH, environment={"WORKER_HTTP_PORT": port})
    assert check.wait() == code, check.text()
    assert check.text() == ""


def test_nothing_in_it_installs_or_compiles(run: Run) -> None:
    search = "for c in pip gcc cc make curl wget; do command -v $c; done; python -m pip"
    worker = run("-c", search, entrypoint=["/bin/sh"])
    assert worker.wait() == 1
    assert worker.text().strip() == "/opt/worker/bin/python: No module named pip"


def test_its_modules_are_compiled(run: Run) -> None:
    """A read-only container cannot keep what it compiles: a start would take two more seconds."""
    code = (
        "import sys, worker.cli.main, worker.service.daemon, worker.render.child\n"
        "loaded = [m for m in list(sys.modules.values()) if getattr(m, '__cached__', None)]\n"
        "import os; print(len(loaded) > 300, [m.__name__ for m in loaded"
        " if m.__file__.startswith('/opt') and not os.path.exists(m.__cached__)])"
    )
    worker = run("-c", code, entrypoint=["python", "-P"])
    assert worker.wait() == 0, worker.text()
    assert worker.text().strip() == "True []"


def test_labels_say_what_it_is(engine: docker.DockerClient, image: str) -> None:
    labels = engine.images.get(image).labels
    named = {"title", "description", "version", "revision", "source", "base.name"}
    assert {f"org.opencontainers.image.{name}" for name in named} <= set(labels)


def test_a_signal_before_the_worker_listens_ends_it(run: Run) -> None:
    """As process 1 it would not: the kernel drops what process 1 has no handler for."""
    worker = run(
        "-c",
        "import os; print(os.getpid(), flush=True); import time; time.sleep(60)",
        entrypoint=["/usr/bin/tini", "--", "python"],
    )
    eventually(worker.text, "Python runs")
    assert worker.stop(20) == 143
    assert worker.text().strip() != "1"
