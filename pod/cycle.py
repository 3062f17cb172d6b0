"""Run a whole experiment unattended: guardrails, doctor, health, repro, compare, batch, backup, local commit.

It stops at the first step that fails and names it.  The same command goes on from there: a step that was done is
skipped while its inputs are the same.  The meter runs; hours, dollars and failures are bounded over all attempts of
one run.
docs/unattended.md says when it stops and what to do then.

  python -m pod cycle --dry-run                     what would run, and why
  python -m pod cycle --max-hours 6 --max-usd 5
  python -m pod cycle --run-production              the batch too
  python -m pod cycle --fresh                       forget what was done, and the failures
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from pod.amounts import amount, count
from pod.bounded import OutOfTime, Running, group_lives, last_line
from pod.cycle_own import StepFailed, commit, read_verdict
from pod.cycle_steps import STEPS, CycleSettings, Memory, Step, check_commands, command_of, fingerprint
from pod.errors import PodError
from pod.files import locked
from pod.ledger import cents, charge, close_lost, read_ledger, read_time
from pod.meter import VARIABLE, Meter, metered, open_meter
from pod.settings import Places, read_settings
from pod.table import FAIL, PASS, SKIPPED, WARN, Row, exit_code, print_row, print_table

FOLDER = Path("cycle")  # in the folder of logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run, and how far it may go."""
    first = parser.add_mutually_exclusive_group()
    first.add_argument("--dry-run", action="store_true", help="say what would run, and why")
    first.add_argument("--fresh", action="store_true", help="forget what was done, and the failures")
    parser.add_argument("--run-production", action="store_true", help="run the step batch, too")
    parser.add_argument("--max-hours", type=amount, help="of paid time since the run began")
    parser.add_argument("--max-usd", type=amount, help="dollars since the run began; 0: no limit")
    parser.add_argument("--max-failures", type=count, help="failed attempts after which it refuses to go on")


def run(arguments: argparse.Namespace) -> int:
    """0 when every step is done, 1 when it stopped."""
    places = read_settings("pod", Places, arguments.config)
    settings = read_settings("cycle", CycleSettings, arguments.config)
    given = {key: getattr(arguments, key) for key in ("max_hours", "max_usd", "max_failures")}
    settings = replace(settings, **{key: value for key, value in given.items() if value is not None})
    check_commands(settings)
    if not (places.workspace / "params.yaml").is_file():
        raise PodError(places.workspace.resolve(), "no workspace: params.yaml is not there", "cd to it")
    if arguments.run_production and not settings.commands.get("batch"):
        raise PodError("cycle.commands.batch", "no command is set", "say in pod.toml what production runs")
    meter = open_meter(arguments.config)
    if settings.max_usd and meter.rate is None:
        raise PodError("--max-usd", f"no rate is known for GPU {meter.gpu}", "add it to [cost.rates]")
    tell = (lambda row: None) if arguments.json else print_row
    memory = Memory(places.at(places.logs) / FOLDER)
    cycle = Cycle(places, settings, meter, memory, arguments.run_production, tell, arguments.config)
    if arguments.dry_run:
        return print_table(cycle.plan(), arguments.json)
    with locked(places.at(places.state) / "cycle.lock", "a cycle"):
        if arguments.fresh:
            memory.forget()
        rows = cycle.go()
    return print_table(rows, True) if arguments.json else exit_code(rows)


class Stopped(Exception):
    """A bound was met: not a failure of the step."""


@dataclass(frozen=True)
class Cycle:
    """One run of the steps."""

    places: Places
    settings: CycleSettings
    meter: Meter
    memory: Memory
    production: bool
    tell: Callable[[Row], None]
    config: Path | None = None

    def plan(self) -> list[Row]:
        """What would run, and why."""
        rows = []
        for step in STEPS:
            why, command = self._why_skipped(step), command_of(step, self.settings, self.places)
            rows.append(Row(SKIPPED, step.name, why or f"would run: {' '.join(command) or 'the cycle itself'}"))
        hours, dollars = self._spent()
        bounds = (
            f"{hours:.2f} of {self.settings.max_hours:g} h, {cents(dollars)} of {self.settings.max_usd or 'any'} $, "
        )
        bounds += f"{self.memory.run.failures} of {self.settings.max_failures} failures"
        return [*rows, Row(PASS, "bounds", bounds)]

    def _why_skipped(self, step: Step) -> str:
        if step.name == "batch" and not self.production:
            return "only with --run-production"
        command = command_of(step, self.settings, self.places)
        if not step.own and not command:
            return f"no command (cycle.commands.{step.name})"
        if self.memory.is_done(step, self.places.workspace, command):
            return "done, and its inputs are the same"
        return ""

    def go(self) -> list[Row]:
        """Do the steps until one fails; the rows that were told."""
        rows: list[Row] = []

        def tell(row: Row) -> None:
            rows.append(row)
            self.tell(row)

        self._take_up(tell)
        memory = self.memory
        if memory.run.failures >= self.settings.max_failures:
            detail = (
                f"{memory.run.failures} of {self.settings.max_failures} failures; the last: {memory.run.last_failure}"
            )
            tell(Row(FAIL, "cycle", detail, "mend that, then begin anew with --fresh"))
            return rows
        for step in STEPS:
            if why := self._why_skipped(step):
                tell(Row(SKIPPED, step.name, why))
                continue
            row = self._do(step)
            tell(row)
            if row.status == FAIL:
                return rows
        hours, dollars = self._spent()
        memory.forget()
        tell(Row(PASS, "cycle", f"done; {hours:.2f} h and {cents(dollars)} $ since it began"))
        return rows

    def _take_up(self, tell: Callable[[Row], None]) -> None:
        """Close what a killed cycle left open; it counts as a failure: whatever ends machines must not go on for ever.

        Raises:
            PodError: when its step is still at work.
        """
        run = self.memory.run
        if run.running and run.child is not None and group_lives(run.child):
            todo = f"wait for it, or end it (process group {run.child})"
            raise PodError(run.running, "the step of a cycle that was killed is still at work", todo)
        for session in close_lost(self.meter.ledger, self.meter.heartbeat):
            tell(Row(WARN, session.activity, session.note))
        if run.running:
            run.failures, run.last_failure = run.failures + 1, f"{run.running} (the cycle was killed in it)"
            tell(Row(WARN, run.running, "the cycle was killed in this step"))
            run.running, run.child = "", None
        self.memory.save()

    def _do(self, step: Step) -> Row:
        """Run one step on the meter and remember how it went."""
        memory, command = self.memory, command_of(step, self.settings, self.places)
        reads, began = fingerprint(self.places.workspace, step.reads, command), time.time()
        try:
            left, bound = self._left()
            memory.run.running = step.name
            memory.save()
            with metered(self.meter, f"cycle:{step.name}"):
                said = self._own(step) if step.own else self._command(step, command, left, bound)
        except Stopped as stopped:
            self._note(failed="")
            return Row(FAIL, step.name, f"stopped: {stopped}", "raise the bound and run the same command again")
        except StepFailed as failed:
            self._note(failed=f"{step.name}: {failed}")
            return Row(FAIL, step.name, str(failed), "" if step.own else str(memory.log(step.name)))
        except KeyboardInterrupt:
            self._note(failed="")
            raise
        memory.note_done(step, self.places.workspace, reads, time.time() - began)
        self._note(failed="")
        return Row(PASS, step.name, said or f"{time.time() - began:.1f} s")

    def _own(self, step: Step) -> str:
        match step.name:
            case "compare":
                return read_verdict(self.places.workspace, self.settings.stop_on_regression)
            case _:
                return commit(self.places.workspace, self.settings.commit)

    def _command(self, step: Step, command: tuple[str, ...], left: float, bound: str) -> str:
        log = self.memory.log(step.name)
        env = self.places.activated(self.config) | {VARIABLE: str(self.meter.ledger.resolve())}
        try:
            running = Running(command, self.places.workspace, log, env)
        except OSError as error:
            raise StepFailed(f"{command[0]} cannot be started ({error.strerror})") from None
        self.memory.run.child = running.process.pid
        self.memory.save()
        try:
            code = running.wait(left)
        except OutOfTime:
            raise Stopped(f"{bound} while it worked; it was ended") from None
        if code:
            raise StepFailed(f"exit code {code}: {last_line(log)}")
        return ""

    def _note(self, failed: str) -> None:
        close_lost(self.meter.ledger, self.meter.heartbeat)  # stages that were ended with their step
        run = self.memory.run
        run.running, run.child = "", None
        if failed:
            run.failures, run.last_failure = run.failures + 1, failed
        self.memory.save()

    def _spent(self) -> tuple[float, Fraction]:
        """Hours and dollars that the ledger counts since the run began."""
        since = int(self.memory.run.started)
        charges = charge((s for s in read_ledger(self.meter.ledger) if read_time(s.start) >= since), time.time())
        return sum(c.seconds for c in charges) / 3600, sum((c.dollars for c in charges), Fraction(0))

    def _left(self) -> tuple[float, str]:
        """Seconds that the bounds leave, and which bound is met then.

        Raises:
            Stopped: when nothing is left.
        """
        hours, dollars = self._spent()
        bounds = [((self.settings.max_hours - hours) * 3600, f"--max-hours {self.settings.max_hours:g} is over")]
        if self.settings.max_usd and self.meter.rate:
            money = Fraction(str(self.settings.max_usd)) - dollars
            bounds.append(
                (float(money / Fraction(self.meter.rate) * 3600), f"--max-usd {self.settings.max_usd:g} is spent")
            )
        left, bound = min(bounds)
        if left <= 0:
            raise Stopped(bound)
        return left, bound
