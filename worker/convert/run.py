"""This module runs `photo-worker convert` once, from the checks to the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from worker.console.progress import progress
from worker.console.stop import Stop
from worker.console.text import to_json
from worker.convert.engine import Engine, codec_of, plan_slots
from worker.convert.memory import MemoryWatch
from worker.convert.names import FAILURES, STATE, SUMMARY, Naming
from worker.convert.options import ConvertOptions
from worker.convert.originals import Sighting, count_pictures, find_originals, identity_of, sight
from worker.convert.outcomes import OutputFails, RunEnd
from worker.convert.output import OutputFolder, check_apart
from worker.convert.pace import Pace
from worker.convert.page import page
from worker.convert.picture import Pictures, Plan
from worker.convert.placing import Placer
from worker.convert.previews import previews
from worker.convert.session import Session
from worker.convert.state import StateFile
from worker.convert.summary import RunFacts, as_text, summarise, write_whole
from worker.convert.tally import Tally
from worker.errors import ExitCode, UsageFault
from worker.photo.recipe import Recipe
from worker.render.job import RenderSettings
from worker.settings.settings import Settings
from worker.system.machine import read_machine
from worker.telemetry.logs import Log, configure_logs

_INTERRUPTED: Final = 130
_OURS: Final = "ours"
_SOURCE: Final = "source"


def run_convert(settings: Settings, options: ConvertOptions, tell: Callable[[str], None]) -> int:
    """Convert, print the result with `tell`, and return the exit code.

    Raises:
        UsageFault: IN or OUT is wrong, or IN has no pictures.
        ConfigurationError: there is not enough memory.
        Fatal: child processes cannot be started, or the output cannot be written any more.
    """
    log = configure_logs(settings.log_format, settings.log_level)
    check_apart(options.source, options.output)
    for file in filter(None, (options.summary, options.report)):
        _check_file(file, options)
    signals = Stop()
    try:
        with signals:
            return _Conversion(settings, options, RunEnd(signals), log)(tell)
    except KeyboardInterrupt:
        # The second signal raised this; the exit code is the first signal's.
        return signals.exit_code or _INTERRUPTED


class _Conversion:
    def __init__(self, settings: Settings, options: ConvertOptions, end: RunEnd, log: Log) -> None:
        self._settings = settings
        self._options = options
        self._log = log
        self._slots, self._memory_bytes = plan_slots(settings, read_machine())
        self._output = OutputFolder(options.output)
        self._end = end
        self._watch = MemoryWatch()
        is_file = options.source.is_file()
        self._originals = str(options.source.parent if is_file else options.source)

    def __call__(self, tell: Callable[[str], None]) -> int:
        started = datetime.now(UTC)
        with ExitStack() as stack:
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
            run = RunFacts(
                started=started,
                ended=datetime.now(UTC),
                complete=complete,
                options=self._options,
                recipe=recipe,
                slots=self._slots,
                children=engine.started,
            )
            self._report(run, tally, state, tell)
        if self._end.fatal is not None:
            raise self._end.fatal
        if self._end.signals.exit_code is not None:
            return self._end.signals.exit_code
        return int(ExitCode.SOME_FAILED if tally.counts.failed else ExitCode.OK)

    @property
    def _dry(self) -> bool:
        return self._options.dry_run

    def _open(self, stack: ExitStack) -> StateFile:
        """Open the output and its state; a dry run opens only what exists."""
        if self._dry and not self._output.hidden.exists():
            state = StateFile(None)
            stack.callback(state.close)
            return state
        self._output.open()
        stack.callback(self._output.close)
        state = StateFile(self._output.hidden / STATE)
        stack.callback(state.close)
        for name, named in ((SUMMARY, self._options.summary), (FAILURES, None)):
            file = self._output.root / name
            if file.exists() and state.note(name) != _OURS and named is None and not self._dry:
                advice = "name another with --summary" if name == SUMMARY else "move it away"
                raise UsageFault(f"{file} is there and is no earlier run's: {advice}")
        self._warn_of_another_source(state)
        return state

    def _warn_of_another_source(self, state: StateFile) -> None:
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

    def _codec(self, state: StateFile, engine: Engine) -> str:
        # Without an earlier run all pictures must be converted, whatever codec a child names.
        if self._dry and state.note("codec") is None:
            return "unknown"
        return codec_of(state, engine.pool)

    def _convert(self, state: StateFile, tally: Tally, engine: Engine, recipe: Recipe) -> bool:
        keep_smaller = self._options.keep_smaller
        plan = Plan(
            originals=self._originals,
            naming=Naming.of(recipe.ladder, recipe.looks.format),
            made=recipe.fingerprint + (" keep-smaller" if keep_smaller else ""),
            keep_smaller=keep_smaller,
            limits=self._settings.limits,
        )
        with progress("convert", self._log) as show, Pace(tally, self._count) as pace:
            session = Session(
                pictures=Pictures(plan, self._output, state, engine.pool),
                engine=engine,
                placer=Placer(self._output, state, plan.made, self._end, tally.add),
                tally=tally,
                end=self._end,
                log=self._log,
                show=lambda: show(pace.counts()),
            )
            go = session.judge if self._dry else session.run
            return go(self._sightings(), self._options.limit)

    def _sightings(self) -> Iterator[Sighting]:
        source = self._options.source
        if source.is_file():
            return iter((sight(source.name, str(source)),))
        return find_originals(self._originals, self._options.globs, identity_of(self._output.root))

    def _count(self, give_up: Callable[[], bool]) -> int | None:
        if self._options.source.is_file():
            return None
        output = identity_of(self._output.root)
        return count_pictures(self._originals, self._options.globs, output, give_up)

    def _check_found(self, tally: Tally, stack: ExitStack) -> None:
        if tally.counts.found or self._end.asked:
            return
        stack.close()
        if not self._dry:
            self._output.undo()
        files = sum(tally.passed.values())
        if self._options.source.is_file():
            raise UsageFault(f"{self._options.source} is no picture")
        what = f"none of its {files:,} files is one that is chosen" if files else "it has no files"
        raise UsageFault(f"there is no picture in {self._options.source}: {what}")

    def _report(
        self, run: RunFacts, tally: Tally, state: StateFile, tell: Callable[[str], None]
    ) -> None:
        summary = summarise(run, tally, self._watch, self._end)
        try:
            if not self._dry:
                self._write(summary, tally, state)
            if self._options.report is not None:
                names = [each.name for each in (*tally.best, *tally.worst)]
                shown = previews(
                    *(names, self._originals, self._settings, self._log, self._end),
                    told_unconfined=run.children,
                )
                write_whole(self._options.report, page(summary, shown))
        except OSError as error:
            self._end.fail(OutputFails(f"the summary or the report cannot be written: {error}"))
        except OutputFails as error:
            self._end.fail(error)
        finally:
            tell(to_json(summary) if self._options.as_json else as_text(summary))

    def _write(self, summary: dict[str, object], tally: Tally, state: StateFile) -> None:
        failures = self._output.root / FAILURES
        if tally.counts.failed:
            state.keep_note(FAILURES, _OURS)
            (self._output.scratch / FAILURES).replace(failures)
        elif state.note(FAILURES) == _OURS:
            failures.unlink(missing_ok=True)
        if self._options.summary is None:
            state.keep_note(SUMMARY, _OURS)
        file = self._options.summary or self._output.root / SUMMARY
        write_whole(file, f"{to_json(summary)}\n".encode())


def _check_file(file: Path, options: ConvertOptions) -> None:
    folder = file.absolute().parent
    # A run makes the output folder, a dry run does not.
    made = folder.resolve() == options.output.resolve() and not options.dry_run
    if file.is_dir() or not (made or folder.is_dir()):
        raise UsageFault(f"{file} cannot be written: name a file in a folder that exists")
