"""What fsck found, for a person."""

from collections.abc import Iterator

from stages.contracts.fsck import Fsck, Problem

SHOWN = 200  # problems; .dvc/tmp/fsck/report.json has all


def render_fsck(report: Fsck) -> Iterator[str]:
    """Lines: what was read and how fast, what could not be found out, each problem, and the verdict."""
    speed = report.bytes / 1e6 / max(report.seconds, 1e-9)
    resumed = f" ({report.resumed} by the run before, which was interrupted)" if report.resumed else ""
    yield (
        f"{' and '.join(report.stores)}: {report.objects} objects{resumed}, {report.bytes / 1e6:.1f} MB "
        f"in {report.seconds:.1f} s ({speed:.0f} MB/s); "
        f"commits read: {report.versions}, objects they name: {report.named}"
    )
    if report.elsewhere:
        yield f"{report.elsewhere} objects of other versions are sound in the remote alone"
    yield from (f"warning: {line}" for line in report.warnings)
    yield from (_line(problem) for problem in report.problems[:SHOWN])
    if len(report.problems) > SHOWN:
        yield f"... and {len(report.problems) - SHOWN} more: .dvc/tmp/fsck/report.json"
    yield _verdict(report)


def _line(problem: Problem) -> str:
    sizes = "" if problem.size is None else f" ({problem.size} of {problem.expected or '?'} bytes)"
    whose = problem.what or "named by no version that was read"
    state = "PASS" if problem.repaired else "FAIL"
    done = f": {problem.done}" if problem.done else ""
    return f"{state}  {problem.where}  {problem.oid}  {problem.kind}{sizes}  {whose}{done}"


def _verdict(report: Fsck) -> str:
    repaired, left = len(report.problems) - len(report.left), len(report.left)
    if not report.problems:
        return "PASS  every object is what its name says"
    if not left:
        return f"PASS  repaired and read back: {repaired}, left: 0"
    if any(problem.done for problem in report.left):
        return f"FAIL  repaired: {repaired}, left: {left}"
    return f"FAIL  problems: {left}; pistachio fsck --repair mends what a good copy is known of"
