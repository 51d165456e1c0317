"""Compare `photo-worker convert` with scripts of its users' making: CPU seconds, memory, bytes.

    python -m benchmarks.convert --photos ~/Pictures [--sharp node_modules]
    python -m benchmarks.convert --svg icons/ [--svg-files 500]

Photos: 200 JPEG and PNG files are made of them, in sizes from 640 pixels to their own, and
converted to WebP of quality 80 in the same size by `convert --sizes full`, by Pillow in a process
pool, and by sharp. Drawings: each drawn with 256 pixels, by `convert --sizes 256` and by
`rsvg-convert` and `cwebp`. Contenders run in turns, so that a noisy machine disturbs all of them
alike; CPU seconds are of all their processes, memory is the sum of their proportional set sizes.
Prints Markdown tables of medians, and each round's ratios.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.system import processes

PILLOW = """
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from PIL import Image

def convert(path):
    with Image.open(path) as image:
        image.save(Path(sys.argv[2], path.name + ".webp"), quality=80)

if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        list(pool.map(convert, sorted(Path(sys.argv[1]).iterdir())))
"""

SHARP = """
const fs = require("node:fs"), path = require("node:path"), sharp = require("sharp");
const [, , from, to] = process.argv;
async function main() {
  const names = fs.readdirSync(from).sort();
  await Promise.all([0, 1].map(async () => {
    for (let name; (name = names.shift()); )
      await sharp(path.join(from, name))
        .webp({ quality: 80 })
        .toFile(path.join(to, name + ".webp"));
  }));
}
main();
"""

DRAWINGS = """
for file in "$1"/*.svg; do
  name=$(basename "$file")
  rsvg-convert -w 256 -h 256 -a "$file" -o "$2/$name.png" &&
    cwebp -quiet -q 80 "$2/$name.png" -o "$2/$name.webp"
  rm -f "$2/$name.png"
done
"""

EDGES = (640, 800, 1024, 1280, 1600, 2048, 3000)
WATCH_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one contender took, once."""

    cpu_seconds: float
    seconds: float
    peak_bytes: int
    files: int
    bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photos")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--svg", type=Path, help="a folder of drawings")
    parser.add_argument("--svg-files", type=int, default=500)
    parser.add_argument("--sharp", type=Path, help="the node_modules that hold sharp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-bytes", default="", help="for convert, as its flag")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="measure-convert-") as folder:
        work = Path(folder)
        if asked.photos:
            originals = make_photos(asked.photos, work / "photos", asked.files)
            contenders = {"convert": ours("full", asked.memory_bytes), "Pillow": script(PILLOW)}
            if asked.sharp:
                contenders["sharp"] = sharp(work, asked.sharp)
            compare(f"{asked.files} JPEG and PNG", contenders, originals, work, asked.rounds)
        if asked.svg:
            originals = choose_drawings(asked.svg, work / "svg", asked.svg_files)
            contenders = {
                "convert": ours("256", asked.memory_bytes),
                "rsvg-convert, cwebp": lambda a, b: ["sh", "-c", DRAWINGS, "sh", str(a), str(b)],
            }
            compare(f"{asked.svg_files} drawings", contenders, originals, work, asked.rounds)


Command = Callable[[Path, Path], list[str]]


def ours(sizes: str, memory_bytes: str) -> Command:
    extra = ["--memory-bytes", memory_bytes] if memory_bytes else []
    head = [sys.executable, "-m", "worker", "convert"]
    return lambda originals, out: [
        *(*head, str(originals), str(out)),
        *("--sizes", sizes, "--quality", "80", *extra),
    ]


def script(text: str) -> Command:
    return lambda originals, out: [sys.executable, "-c", text, str(originals), str(out)]


def sharp(work: Path, modules: Path) -> Command:
    program = work / "sharp.cjs"
    program.write_text(SHARP)
    os.environ["NODE_PATH"] = str(modules.resolve())
    return lambda originals, out: ["node", str(program), str(originals), str(out)]


def make_photos(source: Path, into: Path, count: int) -> Path:
    """Photos in their own size and smaller, whole and cropped, as JPEG and as PNG."""
    from PIL import Image

    into.mkdir()
    photos = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    made = 0
    for number, edge in enumerate((0, *EDGES, *EDGES, *EDGES)):
        for photo in photos:
            if made == count:
                return into
            name = f"{made:03}-{photo.stem[:20]}-{edge or 'own'}"
            made += 1
            if not edge:
                shutil.copy(photo, into / f"{name}.jpg")
                continue
            with Image.open(photo) as whole:
                image: Image.Image = whole
                if number > len(EDGES):
                    left, top = whole.width // 3, whole.height // 3
                    image = whole.crop((left, top, 3 * left, 3 * top))
                image.thumbnail((edge, edge))
                if number % 3 == 1:
                    image.save(into / f"{name}.png")
                else:
                    image.save(into / f"{name}.jpg", quality=92)
    return into


def choose_drawings(source: Path, into: Path, count: int) -> Path:
    into.mkdir()
    found = sorted(source.rglob("*.svg"))
    for number, drawing in enumerate(found[:: max(1, len(found) // count)][:count]):
        shutil.copy(drawing, into / f"{number:04}-{drawing.name}")
    return into


def compare(
    what: str, contenders: dict[str, Command], originals: Path, work: Path, rounds: int
) -> None:
    took: dict[str, list[Round]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, command in contenders.items():
            out = work / "out"
            out.mkdir()
            took[name].append(measure(command(originals, out), out))
            shutil.rmtree(out)
    first, *others = took
    print(f"\n{what}, median of {rounds} rounds in turns\n")
    print("| | CPU s | s | MiB at most | files | MB out | CPU of convert's, each round |")
    print("|---|---|---|---|---|---|---|")
    for name, each in took.items():
        ratios = [a.cpu_seconds / b.cpu_seconds for a, b in zip(each, took[first], strict=True)]
        told = f"{statistics.median(ratios):.2f} ({', '.join(f'{r:.2f}' for r in ratios)})"
        print(
            f"| {name} | {median(each, lambda r: r.cpu_seconds):.1f} "
            f"| {median(each, lambda r: r.seconds):.1f} "
            f"| {median(each, lambda r: r.peak_bytes) / (1 << 20):.0f} "
            f"| {each[0].files} | {each[0].bytes / 1e6:.1f} "
            f"| {told if name in others else ''} |"
        )


def median(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(map(figure, rounds))


def measure(command: list[str], out: Path) -> Round:
    started = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak, over = [0], threading.Event()
    watch = threading.Thread(target=watch_memory, args=(child.pid, peak, over))
    watch.start()
    _, status, usage = os.wait4(child.pid, 0)
    over.set()
    watch.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {child.returncode}")
    written = list(out.rglob("*.webp"))
    return Round(
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        seconds=time.monotonic() - started,
        peak_bytes=peak[0],
        files=len(written),
        bytes=sum(path.stat().st_size for path in written),
    )


def watch_memory(pid: int, peak: list[int], over: threading.Event) -> None:
    while not over.wait(WATCH_SECONDS):
        peak[0] = max(peak[0], sum(map(processes.resident_bytes, below(pid))))


def below(pid: int) -> list[int]:
    return [pid, *(deep for child in processes.children(pid) for deep in below(child))]


if __name__ == "__main__":
    main()
