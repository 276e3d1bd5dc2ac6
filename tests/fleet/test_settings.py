"""The fleet file: every key is in its page and its example, and a mistake gives one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_resad.errors import SettingsError
from edge_resad.fleet.settings import FleetFile, load_fleet

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def written(folder: Path, text: str) -> Path:
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_the_example_has_every_key_and_is_valid() -> None:
    fleet = load_fleet(DOCS / "fleet.toml")
    for name, field in FleetFile.model_fields.items():
        section = getattr(fleet, name)
        assert section.model_fields_set == set(type(section).model_fields), (name, field)


def test_the_page_has_every_key_with_its_meaning() -> None:
    page = (DOCS / "fleet.md").read_text(encoding="utf-8")
    for name in FleetFile.model_fields:
        section = getattr(load_fleet(DOCS / "fleet.toml"), name)
        part = page.split(f"### [{name}]\n")[1].split("\n#")[0]
        rows = dict(re.findall(r"^\| `(\w+)` \| .*? \| .*? \| (.*) \|$", part, re.MULTILINE))
        assert rows == {key: field.description for key, field in type(section).model_fields.items()}, name


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    fleet = load_fleet(
        written(tmp_path, '[broker]\nhost = "b"\nca_file = "ca.pem"\n[store]\nurl = "sqlite:///a/b.db"\n')
    )
    assert fleet.broker.ca_file == tmp_path / "ca.pem"
    assert fleet.store.url == f"sqlite:///{tmp_path}/a/b.db"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "[broker] is missing"),
        ("[broker]\n", "[broker] host is missing. Set it to: text in quotes"),
        ('[broker]\nhost = "b"\nprot = 1\n', "[broker] prot is not a known key. Did you mean port?"),
        ('[broker]\nhost = "b"\n[stor]\n', "stor is not a known section. Did you mean store?"),
        ('[broker]\nhost = "b"\nport = "1883"\n', '[broker] port is "1883", expected whole number'),
        ('[broker]\nhost = "b"\n[store]\nurl = "mysql://x"\n', "url is no store that we know"),
        ('[broker]\nhost = "b"\n[store]\nurl = "sqlite:///"\n', "url is no store that we know"),
        ('[broker]\nhost = "b"\ncert_file = "c"\n', "cert_file and key_file belong together"),
        ('[broker]\nhost = "b"\n[retention]\npassed_days = 400\n', "Each must be at least as long"),
        ('store = 3\n[broker]\nhost = "b"\n', "store is 3, expected a section [store]"),
        ("[broker\n", "is not valid TOML"),
    ],
)
def test_a_mistake_gives_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as told:
        load_fleet(written(tmp_path, text))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no fleet file"):
        load_fleet(tmp_path / "nothing.toml")
