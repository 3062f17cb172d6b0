"""Checks graphs as ComfyUI 0.3.64 does, against the recorded /object_info, and answers with the recorded errors."""

import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfyui.folders import Folders

RECORDED = Path(__file__).parent / "recorded"
CUSTOM_MODULE = "custom_nodes.ComfyUI_"  # how the modules of InstantID and IPAdapter begin
CHECKS_ITS_IMAGE = ("LoadImage", "LoadImageMask")
CORRUPTED = "The workflow may be corrupted or a custom node is missing."
LONG_LIST = 20
NUMBERS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

Graph = dict[str, Any]
Verdict = tuple[bool, list[dict[str, Any]]]


def read_recordings(folder: Path = RECORDED) -> dict[str, Any]:
    """Every node class of every recording, by its name."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")):
        entries = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(entries, dict):
            found |= {name: info for name, info in entries.items() if isinstance(info, dict) and "input_order" in info}
    return found


class Nodes:
    """The node classes of a server."""

    def __init__(self, folders: Folders, dialect: str, custom: bool) -> None:
        self._folders, self._newer = folders, dialect == "newer"
        self._recorded = {
            name: info
            for name, info in read_recordings().items()
            if custom or not info["python_module"].startswith(CUSTOM_MODULE)
        }

    def __contains__(self, name: object) -> bool:
        return name in self._recorded

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded)

    def info(self, name: str) -> dict[str, Any]:
        """What /object_info says: the recording, with the files that lie there now."""
        info = json.loads(json.dumps(self._recorded[name]))
        for group in ("required", "optional"):
            for key, spec in info["input"].get(group, {}).items():
                if isinstance(spec[0], list):
                    spec[0] = self._folders.options(key, spec[0])
                    if self._newer:
                        extra = {"multiselect": False, "options": spec[0]}
                        spec[:] = ["COMBO", (spec[1] if len(spec) > 1 else {}) | extra]
        return info

    def is_output(self, name: str) -> bool:
        return bool(self._recorded[name]["output_node"])

    def outputs(self, name: str) -> tuple[Any, ...]:
        return tuple(self._recorded[name]["output"])

    def exists(self, name: str) -> bool:
        """Whether LoadImage would find this picture."""
        return self._folders.find_input(name).exists()


def make_error(kind: str, message: str, details: str = "", **extra: Any) -> dict[str, Any]:
    """One error as ComfyUI writes it."""
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2


class Check:
    """One graph on its way through validation; numbers in it are converted in place, as ComfyUI does."""

    def __init__(self, graph: Graph, nodes: Nodes, newer: bool = False) -> None:
        self.graph, self.nodes, self.newer = graph, nodes, newer
        self.seen: dict[str, Verdict] = {}

    def run(self) -> tuple[dict[str, Any] | None, list[str], dict[str, Any]]:
        """(error, outputs that can run, node_errors)."""
        ends = []
        for number, node in self.graph.items():
            if error := self._class_error(number, node):
                return error, [], {}
            if self.nodes.is_output(node["class_type"]):
                ends.append(number)
        if not ends:
            return make_error("prompt_no_outputs", "Prompt has no outputs"), [], {}
        good, details = [], []
        node_errors: dict[str, Any] = {}
        for end in ends:
            ok, reasons = self._validate_output(end)
            if ok:
                good.append(end)
                continue
            details += [f"{reason['message']}: {reason['details']}" for reason in reasons]
            for number, (fine, found) in self.seen.items():
                if not fine and found:
                    kind = self.graph[number]["class_type"]
                    entry = {"errors": found, "dependent_outputs": [], "class_type": kind}
                    node_errors.setdefault(number, entry)["dependent_outputs"].append(end)
        if good:
            return None, good, node_errors
        text = "Prompt outputs failed validation"
        return make_error("prompt_outputs_failed_validation", text, "\n".join(details)), [], node_errors

    def _class_error(self, number: str, node: dict[str, Any]) -> dict[str, Any] | None:
        where = f"Node ID '#{number}'"
        title = node.get("_meta", {}).get("title")
        if "class_type" not in node and self.newer:
            text = f"Node '{title or f'ID #{number}'}' has no class_type. " + CORRUPTED
            return make_error("missing_node_type", text, where, node_id=number, class_type=None, node_title=title)
        if "class_type" not in node:
            text = "Cannot execute because a node is missing the class_type property."
            return make_error("invalid_prompt", text, where)
        kind = node["class_type"]
        if kind in self.nodes:
            return None
        if not self.newer:
            return make_error("invalid_prompt", f"Cannot execute because node {kind} does not exist.", where)
        title = title or kind
        return make_error(
            "missing_node_type", f"Node '{title}' not found. The custom node may not be installed.", where,
            node_id=number, class_type=kind, node_title=title,
        )  # fmt: skip

    def _validate_output(self, number: str) -> Verdict:
        try:
            return self._validate(number)
        except Exception as error:
            self.seen[number] = (
                False,
                [_describe("exception_during_validation", "Exception when validating node", error)],
            )
            return self.seen[number]

    def _validate(self, number: str) -> Verdict:
        if number in self.seen:
            return self.seen[number]
        inputs, kind = self.graph[number]["inputs"], self.graph[number]["class_type"]
        info = self.nodes.info(kind)["input"]
        errors: list[dict[str, Any]] = []
        valid = True
        for group in ("required", "optional"):
            for name, spec in info.get(group, {}).items():
                if name not in inputs:
                    if group == "required":
                        text = "Required input is missing"
                        errors.append(make_error("required_input_missing", text, name, input_name=name))
                    continue
                config = [spec[0], spec[1] if len(spec) > 1 else {}]
                if isinstance(inputs[name], list):
                    found, fine = self._check_link(name, config, inputs[name])
                    valid &= fine
                else:
                    found = self._check_value(kind, name, config, inputs)
                errors += [found] if found else []
        if kind in CHECKS_ITS_IMAGE and not is_link(inputs.get("image")):
            errors += self._check_image(inputs.get("image"))
        self.seen[number] = valid and not errors, errors
        return self.seen[number]

    def _check_image(self, name: Any) -> list[dict[str, Any]]:
        if name is None or self.nodes.exists(str(name)):
            return []
        text = f"image - Invalid image file: {name}"
        return [make_error("custom_validation_failed", "Custom validation failed for node", text, input_name="image")]

    def _check_link(self, name: str, config: list[Any], link: list[Any]) -> tuple[dict[str, Any] | None, bool]:
        """(error of this node, whether the node behind the link is fine)."""
        if len(link) != 2:
            text = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            return make_error("bad_linked_input", text, name, input_name=name, input_config=config,
                              received_value=link), True  # fmt: skip
        received = self.nodes.outputs(self.graph[link[0]]["class_type"])[link[1]]
        if not _fits(received, config[0]):
            return make_error(
                "return_type_mismatch", "Return type mismatch between linked nodes",
                f"{name}, received_type({received}) mismatch input_type({config[0]})",
                input_name=name, input_config=config, received_type=received, linked_node=link,
            ), True  # fmt: skip
        try:
            return None, self._validate(link[0])[0]
        except Exception as error:
            text = "Exception when validating inner node"
            reason = _describe("exception_during_inner_validation", text, error)
            reason["extra_info"] |= {"input_name": name, "input_config": config, "exception_message": str(error),
                                     "linked_node": link}  # fmt: skip
            self.seen[link[0]] = False, [reason]
            return None, False

    def _check_value(self, kind: str, name: str, config: list[Any], inputs: dict[str, Any]) -> dict[str, Any] | None:
        wanted, extra = config
        value = inputs[name]
        if isinstance(value, dict) and "__value__" in value:
            value = inputs[name] = value["__value__"]
        try:
            if isinstance(wanted, str) and wanted in NUMBERS:
                value = inputs[name] = NUMBERS[wanted](value)
        except Exception as error:
            return make_error(
                "invalid_input_type", f"Failed to convert an input value to a {wanted} value",
                f"{name}, {value}, {error}", input_name=name, input_config=config, received_value=value,
                exception_message=str(error),
            )  # fmt: skip
        if kind in CHECKS_ITS_IMAGE and name == "image":
            return None
        about = {"input_name": name, "input_config": config, "received_value": value}
        if "min" in extra and value < extra["min"]:
            text = f"Value {value} smaller than min of {extra['min']}"
            return make_error("value_smaller_than_min", text, name, **about)
        if "max" in extra and value > extra["max"]:
            return make_error(
                "value_bigger_than_max", f"Value {value} bigger than max of {extra['max']}", name, **about
            )
        options = extra.get("options", []) if wanted == "COMBO" else wanted
        if isinstance(options, list) and value not in options:
            long = len(options) > LONG_LIST
            shown = f"(list of length {len(options)})" if long else str(options)
            about["input_config"] = None if long else config
            return make_error("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {shown}", **about)
        return None


def _fits(received: Any, wanted: Any) -> bool:
    if received == wanted or "*" in (received, wanted):
        return True
    if not isinstance(received, str) or not isinstance(wanted, str):
        return False
    return bool({part.strip() for part in received.split(",")} & {part.strip() for part in wanted.split(",")})


def _describe(kind: str, message: str, error: Exception) -> dict[str, Any]:
    name = type(error).__name__
    return make_error(
        kind, message, str(error), exception_type=name, traceback=traceback.format_tb(error.__traceback__)
    )
