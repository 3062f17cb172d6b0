"""The one worker and its caches; what a run tells the websockets while it runs."""

import asyncio
import math
import time
import traceback
from concurrent.futures import Executor
from typing import Any

from comfyui.faults import Faults
from comfyui.graphs import Graph, Nodes, is_link
from comfyui.nodes import Studio
from comfyui.order import order_of
from comfyui.pictures import hash_description
from comfyui.waiting import Item, Queue, Send

TICK = 0.005  # seconds between two looks at what a waiting run waits for


class Interrupted(Exception):
    """The run was stopped."""


class Died(Exception):
    """The server is to die now; its argument: seconds until it comes back, or None."""


class Worker:
    """Runs one graph after another."""

    def __init__(self, nodes: Nodes, studio: Studio, faults: Faults, send: Send, drawing: Executor) -> None:
        self.queue = Queue(send)
        self.nodes, self.studio, self.faults = nodes, studio, faults
        self._send, self._drawing = send, drawing
        self.client: str | None = None
        self.last_node: str | None = None
        self.interrupted = False
        self.released = 0  # how many holds may go on
        self.values: dict[str, list[Any]] = {}  # the caches, by a node's signature: of the last graph only
        self.shown: dict[str, Any] = {}

    async def work(self) -> None:
        """Until cancelled.

        Raises:
            Died: a fault asks for it.
        """
        while True:
            item = await self.queue.get()
            run = Run(self, item)
            ok, result = await run.execute()
            if fault := self.faults.strike("late_history"):
                await asyncio.sleep(fault.detail["seconds"])
            status = {"status_str": "success" if ok else "error", "completed": ok, "messages": run.messages}
            self.queue.done(result, status)
            if self.client is not None:
                self._send("executing", {"node": None, "prompt_id": item[1]}, self.client)

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Stop what runs; with an id, only if it is that run."""
        running = self.queue.running
        aimed = running is not None and prompt_id in (None, running[1])
        self.interrupted |= aimed
        return aimed

    def forget(self) -> None:
        """/free: unload everything."""
        self.values, self.shown, self.studio.loaded = {}, {}, {}


class Run:
    """One graph from execution_start to its last message."""

    def __init__(self, worker: Worker, item: Item) -> None:
        self.worker = worker
        _, self.id, self.graph, self.extra, self.ends = item
        self.messages: list[Any] = []
        self.states: dict[str, dict[str, Any]] = {}
        self.executed: list[str] = []
        self.signatures: dict[str, str] = {}

    async def execute(self) -> tuple[bool, dict[str, Any]]:
        """(success, outputs and meta for the history)."""
        worker = self.worker
        worker.interrupted, worker.client = False, self.extra.get("client_id")
        self._note("execution_start")
        self.signatures = {number: self._sign(number) for number in self.graph}
        present = set(self.signatures.values())
        worker.values = {key: value for key, value in worker.values.items() if key in present}
        worker.shown = {key: value for key, value in worker.shown.items() if key in present}
        worker.studio.forget_loras({(number, node["class_type"]) for number, node in self.graph.items()})
        self._note("execution_cached", nodes=[number for number in self.graph if self._is_cached(number)])
        ok = True
        for number in order_of(self.graph, self.ends, self._is_cached, worker.nodes):
            if not await self._run_node(number):
                ok = False
                break
        else:
            self._note("execution_success")
        shown = {number: worker.shown[key] for number, key in self.signatures.items() if key in worker.shown}
        worker.last_node = None
        meta = {number: {"node_id": number, "display_node": number, "parent_node": None, "real_node_id": number}
                for number in shown}  # fmt: skip
        return ok, {"outputs": shown, "meta": meta}

    def _is_cached(self, number: str) -> bool:
        return self.signatures[number] in self.worker.values

    def _sign(self, number: str) -> str:
        """What decides a node's output, its number not: class, inputs and all that leads to them."""
        node = self.graph[number]
        inputs = {
            name: [self._sign(value[0]), value[1]] if is_link(value) else value
            for name, value in node["inputs"].items()
        }
        return hash_description([node["class_type"], self.worker.studio.is_changed(node["class_type"], inputs), inputs])

    async def _run_node(self, number: str) -> bool:
        worker, kind, key = self.worker, self.graph[number]["class_type"], self.signatures[number]
        if self._is_cached(number):
            if worker.client is not None:
                self._tell_executed(number, worker.shown.get(key))
            self._finish(number)
            return True
        inputs: dict[str, Any] = {}
        try:
            self.states[number] = {"value": 0.0, "max": 1.0, "state": "running"}
            self._tell_progress()
            inputs = {name: self._value(value) for name, value in self.graph[number]["inputs"].items()}
            if worker.client is not None:
                worker.last_node = number
                self._tell("executing", node=number, display_node=number)
            self._raise_if_interrupted()
            await self._suffer(kind)
            await self._progress(number, kind, inputs)
            worker.values[key] = await self._evaluate(number, kind, inputs, key)
        except Interrupted:
            details = {"node_id": number, "node_type": kind, "executed": list(self.executed)}
            self._note("execution_interrupted", broadcast=True, **details)
            return False
        except Exception as error:
            if isinstance(error, Died):
                raise
            self._note_error(number, kind, inputs, error)
            return False
        self._finish(number)
        self.executed.append(number)
        return True

    async def _suffer(self, kind: str) -> None:
        """What is planned for a node of this class."""
        faults = self.worker.faults
        if fault := faults.strike("die", kind):
            raise Died(fault.detail["back_after"])
        if faults.strike("interrupt", kind):
            self.worker.interrupted = True
        if fault := faults.strike("grumble", kind):
            self.worker.studio.log(fault.detail["text"])
        await self._hold(kind, 0)
        if fault := faults.strike("error", kind):
            module, _, name = fault.detail["kind"].rpartition(".")
            raise type(name, (RuntimeError,), {"__module__": module or "builtins"})(fault.detail["message"])

    async def _hold(self, kind: str, step: int) -> None:
        if self.worker.faults.strike("hold", f"{kind} {step}"):
            while not self.worker.released:
                self._raise_if_interrupted()
                await asyncio.sleep(TICK)
            self.worker.released -= 1

    async def _progress(self, number: str, kind: str, inputs: dict[str, Any]) -> None:
        """A sampler's steps, with a look for interruptions after each; other nodes have none."""
        fault = self.worker.faults.strike("slow", kind)
        steps = int(inputs["steps"]) if kind.startswith("KSampler") else 0
        pause = fault.detail["seconds"] / max(1, steps) if fault else 0.0
        for step in range(1, steps + 1):
            await asyncio.sleep(pause)
            self._raise_if_interrupted()
            self.states[number] |= {"value": step, "max": steps}
            self._tell_progress()
            self.worker._send(
                "progress", {"value": step, "max": steps, "prompt_id": self.id, "node": number}, self.worker.client
            )
            await self._hold(kind, step)
        if not steps:
            for _ in range(math.ceil(pause / TICK)):
                await asyncio.sleep(TICK)
                self._raise_if_interrupted()

    async def _evaluate(self, number: str, kind: str, inputs: dict[str, Any], key: str) -> list[Any]:
        worker, loop = self.worker, asyncio.get_running_loop()
        if not worker.nodes.is_output(kind):
            slots = len(worker.nodes.outputs(kind))
            return await loop.run_in_executor(worker._drawing, worker.studio.evaluate, number, kind, inputs, slots)
        prompt: Graph = self.graph
        if worker.faults.strike("wrong_prompt"):
            prompt = {"1": {"class_type": "PreviewImage", "inputs": {}}}
        text = {"prompt": prompt} | (self.extra.get("extra_pnginfo") or {})
        images = await loop.run_in_executor(worker._drawing, worker.studio.save, kind, inputs, text)
        worker.shown[key] = {"images": images}
        if worker.client is not None:
            self._tell_executed(number, worker.shown[key])
        return []

    def _value(self, value: Any) -> Any:
        return self.worker.values[self.signatures[value[0]]][value[1]] if is_link(value) else value

    def _raise_if_interrupted(self) -> None:
        if self.worker.interrupted:
            self.worker.interrupted = False
            raise Interrupted

    def _finish(self, number: str) -> None:
        state = self.states.setdefault(number, {"value": 1, "max": 1})
        self.states[number] = {"value": state["max"], "max": state["max"], "state": "finished"}
        self._tell_progress()

    def _tell(self, event: str, **data: Any) -> None:
        self.worker._send(event, data | {"prompt_id": self.id}, self.worker.client)

    def _tell_executed(self, number: str, output: Any) -> None:
        self._tell("executed", node=number, display_node=number, output=output)

    def _tell_progress(self) -> None:
        about = {"prompt_id": self.id, "parent_node_id": None}
        nodes = {
            number: state | about | {"node_id": number, "display_node_id": number, "real_node_id": number}
            for number, state in self.states.items()
        }
        self._tell("progress_state", nodes=nodes)

    def _note(self, event: str, broadcast: bool = False, **data: Any) -> None:
        """For the history, and for the client that sent the graph."""
        data = {"prompt_id": self.id} | data | {"timestamp": int(time.time() * 1000)}
        self.messages.append([event, data])
        if broadcast or self.worker.client is not None:
            self.worker._send(event, data, self.worker.client)

    def _note_error(self, number: str, kind: str, inputs: dict[str, Any], error: Exception) -> None:
        module = type(error).__module__
        shown = {
            name: [str(value) if isinstance(value, dict) else value] for name, value in inputs.items()
        }  # fmt: skip
        self._note(
            "execution_error", node_id=number, node_type=kind, executed=list(self.executed),
            exception_message=f"{error}\n",
            exception_type=("" if module == "builtins" else f"{module}.") + type(error).__qualname__,
            traceback=traceback.format_tb(error.__traceback__), current_inputs=shown, current_outputs=list(self.graph),
        )  # fmt: skip
