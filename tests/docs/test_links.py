"""Every link, file and setting that README and docs/ name leads somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from stages.contracts.settings import SECTIONS, Section

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ("stages/", "conf/", "miniature/", "tests/", "docs/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    assert [link for link in links if not resolves(page, link)] == []


def resolves(page: Path, link: str) -> bool:
    """Whether a link leads somewhere; one that leaves the repository is not followed."""
    if re.match(r"[a-z]+:", link):
        return True
    path, _, anchor = unquote(link).partition("#")
    target = page.parent / path if path else page
    if not anchor:
        return target.exists()
    titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_code_that_is_named_exists(page: Path) -> None:
    found = re.findall(r"`([\w./-]+)`", page.read_text())
    made = {"miniature/trial.json", "miniature/ablation.json", "miniature/truth.json"}  # by commands
    made |= {"docs/findings.md", "docs/tasks.md"}  # of a workspace
    paths = [path for path in found if path.startswith(ROOMS) and path not in made]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def is_setting(dotted: str) -> bool:
    """Whether a dotted key is one of params.yaml, or a section in it."""
    section, *names = dotted.split(".")
    model: object = SECTIONS[section]
    for name in names:
        if not (isinstance(model, type) and issubclass(model, Section) and name in model.model_fields):
            return False
        model = model.model_fields[name].annotation
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    found = re.findall(rf"`((?:{'|'.join(SECTIONS)})(?:\.\w+)+)[`=:]", page.read_text())
    assert [dotted for dotted in found if not is_setting(dotted)] == []


def test_a_planted_setting_is_noticed() -> None:
    assert is_setting("train.optimizer.d_coef")
    assert not is_setting("train.optimizer.d_coeff")
    assert not is_setting("train.rank.more")


def test_planted_links_are_noticed() -> None:
    assert not resolves(ROOT / "README.md", "docs/nowhere.md")
    assert not resolves(ROOT / "docs/pipeline.md", "params.md#trian")
    assert resolves(ROOT / "docs/pipeline.md", "params.md#trainbuckets")
