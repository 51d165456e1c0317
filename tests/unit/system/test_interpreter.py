"""How this package starts itself again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.lab.guard import Guarded
from worker.system import interpreter

SHADOW = "open('imported', 'w').close()\nraise SystemExit(3)\n"


def test_a_checkout_is_named_last_and_once() -> None:
    folder = str(interpreter.checkout())
    assert folder == str(Path(interpreter.__file__).parents[2])
    assert interpreter.environment_for({"A": "b"}) == {"A": "b", "PYTHONPATH": folder}
    named = interpreter.environment_for({"PYTHONPATH": f"/one{os.pathsep}"})
    assert named == {"PYTHONPATH": f"/one{os.pathsep}{folder}"}
    assert interpreter.environment_for(named) == named


def test_an_installation_needs_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo_worker-0.1.0.dist-info").mkdir()
    file = tmp_path / "worker" / "system" / "interpreter.py"
    monkeypatch.setattr(interpreter, "__file__", str(file))
    assert interpreter.checkout() is None
    assert interpreter.environment_for({"A": "b"}) == {"A": "b"}


def test_a_module_in_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("threading", "worker", "queue"):
        (tmp_path / f"{name}.py").write_text(SHADOW)
    monkeypatch.chdir(tmp_path)
    ended = subprocess.run(
        interpreter.command("worker", "--help"),
        env=interpreter.environment_for(os.environ),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    with (tmp_path / "log").open("wb") as log:
        guarded = Guarded([sys.executable, "-c", "print('guarded')"], log=log)
        try:
            guarded._guard.wait(60)
        finally:
            guarded.stop(10)
    assert (tmp_path / "log").read_text() == "guarded\n"
    assert not (tmp_path / "imported").exists()
