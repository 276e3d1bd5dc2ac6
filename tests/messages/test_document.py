"""The schemas and the AsyncAPI document in `docs` are those of the code, and the examples obey them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from edge_resad.messages import COMMANDS, DELIVERY, Message, read_message, type_of
from edge_resad.messages.document import documents, write

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = re.findall(r"```json\n(.*?)\n```", (DOCS / "messages.md").read_text(), re.DOTALL)
ASYNCAPI_3 = json.loads((Path(__file__).parent / "asyncapi-3.0.0.json").read_text())
RECORDED = sorted(Path(__file__).parent.glob("v[0-9]*/*.json"))


def _schema(kind: str) -> dict[str, Any]:
    schema = json.loads((DOCS / "schemas" / f"{kind.removeprefix('edge-resad.')}.json").read_text())
    assert isinstance(schema, dict)
    return schema


def _check(message: dict[str, Any]) -> None:
    jsonschema.validate(message, _schema(message["type"]), cls=jsonschema.Draft202012Validator)


def _asyncapi() -> dict[str, Any]:
    document = json.loads((DOCS / "asyncapi.json").read_text())
    assert isinstance(document, dict)
    return document


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for name, inner in part.items():
            if name == "$ref":
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def test_the_documents_are_those_of_the_code(tmp_path: Path) -> None:
    write(tmp_path)
    stale = "run `python -m edge_resad.messages.document docs`"
    written = {str(file.relative_to(DOCS)) for file in [*DOCS.rglob("schemas/**/*.json"), DOCS / "asyncapi.json"]}
    assert written == set(documents()), stale
    for name in documents():
        assert (DOCS / name).read_text() == (tmp_path / name).read_text(), stale


def test_every_schema_is_one() -> None:
    for file in DOCS.rglob("schemas/**/*.json"):
        jsonschema.Draft202012Validator.check_schema(json.loads(file.read_text()))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: json.loads(example)["type"])
def test_an_example_of_the_document_obeys_its_schema(example: str) -> None:
    _check(json.loads(example))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_message_obeys_its_schema(file: Path) -> None:
    _check(json.loads(file.read_text()))


def test_the_examples_show_every_kind_of_message() -> None:
    kinds = {model.model_fields["type"].default for model in get_args(Message)}
    assert {json.loads(example)["type"] for example in EXAMPLES} == kinds


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"type": "edge-resad.other"}, "was expected"),
        ({"id": "a/b"}, "does not match"),
        ({"data": {}}, "valid under any|required"),
        ({"schemaversion": "1"}, "not of type"),
    ],
)
def test_a_schema_refuses_what_is_no_message(change: dict[str, Any], wrong: str) -> None:
    verdict = json.loads(EXAMPLES[0])
    schema = _schema(verdict["type"])
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate({**verdict, **change}, schema, cls=jsonschema.Draft202012Validator)


def test_a_schema_passes_over_a_field_that_a_later_version_adds_as_the_reader_does() -> None:
    verdict = json.loads(EXAMPLES[0])
    verdict["data"]["mood"] = "fine"
    _check(verdict)
    assert read_message(json.dumps(verdict).encode()) == read_message(EXAMPLES[0].encode())


def test_the_arguments_of_a_command_admit_nothing_else() -> None:
    for name in COMMANDS:
        schema = json.loads((DOCS / "schemas" / "arguments" / f"{name}.json").read_text())
        assert schema["additionalProperties"] is False


def test_the_asyncapi_document_obeys_the_rules_of_asyncapi_3() -> None:
    assert list(jsonschema.Draft7Validator(ASYNCAPI_3).iter_errors(_asyncapi())) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("operations", "command", "action"), "push"),
        (("operations", "gap", "bindings", "mqtt", "qos"), 3),
        (("info",), {}),
        (("channels", "gap", "adress"), "x"),
    ],
)
def test_a_document_that_breaks_the_rules_would_be_noticed(path: tuple[str, ...], value: object) -> None:
    document = _asyncapi()
    part = document
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    assert list(jsonschema.Draft7Validator(ASYNCAPI_3).iter_errors(document))


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = _asyncapi()
    for reference in _references(document):
        if not reference.startswith("#"):
            assert (DOCS / reference).is_file(), reference
            continue
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
        assert isinstance(part, dict), reference


def test_every_address_of_the_asyncapi_document_is_a_topic_of_its_message() -> None:
    document = _asyncapi()
    for channel in document["channels"].values():
        filled = re.sub(r"\{(\w+)\}", "major", channel["address"])
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"])
        (message,) = channel["messages"].values()
        found = document["components"]["messages"][message["$ref"].rpartition("/")[2]]
        assert type_of(filled) == found["name"]


def test_the_document_says_how_each_message_travels() -> None:
    document = _asyncapi()
    for kind, delivery in DELIVERY.items():
        operation = document["operations"][kind.removeprefix("edge-resad.")]
        mqtt = operation["bindings"]["mqtt"]
        assert (mqtt["qos"], mqtt["retain"], mqtt.get("messageExpiryInterval")) == (
            delivery.qos,
            delivery.retain,
            delivery.expiry_s,
        )
    text = (DOCS / "messages.md").read_text()
    for kind, delivery in DELIVERY.items():
        (row,) = [line for line in text.splitlines() if line.startswith("| `er/v1/") and _says(line, kind)]
        assert row.split("|")[3].strip() == str(delivery.qos)
        assert row.split("|")[4].strip() == ("yes" if delivery.retain else "no")


def _says(row: str, kind: str) -> bool:
    return f"`{kind}`" in row or (kind == "edge-resad.thumbnail" and "JPEG" in row)
