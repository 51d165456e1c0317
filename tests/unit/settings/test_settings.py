"""Settings: read from a mapping, and every fault told at once with what is expected."""

from __future__ import annotations

from typing import Any

import pytest

from worker.errors import ConfigurationError
from worker.photo.ladder import DEFAULT_LADDER
from worker.render.capacity import MIB
from worker.settings.settings import Settings
from worker.settings.values import resource_path
from worker.settings.variables import variable
from worker.system.machine import Machine

BASE = {"GOOGLE_CLOUD_PROJECT": "p"}


def load(environment: dict[str, str] | None = None, **settings: str) -> Settings:
    named = {variable(name): value for name, value in settings.items()}
    return Settings.load({**BASE, **(environment or {}), **named})


def problems(environment: dict[str, str], **how: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environment, **how)
    return caught.value.problems


def test_the_defaults_are_the_contracts() -> None:
    settings = Settings.load({})
    assert settings.output_prefix == "photos/"
    assert settings.ladder == DEFAULT_LADDER
    assert (settings.quality, settings.in_flight_per_vcpu) == (80, 3)
    assert (settings.max_original_bytes, settings.max_original_pixels) == (64 * MIB, 150_000_000)
    assert (settings.render_timeout_seconds, settings.drain_seconds) == (60, 20)
    assert (settings.brake_share, settings.brake_events, settings.brake_seconds) == (0.9, 50, 300)
    assert (settings.http_port, settings.log_format, settings.log_level) == (8080, "auto", "info")
    assert (settings.vcpus, settings.memory_bytes, settings.subscription) == (None, None, None)


def test_variables_are_those_of_the_contract() -> None:
    assert {variable(name) for name in Settings.model_fields} >= {
        f"WORKER_{name}"
        for name in (
            "SUBSCRIPTION",
            "TOPIC",
            "DEAD_LETTER_TOPIC",
            "DEAD_LETTER_SUBSCRIPTION",
            "OUTCOME_TOPIC",
            "ORIGINALS_BUCKETS",
            "RENDITIONS_BUCKET",
            "OUTPUT_PREFIX",
            "LADDER",
            "QUALITY",
            "EFFORT",
            "FULL_EFFORT",
            "VCPUS",
            "IN_FLIGHT_PER_VCPU",
            "MEMORY_BYTES",
            "MAX_ORIGINAL_BYTES",
            "MAX_ORIGINAL_PIXELS",
            "RENDER_TIMEOUT_SECONDS",
            "DRAIN_SECONDS",
            "HTTP_PORT",
            "LOG_FORMAT",
            "LOG_LEVEL",
        )
    } | {"GOOGLE_CLOUD_PROJECT", "PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"}


def test_all_faults_are_told_at_once() -> None:
    told = problems(
        {
            "WORKER_QUALITY": "200",
            "WORKER_VCPUS": "many",
            "WORKER_RENDITIONS_BUCKET": "Not A Bucket",
            "WORKER_SUBSRIPTION": "typo",
            "WORKER_LADDER": "320,huge",
            "STORAGE_EMULATOR_HOST": "localhost:4443",
        },
        need=("topic",),
    )
    assert len(told) == 7
    for name in ("QUALITY", "VCPUS", "RENDITIONS_BUCKET", "SUBSRIPTION", "LADDER", "TOPIC"):
        assert sum(line.startswith(f"WORKER_{name}") for line in told) == 1, name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WORKER_QUALITY", "0", "1-100"),
        ("WORKER_QUALITY", "101", "1-100"),
        ("WORKER_QUALITY", "good", "1-100"),
        ("WORKER_EFFORT", "7", "0-6, over `ENCODING`"),
        ("WORKER_FULL_EFFORT", "-1", "0-6"),
        ("WORKER_VCPUS", "0", "auto"),
        ("WORKER_VCPUS", "1.5", "auto"),
        ("WORKER_IN_FLIGHT_PER_VCPU", "0", "each vCPU"),
        ("WORKER_MEMORY_BYTES", "0", "auto"),
        ("WORKER_MEMORY_BYTES", "512 parsecs", "auto"),
        ("WORKER_MAX_ORIGINAL_BYTES", "-1", "refused"),
        ("WORKER_MAX_ORIGINAL_PIXELS", "0", "refused"),
        ("WORKER_RENDER_TIMEOUT_SECONDS", "0", "killed"),
        ("WORKER_DRAIN_SECONDS", "-1", "SIGTERM"),
        ("WORKER_DRAIN_SECONDS", "soon", "SIGTERM"),
        ("WORKER_BRAKE_SHARE", "90", "0 = never"),
        ("WORKER_BRAKE_SHARE", "-0.1", "0 = never"),
        ("WORKER_BRAKE_SHARE", "nan", "0 = never"),
        ("WORKER_BRAKE_EVENTS", "0", "last photos"),
        ("WORKER_BRAKE_SECONDS", "-1", "ends with 8"),
        ("WORKER_HTTP_PORT", "65536", "0 = off"),
        ("WORKER_LOG_FORMAT", "xml", "console"),
        ("WORKER_LOG_LEVEL", "loud", "warning"),
        ("WORKER_LADDER", "0", "full"),
        ("WORKER_RENDITIONS_BUCKET", "b", "3 to 222"),
        ("WORKER_ORIGINALS_BUCKETS", "good-bucket,Bad", "3 to 222"),
        ("WORKER_OUTPUT_PREFIX", "../x", "photos/"),
        ("WORKER_OUTPUT_PREFIX", "a//b", "photos/"),
        ("WORKER_OUTPUT_PREFIX", "é" * 85, "photo ids up to 800"),
        ("WORKER_SUBSCRIPTION", "projects/p/topics/t", "projects/PROJECT/subscriptions/NAME"),
        ("WORKER_TOPIC", "a/b", "projects/PROJECT/topics/NAME"),
        ("STORAGE_EMULATOR_HOST", "localhost:4443", "http://"),
        ("STORAGE_EMULATOR_HOST", "http://localhost:4443/", "without a path"),
        ("STORAGE_EMULATOR_HOST", "http://localhost:4443/storage/v1", "without a path"),
        ("STORAGE_EMULATOR_HOST", "http://", "http://HOST:PORT"),
        ("PUBSUB_EMULATOR_HOST", "http://localhost:8085", "HOST:PORT, without a scheme"),
        ("PUBSUB_EMULATOR_HOST", "localhost:8085/", "HOST:PORT, without a scheme"),
        ("PUBSUB_EMULATOR_HOST", "localhost", "HOST:PORT"),
    ],
)
def test_a_fault_names_variable_value_and_expectation(name: str, value: str, expected: str) -> None:
    (line,) = problems({**BASE, name: value})
    assert line.startswith(f"{name}=")
    assert value.strip(".") in line
    assert expected in line


def test_a_prefix_has_no_control_characters() -> None:
    (line,) = problems({**BASE, "WORKER_OUTPUT_PREFIX": "a\tb"})
    assert "control characters" in line


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1048576", 1 << 20),
        ("512MiB", 512 << 20),
        ("512mib", 512 << 20),
        ("512 MB", 512 << 20),
        ("512M", 512 << 20),
        ("2g", 2 << 30),
        ("1Ki", 1 << 10),
        ("1T", 1 << 40),
        ("7b", 7),
        (" 5 ", 5),
    ],
)
def test_sizes_are_read_with_their_units(text: str, size_bytes: int) -> None:
    settings = load(memory_bytes=text, max_original_bytes=text)
    assert (settings.memory_bytes, settings.max_original_bytes) == (size_bytes, size_bytes)


@pytest.mark.parametrize("text", ["auto", "", "  "])
def test_auto_leaves_the_machine_to_decide(text: str) -> None:
    settings = load(memory_bytes=text, vcpus=text)
    assert (settings.memory_bytes, settings.vcpus) == (None, None)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("photos/", "photos/"),
        ("photos", "photos/"),
        ("/photos/", "photos/"),
        ("a/b", "a/b/"),
        ("", ""),
        ("/", ""),
    ],
)
def test_forms_of_the_output_prefix(text: str, prefix: str) -> None:
    assert load(output_prefix=text).output_prefix == prefix


def test_buckets_are_read_with_or_without_their_scheme() -> None:
    settings = load(
        originals_buckets=" gs://one-bucket/ , two_bucket,,one-bucket ",
        renditions_bucket="gs://out.example.org/",
    )
    assert settings.originals_buckets == ("one-bucket", "two_bucket")
    assert settings.renditions_bucket == "out.example.org"


def test_names_are_short_or_full() -> None:
    settings = load(subscription="s", topic="projects/other/topics/t", outcome_topic="o")
    assert settings.subscription == "projects/p/subscriptions/s"
    assert settings.topic == "projects/other/topics/t"
    assert settings.outcome_topic == "projects/p/topics/o"


def test_a_short_name_needs_a_project() -> None:
    (line,) = problems({"WORKER_SUBSCRIPTION": "s"})
    assert line.startswith("WORKER_SUBSCRIPTION='s'")
    assert "GOOGLE_CLOUD_PROJECT" in line


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("topic", "t", "projects/p/topics/t"),
        ("subscription", "s", "projects/p/subscriptions/s"),
        ("topic", "projects/q/topics/t", "projects/q/topics/t"),
    ],
)
def test_resource_paths(kind: str, name: str, path: str) -> None:
    assert resource_path(kind, name, "p") == path


@pytest.mark.parametrize(
    "name", ["projects/q/subscriptions/t", "projects/q/topics/", "projects/q/topics/t/x", "/t"]
)
def test_what_is_no_topics_name(name: str) -> None:
    with pytest.raises(ValueError, match="projects/PROJECT/topics/NAME"):
        resource_path("topic", name, "p")


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("WORKER_SUBSCRIPTON", "WORKER_SUBSCRIPTION"),
        ("WORKER_ORIGINAL_BUCKETS", "WORKER_ORIGINALS_BUCKETS"),
        ("WORKER_LADER", "WORKER_LADDER"),
    ],
)
def test_a_near_miss_is_a_fault(typo: str, meant: str) -> None:
    (line,) = problems({typo: "x"})
    assert typo in line
    assert "'x'" in line
    assert f"did you mean {meant}?" in line


def test_variables_of_others_are_let_pass() -> None:
    Settings.load({"WORKER_NODE_COLOUR": "red", "QUALITY": "900", "PATH": "/bin"})


def test_what_is_needed_and_unset_is_told_with_its_meaning() -> None:
    told = problems({"WORKER_SUBSCRIPTION": "  "}, need=("subscription", "renditions_bucket"))
    assert [line.split()[0] for line in told] == ["WORKER_SUBSCRIPTION", "WORKER_RENDITIONS_BUCKET"]
    assert "The subscription to consume" in told[0]
    Settings.load({**BASE, "WORKER_SUBSCRIPTION": "s"}, need=("subscription",))


def test_a_worker_that_would_feed_itself_is_refused() -> None:
    shared = {
        "WORKER_ORIGINALS_BUCKETS": "one-bucket,two-bucket",
        "WORKER_RENDITIONS_BUCKET": "two-bucket",
    }
    (line,) = problems({**shared, "WORKER_OUTPUT_PREFIX": ""})
    assert line.startswith("WORKER_OUTPUT_PREFIX=''")
    assert "'two-bucket'" in line
    Settings.load(shared)
    Settings.load({**shared, "WORKER_OUTPUT_PREFIX": "", "WORKER_RENDITIONS_BUCKET": "out"})


def test_dead_letters_must_not_come_back_as_events() -> None:
    (line,) = problems(
        {**BASE, "WORKER_TOPIC": "t", "WORKER_DEAD_LETTER_TOPIC": "projects/p/topics/t"}
    )
    assert line.startswith("WORKER_DEAD_LETTER_TOPIC=")


def test_flags_override_the_environment() -> None:
    environment = {**BASE, "WORKER_QUALITY": "70", "WORKER_TOPIC": "t", "WORKER_VCPUS": "nonsense"}
    settings = Settings.load(environment, {"quality": "90", "vcpus": "2"})
    assert (settings.quality, settings.vcpus, settings.topic) == (90, 2, "projects/p/topics/t")


def test_a_fault_in_a_flag_is_told_like_any_other() -> None:
    (line,) = problems({"WORKER_QUALITY": "70"}, flags={"quality": "900"})
    assert line.startswith("WORKER_QUALITY='900'")


def test_levels_and_formats_in_any_case() -> None:
    settings = load(log_level="WARNING", log_format="JSON")
    assert (settings.log_level, settings.log_format) == ("warning", "json")


def test_settings_win_over_the_machine() -> None:
    machine = Machine(vcpus=8, memory_bytes=16 << 30)
    assert load().capacity(machine).slots == 8
    assert load(vcpus="2").capacity(machine).slots == 2
    assert load(memory_bytes="1GiB").capacity(machine).slots == 3


def test_globs_are_read_from_comma_lists() -> None:
    settings = load(include=" *.{jpg,heic}, raw/** ", exclude="drafts/")
    assert settings.include == ("*.{jpg,heic}", "raw/**")
    assert settings.exclude == ("drafts/",)
    assert load().include == ()


def test_a_glob_that_cannot_be_meant_is_named() -> None:
    with pytest.raises(ConfigurationError) as wrong:
        load(exclude="*.{jpg")
    [problem] = wrong.value.problems
    assert problem.startswith("WORKER_EXCLUDE='*.{jpg': '*.{jpg' has a brace that is not closed")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "pubsub", "a-b.example"])
def test_emulators_anywhere(host: str) -> None:
    settings = Settings.load(
        {
            **BASE,
            "PUBSUB_EMULATOR_HOST": f"{host}:8085",
            "STORAGE_EMULATOR_HOST": f"http://{host}:4443",
        }
    )
    assert settings.pubsub_emulator_host == f"{host}:8085"
    assert settings.storage_emulator_host == f"http://{host}:4443"
