"""Finding Google's emulator, in folders made for the test. Starting it is a contract test."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.lab.local.emulator import EmulatorError, GoogleEmulator


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    root = tmp_path / "google-cloud-sdk"
    executable(root / "bin" / "gcloud")
    jar = root / "platform" / "pubsub-emulator" / "lib" / "emulator-all.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    return root


@pytest.fixture
def java(tmp_path: Path) -> Path:
    return executable(tmp_path / "jdk" / "bin" / "java")


def test_it_is_found_through_a_link_on_path(sdk: Path, java: Path, tmp_path: Path) -> None:
    links = tmp_path / "links"
    links.mkdir()
    (links / "gcloud").symlink_to(sdk / "bin" / "gcloud")
    found = GoogleEmulator.find({"PATH": f"{links}:{java.parent}"})
    assert found == sdk / "platform/pubsub-emulator/lib/emulator-all.jar"


@pytest.mark.parametrize("above", [False, True])
def test_it_is_found_by_a_variable_and_java_home(sdk: Path, java: Path, *, above: bool) -> None:
    environ = {
        "CLOUDSDK_ROOT_DIR": str(sdk.parent if above else sdk),
        "JAVA_HOME": str(java.parent.parent),
    }
    assert GoogleEmulator.find(environ) is not None


def test_without_java_or_emulator_there_is_none(sdk: Path, java: Path) -> None:
    assert GoogleEmulator.find({"CLOUDSDK_ROOT_DIR": str(sdk)}) is None
    assert GoogleEmulator.find({"PATH": str(java.parent)}) is None
    with pytest.raises(EmulatorError, match="install pubsub-emulator"):
        GoogleEmulator({}).start()


def test_an_emulator_that_ends_is_reported_with_its_exit_code(sdk: Path, java: Path) -> None:
    environ = {"CLOUDSDK_ROOT_DIR": str(sdk), "PATH": f"{java.parent}"}
    emulator = GoogleEmulator(environ)
    with pytest.raises(EmulatorError, match="exit code 3"):
        emulator.start()
    emulator.stop()
