"""Every guardrail sees the breakage that it is there for, planted in a sound small repository."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from stages.contracts.settings import Thresholds
from stages.flows.guardrails import find_problems_of
from stages.flows.guardrails import packages as package_guard
from stages.flows.guardrails.packages import package_problems, read_pins
from stages.flows.guardrails.pages import budget_problems, old_facts
from stages.flows.guardrails.policy import policy_problems
from stages.flows.guardrails.references import reference_problems
from stages.flows.guardrails.scripts import script_problems

pytestmark = pytest.mark.guardrails

JUDGE = '''"""Judge."""


def passes(similarity: float, limit: float) -> bool:
    """Whether it passes."""
    return similarity >= limit and similarity > 0
'''
PAGE = """# Page

See [the readme](../README.md) and `conf/thresholds/default.yaml`.

    pistachio check
    make test && dvc repro

`pistachio check --settings`, `python -m stages.train`
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Code, pages, settings and a pipeline in which every guardrail is content."""
    for name, text in {
        "README.md": "# Readme\n\n[Page](docs/page.md)\n", "docs/page.md": PAGE, "Makefile": "test: x\n\techo\n",
        "stages/judge.py": JUDGE, "pod/startup.sh": "#!/bin/sh\nif true; then echo; fi\n",
        "conf/thresholds/default.yaml": yaml.safe_dump(Thresholds().model_dump(mode="json")),
        "conf/profile/mini.yaml": "thresholds: {face_pass: 0.5}\n", "conf/workflows/lora.json": "{}",
        "dvc.yaml": "stages:\n  train: {cmd: python -m stages.train, deps: [stages/judge.py, data/missing]}\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def refuse(words: list[str]) -> str:
    return "" if words[:1] == ["check"] and set(words) <= {"check", "--settings"} else "no such thing"


def references(root: Path) -> list[str]:
    return reference_problems(root, refuse)


def append(path: str, text: str) -> Callable[[Path], None]:
    def plant(root: Path) -> None:
        (root / path).write_text((root / path).read_text() + text)

    return plant


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda root: (root / path).write_text((root / path).read_text().replace(old, new))


def without_texture(root: Path) -> None:
    values = Thresholds().model_dump(mode="json")
    del values["flags"]["copying"]
    (root / "conf/thresholds/default.yaml").write_text(yaml.safe_dump(values))


Guard = Callable[[Path], list[str]]
BREAKAGES: list[tuple[str, Guard, Callable[[Path], None], str]] = [
    ("python", script_problems, append("stages/judge.py", "def broken(:\n"), "stages/judge.py: SyntaxError"),
    ("shell", script_problems, append("pod/startup.sh", "if true; then\n"), "pod/startup.sh: "),
    ("yaml", script_problems, append("conf/profile/mini.yaml", "a: [\n"), "conf/profile/mini.yaml: ParserError"),
    ("json", script_problems, append("conf/workflows/lora.json", "}"), "conf/workflows/lora.json: JSONDecodeError"),
    ("link", references, append("docs/page.md", "[x](gone.md)\n"), "docs/page.md: link to gone.md"),
    ("path in a page", references, append("docs/page.md", "`stages/gone.py`\n"), "docs/page.md: names stages/gone.py"),
    ("path in conf", references, append("conf/profile/mini.yaml", "# docs/gone.md\n"), "conf/profile/mini.yaml: names"),
    ("renamed page", references, remove("docs/page.md"), "README.md: link to docs/page.md"),
    ("command", references, append("docs/page.md", "\n    pistachio chekc\n"), "`pistachio chekc`: no such thing"),
    ("option", references, append("docs/page.md", "`pistachio check --strickt`\n"), "`pistachio check --strickt`"),
    ("second command", references, append("docs/page.md", "\n    make test && pistachio x\n"), "`pistachio x`"),
    ("make", references, replace("docs/page.md", "make test", "make tests"), "`make tests`: no target tests"),
    ("module", references, append("docs/page.md", "`python -m stages.trian`\n"), "no module stages.trian"),
    ("pod", references, append("docs/page.md", "`python -m pod bakcup`\n"), "no command bakcup of the pod"),
    ("stage", references, replace("dvc.yaml", "stages.train,", "stages.trian,"), "dvc.yaml: stage train runs"),
    ("dep", references, remove("stages/judge.py"), "dvc.yaml: stage train depends on stages/judge.py"),
    ("policy lacks one", policy_problems, without_texture, "default.yaml: flags.copying is not set"),
    ("policy has another", policy_problems, append("conf/thresholds/default.yaml", "luck: 1\n"), "luck is no thr"),
    ("no policy", policy_problems, remove("conf/thresholds/default.yaml"), "is not there"),
    ("comparison", policy_problems, replace("stages/judge.py", ">= limit", ">= 0.6"), "stages/judge.py:6: "),
    ("negative", policy_problems, replace("stages/judge.py", ">= limit", "< -0.6"), "stages/judge.py:6: "),
    ("constant", policy_problems, append("stages/judge.py", "FACE_PASS_THRESHOLD = 0.6\n"), "FACE_PASS_THRESHOLD is a"),
    ("default", policy_problems, replace("stages/judge.py", "limit: float", "pass_at: float = 0.6"), "pass_at=0.6"),
    ("long page", budget_problems, append("docs/page.md", "x\n" * 200), "docs/page.md: 208 lines, 200 are its budget"),
]  # fmt: skip


@pytest.mark.parametrize("guard", [script_problems, references, policy_problems, budget_problems])
def test_a_sound_repository_has_no_problems(repository: Path, guard: Guard) -> None:
    assert guard(repository) == []


@pytest.mark.parametrize(("guard", "plant", "said"), [b[1:] for b in BREAKAGES], ids=[b[0] for b in BREAKAGES])
def test_a_planted_breakage_is_seen(repository: Path, guard: Guard, plant: Callable[[Path], None], said: str) -> None:
    plant(repository)
    assert [line for line in guard(repository) if said in line] != []


def test_thresholds_set_elsewhere_in_conf_are_seen(repository: Path) -> None:
    (repository / "conf/sweep").mkdir()
    (repository / "conf/sweep/lora.yaml").write_text("thresholds: {face_pass: 0.1}\n")
    assert policy_problems(repository) == [
        "conf/sweep/lora.yaml: sets thresholds; they belong in conf/thresholds or a profile"
    ]


def test_a_pin_that_is_not_what_is_installed_is_seen(tmp_path: Path) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("pydantic==1.0.0  # old\n")
    assert read_pins(pins) == {"pydantic": "1.0.0"}
    (line,) = package_problems(pins)
    assert line.startswith(f"pydantic: {version('pydantic')} is installed, constraints.txt says 1.0.0")


def test_packages_that_are_missing_or_unhappy_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\nRequires-Dist: no-such-package-here\n"
        'Requires-Dist: pydantic<1\nRequires-Dist: nothing-either; extra == "gpu"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    missing, unhappy = package_problems(None, "planted")
    assert missing.startswith("no-such-package-here: is not installed, and planted needs it")
    assert unhappy == f"pydantic: {version('pydantic')} is installed, and planted needs <1"


def test_two_packages_that_overwrite_each_other_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_guard, "ALIKE", (("pydantic", "pytest"),))
    assert any("both are installed" in line for line in package_problems(None))


def test_the_gpu_s_package_stands_for_the_cpu_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\nRequires-Dist: of-the-cpu\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_problems(None, "planted") != []
    monkeypatch.setattr(package_guard, "ALIKE", (("of-the-cpu", "pydantic"),))
    assert package_problems(None, "planted") == []


def test_a_sentence_that_begins_a_line_with_make_is_no_command(repository: Path) -> None:
    append("docs/page.md", "\nOf this\nmake nothing; but\n\n```bash\nmake nothing\n```\n")(repository)
    assert references(repository) == ["docs/page.md: `make nothing`: no target nothing"]


def commit(root: Path, days_ago: int) -> None:
    when = f"{int(time.time()) - days_ago * 86_400} +0000"
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git[:3], "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    env = os.environ | {"GIT_COMMITTER_DATE": when}
    subprocess.run([*git, "commit", "--quiet", "-m", "x"], check=True, env=env)


def test_a_fact_is_as_old_as_the_commit_of_its_line(repository: Path) -> None:
    append("docs/page.md", "0.60 $ an hour as of 2020-01-01\n")(repository)
    commit(repository, days_ago=200)
    append("docs/page.md", "0.70 $ an hour as of 2020-01-01\n")(repository)
    commit(repository, days_ago=100)
    append("docs/page.md", "not yet run on a pod, and not committed\n")(repository)
    (line,) = old_facts(repository, time.time())
    assert line.startswith("docs/page.md:9: 200 days old")
    assert len(old_facts(repository, time.time(), days=50)) == 2
    shutil.rmtree(repository / ".git")
    assert old_facts(repository, time.time()) == []


def test_check_warns_of_old_facts_and_refuses_them_only_when_strict(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[3]
    append("docs/page.md", "0.60 $ an hour as of 2020-01-01\n")(repository)
    shutil.copyfile(root / "params.yaml", repository / "params.yaml")
    (repository / "dvc.yaml").unlink()
    shutil.rmtree(repository / "stages")
    replace("docs/page.md", "make test && dvc repro", "make test")(repository)
    replace("params.yaml", "baseline: v2", "baseline: none")(repository)
    commit(repository, days_ago=200)
    monkeypatch.setenv("PYTHONPATH", str(root))

    def check(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stages", "check", "--settings", *words]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)

    done = check()
    assert (done.returncode, done.stderr.split(":")[0]) == (0, "warning")
    done = check("--strict")
    assert (done.returncode, done.stderr.split(":")[0]) == (2, "error")
    append("docs/page.md", "`pistachio chekc`\n")(repository)
    done = check()
    assert done.returncode == 2
    assert "`pistachio chekc`: no command chekc" in done.stderr


def test_what_cannot_be_read_is_said_alone(repository: Path) -> None:
    append("conf/profile/mini.yaml", "a: [\n")(repository)
    found = find_problems_of(repository, refuse)
    assert len(found.problems) == 1
    assert found.warnings == []
