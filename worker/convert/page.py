"""The report's page: one HTML file without requests to any server.

Names may come from a stranger's folder. All of them are escaped, and the page's policy forbids its
own scripts and requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from worker.console.text import duration, plain, size
from worker.convert.drawings import Bar, bars, curve

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(summary: Mapping[str, Any], previews: Mapping[str, str]) -> bytes:
    """Return the page of one summary; `previews` are `data:` addresses by name."""
    body = [
        _head(summary),
        _tiles(summary),
        _charts(summary),
        _savings("Largest savings", summary["best_savings"], previews),
        _savings("Smallest savings", summary["worst_savings"], previews),
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
        f"<header><p>{_name(summary['source'])} → {_name(summary['output'])}</p>"
        f"<h1>{_result(summary)}</h1>"
        f"<p>{began} UTC, {duration(summary['seconds'])}</p>{note}</header>"
    )


def _result(summary: Mapping[str, Any]) -> str:
    if summary["dry_run"]:
        wanted, read = summary["would_convert"], size(summary["would_read_bytes"])
        return f"{_images(wanted)} of {read} would be converted"
    if not summary["converted"]:
        return f"No image converted, {summary['current']:,} current already"
    saved = summary["saved_percent"]
    sizes = len(summary["rungs"])
    each = f" in {sizes} sizes" if sizes > 1 else ""
    return (
        f"{_images(summary['converted'])}: {size(summary['bytes_in'])} became "
        f"{size(summary['bytes_out'])}{each}, <em>{abs(saved):.0f} % {_less(saved)}</em>"
    )


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _tiles(summary: Mapping[str, Any]) -> str:
    peak_bytes = summary["memory"]["peak_bytes"]
    tiles = [
        (f"{summary['converted']:,}", "converted", ""),
        (f"{summary['current']:,}", "current already", ""),
        (f"{summary['failed']:,}", "failed", "bad" if summary["failed"] else ""),
        (f"{summary['skipped']:,}", "files passed over", ""),
        (f"{summary['images_per_second']:,.1f}", "images a second", ""),
        (size(peak_bytes) if peak_bytes else "-", "memory at most", ""),
    ]
    if summary["dry_run"]:
        tiles[0] = (f"{summary['would_convert']:,}", "would be converted", "")
        tiles[4] = (size(summary["would_read_bytes"]), "of originals", "")
    return (
        '<section class="tiles">'
        + "".join(
            f'<div class="tile {kind}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
            for value, label, kind in tiles
        )
        + "</section>"
    )


def _charts(summary: Mapping[str, Any]) -> str:
    converted, seconds = summary["converted"], summary["image_seconds"]
    if not converted:
        return ""
    memory = summary["memory"]
    largest = memory["largest_child_peak_bytes"]
    return (
        '<section class="charts">'
        + _figure(
            "What one image weighs",
            "Average file by size. The share compares with the originals of the same images.",
            bars(_weights(summary)),
        )
        + _figure(
            "How long one image takes",
            f"{_half(summary)} The average is {seconds['average']:,.2f} s, the slowest took "
            f"{seconds['max']:,.2f} s. The wait for a free render slot is left out.",
            bars(_classes(seconds["histogram"])),
        )
        + (_memory(memory, largest) if memory["samples"] else "")
        + "</section>"
    )


def _memory(memory: Mapping[str, Any], largest: int) -> str:
    return _figure(
        "Memory over the run",
        f"All processes together, at most {size(memory['peak_bytes'])}."
        + (f" The largest render took {size(largest)}." if largest else ""),
        curve([(each["at_seconds"], each["bytes"]) for each in memory["samples"]]),
    )


def _weights(summary: Mapping[str, Any]) -> list[Bar]:
    average = summary["bytes_in"] / summary["converted"]
    rows = [Bar("original", average, size(average), "100 %", "before")]
    for rung, total in summary["rungs"].items():
        average = total["bytes"] / total["count"]
        share = 100 * total["bytes"] / max(1, total["original_bytes"])
        rows.append(
            Bar(rung, average, size(average), f"{share:.2g} %" if share < 1 else f"{share:.0f} %")
        )
    return rows


def _half(summary: Mapping[str, Any]) -> str:
    """Return the median's class in words."""
    seen = 0
    for each in summary["image_seconds"]["histogram"]:
        seen += each["images"]
        if 2 * seen >= summary["converted"] and each["up_to"] is not None:
            return f"Half of the images take at most {each['up_to']:g} s."
    return "Half of the images take more than a minute."


def _classes(histogram: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Return a bar for each class, without the empty classes at both ends."""
    used = [number for number, each in enumerate(histogram) if each["images"]]
    return [
        Bar(
            "longer" if each["up_to"] is None else f"up to {each['up_to']:g} s",
            each["images"],
            f"{each['images']:,}",
        )
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
            f'<p class="name">{_name(each["name"])}</p>'
            f"<p>{each['format'].upper()}, {pixels}</p></div></li>"
        )
    return (
        f"<section><h2>{title}</h2><p>The largest rendition against its original.</p>"
        f'<ul class="cards">{"".join(cards)}</ul></section>'
    )


def _less(share: float) -> str:
    return "less" if share >= 0 else "more"


def _failures(summary: Mapping[str, Any]) -> str:
    if not summary["failed"]:
        return ""
    reasons = ", ".join(
        f"{_name(reason)} {count:,}" for reason, count in summary["failures_by_reason"].items()
    )
    left = summary["failed"] - len(summary["failures"])
    more = f"<p>… and {left:,} more in {_name(str(summary['failures_file']))}</p>" if left else ""
    return f"<section><h2>Failures</h2><p>{reasons}</p>{_list(summary['failures'])}{more}</section>"


def _passed_over(summary: Mapping[str, Any]) -> str:
    listed = [each for each in summary["skipped_files"] if each["reason"] != "excluded"]
    if not listed:
        return ""
    return (
        f"<section><details><summary>Files passed over ({summary['skipped']:,})</summary>"
        f"{_list(listed)}</details></section>"
    )


def _list(files: Sequence[Mapping[str, Any]]) -> str:
    """Return a list of files with their reason and, if there is one, a message."""
    rows = "".join(
        f"<li><b>{_name(each['name'])}</b><code>{_name(each['reason'])}</code>"
        f"<span>{_name(each.get('message', ''))}</span></li>"
        for each in files
    )
    return f'<ul class="files">{rows}</ul>'


def _facts(summary: Mapping[str, Any]) -> str:
    machine = summary["machine"]
    rows = [
        ("Machine", f"{machine['cpu']}, {machine['vcpus']} vCPUs, {size(machine['memory_bytes'])}"),
        ("System", machine["system"]),
        ("Render slots", str(summary["slots"])),
        ("Recipe", summary["recipe"]),
        ("CPU seconds", ", ".join(f"{k} {v:,.1f}" for k, v in summary["cpu_seconds"].items())),
        ("Formats", ", ".join(f"{k} {v:,}" for k, v in summary["formats"].items()) or "-"),
        ("Versions", ", ".join(f"{k} {v}" for k, v in summary["versions"].items())),
    ]
    told = "".join(f"<dt>{label}</dt><dd>{_name(value)}</dd>" for label, value in rows)
    return f"<footer><dl>{told}</dl></footer>"


def _name(text: str) -> str:
    """Return somebody else's text on one line."""
    return escape(plain(text))
