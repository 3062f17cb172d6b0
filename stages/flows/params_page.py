"""Print docs/params.md: every key of params.yaml with its range, its default, and its value under each profile.

    python -m stages.flows.params_page > docs/params.md

Reads conf/ and dvc.yaml of the folder that it is started in, so a workspace of your own has such a page too.  It lies
in flows/ because sweep and eval depend on all of reports/.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages.contracts.kohya import OPTIONS, Option
from stages.contracts.settings import SECTIONS, Section, everything, parse, read_yaml
from stages.runtime.entry import run_stage

CONF = Path("conf")
LONGEST = 48  # characters of a value; a longer list is counted
BEYOND = 2**63  # where seeds end: nobody comes near
INTRODUCTION = """\
# Settings

Every key of `params.yaml`. A profile's column holds what it composes with the default experiment. *24 entries*
stands for a list that is too long for the table: look into `conf/`. `required` means that the schema has no default, so
conf/ must say it. The last column names the option of kohya's sd-scripts that means the same, and its word for a value
where it has another; a dash says that there is none.

* Where to change one: for good in `conf/` (groups carry the sections' names), for one run with
  `dvc exp run -S train.rank=8`. Then `pistachio check`: every wrong key is named at once, with its value.
* Write 0.0001, not 1e-4: YAML reads the latter as text.
* A stage depends on whole sections: when any key of one changes, the stages named under its title run again, and what
  follows them.
* `profile` and `models` in `params.yaml` are read by no stage: conf/ takes values from them.

This page is printed by `python -m stages.flows.params_page`.
"""


def walk(model: type[Section], prefix: str) -> Iterator[tuple[str, type[Section]]]:
    """``model`` and every section inside it with their dotted names, outer ones first."""
    yield prefix, model
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from walk(info.annotation, f"{prefix}.{name}")


def describe_values(schema: Mapping[str, Any]) -> str:
    """What a key may hold, from its JSON schema."""
    if "anyOf" in schema:
        parts = [describe_values(part) for part in schema["anyOf"]]
        chosen = any("enum" in part or "const" in part for part in schema["anyOf"])
        return " or ".join("`module:Class`" if chosen and part == "text" else part for part in parts)
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if choices:
        return ", ".join(_code(choice) for choice in choices)
    match schema.get("type"):
        case "boolean":
            return "`true`, `false`"
        case "integer":
            return f"whole number{_describe_range(schema)}"
        case "number":
            return f"number{_describe_range(schema)}"
        case "array":
            return _describe_list(schema)
        case "object":
            return f"mapping of names to: {describe_values(schema['additionalProperties'])}"
        case "null":
            return "`null`"
    if "pattern" in schema:
        return f"text like {_code(schema['pattern'])}"
    return "path" if schema.get("format") == "path" else "text"


def _describe_range(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
             "multipleOf": "a multiple of"}  # fmt: skip
    bounds = [f"{word} {schema[key]}" for key, word in words.items() if schema.get(key, BEYOND) != BEYOND]
    return "".join(f", {bound}" for bound in bounds)


def _describe_list(schema: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {describe_values(schema['prefixItems'][0])}"
    least = ", not empty" if schema.get("minItems") else ""
    return f"list{least}: {describe_values(schema['items'])}"


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)}`"


def _value(value: Any) -> str:
    """A value as a cell shows it; long lists and mappings are counted."""
    text = _code(value)
    return f"{len(value)} entries" if isinstance(value, list | tuple | dict) and len(text) > LONGEST else text


def describe_option(option: Option | None) -> str:
    """The last column: sd-scripts' option, its words for our values, and where it differs."""
    if option is None:
        return "-"
    spelled = [f"{_code(ours)}: {_spell(theirs)}" for ours, theirs in option.words.items()]
    text = f"`{option.name}`" + (f" ({', '.join(spelled)})" if spelled else "")
    return f"{text}; {option.unlike}" if option.unlike else text


def _spell(word: str | None) -> str:
    return "left out" if word is None else f"`{word}`" if word else "given"


def compose_profiles() -> dict[str, dict[str, Any]]:
    """The sections under each profile, the default one first: what conf/ composes, else the schema's default.

    Raises:
        UserError: when conf/ composes what the schema refuses.
    """
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF.resolve()), version_base=None):
        default = compose("config").profile
        names = sorted((path.stem for path in (CONF / "profile").glob("*.yaml")), key=lambda n: (n != default, n))
        found = {name: OmegaConf.to_container(compose("config", [f"profile={name}"]), resolve=True) for name in names}
    return {
        name: parse(everything(), values, f"profile {name}").model_dump(mode="json")  # type: ignore[arg-type]
        for name, values in found.items()
    }


def _dig(values: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        values = values[key]
    return values


def render_table(prefix: str, model: type[Section], profiles: Mapping[str, dict[str, Any]]) -> list[str]:
    """The lines of one section's table; sections inside it have tables of their own."""
    inside = {name for name, _ in walk(model, prefix)}
    schema = model.model_json_schema()["properties"]
    keys = {name: f"{prefix}.{name}" for name in model.model_fields if f"{prefix}.{name}" not in inside}
    kohya = ["sd-scripts"] if OPTIONS.keys() & keys.values() else []
    head = ["key", "what it is", "values", "default", *profiles, *kohya]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, key in keys.items():
        info = model.model_fields[name]
        default = "required" if info.is_required() else _value(info.get_default(call_default_factory=True))
        values = [_value(_dig(composed, key)) for composed in profiles.values()]
        about = (info.description or "").replace("``", "`").replace("<", "&lt;")
        cells = [f"`{key}`", about, describe_values(schema[name]), default, *values]
        cells += [describe_option(OPTIONS.get(key))] if kohya else []
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return [*lines, ""] if keys else []


def readers(section: str, pipeline: Mapping[str, Any]) -> list[str]:
    """The stages that declare a section, in the pipeline's order."""
    return [name for name, stage in pipeline["stages"].items() if section in stage["params"]]


def render_page() -> str:
    """docs/params.md."""
    profiles, pipeline = compose_profiles(), read_yaml(Path("dvc.yaml"))
    lines = [INTRODUCTION]
    for section, outer in SECTIONS.items():
        for prefix, model in walk(outer, section):
            lines += [f"{'##' if model is outer else '###'} {prefix}", "", (model.__doc__ or "").replace("``", "`"), ""]
            if model is outer:
                stages = ", ".join(readers(section, pipeline))
                lines += [f"Runs again when it changes: {stages or 'nothing'}.", ""]
            lines += render_table(prefix, model, profiles)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Print the page."""
    print(render_page(), end="")


if __name__ == "__main__":
    run_stage(main)
