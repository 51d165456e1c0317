"""The report's page: one HTML file that asks nobody for anything.

Names come from a folder that may be a stranger's: all of them are escaped, and the page forbids
scripts and requests to itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from worker.console.text import duration, plain
from worker.convert.drawings import before_and_after, distribution, over_time, size

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(summary: Mapping[str, Any], previews: Mapping[str, str]) -> bytes:
    """The page of one summary; `previews` are `data:` addresses by name."""
    body = [
        _head(summary),
        _tiles(summary),
        _charts(summary),
        _savings("Best savings", summary["best_savings"], previews),
        _savings("Worst savings", summary["worst_savings"], previews),
        _failures(summary),
        _passed_over(summary),
        _facts(summary),
    ]
    style = files("worker.convert").joinpath("page.css").read_text("utf-8")
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_name(summary['source'])} converted</title><style>{style}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    return text.encode("utf-8", "replace")


def _head(summary: Mapping[str, Any]) -> str:
    began = summary["started_at"].replace("T", " ")[:19]
    note = (
        ""
        if summary["complete"]
        else f'<p class="note">Not complete: {_name(summary["ended_by"])}</p>'
    )
    return (
        f"<header><h1>{_name(summary['source'])} <span>→ {_name(summary['output'])}</span></h1>"
        f"<p>{began} UTC · {duration(summary['seconds'])} · {_name(summary['recipe'])}</p>"
        f"{note}</header>"
    )


def _tiles(summary: Mapping[str, Any]) -> str:
    saved = summary["saved_percent"]
    each = summary["image_seconds"]["average"]
    done = (f"{summary['converted']:,}", "converted", "")
    peak_bytes = summary["memory"]["peak_bytes"]
    if summary["dry_run"]:
        done = (f"{summary['would_convert']:,}", "would be converted", "")
    tiles = [
        done,
        (f"{summary['current']:,}", "current already", ""),
        (f"{summary['failed']:,}", "failed", "bad" if summary["failed"] else ""),
        (f"{summary['skipped']:,}", "files passed over", ""),
        (size(summary.get("would_read_bytes", summary["bytes_in"])), "of originals", ""),
        (f"{size(summary['bytes_out'])}", _written(saved), ""),
        (f"{summary['images_per_second']:,.1f}", "images a second", ""),
        ("-" if each is None else f"{each:,.2f} s", "an image, average", ""),
        (f"{summary['cpu_seconds']['total']:,.1f} s", "CPU, all processes", ""),
        (size(peak_bytes) if peak_bytes else "-", "memory at most, all processes", ""),
    ]
    return (
        '<section class="tiles">'
        + "".join(
            f'<div class="tile {kind}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
            for value, label, kind in tiles
        )
        + "</section>"
    )


def _written(saved: float | None) -> str:
    if saved is None:
        return "written"
    return f"written, {abs(saved):.0f} % {'less' if saved >= 0 else 'more'}"


def _charts(summary: Mapping[str, Any]) -> str:
    if not summary["converted"]:
        return ""
    rungs = [
        (rung, total["original_bytes"], total["bytes"]) for rung, total in summary["rungs"].items()
    ]
    samples = [(each["at_seconds"], each["bytes"]) for each in summary["memory"]["samples"]]
    return (
        '<section class="charts">'
        + _figure(
            "Before and after",
            '<i class="before"></i> originals <i class="after"></i> renditions',
            before_and_after(rungs),
        )
        + _figure(
            "Seconds an image",
            "in its render slot; images by class, upper ends",
            distribution(_classes(summary["image_seconds"]["histogram"])),
        )
        + (_figure("Memory", "all processes together", over_time(samples)) if samples else "")
        + "</section>"
    )


def _classes(histogram: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Without the empty classes at both ends."""
    used = [number for number, each in enumerate(histogram) if each["images"]]
    return [
        ("more" if each["up_to"] is None else f"{each['up_to']:g}".lstrip("0"), each["images"])
        for each in histogram[used[0] : used[-1] + 1]
    ]


def _figure(title: str, told: str, drawing: str) -> str:
    return f"<figure><figcaption><h2>{title}</h2><p>{told}</p></figcaption>{drawing}</figure>"


def _savings(title: str, savings: Sequence[Mapping[str, Any]], shown: Mapping[str, str]) -> str:
    if not savings:
        return ""
    cards = []
    for each in savings:
        share = 100 * each["share"]
        image = (
            f'<img src="{escape(shown[each["name"]])}" alt="">'
            if each["name"] in shown
            else '<div class="blank">no preview</div>'
        )
        kind = "bad" if share < 0 else "good"
        pixels = f"{each['width']:,} \u00d7 {each['height']:,}"
        told = "kept as it is" if each["kept"] else f"{abs(share):,.1f} % {_less(share)}"
        cards.append(
            f'<li class="card">{image}<div class="told"><b class="{kind}">'
            f"{told}</b><p>{size(each['original_bytes'])} → {size(each['rendition_bytes'])}</p>"
            f'<p class="name" title="{_name(each["name"])}">{_name(each["name"])}</p>'
            f"<p>{each['format'].upper()}, {pixels}</p></div></li>"
        )
    return f'<section><h2>{title}</h2><ul class="cards">{"".join(cards)}</ul></section>'


def _less(share: float) -> str:
    return "less" if share >= 0 else "more"


def _failures(summary: Mapping[str, Any]) -> str:
    if not summary["failed"]:
        return ""
    reasons = ", ".join(
        f"{_name(reason)} {count:,}" for reason, count in summary["failures_by_reason"].items()
    )
    rows = "".join(
        f"<tr><td>{_name(each['name'])}</td><td><code>{_name(each['reason'])}</code></td>"
        f"<td>{_name(each['message'])}</td></tr>"
        for each in summary["failures"]
    )
    left = summary["failed"] - len(summary["failures"])
    more = f"<p>… and {left:,} more in {_name(str(summary['failures_file']))}</p>" if left else ""
    return (
        f"<section><h2>Failures</h2><p>{reasons}</p><div class='scroll'><table><thead><tr>"
        f"<th>Name</th><th>Reason</th><th>Message</th></tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{more}</section>"
    )


def _passed_over(summary: Mapping[str, Any]) -> str:
    listed = [each for each in summary["skipped_files"] if each["reason"] != "excluded"]
    if not listed:
        return ""
    rows = "".join(
        f"<tr><td>{_name(each['name'])}</td><td><code>{_name(each['reason'])}</code></td></tr>"
        for each in listed
    )
    return (
        f"<section><details><summary>Files passed over ({summary['skipped']:,})</summary>"
        f"<div class='scroll'><table><tbody>{rows}</tbody></table></div></details></section>"
    )


def _facts(summary: Mapping[str, Any]) -> str:
    machine = summary["machine"]
    rows = [
        ("Machine", f"{machine['cpu']}, {machine['vcpus']} vCPUs, {size(machine['memory_bytes'])}"),
        ("System", machine["system"]),
        ("Render slots", str(summary["slots"])),
        ("CPU seconds", ", ".join(f"{k} {v:,.1f}" for k, v in summary["cpu_seconds"].items())),
        ("Formats", ", ".join(f"{k} {v:,}" for k, v in summary["formats"].items()) or "-"),
        ("Versions", ", ".join(f"{k} {v}" for k, v in summary["versions"].items())),
    ]
    told = "".join(f"<dt>{label}</dt><dd>{_name(value)}</dd>" for label, value in rows)
    return f"<footer><dl>{told}</dl></footer>"


def _name(text: str) -> str:
    """A text of somebody else's, on one line."""
    return escape(plain(text))
