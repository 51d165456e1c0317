"""The machines' cloud-init file as Terraform would render it, with made-up values.

Knows the little of Terraform's template language that the file uses; `terraform test` renders it
for real.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

TEMPLATE = Path(__file__).parents[1] / "deploy" / "terraform" / "cloud-init.yaml.tftpl"

ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "example",
    "WORKER_SUBSCRIPTION": "projects/example/subscriptions/photos",
    "WORKER_OUTPUT_PREFIX": "photos/",
}

VALUES = {
    "image": f"us-central1-docker.pkg.dev/example/photos/photo-worker@sha256:{'0' * 64}",
    "registry": "us-central1-docker.pkg.dev",
    "http_port": "8080",
    "memory_mib": "14336",
    "scratch_mib": "3072",
    "docker_stop_seconds": "25",
    "unit_stop_seconds": "28",
}

_LOOP = re.compile(
    r"^%\{ for name, value in environment ~\}\n(.*?)^%\{ endfor ~\}\n", re.MULTILINE | re.DOTALL
)


def rendered() -> str:
    """The whole file. KeyError: it uses a value that is not named here."""
    text = _LOOP.sub(
        lambda loop: "".join(
            loop[1].replace("${name}", name).replace("${value}", value)
            for name, value in ENVIRONMENT.items()
        ),
        TEMPLATE.read_text(),
    )
    return re.sub(r"\$\{(\w+)\}", lambda value: VALUES[value[1]], text)


def units() -> dict[PurePosixPath, str]:
    """The systemd units that it writes, by their path."""
    import yaml

    written = yaml.safe_load(rendered())["write_files"]
    return {
        PurePosixPath(file["path"]): file["content"]
        for file in written
        if file["path"].endswith((".service", ".timer"))
    }
