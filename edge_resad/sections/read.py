"""A file of settings, read: typed TOML whose relative paths are taken from its folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from edge_resad.errors import SettingsError
from edge_resad.sections.section import Section
from edge_resad.sections.words import one_line, sentence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

_DATABASE = b"SQLite format 3\0"

_File = TypeVar("_File", bound=Section)
_Model = TypeVar("_Model", bound=BaseModel)


def read_settings(path: Path, model: type[_File], *, kind: str) -> _File:
    """Read a file of settings; every path in it comes back absolute.

    kind: what such a file is called, `station` or `fleet`; an example is docs/KIND.toml.

    Raises:
        SettingsError: there is no such file, or a key or a value in it is wrong.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_DATABASE):  # a station's spool beside its file, most likely
            raise SettingsError(
                f"{path} is an SQLite database, expected a {kind} file: TOML text such as docs/{kind}.toml. "
                f"Name the {kind} file"
            )
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"no {kind} file at {path}. Check the path, or start from docs/{kind}.toml") from None
    except IsADirectoryError:
        example = path / f"{kind}.toml"
        raise SettingsError(f"{path} is a folder, expected a {kind} file such as {example}") from None
    except UnicodeDecodeError as broken:
        raise SettingsError(f"{path} is not UTF-8 text at byte {broken.start}. Save it as UTF-8") from broken
    except OSError as broken:
        raise SettingsError(f"{path} cannot be read: {broken.strerror}. Check its permissions") from broken
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as broken:
        raise SettingsError(f"{path} is not valid TOML: {one_line(str(broken))}") from broken
    try:
        settings = model.model_validate(raw)
    except ValidationError as wrong:
        raise SettingsError(f"{path}: {sentence(model, wrong.errors(include_url=False))}") from wrong
    return _beside(settings, path.absolute().parent)


def _placed(one: object, folder: Path) -> object:
    if isinstance(one, BaseModel):
        return _beside(one, folder)
    return folder / one.expanduser() if isinstance(one, Path) else one


def _beside(model: _Model, folder: Path) -> _Model:
    """The same settings with every relative path taken from `folder`."""
    changed: dict[str, object] = {}
    for key, value in model:
        if isinstance(value, BaseModel):
            changed[key] = _beside(value, folder)
        elif isinstance(value, tuple):
            changed[key] = tuple(_placed(one, folder) for one in value)
        elif isinstance(value, Path):
            changed[key] = folder / value.expanduser()
    own = model.paths_in_words(folder) if isinstance(model, Section) else {}
    return model.model_copy(update={**changed, **own})
