"""What one side encodes, the other decodes; the rest of the suspicion is in `test_pool_answers`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import RenderCrashed
from worker.photo.header import Header, PictureFacts
from worker.photo.ladder import Ladder, RungSize
from worker.photo.looks import Looks
from worker.photo.watermark import Watermark
from worker.render.protocol import (
    Answer,
    Bounds,
    Done,
    Finished,
    KeepRequest,
    MeasureRequest,
    ProbeRequest,
    Ready,
    Refused,
    RenderRequest,
    Request,
    RungWritten,
    Unavailable,
    decode_answer,
    decode_request,
    encode,
)

ORIGINAL = Path("a folder/ü\n\udcff")
WATERMARK = Watermark(sha256="0" * 64, opacity=0.5, position="north-east", scale=0.25)
BOUNDS = Bounds(max_pixels=1, memory_bytes=2, cpu_seconds=0.5, drawn_px=3)
PLAIN = Looks(quality=80, effort=4, full_effort=2)
ALL = Looks(
    quality=80,
    effort=4,
    full_effort=2,
    target_bytes=100,
    target_quality=70.5,
    watermark=WATERMARK,
    background="#ffffff",
    format="png",
)
REQUESTS: list[Request] = [
    KeepRequest(file=ORIGINAL, watermark=WATERMARK),
    MeasureRequest(original=ORIGINAL, bounds=BOUNDS),
    ProbeRequest(original=ORIGINAL, max_pixels=4),
    *(
        RenderRequest(
            original=ORIGINAL,
            folder=Path("folder"),
            ladder=Ladder.exactly("32,64"),
            looks=looks,
            placeholder=False,
            bounds=BOUNDS,
        )
        for looks in (PLAIN, ALL)
    ),
]
FACTS = PictureFacts(
    format="jpeg",
    width=2,
    height=1,
    pages=1,
    taken_at=None,
    camera="Pentax",
    thumbhash="",
    color="",
)
ANSWERS: list[Answer] = [
    Ready(codec="libvips", unconfined=["network"]),
    Header(format="jpeg", width=2, height=1, bands=3, bits=8, chroma="420", turned=True),
    RungWritten(size=RungSize(rung="32", width=32, height=1), size_bytes=4, crc32c="AAAAAA=="),
    Finished(facts=FACTS, cpu_seconds=0.25, peak_bytes=1),
    Refused(reason="corrupt_original", message="two\nlines"),
    Unavailable(message="full"),
    Done(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_a_request_comes_out_as_it_went_in(request_: Request) -> None:
    line = encode(request_)
    assert line.count(b"\n") == 1
    assert decode_request(line.decode()) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda each: type(each).__name__)
def test_an_answer_comes_out_as_it_went_in(answer: Answer) -> None:
    assert decode_answer(encode(answer)) == answer


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each),
)


@given(st.sampled_from(ANSWERS), st.data())
def test_a_field_of_any_other_type_is_a_crash_or_a_sound_answer(
    answer: Answer, data: st.DataObject
) -> None:
    told = json.loads(encode(answer))
    name = data.draw(st.sampled_from(sorted(told)))
    told[name] = data.draw(JSON)
    try:
        decoded = decode_answer(json.dumps(told).encode())
    except RenderCrashed:
        return
    assert decode_answer(encode(decoded)) == decoded


def test_a_request_is_no_answer() -> None:
    with pytest.raises(RenderCrashed, match="kind"):
        decode_answer(encode(REQUESTS[0]))


def test_a_child_loads_only_what_it_needs() -> None:
    code = (
        "import sys, worker.render.child\n"
        "print(*sorted({'pydantic', 'google', 'rich', 'structlog', 'worker.photo.ports', "
        "'worker.render.verification', 'worker.render.slot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
