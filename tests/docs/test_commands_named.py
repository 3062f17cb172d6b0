"""Every command that README and docs/ name can be typed, and every setting that they give composes."""

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf

from publish.__main__ import app as published
from stages.__main__ import app
from stages.contracts.settings import everything, find_problems

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM: Any = typer.main.get_command(app)
BESIDE: dict[str, Any] = typer.main.get_command(published).commands  # type: ignore[attr-defined]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
DVC: Any = get_main_parser()
USAGE_ERROR: Any = typer.BadParameter.__base__  # typer's own copy of click's
PLACEHOLDER = re.compile(r"[A-Z]+|\.\.\.|…")


@dataclass(frozen=True)
class Named:
    """A command as a page names it."""

    page: str
    words: tuple[str, ...]
    whole: bool  # a line to be typed, not a name in a sentence

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(text: str) -> Iterator[str]:
    """The lines of code blocks, fenced or indented by four blanks after an empty line."""
    fenced = inside = False
    before = ""
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            yield line
        else:
            inside = line.startswith("    ") and (inside or not before.strip())
            if inside:
                yield line
        before = line


def split(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a shell line: without its remark, without pipes and `&&`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "&&"]:
        if set(word) <= set("&|;"):
            if words:
                yield tuple(words)
            words = []
        else:
            words.append(word)


def commands(page: str, text: str) -> Iterator[Named]:
    """Every command of ours, of make, of DVC and of Python that a page names."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found = [(line, True) for line in blocks(text)]
    found += [(code, False) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
    for line, whole in found:
        if re.match(r"\s*(pistachio|make|dvc|python -m|cd|mkdir|cp)\b", line):
            yield from (Named(page, words, whole) for words in split(" ".join(line.split("\n"))))


FOUND = [found for page in PAGES for found in commands(page.name, page.read_text())]
NAMED = list({(found.words, found.whole): found for found in FOUND}.values())


def named(program: str) -> list[Named]:
    return [found for found in NAMED if found.words[0] == program]


def refusal(words: tuple[str, ...], *, whole: bool) -> str:
    """Why `pistachio words...` cannot be typed; empty when it can.  What a sentence names may lack arguments."""
    command, arguments = PROGRAM, [word for word in words if word != "..."]
    while commands := getattr(command, "commands", None):
        if not arguments:
            return ""
        if arguments[0] not in commands and command.name == "caption":
            arguments.insert(0, "write")  # caption DIR is caption write DIR
        if arguments[0] not in commands:
            return f"no command {arguments[0]}"
        word = arguments.pop(0)
        command = BESIDE[word] if word in BESIDE else commands[word]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    strange = [word for word in arguments if word.startswith("--") and word not in known | {"--help"}]
    if strange or not whole:
        return "".join(f"no option {word}; " for word in strange)
    try:
        command.make_context("pistachio", arguments).close()
    except typer.Exit:  # --help
        return ""
    except USAGE_ERROR as error:
        return str(error)
    return ""


def dvc_refusal(words: tuple[str, ...], *, whole: bool) -> str:
    """Why `dvc words...` cannot be typed; empty when it can."""
    arguments = [word for word in words if not PLACEHOLDER.fullmatch(word) or whole]
    arguments = [word for word in arguments if word != "..."]
    try:
        DVC.parse_args(arguments)
    except DvcParserError:
        return "DVC's parser refuses it" if whole or not known_to_dvc(arguments) else ""
    return ""


def known_to_dvc(words: list[str]) -> bool:
    """Whether the words begin with a command of DVC, whatever it still asks for."""
    parser = DVC
    for depth, word in enumerate(words):
        choices = next((a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
        if choices is None:
            return depth > 0
        if word not in choices:
            return False
        parser = choices[word]
    return True


def overrides(words: tuple[str, ...]) -> list[str]:
    """What a command line gives to Hydra; without values that are only a placeholder."""
    given = [after for flag, after in pairwise(words) if flag in ("-S", "--set-param")]
    return [override for override in given if not PLACEHOLDER.fullmatch(override.partition("=")[2])]


def problem_of(changes: list[str]) -> str:
    """Why conf/ with these changes is no params.yaml; empty when it is."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        try:
            values = OmegaConf.to_container(compose("config", changes), resolve=True)
        except HydraException as error:
            return f"{type(error).__name__}: {error}"
    return "; ".join(find_problems(everything(), values))  # type: ignore[arg-type]


CHANGES = sorted({tuple(found) for words in NAMED if (found := overrides(words.words))})
IN_PROSE = [code for page in PAGES for code in re.findall(r"`(-S [^`]+)`", page.read_text())]


def test_the_pages_name_commands_of_every_kind() -> None:
    assert len(named("pistachio")) > 25
    assert len(named("dvc")) > 20
    assert len(named("make")) > 5
    assert len(named("python")) > 3
    assert len(CHANGES) >= 7


@pytest.mark.parametrize("command", named("pistachio"), ids=str)
def test_a_pistachio_command_can_be_typed(command: Named) -> None:
    assert refusal(command.words[1:], whole=command.whole) == ""


@pytest.mark.parametrize("command", named("dvc"), ids=str)
def test_a_dvc_command_can_be_typed(command: Named) -> None:
    assert dvc_refusal(command.words[1:], whole=command.whole) == ""


@pytest.mark.parametrize("command", named("make"), ids=str)
def test_a_make_target_exists(command: Named) -> None:
    assert {word for word in command.words[1:] if "=" not in word} <= TARGETS


@pytest.mark.parametrize("command", named("python"), ids=str)
def test_a_python_module_exists(command: Named) -> None:
    assert command.words[1] == "-m"
    assert importlib.util.find_spec(command.words[2]) is not None


@pytest.mark.parametrize("changes", CHANGES, ids=" ".join)
def test_settings_given_with_s_compose_and_are_valid(changes: tuple[str, ...]) -> None:
    assert problem_of(list(changes)) == ""


@pytest.mark.parametrize("line", IN_PROSE)
def test_settings_named_in_a_sentence_compose_and_are_valid(line: str) -> None:
    assert problem_of(overrides(tuple(shlex.split(line)))) == ""


def test_planted_mistakes_are_noticed() -> None:
    assert refusal(("modles", "get"), whole=True)
    assert refusal(("models", "get", "--profil", "mini"), whole=True)
    assert refusal(("score",), whole=True)
    assert not refusal(("score",), whole=False)
    assert refusal(("review", "out", "--agianst", "v2"), whole=True)
    assert not refusal(("review", "out", "--against", "v2"), whole=True)
    assert refusal(("check", "--setings"), whole=False)
    assert dvc_refusal(("exp", "runn"), whole=False)
    assert dvc_refusal(("repro", "--alow-missing"), whole=True)
    assert problem_of(["train.rnak=8"])
    assert problem_of(["train.rank=0"])
    assert problem_of(["caption.task=<MORE_DETAILED_CAPTION>"])


def test_code_blocks_and_chained_commands_are_read() -> None:
    text = (
        "Say:\n\n    make check && dvc repro  # now\n\nor `pistachio where`, not\n```bash\npistachio check | cat\n```\n"
    )
    said = [(found.words, found.whole) for found in commands("p", text)]
    assert said == [
        (("make", "check"), True), (("dvc", "repro"), True), (("pistachio", "check"), True), (("cat",), True),
        (("pistachio", "where"), False),
    ]  # fmt: skip
