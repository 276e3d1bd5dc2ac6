"""The documents do not lie: commands, options, targets, files and links in them exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer.main

from edge_resad.cli import app
from edge_resad.demo.products import draw

CHECKOUT = Path(__file__).resolve().parent.parent
README = CHECKOUT / "README.md"
PAGES = sorted(
    [README, CHECKOUT / "CHANGELOG.md", *(CHECKOUT / "docs").rglob("*.md"), *(CHECKOUT / "deploy").rglob("*.md")]
)
SOURCES = (
    *("*.py", "*.sh", "run", "Makefile"),
    *("*.md", "*.txt", "NOTICE"),
    *("*.toml", "*.cfg", "*.ini", "*.yml", "*.yaml", "*.service", "*.rules"),
)
MACHINE = re.compile(
    r"(?<![\w.])/(?:work|root|home|Users|opt/py\w*)/[\w.]|\b(?:pypi\.org|pythonhosted|download\.pytorch\.org)"
)


def verbs() -> dict[str, Any]:
    """Name -> command of everything that `edge-resad` can do; click's own type, which some typers bring inside.

    A verb of a group has the group's name before it: `product list`.
    """
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inside = getattr(command, "commands", None)
        found |= {name: command} if inside is None else {f"{name} {verb}": told for verb, told in inside.items()}
    return found


def verb_of(words: list[str]) -> str | None:
    """The verb that a command's words begin with; None where there is none."""
    return next((name for name in (" ".join(words[:2]), words[0]) if name in verbs()), None)


def options(verb: str) -> set[str]:
    known = {name for parameter in verbs()[verb].params for name in (*parameter.opts, *parameter.secondary_opts)}
    return known | {"--help"}


def targets() -> set[str]:
    """The targets of the Makefile that people call: those that explain themselves."""
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))


def quoted_code(text: str) -> Iterator[str]:
    """Every line of a fenced block and every piece of inline code."""
    fence = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for block in fence.findall(text):
        yield from block.splitlines()
    yield from re.findall(r"`([^`\n]+)`", fence.sub("", text))


def commands_in(text: str) -> Iterator[list[str]]:
    """Every `edge-resad VERB ...` of a page, as words. Prose that only names the program is no command."""
    for code in quoted_code(text):
        found = re.match(r"(?:\$ )?(?:sudo -u edge-resad -H )?edge-resad +([a-z].*)", code.strip())
        if found:
            yield shlex.split(found[1], comments=True)


def wrong_commands(text: str) -> list[str]:
    wrong = []
    for words in commands_in(text):
        verb = verb_of(words)
        if verb is None:
            if words not in (["product"], ["output"], ["pictures"], ["fleet"], ["spool"]):  # the groups as a whole
                wrong.append(f"edge-resad {words[0]}")
            continue
        given = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
        wrong += [f"edge-resad {verb} {option}" for option in sorted(given - options(verb))]
    return wrong


def wrong_links(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere; a heading's anchor is not looked at."""
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    return [link for link in local if not (page.parent / link).exists()]


def wrong_files(text: str) -> list[str]:
    """Files of ours that inline code names by their path and that are not there."""
    rooms = "edge_resad|export|tests|docs|benchmarks|deploy|calibration"
    named = {
        code
        for code in re.findall(r"`([^`\n]+)`", text)
        if re.fullmatch(rf"(?:{rooms})/[\w./*-]+", code) and not code.endswith("/station.toml")
    }
    return sorted(name for name in named if not list(CHECKOUT.glob(name)))


def tracked_texts() -> list[Path]:
    """What belongs to the project, as git says; every text file where there is no git."""
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    if asked.returncode == 0:
        files = [CHECKOUT / name for name in asked.stdout.split("\0") if name]
    else:
        files = [file for file in CHECKOUT.rglob("*") if not any(part.startswith(".venv") for part in file.parts)]
    return [file for file in files if file.is_file() and any(file.match(pattern) for pattern in SOURCES)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    assert wrong_commands(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_file_of_a_page_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert wrong_links(page, text) == []
    assert wrong_files(text) == []


def test_the_readme_names_every_command() -> None:
    named = {words[0] for words in commands_in(README.read_text(encoding="utf-8"))}
    assert {verb.partition(" ")[0] for verb in verbs()} - named == set()


def test_the_page_of_recipes_names_every_command_of_products() -> None:
    page = CHECKOUT / "docs" / "recipes.md"
    named = {verb_of(words) for words in commands_in(page.read_text(encoding="utf-8"))}
    assert {verb for verb in verbs() if verb.startswith("product ")} - named == set()


def test_the_page_of_the_fleet_names_every_command_of_its_own() -> None:
    page = CHECKOUT / "docs" / "fleet.md"
    named = {verb_of(words) for words in commands_in(page.read_text(encoding="utf-8"))}
    assert {verb for verb in verbs() if verb.startswith("fleet ")} - named == set()


def shown_parts(folder: Path) -> None:
    """The two folders of pictures that the README's first commands speak of."""
    today: list[str | None] = [None, None, "scratch", None, "dent"]
    images = {f"good/{number}.png": draw("flange", 99 + number).image for number in range(1, 5)}
    images |= {
        f"today/part-{number}.png": draw("flange", 199 + number, defect=defect, severity=3).image
        for number, defect in enumerate(today, start=1)
    }
    for name, image in images.items():
        (folder / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / name), image)


def as_pattern(shown: str) -> str:
    """A line that a page shows, as a pattern: numbers may differ between machines, and `...` stands for anything."""
    pattern = re.escape(shown).replace(re.escape("..."), ".*")
    pattern = re.sub(r"\d+(?:\\\.\d+)?", lambda _: r"\d+(?:\.\d+)?", pattern)
    return re.sub("minor|major|critical", "(?:minor|major|critical)", pattern)


def test_the_first_commands_of_the_readme_print_what_it_shows(tmp_path: Path) -> None:
    shown_parts(tmp_path)
    program = tmp_path / "bin" / "edge-resad"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c 'from edge_resad.cli import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(CHECKOUT)}
    block = README.read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    steps = re.findall(r"^\$ (.*)\n((?:[^$\n].*\n)*)", block, re.MULTILINE)
    assert len(steps) == 4
    for command, output in steps:
        done = subprocess.run(
            ["sh", "-c", f"{command} 2>&1"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout
        printed = done.stdout.splitlines()
        assert len(printed) == len(output.splitlines()), done.stdout
        for line, shown in zip(printed, output.splitlines(), strict=True):
            assert re.fullmatch(as_pattern(shown), line), f"the README shows {shown!r}, the command printed {line!r}"


def test_every_command_explains_itself_and_its_options() -> None:
    silent = [name for name, command in verbs().items() if not command.help]
    silent += [
        f"{name} {parameter.name}"
        for name, command in verbs().items()
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def test_every_make_target_of_a_page_exists_and_the_readme_names_all() -> None:
    named = {
        target
        for page in PAGES
        for code in quoted_code(page.read_text(encoding="utf-8"))
        for target in re.findall(r"^(?:\$ )?make ([a-z]+)", code.strip())
    }
    assert named == targets()


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    lines = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")]
    assert set(lines) == targets()


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, to_read = set[Path](), [README]
    while to_read:
        page = to_read.pop()
        if page.is_dir():
            to_read += page.glob("*.md")
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
        to_read += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert [str(page.relative_to(CHECKOUT)) for page in PAGES if page not in reached] == []


def test_no_text_names_a_machine_or_a_registry() -> None:
    found = [
        f"{file.relative_to(CHECKOUT)}: {hit[0]}"
        for file in tracked_texts()
        if file != Path(__file__).resolve()
        for hit in MACHINE.finditer(file.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "lie",
    ["edge-resad polish", "edge-resad run --frobnicate", "edge-resad enrol good --shot=4", "edge-resad product polish"],
)
def test_a_lie_about_a_command_is_found(lie: str) -> None:
    assert len(wrong_commands(f"Use `{lie}`.")) == 1
    assert len(wrong_commands(f"```console\n$ {lie}  # so\n```\n")) == 1
    assert len(wrong_commands(f"```console\n$ sudo -u edge-resad -H {lie}\n```\n")) == 1


def test_a_dead_link_and_a_missing_file_are_found() -> None:
    assert wrong_links(README, "[here](docs/nowhere.md#at-all) and [there](docs/station.md)") == ["docs/nowhere.md"]
    assert wrong_files("`edge_resad/nobody.py`, `edge_resad/errors.py`, `docs/*.md`") == ["edge_resad/nobody.py"]


def test_a_machine_path_is_found_and_an_address_or_a_device_is_not() -> None:
    assert MACHINE.search("see " + "/ho" + "me/ann/parts") is not None
    assert MACHINE.search("/dev/video0 and er/v1/graz/work/press and https://example.com/work/x") is None
