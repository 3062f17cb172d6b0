"""Load `pistachio serve` on loopback: many clients, real pictures of the workspace, one machine for all of it.

    python -m bench.serve --workspace FOLDER [--clients 200] [--seconds 60]

FOLDER is a workspace whose pipeline has run.  Server, worker and clients share the machine's cores.  Figures go to
bench/results/serve.json: times of requests, jobs that were lost or doubled, and resident memory while it ran.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from bench.results_file import append_result
from publish.serve.keys import add_key, find_key_file

RESULT = Path(__file__).parent / "results" / "serve.json"
ROOT = Path(__file__).parent.parent
LOOKS_S = (15.0, 30.0, 45.0, 60.0)  # when memory is looked at
START_S = 300.0


def start_server(workspace: Path, output: Path, configuration: Path) -> tuple[subprocess.Popen[str], str]:
    """A server of ``workspace`` on a free port, and its address when its worker is ready."""
    command = [sys.executable, "-m", "publish", "serve", "--port", "0", "--output-dir", str(output)]
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    env["XDG_CONFIG_HOME"] = str(configuration)
    process = subprocess.Popen(command, cwd=workspace, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split(" ")[0]
    until = time.monotonic() + START_S
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > until:
            process.terminate()
            sys.exit("the server did not come up")
        time.sleep(0.5)
    return process, url


def _is_ready(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def look_at(server: psutil.Process) -> dict[str, float]:
    """Resident memory of the server and of its worker, MiB."""
    worker = server.children()
    return {
        "server_mib": round(server.memory_info().rss / 2**20, 1),
        "worker_mib": round(sum(process.memory_info().rss for process in worker) / 2**20, 1),
    }


def load(url: str, keys: list[str], seconds: float, server: psutil.Process) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the clients saw, and memory by second."""
    command = [sys.executable, "-m", "bench.serve_clients", url, str(seconds)]
    clients = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert clients.stdin is not None
    clients.stdin.write("\n".join(keys))
    clients.stdin.close()
    clients.stdin = None
    began, memory = time.monotonic(), {}
    for at in LOOKS_S:
        if at <= seconds:
            time.sleep(max(0.0, began + at - time.monotonic()))
            memory[f"{at:.0f}s"] = look_at(server)
    said, _ = clients.communicate()
    return json.loads(said), memory


def count_doubled_pictures(workspace: Path, output: Path) -> int:
    """Pictures of this run that stand more than once in the workspace's index."""
    rows = [json.loads(line) for line in (workspace / "data/published.jsonl").read_text().splitlines()]
    names = {path.name for path in output.rglob("*.png")}
    mine = Counter(row["picture"] for row in rows if Path(row["picture"]).name in names)
    return sum(count - 1 for count in mine.values())


def main() -> None:
    """Read the command line, run, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder
        keys = [add_key(find_key_file(None), f"client{number}") for number in range(words.clients)]
        output = Path(folder) / "served"
        process, url = start_server(words.workspace, output, Path(folder))
        try:
            seen, memory = load(url, keys, words.seconds, psutil.Process(process.pid))
            seen["doubled_pictures"] = count_doubled_pictures(words.workspace, output)
        finally:
            process.terminate()
            process.wait()
    figures = {"clients": words.clients, "seconds": words.seconds, "memory": memory, **seen}
    command = f"python -m bench.serve --workspace FOLDER --clients {words.clients} --seconds {words.seconds:g}"
    append_result(RESULT, command, {}, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
