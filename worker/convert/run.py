"""`photo-worker convert` put together: the story of one run, from its checks to its exit code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from worker.console.progress import Show, progress
from worker.convert.engine import Engine, codec_of, plan_slots
from worker.convert.memory import MemoryWatch
from worker.convert.names import FAILURES, SUMMARY, Naming
from worker.convert.options import ConvertOptions
from worker.convert.outcomes import Failed, OutputFails, PassedOver, Pending, Stop
from worker.convert.output import Output, check_apart
from worker.convert.page import page
from worker.convert.picture import Pictures, Plan
from worker.convert.placing import Placer
from worker.convert.previews import previews
from worker.convert.session import Pace, Session
from worker.convert.state import FILE, State
from worker.convert.summary import Run, as_text, summarise, write_json, write_whole
from worker.convert.tally import Tally
from worker.convert.walk import Sighting, Walk, count_pictures, sight
from worker.errors import ExitCode, UsageFault
from worker.photo.limits import Limits
from worker.photo.recipe import Recipe
from worker.render.job import RenderSettings
from worker.settings.settings import Settings
from worker.system.machine import read_machine
from worker.telemetry.logs import Log, configure_logs

_SIGNAL_EXIT: Final = 128
_OURS: Final = "ours"
_SOURCE: Final = "source"


def run_convert(settings: Settings, options: ConvertOptions, tell: Callable[[str], None]) -> int:
    """Convert, print what came of it by `tell`, and give the exit code.

    Raises:
        UsageFault: IN or OUT is not what it should be, or there is no picture.
        ConfigurationError: there is not enough memory.
        Fatal: no child process can be started.
    """
    log = configure_logs(settings.log_format, settings.log_level)
    check_apart(options.source, options.output)
    for file in filter(None, (options.summary, options.report)):
        _check_file(file, options)
    stop = Stop()
    try:
        return _Conversion(settings, options, stop, log)(tell)
    except KeyboardInterrupt:
        return _SIGNAL_EXIT + (stop.signal or signal.SIGINT)


class _Conversion:
    def __init__(self, settings: Settings, options: ConvertOptions, stop: Stop, log: Log) -> None:
        self._settings = settings
        self._options = options
        self._log = log
        self._slots, self._memory_bytes = plan_slots(settings, read_machine())
        self._output = Output(options.output)
        self._stop = stop
        self._watch = MemoryWatch()
        self._total: int | None = None
        is_file = options.source.is_file()
        self._originals = str(options.source.parent if is_file else options.source)

    def __call__(self, tell: Callable[[str], None]) -> int:
        started = datetime.now(UTC)
        with ExitStack() as stack:
            stack.enter_context(_signals(self._stop))
            state = self._open(stack)
            tally = Tally(None if self._dry else self._output.scratch / FAILURES)
            stack.callback(tally.close)
            engine = Engine(self._render_settings(), self._slots, self._log)
            stack.callback(engine.stop)
            self._watch.start()
            stack.callback(self._watch.stop)
            recipe = self._options.recipe(self._settings, self._codec(state, engine))
            complete = self._convert(state, tally, engine, recipe)
            self._watch.stop()
            engine.stop()
            tally.close()
            self._check_found(tally, stack)
            run = Run(
                started=started,
                ended=datetime.now(UTC),
                complete=complete,
                options=self._options,
                recipe=recipe,
                slots=self._slots,
                children=engine.started,
            )
            self._report(run, tally, state, tell)
        if self._stop.fatal is not None:
            raise self._stop.fatal
        if self._stop.signal is not None:
            return _SIGNAL_EXIT + self._stop.signal
        return int(ExitCode.SOME_FAILED if tally.counts.failed else ExitCode.OK)

    @property
    def _dry(self) -> bool:
        return self._options.dry_run

    def _open(self, stack: ExitStack) -> State:
        """The output and its state; of a dry run only what is there already."""
        if self._dry and not self._output.hidden.exists():
            state = State(None)
            stack.callback(state.close)
            return state
        self._output.open()
        stack.callback(self._output.close)
        state = State(self._output.hidden / FILE)
        stack.callback(state.close)
        for name, named in ((SUMMARY, self._options.summary), (FAILURES, None)):
            file = self._output.root / name
            if file.exists() and state.note(name) != _OURS and named is None and not self._dry:
                advice = "name another with --summary" if name == SUMMARY else "move it away"
                raise UsageFault(f"{file} is there and is no earlier run's: {advice}")
        self._warn_of_another_source(state)
        return state

    def _warn_of_another_source(self, state: State) -> None:
        source = str(Path(self._originals).resolve())
        before = state.note(_SOURCE)
        if before is not None and before != source:
            self._log.warning(
                "this output was made of other originals: of two with one name the renditions of "
                "the newer run stay",
                before=before,
                now=source,
            )
        if not self._dry:
            state.keep_note(_SOURCE, source)

    def _render_settings(self) -> RenderSettings:
        return RenderSettings(
            recipe=self._options.recipe(self._settings, ""),
            max_pixels=self._settings.max_original_pixels,
            timeout_seconds=self._settings.render_timeout_seconds,
            memory_bytes=self._memory_bytes,
            scratch=self._output.scratch,
            watermark_file=self._settings.watermark,
            placeholders=False,
        )

    def _codec(self, state: State, engine: Engine) -> str:
        # A dry run of a folder that was never converted into needs no child to know that.
        if self._dry and state.note("codec") is None:
            return "unknown"
        return codec_of(state, engine.pool)

    def _convert(self, state: State, tally: Tally, engine: Engine, recipe: Recipe) -> bool:
        keep_smaller = self._options.keep_smaller
        plan = Plan(
            originals=self._originals,
            naming=Naming.of(recipe.ladder, recipe.looks.format),
            made=recipe.fingerprint + (" keep-smaller" if keep_smaller else ""),
            keep_smaller=keep_smaller,
            limits=Limits(
                max_original_bytes=self._settings.max_original_bytes,
                max_original_pixels=self._settings.max_original_pixels,
            ),
        )
        pictures = Pictures(plan, self._output, state, engine.pool)
        with progress("convert", self._log) as show:
            pace = Pace(tally, lambda: self._total)
            with self._counting():
                if self._dry:
                    return self._judge(pictures, tally, pace, show)
                session = Session(
                    pictures=pictures,
                    engine=engine,
                    placer=Placer(self._output, state, plan.made, self._stop, tally.add),
                    tally=tally,
                    stop=self._stop,
                    log=self._log,
                    look=lambda: show(pace.counts()),
                )
                return session.run(self._sightings(), self._options.limit)

    def _judge(self, pictures: Pictures, tally: Tally, pace: Pace, show: Show) -> bool:
        """Only count what a run would do."""
        for sighting in self._sightings():
            if self._stop.asked:
                return False
            show(pace.counts())
            if isinstance(sighting, PassedOver):
                tally.add(sighting)
                continue
            tally.saw()
            judged = sighting if isinstance(sighting, Failed) else pictures.judge(sighting)
            if not isinstance(judged, Pending):
                tally.add(judged)
            elif tally.counts.pending == self._options.limit:
                tally.unsaw()
                self._stop.full = True
                return False
            else:
                tally.wants(judged.found)
        return True

    def _sightings(self) -> Iterator[Sighting]:
        source = self._options.source
        if source.is_file():
            yield sight(source.name, str(source))
            return
        yield from Walk(self._originals, self._options.globs, self._output.identity)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Meanwhile count the pictures, for the progress."""
        over = threading.Event()

        def count() -> None:
            if self._options.source.is_dir():
                avoid = self._output.identity
                globs = self._options.globs
                self._total = count_pictures(self._originals, globs, avoid, over.is_set)

        thread = threading.Thread(target=count, name="count", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _check_found(self, tally: Tally, stack: ExitStack) -> None:
        if tally.counts.found or self._stop.asked:
            return
        stack.close()
        if not self._dry:
            self._output.undo()
        files = sum(tally.passed.values())
        if self._options.source.is_file():
            raise UsageFault(f"{self._options.source} is no picture")
        what = f"none of its {files:,} files is one that is chosen" if files else "it has no files"
        raise UsageFault(f"there is no picture in {self._options.source}: {what}")

    def _report(self, run: Run, tally: Tally, state: State, tell: Callable[[str], None]) -> None:
        summary = summarise(run, tally, self._watch, self._stop)
        try:
            if not self._dry:
                self._write(summary, tally, state)
            if self._options.report is not None:
                names = [each.name for each in (*tally.best, *tally.worst)]
                shown = previews(
                    *(names, self._originals, self._settings, self._log, self._stop),
                    told_unconfined=run.children,
                )
                write_whole(self._options.report, page(summary, shown))
        except OSError as error:
            failing = OutputFails(f"the summary or the report cannot be written: {error}")
            self._stop.fatal = self._stop.fatal or failing
        except OutputFails as error:
            self._stop.fatal = self._stop.fatal or error
        finally:
            tell(as_text(summary, as_json=self._options.as_json))

    def _write(self, summary: dict[str, object], tally: Tally, state: State) -> None:
        failures = self._output.root / FAILURES
        if tally.counts.failed:
            state.keep_note(FAILURES, _OURS)
            (self._output.scratch / FAILURES).replace(failures)
        elif state.note(FAILURES) == _OURS:
            failures.unlink(missing_ok=True)
        if self._options.summary is None:
            state.keep_note(SUMMARY, _OURS)
        write_json(self._options.summary or self._output.root / SUMMARY, summary)


def _check_file(file: Path, options: ConvertOptions) -> None:
    folder = file.absolute().parent
    # The output itself need not be there yet, except where it is not going to be made.
    made = folder.resolve() == options.output.resolve() and not options.dry_run
    if file.is_dir() or not (made or folder.is_dir()):
        raise UsageFault(f"{file} cannot be written: name a file in a folder that exists")


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM let running pictures end; a second one does not wait for them."""

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
