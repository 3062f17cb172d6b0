"""Two local workers with a task of no weight: order, overlap, bad input, bugs, ends, and what the network sees."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.backends.crew import as_worker, cluster, open_crew
from stages.backends.crew.task import Item, hash_files, require_same_files
from stages.backends.generate import drawer_of, open_generator
from stages.backends.generate.diffusers import DiffusersGenerator
from stages.backends.generate.shared import deal
from stages.contracts.generation import ImageRequest
from stages.contracts.settings import Machine
from stages.runtime.errors import UserError

ROOT = Path(__file__).parents[3]
LOCAL = Machine(threads=1, ray_address="local", ray_workers=2)
REQUEST = ImageRequest("a", 1, Path("base"), None)


def request(**changes: Any) -> ImageRequest:
    return ImageRequest(**{**vars(REQUEST), **changes})


# ---- without Ray


def test_shards_hold_what_may_be_drawn_together_in_the_order_of_their_first() -> None:
    strengths = (0.5, 0.5, 1.0, 0.5, 1.0, 0.5, 0.5)
    requests = [request(seed=n, prompt=f"p{n}", strength=s) for n, s in enumerate(strengths)]
    assert deal(requests, 3) == [[0, 1, 3], [2, 4], [5, 6]]
    assert deal(requests, 1) == [[n] for n in range(7)]
    assert deal([], 3) == []


@pytest.mark.parametrize("change", [{"base": Path("other")}, {"lora": Path("l")}, {"guidance": 2.0}, {"steps": 3},
                                    {"width": 64}, {"sampler": "ddim"}, {"vae_tile": 64}, {"mode": "x"}])  # fmt: skip
def test_what_is_drawn_otherwise_is_another_shard(change: dict[str, Any]) -> None:
    assert deal([REQUEST, request(**change), REQUEST], 4) == [[0, 2], [1]]


def test_a_worker_with_another_file_or_none_is_refused_by_name(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "weights").write_text("one")
    item = Item("value", hash_files({base}))
    require_same_files(item, "node")
    (base / "weights").write_text("another")
    with pytest.raises(UserError, match=f"{base}: is another one on the worker node; bring it there: dvc pull"):
        require_same_files(item, "node")
    (base / "weights").unlink()
    base.rmdir()
    with pytest.raises(UserError, match="is not there on the worker node"):
        require_same_files(item, "node")


def test_comfyui_is_refused_and_without_ray_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="machine.ray_address: is not for ComfyUI"):
        open_generator("comfyui", LOCAL, 1)
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Ray is not installed; pip install 'pistachio\[scale\]'"):
        open_crew(Machine(ray_address="auto"))


def test_pictures_belong_to_the_class_that_draws_them_wherever_it_does() -> None:
    shared, here = open_generator("diffusers", LOCAL, 2), open_generator("diffusers", Machine(), 2)
    assert drawer_of(shared) is drawer_of(here) is DiffusersGenerator
    assert (shared.identity, shared.modes, shared.samplers) == (here.identity, here.modes, here.samplers)


def test_a_worker_has_one_gpu_and_no_workers_of_its_own() -> None:
    found = as_worker(Machine(device="cuda:3", ray_address="local", ray_workers=2, threads=5))
    assert (found.device, found.ray_address, found.ray_workers, found.threads) == ("cuda", None, None, 5)


def test_a_user_error_survives_being_sent() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(UserError(Path("here"), "is wrong", "mend it")))
    assert (error.where, error.what, error.todo, error.line) == (
        "here",
        "is wrong",
        "mend it",
        "here: is wrong; mend it",
    )


# ---- with two workers of this machine: each in a process of its own, whose environment Ray changes

PROGRAM = """
import os, sys, time, psutil
from pathlib import Path
from stages.backends.crew import open_crew
from stages.backends.crew.task import Item, Task
from stages.contracts.settings import Machine
from stages.runtime.entry import program
from crew_task import open_task
machine = Machine(threads=1, ray_address={address!r}, ray_workers=2)
read = []
def items(values):
    for value in values:
        read.append(value)
        yield Item(value)
def do(values, name="task"):
    return open_crew(machine).do(Task("counting", open_task, (name,)), items(values))
with program():
{body}
"""
TASK = """
import os, signal, time
from stages.runtime.errors import UserError
def open_task(name):
    opened = os.getpid()
    def work(value):
        match value:
            case "bad": raise UserError("the input", "is bad", "mend it")
            case "bug": raise ZeroDivisionError("a bug")
            case "die": os.kill(os.getpid(), signal.SIGKILL)
            case float(): time.sleep(value)
        return name, opened, os.getpid(), value
    return work
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a body with ``do`` in a process of its own."""
    (tmp_path / "crew_task.py").write_text(TASK)

    def start(body: str, address: str = "local") -> subprocess.CompletedProcess[str]:
        text = PROGRAM.format(address=address, body="\n".join(f"    {line}" for line in body.splitlines()))
        (tmp_path / "program.py").write_text(text)
        env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        command = [sys.executable, "program.py"]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)

    return start


ORDER = """
found = list(do([0.3, 1, 2, 0.2, *range(3, 43)]))
print([value for _, _, _, value in found] == [0.3, 1, 2, 0.2, *range(3, 43)])
print(len({pid for _, _, pid, _ in found}), all(opened == pid for _, opened, pid, _ in found))
one = do(range(10_000))
print([next(one)[3] for _ in range(3)], len(read) - 44 <= 3 + 6)
two = do(iter(range(5)), "another")
mixed = [next(two), next(one), next(two)]
print([row[0] + str(row[3]) for row in mixed])
one.close()
print([row[3] for row in two], os.environ["RAY_USAGE_STATS_ENABLED"])
mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
listening = {c.laddr.ip for p in mine for c in p.net_connections() if c.status == "LISTEN"}
print(listening <= {"127.0.0.1", "::ffff:127.0.0.1"}, len(listening) > 0)
"""


@pytest.mark.slow
def test_order_window_two_tasks_at_once_and_loopback_alone(run: Callable[..., Any]) -> None:
    done = run(ORDER)
    assert done.stdout.splitlines() == ["True", "2 True", "[0, 1, 2] True", "['another0', 'task3', 'another1']",
                                        "[2, 3, 4] 0", "True True"], done.stderr  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_bad_input_is_one_line_a_bug_keeps_its_traceback_and_a_deadly_item_stops_the_run(
    run: Callable[..., Any],
) -> None:
    bug = "try:\n    list(do([1, 'bug', 2]))\nexcept ZeroDivisionError as error:\n    print('in work' in str(error))\n"
    deadly = "from stages.runtime.errors import UserError\ntry:\n    list(do([1, 'die', 2]))\n"
    deadly += "except UserError as error:\n    print(error.line)\n"
    done = run(bug + deadly + "list(do([1, 2, 'bad', 3]))")
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == "True"
    assert "counting: one piece of work has ended 3 workers" in done.stdout.splitlines()[1]
    *gone, last = done.stderr.splitlines()
    assert last == "error: the input: is bad; mend it"
    assert len(gone) == 3, gone
    assert all(re.fullmatch(r"ray: a worker is gone \(\w+\) while counting; what it .* again", one) for one in gone)


def test_an_address_where_nobody_answers_is_one_line_soon(run: Callable[..., Any]) -> None:
    done = run("list(do([1]))", address="127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: machine.ray_address: no answer from 127.0.0.1:1")
    assert len(done.stderr.splitlines()) == 1
