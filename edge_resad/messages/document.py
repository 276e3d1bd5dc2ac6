"""The wire format for other programs: a JSON Schema for every message, and an AsyncAPI document of all topics.

`python -m edge_resad.messages.document docs` writes `docs/schemas/` and `docs/asyncapi.json` anew.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from edge_resad.messages.command import COMMANDS, FetchedImage
from edge_resad.messages.delivery import DELIVERY
from edge_resad.messages.envelope import SCHEMA_VERSION, Envelope
from edge_resad.messages.message import Message
from edge_resad.messages.thumbnail import JPEG_TYPE, THUMBNAIL_BYTES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FORMAT = "application/schema+json;version=draft-2020-12"
_PLACE = {"site": "The site of the station.", "line": "The line at the site.", "device": "The station alone."}
_ADDRESSES = {  # type -> what follows the station's prefix, and what its last part is
    "edge-resad.state": ("state", None),
    "edge-resad.verdict": ("evt/{camera}", "The camera that saw the part."),
    "edge-resad.alert": ("alert/{severity}", "minor, major or critical."),
    "edge-resad.thumbnail": ("img/{event}", "The id of the message that the picture belongs to."),
    "edge-resad.gap": ("gap", None),
    "edge-resad.audit": ("audit", None),
    "edge-resad.telemetry": ("tm", None),
    "edge-resad.config-reported": ("cfg/reported", None),
    "edge-resad.reply": ("rsp/{command_id}", "The command that is answered."),
    "edge-resad.acknowledgement": ("ack", None),
    "edge-resad.config-desired": ("cfg/desired", None),
    "edge-resad.command": ("cmd/{command}", "The command's name."),
}
_OF_A_COLLECTOR = {"edge-resad.collector-state": "state"}  # type -> what follows the collector's prefix
_KINDS = (*_ADDRESSES, *_OF_A_COLLECTOR)


def documents() -> Mapping[str, object]:
    """File name -> its JSON."""
    models: dict[str, type[Envelope]] = {_short(_type_of(model)): model for model in get_args(Message)}
    messages = {f"schemas/{name}.json": _message_schema(name, model) for name, model in models.items()}
    arguments = {
        f"schemas/arguments/{name}.json": _schema(f"arguments:{name}", model) for name, (model, _) in COMMANDS.items()
    }
    results = {"schemas/results/fetch-image.json": _open(_schema("results:fetch-image", FetchedImage))}
    return {**messages, **arguments, **results, "asyncapi.json": _asyncapi(models)}


def _schema(name: str, model: type[BaseModel]) -> dict[str, Any]:
    found = model.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": f"urn:edge-resad:{name}:{SCHEMA_VERSION}", **found}


def _message_schema(name: str, model: type[Envelope]) -> dict[str, Any]:
    schema: dict[str, Any] = _open(_schema(name, model))
    schema["required"] = sorted(schema["properties"])  # an envelope is whole, whatever has a default when it is written
    return schema


def _open(schema: Any) -> Any:
    """As a reader takes it: fields that a later version adds are no mistake, and what tells kinds apart is there."""
    if isinstance(schema, list):
        return [_open(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    told = {name: _open(part) for name, part in schema.items() if (name, part) != ("additionalProperties", False)}
    fields = schema.get("properties")
    if isinstance(fields, dict):
        constant = {name for name, field in fields.items() if isinstance(field, dict) and "const" in field}
        told["required"] = sorted(constant.union(schema.get("required", ())))
    return told


def _asyncapi(models: Mapping[str, type[Envelope]]) -> dict[str, Any]:
    messages = {name: _message(name, model) for name, model in models.items()}
    messages["thumbnail"] = {
        "name": "edge-resad.thumbnail",
        "title": "Thumbnail",
        "summary": f"A JPEG of at most {THUMBNAIL_BYTES} bytes; its origin is JSON in its first comment segment.",
        "contentType": JPEG_TYPE,
    }
    operations: dict[str, Any] = {}
    for kind in _KINDS:
        name, delivery = _short(kind), DELIVERY[kind]
        binding: dict[str, Any] = {"qos": delivery.qos, "retain": delivery.retain, "bindingVersion": "0.2.0"}
        if delivery.expiry_s is not None:
            binding["messageExpiryInterval"] = delivery.expiry_s
        operations[name] = {
            "action": "send" if delivery.writer == "station" else "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
            "bindings": {"mqtt": binding},
        }
    operations["command"]["reply"] = {
        "channel": {"$ref": "#/channels/reply"},
        "messages": [{"$ref": "#/channels/reply/messages/reply"}],
    }
    return {
        "asyncapi": "3.0.0",
        "id": "urn:edge-resad:station",
        "info": {
            "title": "edge-resad station",
            "version": str(SCHEMA_VERSION),
            "description": "What a station says over MQTT and what it listens to. See messages.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_short(kind): _channel(kind) for kind in _KINDS},
        "operations": operations,
        "components": {
            "messages": messages,
            "parameters": {name: {"description": says} for name, says in _PLACE.items()},
        },
    }


def _message(name: str, model: type[Envelope]) -> dict[str, Any]:
    return {
        "name": _type_of(model),
        "title": name.replace("-", " ").capitalize(),
        "summary": inspect.cleandoc(model.__doc__ or ""),
        "contentType": "application/json",
        "payload": {"schemaFormat": _FORMAT, "schema": {"$ref": f"schemas/{name}.json"}},
    }


def _channel(kind: str) -> dict[str, Any]:
    name = _short(kind)
    parameters: dict[str, Any]
    if kind in _OF_A_COLLECTOR:
        address = f"er/v1/host/{{collector}}/{_OF_A_COLLECTOR[kind]}"
        parameters = {"collector": {"description": "The collector, as its fleet file names it."}}
    else:
        rest, says = _ADDRESSES[kind]
        address = f"er/v1/{{site}}/{{line}}/{{device}}/{rest}"
        parameters = {place: {"$ref": f"#/components/parameters/{place}"} for place in _PLACE}
        if says is not None:
            parameters[rest.split("{")[1].rstrip("}")] = {"description": says}
    return {
        "address": address,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "parameters": parameters,
    }


def _type_of(model: type[Envelope]) -> str:
    return str(model.model_fields["type"].default)


def _short(kind: str) -> str:
    return kind.removeprefix("edge-resad.")


def write(folder: Path) -> None:
    """Write all documents below a folder; what is there already is replaced."""
    for name, document in documents().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
