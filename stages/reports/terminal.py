"""What the `pistachio` command prints: tables for a person, JSON for a program."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stages.contracts import paths
from stages.contracts.comparison import Comparison
from stages.contracts.history import Promotion
from stages.contracts.manifest import Manifest
from stages.contracts.scorecard import Scorecard, read_scorecard
from stages.reports.comparison import show_interval, show_value

ARTIFACTS = (
    (paths.CAPTIONS, "a caption per photo"), (paths.MANIFEST, "the dataset, photo by photo"),
    (paths.REGULARIZATION, "class images"), (paths.LORA, "the LoRA and its checkpoints"),
    (paths.LOSS, "training and holdout loss"), (paths.TRAIN_SAMPLES, "samples by checkpoint"),
    (paths.SWEEP_SUMMARY, "every cell of the sweep"),
    (paths.SWEEP_CHOICE, "the settings it chose"), (paths.SWEEP_MONTAGE, "the sweep at a glance"),
    (paths.EVAL_IMAGES, "the pictures that were judged"), (paths.PER_IMAGE, "their scores"),
    (paths.CALIBRATION, "what the judges' thresholds do for this person"),
    (paths.SCORECARD, "what they come to"), (paths.REPORT, "the same to read"),
    (paths.EVAL_MONTAGE, "the pictures at a glance"), (paths.COMPARISON, "this version against the baseline"),
    (paths.COMPARISON_REPORT, "the same to read"), (paths.REPORT_PAGE, "all of it on one page, for a browser"),
    (paths.HISTORY, "what was promoted"),
)  # fmt: skip


def _console() -> Console:
    # A pipe or a log has no width of its own, and 80 columns would break file names.
    return Console(width=None if sys.stdout.isatty() else 140, soft_wrap=False, highlight=False)


def _say(text: str) -> None:
    print(" ".join(text.split()) if "\n" in text else text)


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], right: tuple[str, ...] = ()) -> None:
    """A table on standard output; columns in ``right`` are numbers."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _console().print(table)


def print_artifacts() -> None:
    """Every artifact, and whether it is there."""
    rows = [(path.as_posix(), about if path.exists() else f"{about} (not made yet)") for path, about in ARTIFACTS]
    print_table("Artifacts", ("where", "what"), rows)


def print_advice(advice: Iterable[str]) -> None:
    """What photos to add, a line each."""
    for line in advice:
        _say(f"photos: {line}")


def print_scorecard(card: Scorecard) -> None:
    """A version's grade and its main figures, what is wrong with it, and how to use it."""
    _say(
        f"{card.lora_version}: grade {card.overall_grade} ({card.overall_score:.3f}), "
        f"likeness {card.likeness:.1f} of 100, similarity {card.face_similarity_mean:.3f}, "
        f"passed {card.face_similarity_pass:.0%}, run {card.run_id}"
    )
    if card.comes_from_elsewhere:
        _say(f"what it was trained on: {card.lora_dataset}; likeness may flatter, for it may know the holdout photos")
    for flag in card.raised_flags():
        _say(f"{flag.name.replace('_', ' ')}: {flag.says}")
    best = card.best_config
    _say(
        f"use {best.lora} with strength {best.strength:g}, guidance {best.guidance:g}, "
        f"sampler {best.sampler}, mode {best.mode}"
    )


def print_comparison(comparison: Comparison) -> None:
    """The recommendation, in one line."""
    against = f" against {comparison.baseline.name}" if comparison.baseline else ""
    advice = comparison.recommendation
    _say(f"{comparison.candidate.name}{against}: {advice.action}. {advice.reason}")


def print_verdicts(comparison: Comparison) -> None:
    """The recommendation, and every metric's verdict with what it rests on."""
    print_comparison(comparison)
    assert comparison.baseline is not None
    rows, recipes = [], []
    for m in comparison.metrics:
        settle = f"{m.more_images} more" if m.more_images else ""
        rows.append((m.metric + (" (guarded)" if m.guarded else ""), show_value(m, m.baseline),
                     show_value(m, m.candidate), show_interval(m), show_value(m, m.detectable),
                     m.verdict or "", settle))  # fmt: skip
        if m.recipe:
            recipes.append((m.metric, show_value(m, m.recipe.delta, "+"), show_interval(m, m.recipe.interval),
                            show_value(m, m.recipe.spread), show_value(m, m.recipe.detectable),
                            m.recipe.verdict))  # fmt: skip
    percent, before, after = f"{100 * comparison.confidence:g}%", comparison.baseline, comparison.candidate
    columns = ("metric", before.name, after.name, f"difference, {percent}", "detectable", "verdict", "settled by")
    print_table("These two LoRAs", columns, rows, right=columns[1:5])
    if recipes:
        head = ("metric", "difference", percent, "spread of trainings", "detectable", "verdict")
        title = f"The recipes, trained {before.trainings} and {after.trainings} times"
        print_table(title, head, recipes, right=head[1:5])


def print_replica(folder: Path, number: int, of: int, *, known: bool) -> None:
    """One replica's main figures."""
    card = read_scorecard(folder / paths.SCORECARD.name)
    _say(
        f"replica {number} of {of}{' (was there)' if known else ''}: likeness {card.likeness:.1f} of 100, second judge "
        f"{card.second_likeness:.1f}, adherence {card.prompt_adherence_mean:.3f}, in {folder.as_posix()}"
    )


def print_promotion(folder: Path, row: Promotion, pictures: int, licences: dict[str, str], tag: str) -> None:
    """What a promotion wrote, under which licences it was judged, and what to do next."""
    grade = f"grade {row.overall_grade} ({row.overall_score:.3f})"
    _say(f"{row.name}: {grade}, {pictures} pictures, in {folder.as_posix()}")
    if row.lora_dataset not in ("", row.dataset_manifest_sha256):
        _say(f"what it was trained on: {row.lora_dataset}; its likeness may flatter")
    for objection in row.overruled:
        _say(f"overruled: {objection} (why: {row.why})")
    for who, licence in sorted(licences.items()):
        drawn = who == "base" or who.startswith("conditioning")
        _say(
            f"drawn {'by the base' if who == 'base' else f'with {who}'}: {licence}"
            if drawn
            else f"judged by {who}: {licence}"
        )
    _say(f"declared use: {row.use} (promotion.use)")
    if tag:
        _say(tag)
    _say(f"next: git add {folder.as_posix()} {paths.HISTORY.as_posix()} and commit; then compare.baseline: {row.name}")


def print_history(rows: list[Promotion]) -> None:
    """Every promotion, oldest first."""
    if not rows:
        _say("nothing was promoted yet: pistachio promote NAME")
        return
    cells = [
        (r.name, f"{r.promoted_at:%Y-%m-%d %H:%M}", r.overall_grade, f"{r.overall_score:.3f}",
         f"{r.scores['likeness']:.1f}", r.run_id, r.protocol[:12],
         (r.lora_dataset or r.dataset_manifest_sha256)[:12], r.why if r.forced else "")
        for r in rows
    ]  # fmt: skip
    columns = (
        "version",
        "promoted (UTC)",
        "grade",
        "overall",
        "likeness",
        "run",
        "protocol",
        "trained on",
        "forced because",
    )
    print_table("History", columns, cells, right=("overall", "likeness"))


def print_scores(scores: Any) -> None:
    """A folder's pictures and what they come to (``flows.folder_scores.FolderScores``)."""
    rows = [
        (p.file, f"{p.similarity:.3f}" if p.face_found else "no face", "yes" if p.passed else "no")
        for p in scores.pictures
    ]
    print_table("", ("picture", "similarity", "passed"), rows, right=("similarity",))
    if scores.references_without_face:
        _say(f"no face in the references {', '.join(scores.references_without_face)}: left out")
    _say(
        f"{len(scores.pictures)} pictures against {scores.references} references: "
        f"similarity {scores.similarity_mean:.3f}, passed {scores.pass_rate:.1%} (>= {scores.threshold:g}), "
        f"face found {scores.detection_rate:.1%}"
    )
    _say(f"face pack's licence: {scores.licence}")


def print_summary(manifest: Manifest, output: Path) -> None:
    """A dataset at a glance."""
    summary = manifest.summary
    _say(
        f"{output}: {summary.total_images} photos ({summary.train_images} train, {summary.holdout_images} holdout), "
        f"{summary.unique_captions} different captions, {len(summary.duplicates)} groups of near-duplicates, "
        f"{len(summary.moments)} moments with several pictures"
    )
    for warning in summary.warnings:
        _say(f"warning: {warning}")
    print_advice(summary.advice)


def print_caption_plan(plan: Sequence[Any], backend: str) -> None:
    """What would be written where (``flows.caption_folder.Place``)."""
    does = {"caption": f"caption by {backend}", "copy": "copy of the one beside the photo", "keep": "kept"}
    print_table("", ("photo", "caption file", "what"), [(str(p.photo), str(p.file), does[p.todo]) for p in plan])
    print(f"{sum(p.todo != 'keep' for p in plan)} of {len(plan)} captions would be written")


def print_captions(written: Iterable[tuple[Path, str]], *, kept: int, total: int) -> None:
    """Every caption as it comes, with its number, and then what it came to."""
    number = 0
    for number, (file, text) in enumerate(written, start=1):
        print(f"{number}/{total - kept} {file}: {text}", flush=True)
    print(f"{number} captions written" + (f", {kept} kept (--overwrite captions those anew)" if kept else ""))


def print_caption_edits(folder: Path, gone: Sequence[str], edits: Sequence[Any], *, written: bool) -> None:
    """What dropping changed, file by file (``flows.caption_lint.Edit``); nothing when nothing was to go."""
    for edit in edits:
        print(f"{edit.file}\n- {edit.before}\n+ {edit.after}")
    if not gone:
        return
    print(f"{len(edits)} captions {'rewritten' if written else 'would be rewritten'} without: {'; '.join(gone)}")
    if edits and folder.resolve() == paths.CAPTIONS.resolve():
        print(f"{paths.CAPTIONS} is made again by `dvc repro`: to keep this, set caption.drop in conf/")


def print_caption_findings(findings: Sequence[Any], captions: int, share: float) -> None:
    """What too many captions hold (``measures.captions.Finding``)."""
    if not findings:
        print(f"{captions} captions: nothing but trigger and class word stands in {share:.0%} of them or more")
        return
    rows = [(f.fragment, f"{f.count} of {captions}", f"{f.share:.0%}") for f in findings]
    print_table("In nearly every caption", ("fragment", "captions", "share"), rows, right=("captions", "share"))
    print("learnt as part of everything instead of the trigger: --drop FRAGMENT, --drop-all, or say it differently")


def describe_lint(
    folder: Path, captions: int, share: float, findings: Sequence[Any], gone: Sequence[str], edits: Sequence[Any],
    *, written: bool,
) -> dict[str, Any]:  # fmt: skip
    """The same as JSON: the findings that are left, what went, and every file that changed."""
    return {
        "folder": folder.as_posix(), "captions": captions, "share": share, "written": written and bool(edits),
        "findings": [{"fragment": f.fragment, "count": f.count, "share": f.share} for f in findings],
        "dropped": list(gone),
        "edits": [{"file": e.file.as_posix(), "before": e.before, "after": e.after} for e in edits],
    }  # fmt: skip


def print_difference(difference: Any) -> None:
    """What changed between two manifests (``flows.dataset.Difference``)."""
    rows = [("setting", key, before, after) for key, (before, after) in difference.settings.items()]
    rows += [("added", name, "", "") for name in difference.added]
    rows += [("removed", name, "", "") for name in difference.removed]
    rows += [("bytes", c.filename, c.before[:12], c.after[:12]) for c in difference.changed_bytes]
    rows += [("caption", c.filename, c.before, c.after) for c in difference.changed_captions]
    rows += [("split", c.filename, c.before, c.after) for c in difference.moved]
    rows += [("grouped with", c.filename, c.before, c.after) for c in difference.regrouped]
    if not rows:
        _say("the same dataset")
        return
    print_table("", ("change", "what", "before", "after"), rows)


def print_proof(
    killed: Sequence[int], resumed: Sequence[int], undisturbed: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Two trainings' artifacts by their sha256, and where the second one was killed and went on."""
    names = sorted({*undisturbed, *after})
    rows = [
        (name, undisturbed.get(name, "missing")[:16], after.get(name, "missing")[:16],
         "same" if undisturbed.get(name) == after.get(name) else "DIFFERENT")
        for name in names
    ]  # fmt: skip
    print_table("", ("artifact", "undisturbed", "killed and resumed", ""), rows)
    _say(f"killed after step {', '.join(map(str, killed))}; resumed at step {', '.join(map(str, resumed)) or 'none'}")
    same = undisturbed == after
    _say("resume is exact on this machine" if same and resumed else "resume is NOT proven on this machine")


def print_memory(parts: Mapping[str, int]) -> None:
    """What a training holds in the device's memory, added up."""
    rows = [(name, f"{size / 2**30:.2f}") for name, size in parts.items() if size]
    rows.append(("together", f"{sum(parts.values()) / 2**30:.2f}"))
    print_table("Memory of the training", ("what", "GiB"), rows, right=("GiB",))


def print_models(states: Sequence[Mapping[str, Any]]) -> None:
    """The models of conf/models (``flows.models.State``)."""
    rows = []
    for state in states:
        size = f"{state['size'] / 1e9:.2f} GB" + ("" if state["pinned"] == state["files"] else " +")
        present = "yes" if state["present"] == state["files"] else f"{state['present']} of {state['files']} files"
        present = present if state["present"] else "no"
        verified = "yes" if state["verified"] else "not yet" if state["present"] else ""
        rows.append((state["name"], state["licence"], size, present, verified, str(Path(state["folder"]).parent)))
    print_table("", ("name", "licence", "size", "present", "verified", "in"), rows, right=("size",))
    unpinned = [state["name"] for state in states if state["pinned"] < state["files"]]
    if unpinned:
        _say(f"+ and files that are not pinned: {', '.join(unpinned)}")
