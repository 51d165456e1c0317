"""Measure what each rung has lost: against a lossless resize of the original to the same size.

    python -m benchmarks.quality FOLDER [--json]

For each photo of FOLDER and each rung: the worker's rendition, and what one `vipsthumbnail` with
the same WebP settings makes of the original. Both are compared with the original, decoded in full
and resized once with Lanczos 3, in SSIM and PSNR (of luma), and in SSIMULACRA2 where the Python
package `ssimulacra2` is at hand (see `pictures`). Higher is better in each.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from benchmarks.pictures import can_score, decoded, resized, ssimulacra2, write_png
from worker.lab.bench.subject import LIMITS
from worker.photo.ladder import DEFAULT_LADDER
from worker.photo.looks import Looks
from worker.render.image.imaging import Picture
from worker.render.image.vips import pyvips

ENCODING = Looks(quality=80, effort=4, full_effort=2)
SSIMULACRA2_MAX_PIXELS = 3_000_000  # it is slow, and the eye is no stricter above


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    metrics = find_metrics()
    scores: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for path in sorted(Path(options.folder).iterdir()):
        for rung, metric, ours, theirs in measure(path.read_bytes(), metrics):
            scores[rung, metric].append((ours, theirs))
        print(path.name, file=sys.stderr)
    rows = [
        {
            "rung": rung,
            "metric": metric,
            "photos": len(pairs),
            "worker": round(statistics.mean(ours for ours, _ in pairs), 4),
            "vipsthumbnail": round(statistics.mean(theirs for _, theirs in pairs), 4),
            "worst_difference": round(min(ours - theirs for ours, theirs in pairs), 4),
        }
        for (rung, metric), pairs in scores.items()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| rung | metric | photos | worker | vipsthumbnail | worst difference |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


Metric = Callable[[pyvips.Image, pyvips.Image], float | None]


def measure(data: bytes, metrics: dict[str, Metric]) -> list[tuple[str, str, float, float]]:
    """For one original: rung, metric, the worker's score, one vipsthumbnail's score."""
    original = decoded(data)
    picture = Picture(data, LIMITS)
    picture.decode()
    found = []
    for size, encoded in picture.renditions(DEFAULT_LADDER, ENCODING):
        reference = resized(original, size.width, size.height).copy_memory()
        effort = ENCODING.full_effort if size.rung == "full" else ENCODING.effort
        theirs = pyvips.Image.thumbnail_buffer(
            data, size.width, height=size.height, size="force", export_profile="srgb"
        ).webpsave_buffer(Q=ENCODING.quality, effort=effort, keep="none")
        for name, metric in metrics.items():
            pair = [
                metric(reference, pyvips.Image.new_from_buffer(webp, "").copy_memory())
                for webp in (encoded, theirs)
            ]
            if pair[0] is not None and pair[1] is not None:
                found.append((size.rung, name, pair[0], pair[1]))
    return found


def find_metrics() -> dict[str, Metric]:
    metrics: dict[str, Metric] = {"ssim": ssim, "psnr": psnr}
    return metrics | {"ssimulacra2": small_ssimulacra2} if can_score() else metrics


def small_ssimulacra2(reference: pyvips.Image, webp: pyvips.Image) -> float | None:
    if webp.width * webp.height > SSIMULACRA2_MAX_PIXELS:
        return None
    with tempfile.TemporaryDirectory() as folder:
        png = write_png(reference, Path(folder, "reference.png"))
        return ssimulacra2(png, webp.pngsave_buffer(compression=1, keep="none"))


def ssim(reference: pyvips.Image, image: pyvips.Image) -> float:
    """Mean structural similarity (Wang et al. 2004): Gaussian window of sigma 1.5."""
    one, other = (luma(each) for each in (reference, image))
    mean_one, mean_other = (each.gaussblur(1.5) for each in (one, other))
    spread_one = (one * one).gaussblur(1.5) - mean_one * mean_one
    spread_other = (other * other).gaussblur(1.5) - mean_other * mean_other
    shared = (one * other).gaussblur(1.5) - mean_one * mean_other
    a, b = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (mean_one * mean_other * 2 + a) * (shared * 2 + b)
    below = (mean_one * mean_one + mean_other * mean_other + a) * (spread_one + spread_other + b)
    return float((above / below).avg())


def psnr(reference: pyvips.Image, image: pyvips.Image) -> float:
    difference = luma(reference) - luma(image)
    return 10 * math.log10(255**2 / max((difference * difference).avg(), 1e-9))


def luma(image: pyvips.Image) -> pyvips.Image:
    red, green, blue = image[0], image[1], image[2]
    return (red * 0.299 + green * 0.587 + blue * 0.114).copy_memory()


if __name__ == "__main__":
    main()
