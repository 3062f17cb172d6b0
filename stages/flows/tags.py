"""Git tags of versions: ``lora/<name>`` marks the commit that a version was made from."""

import subprocess

from stages.contracts.paths import HISTORY, VERSIONS
from stages.runtime.errors import UserError

# What a promotion itself writes is committed after the tag: the tag marks what the version was made from.
PROMOTED = (f":(exclude){HISTORY.as_posix()}", f":(exclude){VERSIONS.as_posix()}")


def check_tag(name: str) -> None:
    """Refuse a name that git cannot take as a tag, before anything is written.

    Raises:
        UserError: when ``lora/<name>`` is no valid tag.
    """
    if _has_git() and _git("check-ref-format", f"refs/tags/lora/{name}").returncode != 0:
        raise UserError("promote", f"git takes no tag lora/{name}", "choose another name, or give --no-tag")


def tag_version(name: str) -> str:
    """Tag HEAD as ``lora/<name>`` where there is a git work tree; returns one sentence that says what was done.

    A tag that exists is never moved: others may have fetched it.
    """
    tag = f"lora/{name}"
    if not _has_git() or _git("rev-parse", "--is-inside-work-tree").stdout.strip() != "true":
        return "No git work tree here: no tag."
    existing = _git("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}").stdout.strip()
    if existing:
        return f"The tag {tag} exists (at {existing[:12]}) and was not moved."
    head = _git("rev-parse", "--verify", "--quiet", "HEAD^{commit}").stdout.strip()
    if not head:
        return f"The repository has no commit yet: no tag {tag}."
    made = _git("tag", "--no-sign", tag, head)
    if made.returncode != 0:
        return f"git made no tag {tag}: {' '.join(made.stderr.split())}"
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *PROMOTED).stdout.strip()
    return f"Tagged {head[:12]} as {tag}{', but tracked files have changes that it does not hold' if changed else ''}."


def _has_git() -> bool:
    try:
        return _git("--version").returncode == 0
    except OSError:
        return False


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, timeout=60)
