"""`make lint-deploy`: everything that can say, without a cloud, what is wrong with `deploy/`.

Each check is a tool that others wrote. What a machine lacks is skipped and named in the table at
the end. terraform, systemd-analyze and cloud-init come from the system (cloud-init's package is
unpacked, not installed, where apt-get can download it); LINT_DEPLOY_INSIST names checks whose tool
must be there. The others come from deploy/lint-requirements.txt, and must be there if CI is set.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cloud_init_sample
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TERRAFORM = DEPLOY / "terraform"
SCHEMA = DEPLOY / "provider-schema.json"
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


class Absent(Exception):
    """A tool is not on this machine; the message says how to have it."""


class Faulty(Exception):
    """A check found something; it has printed what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check. `in_ci`: it is insisted on wherever CI is set."""

    name: str
    run: Callable[[], None]
    in_ci: bool = True


def main() -> int:
    insisted = set(os.environ.get("LINT_DEPLOY_INSIST", "").replace(",", " ").split())
    rows: list[tuple[str, str, str]] = []
    failed = False
    for check in CHECKS:
        print(f"== {check.name}", flush=True)
        started = time.monotonic()
        try:
            check.run()
            verdict, why = "ok", ""
        except Absent as error:
            insist = check.name in insisted or (check.in_ci and "CI" in os.environ)
            verdict, why = ("FAILED" if insist else "skipped"), str(error)
        except (Faulty, OSError, ValueError) as error:
            verdict, why = "FAILED", str(error)
        failed = failed or verdict == "FAILED"
        rows.append((check.name, verdict, f"{time.monotonic() - started:5.1f} s  {why}".rstrip()))
    width = max(len(row[0]) for row in rows)
    print("\n" + "\n".join(f"{name:{width}}  {verdict:8}{why}" for name, verdict, why in rows))
    return 1 if failed else 0


def run(
    *command: str | Path, folder: Path = ROOT, environment: dict[str, str] | None = None
) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env={**os.environ, **(environment or {})}, check=False)
    if done.returncode:
        raise Faulty(f"{Path(words[0]).name} ended with {done.returncode}")


def on_path(tool: str, how: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise Absent(f"no {tool} here: {how}")
    return found


def ours(tool: str) -> Path:
    found = BIN / tool
    if not found.exists():
        raise Absent(f"no {tool} in {BIN}: deploy/lint-requirements.txt has it")
    return found


def terraform() -> str:
    return on_path("terraform", "it is in no package registry; see developer.hashicorp.com")


def terraform_format() -> None:
    run(terraform(), "fmt", "-check", "-diff", "-recursive", DEPLOY)


def terraform_valid() -> None:
    """`validate` and the plans in `tests/`, with a stand-in for the provider."""
    tool = terraform()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "terraform"
        shutil.copytree(
            TERRAFORM, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")
        )
        no_settings = {"TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"}
        stand_in = [sys.executable, ROOT / "scripts" / "terraform_stand_in.py", SCHEMA, "--", tool]
        for words in (["init", "-backend=false", "-input=false"], ["validate"], ["test"]):
            run(*stand_in, *words, "-no-color", folder=folder, environment=no_settings)


def terraform_names() -> None:
    run(sys.executable, ROOT / "scripts" / "check_terraform.py", SCHEMA, TERRAFORM)


def terraform_names_broken() -> None:
    """A check that finds nothing in a broken file would be none."""
    run(sys.executable, ROOT / "scripts" / "check_terraform.py", SCHEMA, "--broken")


def checkov() -> None:
    tool = ours("checkov")
    quiet = ["--quiet", "--compact", "--skip-download"]
    run(tool, "--directory", DEPLOY, "--framework", "terraform", *quiet)
    # CKV_DOCKER_7 does not see that the base's tag is its argument's default; hadolint does.
    run(
        *(tool, "--file", ROOT / "Dockerfile", "--framework", "dockerfile", *quiet),
        *("--skip-check", "CKV_DOCKER_7"),
    )
    run(tool, "--directory", ROOT / ".github", "--framework", "github_actions", *quiet)


def cloud_init() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sample = Path(folder) / "user-data.yaml"
        sample.write_text(cloud_init_sample.rendered())
        sample.chmod(0o600)
        if tool := shutil.which("cloud-init"):
            run(tool, "schema", "--config-file", sample)
            return
        packages = _unpacked_cloud_init()
        check = "from cloudinit.config import schema; raise SystemExit(schema.main())"
        run(
            *(sys.executable, "-c", check, "--config-file", sample),
            environment={"PYTHONPATH": str(packages)},
        )
    print("user-data: valid")


def _unpacked_cloud_init() -> Path:
    """Debian's package, unpacked beside the linters; nothing is installed."""
    packages = BIN.parent / "cloud-init" / "usr" / "lib" / "python3" / "dist-packages"
    if packages.exists():
        return packages
    for tool in ("apt-get", "dpkg-deb"):
        on_path(tool, "install cloud-init")
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "download", "-qq", "cloud-init"]
        done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
        found = list(Path(folder).glob("cloud-init_*.deb"))
        if done.returncode or not found:
            raise Absent("apt-get cannot download cloud-init: apt-get update, or install it")
        run("dpkg-deb", "--extract", found[0], BIN.parent / "cloud-init")
    return packages


def units() -> None:
    tool = on_path("systemd-analyze", "it comes with systemd")
    with tempfile.TemporaryDirectory() as folder:
        for path, text in cloud_init_sample.units().items():
            (Path(folder) / path.name).write_text(text)
        # What Container-Optimized OS has and this machine need not.
        (Path(folder) / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
        names = [path.name for path in cloud_init_sample.units()]
        done = subprocess.run(
            [tool, "verify", "--man=no", "--recursive-errors=no", *names],
            cwd=folder,
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
            capture_output=True,
            text=True,
            check=False,
        )
    # Programs of another machine cannot be here; all else counts.
    faults = [
        line
        for line in done.stderr.splitlines()
        if any(name in line for name in names) and "is not executable" not in line
    ]
    print("\n".join(faults) or f"{', '.join(names)}: valid")
    if faults:
        raise Faulty(f"{len(faults)} faults")


def hadolint() -> None:
    run(ours("hadolint"), "--failure-threshold", "info", ROOT / "Dockerfile")


def shellcheck() -> None:
    scripts = [path for path in (ROOT / ".ci").iterdir() if path.is_file()]
    scripts += sorted((ROOT / "scripts").glob("*.sh")) + sorted(DEPLOY.rglob("*.sh"))
    run(ours("shellcheck"), *scripts)


def actionlint() -> None:
    run(ours("actionlint"), "-shellcheck", ours("shellcheck"), "-pyflakes=", *WORKFLOWS)


def zizmor() -> None:
    run(ours("zizmor"), "--offline", "--persona=pedantic", "--quiet", *WORKFLOWS)


def schemas() -> None:
    tool = ours("check-jsonschema")
    run(tool, "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    if (compose := DEPLOY / "compose.yaml").exists():
        run(tool, "--builtin-schema", "vendor.compose-spec", compose)


def grafana() -> None:
    """Each panel's question, in Prometheus's language."""
    import promql_parser

    board = json.loads((DEPLOY / "grafana" / "photo-worker.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    for expression in asked:
        promql_parser.parse(expression.replace("$__rate_interval", "5m").replace("$instance", "a"))
    print(f"{len(asked)} expressions")


def data_files() -> None:
    """What nothing else parses."""
    files = [path for path in sorted(DEPLOY.rglob("*.json")) if ".terraform" not in path.parts]
    for path in files:
        json.loads(path.read_text())
    for path in sorted(DEPLOY.rglob("*.yaml")):
        yaml.safe_load(path.read_text())
    print(f"{len(files)} JSON files")


CHECKS: Sequence[Check] = (
    Check(name="terraform-fmt", run=terraform_format, in_ci=False),
    Check(name="terraform", run=terraform_valid, in_ci=False),
    Check(name="terraform-names", run=terraform_names),
    Check(name="terraform-names-broken", run=terraform_names_broken),
    Check(name="checkov", run=checkov),
    Check(name="cloud-init", run=cloud_init, in_ci=False),
    Check(name="systemd-analyze", run=units, in_ci=False),
    Check(name="hadolint", run=hadolint),
    Check(name="shellcheck", run=shellcheck),
    Check(name="actionlint", run=actionlint),
    Check(name="zizmor", run=zizmor),
    Check(name="schemas", run=schemas),
    Check(name="grafana", run=grafana),
    Check(name="data-files", run=data_files),
)


if __name__ == "__main__":
    sys.exit(main())
