"""What is wrong with a file of sections, in a sentence for the person who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_Place = Sequence[str | int]


def sentence(file: type[BaseModel], errors: list[ErrorDetails]) -> str:
    """The most telling of the errors in one line, and how many more there are."""
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")  # a misspelt key is also a missing one
    more = len({_named(error["loc"])[:2] for error in errors}) - 1
    return one_line(_explain(file, first)) + (f" ({more} more after this one)" if more else "")


def _named(loc: _Place) -> tuple[str, ...]:
    return tuple(part for part in loc if isinstance(part, str))


def one_line(text: str) -> str:
    """The same words without line breaks."""
    return " ".join(text.split())


def expected(model: type[BaseModel], key: str) -> str:
    """What a key of a section takes, in words: `whole number, 1 to 65535`."""
    schema = model.model_json_schema()
    return _in_words(schema["properties"][key], schema.get("$defs", {}))


def section_model(file: type[BaseModel], *names: str) -> type[BaseModel] | None:
    """The model of a section, or of a section in a section; None where there is none of this name."""
    model: type[BaseModel] | None = file
    for name in names:
        model = _keys(model).get(name) if model is not None else None
    return model


def sections(file: type[BaseModel], *names: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section by its name in the file, those in a section as `camera.trigger`."""
    for key, model in _keys(section_model(file, *names) or file).items():
        if model is not None:
            yield ".".join([*names, key]), model
            yield from sections(file, *names, key)


def _explain(file: type[BaseModel], error: ErrorDetails) -> str:
    names, number, key = _where(file, error["loc"])
    model = section_model(file, *names)
    head = _head(file, names, number)
    what = f"{head} {key}".strip()
    if error["type"] == "extra_forbidden":
        return _unknown(file, names, key, head)
    if error["type"] == "missing":
        if model is None or not names or section_model(file, *names, key) is not None:
            return f"[{'.'.join([*names, key])}] is missing, the section is needed"
        return f"{what} is missing. Set it to: {expected(model, key)}"
    if error["type"] == "value_error":
        about = f"[{key}]" if not names and section_model(file, key) is not None else what
        return f"{about} {error['ctx']['error']}".strip()
    if model is None or not key or not names:
        name = ".".join([*names, key]).strip(".")
        return f"{name} is {_shown(error['input'])}, expected a section [{name}]"
    return f"{what} is {_shown(error['input'])}, expected {expected(model, key)}"


def _where(file: type[BaseModel], loc: _Place) -> tuple[list[str], int | None, str]:
    """The sections that lead to a place, which of several of the same name, and the key in it."""
    names: list[str] = []
    number: int | None = None
    for index, part in enumerate(loc):
        if isinstance(part, int):
            if index == 1:
                number = part
            continue
        if section_model(file, *names, part) is None or (not names and index == len(loc) - 1):
            return names, number, part
        names.append(part)
    return names, number, ""


def _head(file: type[BaseModel], names: Sequence[str], number: int | None) -> str:
    if not names:
        return ""
    if number is None:
        return f"[{'.'.join(names)}]"
    return f"[{'.'.join(names)}]" if number == 0 else f"[[{'.'.join(names)}]] number {number + 1}:"


def _unknown(file: type[BaseModel], names: Sequence[str], key: str, head: str) -> str:
    model = section_model(file, *names) or file
    known, kind = [*_keys(model)], "key" if names else "section"
    if not names:
        home = next((name for name, section in _keys(file).items() if section and key in _keys(section)), None)
        if home is not None:
            return f"{key} stands outside its section. Move it below [{home}]"
    near = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{f'{head} {key}'.strip()} is not a known {kind}.{hint} Known: {', '.join(known)}"


def _keys(model: type[BaseModel]) -> dict[str, type[BaseModel] | None]:
    """The keys of a section as the file names them, each with the model of the section that it is, if it is one."""
    return {field.alias or name: _model_in(field.annotation) for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)


def _in_words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _in_words(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return " or ".join(_in_words(part, definitions) for part in schema["anyOf"] if part.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f'"{choice}"' for choice in schema["enum"])
    if "const" in schema:
        return str(schema["const"]).lower() if isinstance(schema["const"], bool) else f'"{schema["const"]}"'
    if schema.get("format") == "path":
        return "path in quotes"
    if schema.get("type") == "object":
        return "table such as { gain = 10 }"
    if schema.get("type") == "array":
        return f"list of {_in_words(schema.get('items', {'type': 'string'}), definitions)}"
    if str(schema.get("pattern", "")).startswith("^https:"):
        return "https URL in quotes"
    if str(schema.get("pattern", "")).startswith("^[^+/#"):
        return "1 to 64 letters without +, / and # in quotes"
    if "pattern" in schema:
        return "1 to 64 letters, digits, - or _ in quotes"
    kind = {"integer": "whole number", "number": "number", "string": "text in quotes", "boolean": "true or false"}
    return kind[schema["type"]] + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    if low is not None:
        return f", {low:g} or more"
    if above is not None:
        return f", above {above:g}" + (f" up to {high:g}" if high is not None else "")
    return ""


def _shown(value: object) -> str:
    """A value as it stands in the file, cut to what fits in a sentence."""
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
