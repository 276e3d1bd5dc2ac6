from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edge_resad.device.settings import SOURCES, StationFile, load_station
from edge_resad.errors import SettingsError
from edge_resad.sections import expected, sections

DOCS = Path(__file__).parents[2] / "docs"

SMALLEST = """
[station]
device = "press-7"
[camera]
source = "synthetic"
[inspection]
bank = "bank.npz"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "station.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load_station(written(folder, text))
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_three_keys_make_a_station(tmp_path: Path) -> None:
    station = load_station(written(tmp_path, SMALLEST))
    assert station.station.device == "press-7"
    assert station.broker is None
    assert station.inspection.debounce_k == 1


def test_relative_paths_are_beside_the_station_file_and_absolute_ones_stay(tmp_path: Path) -> None:
    text = SMALLEST.replace('"synthetic"', '"folder:parts/today"') + "[log]\nverdicts = '/var/log/verdicts.jsonl'\n"
    station = load_station(written(tmp_path, text))
    assert station.inspection.bank == tmp_path / "bank.npz"
    assert station.spool.path == tmp_path / "spool.db"
    assert station.camera.source == f"folder:{tmp_path}/parts/today"
    assert station.log.verdicts == Path("/var/log/verdicts.jsonl")


def test_a_station_file_given_by_a_relative_path_still_gives_absolute_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, SMALLEST)
    monkeypatch.chdir(tmp_path)
    assert load_station(Path("station.toml")).inspection.bank == tmp_path / "bank.npz"


def test_a_whole_number_is_accepted_where_a_number_is_expected(tmp_path: Path) -> None:
    station = load_station(written(tmp_path, SMALLEST.replace("[inspection]", "fps = 10\n[inspection]")))
    assert station.camera.fps == 10.0


def test_the_verdict_log_can_be_switched_off(tmp_path: Path) -> None:
    assert load_station(written(tmp_path, SMALLEST + "[log]\nverdicts = false\n")).log.verdicts is False


def test_a_misspelt_key_names_its_neighbour_and_all_known_keys(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST.replace("source", "sorce"))
    assert message == (
        f"{tmp_path}/station.toml: [camera] sorce is not a known key. Did you mean source? "
        "Known: name, source, fps, width, height, loop, watch, controls, producer, product, bank, products, use, "
        "trigger (1 more after this one)"
    )


def test_a_misspelt_section_names_its_neighbour_and_all_known_sections(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST + '[brocker]\nhost = "mqtt"\n')
    assert "brocker is not a known section. Did you mean broker?" in message
    assert "Known: station, camera, inspection, products, engine, watch, output, encoder, broker, spool, log" in message


def test_a_key_outside_its_section_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert "threshold stands outside its section. Move it below [inspection]" in refusal(
        tmp_path, "threshold = 2\n" + SMALLEST
    )


def test_the_keys_of_an_optional_section_are_checked_too(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST + '[broker]\nhost = "mqtt"\npasword_file = "secret"\n')
    assert "[broker] pasword_file is not a known key. Did you mean password_file?" in message


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ('[broker]\nhost="a"\nport="1883"', '[broker] port is "1883", expected whole number, 1 to 65535'),
        ('[broker]\nhost="a"\nport=0', "[broker] port is 0, expected whole number, 1 to 65535"),
        ('[broker]\nhost="a"\nport=1.5', "[broker] port is 1.5, expected whole number, 1 to 65535"),
        ('[broker]\nhost="a"\nprotocol="4"', '[broker] protocol is "4", expected "auto" or "5" or "3.1.1"'),
        ("[spool]\nmax_mb = true", "[spool] max_mb is true, expected whole number, 1 or more"),
        ("[spool]\npath = 7", "[spool] path is 7, expected path in quotes"),
        ("[log]\nverdicts = true", "[log] verdicts is true, expected path in quotes or false"),
        ("[broker]\n", "[broker] host is missing. Set it to: text in quotes"),
        ("[[spool]]\n", "spool is [{}], expected a section [spool]"),
    ],
)
def test_a_wrong_value_says_what_is_and_what_is_expected(tmp_path: Path, wrong: str, sentence: str) -> None:
    assert refusal(tmp_path, SMALLEST + wrong + "\n") == f"{tmp_path}/station.toml: {sentence}"


def test_a_device_name_must_fit_into_a_topic(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST.replace("press-7", "press/7"))
    assert message.endswith('[station] device is "press/7", expected 1 to 64 letters, digits, - or _ in quotes')


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    text = SMALLEST[: SMALLEST.index("[camera]")] + SMALLEST[SMALLEST.index("[inspection]") :]
    assert refusal(tmp_path, text).endswith("[camera] is missing, the section is needed")


def test_a_station_needs_a_bank_or_products(tmp_path: Path) -> None:
    text = SMALLEST[: SMALLEST.index("[inspection]")]
    assert refusal(tmp_path, text).endswith(
        "station.toml: [inspection] bank is missing. Set it to a bank of edge-resad enrol, or set [products] folder"
    )
    with_products = load_station(written(tmp_path, text + '[products]\nfolder = "products"\n'))
    assert with_products.products is not None
    assert with_products.products.folder == tmp_path / "products"


@pytest.mark.parametrize("key", ["bank", "threshold", "min_area_px", "debounce_k", "debounce_n"])
def test_what_a_recipe_sets_cannot_be_set_beside_it(tmp_path: Path, key: str) -> None:
    text = SMALLEST[: SMALLEST.index("[inspection]")] + '[products]\nfolder = "products"\n[inspection]\n'
    value = '"bank.npz"' if key == "bank" else "1"
    message = refusal(tmp_path, f"{text}{key} = {value}\n")
    assert f"[inspection] {key} is set beside [products], where it comes from the product's recipe" in message


@pytest.mark.parametrize("source", ["", "camera", "folder:", "video:", "synthetic:", "video0", "http://camera"])
def test_a_source_of_no_known_kind_lists_the_kinds(tmp_path: Path, source: str) -> None:
    message = refusal(tmp_path, SMALLEST.replace('"synthetic"', f'"{source}"'))
    assert message.endswith(f'[camera] source is "{source}", expected {SOURCES}')


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('password_file = "secret"', "password_file is set without username"),
        ('cert_file = "cert.pem"', "cert_file and key_file belong together"),
        ('cert_file = "c.pem"\nkey_file = "k.pem"', "cert_file is set without ca_file"),
        ("reconnect_min_s = 60", "reconnect_min_s is 60 and reconnect_max_s is 30"),
    ],
)
def test_broker_keys_that_contradict_each_other_are_refused(tmp_path: Path, keys: str, words: str) -> None:
    assert words in refusal(tmp_path, SMALLEST + f'[broker]\nhost = "mqtt"\n{keys}\n')


def test_more_failures_than_parts_can_never_alert(tmp_path: Path) -> None:
    message = refusal(tmp_path, SMALLEST + "debounce_k = 3\n")
    assert "debounce_k is 3 and debounce_n is 1" in message
    assert "Set debounce_n to at least 3" in message


def test_a_missing_file_says_where_an_example_is(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no station file at .*nowhere\.toml\. .* docs/station\.toml"):
        load_station(tmp_path / "nowhere.toml")


def test_a_folder_is_not_a_station_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is a folder, expected a station file"):
        load_station(tmp_path)


def test_broken_toml_says_the_line(tmp_path: Path) -> None:
    assert "line 3" in refusal(tmp_path, "[station]\ndevice = 'a'\nline = = 'b'\n")


def test_a_file_that_is_not_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not UTF-8 text at byte 0"):
        load_station(tmp_path / "station.toml")


def test_a_database_in_place_of_a_station_file_is_called_one(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as spool:
        spool.execute("CREATE TABLE letter (seq INTEGER PRIMARY KEY)")
    with pytest.raises(SettingsError, match=r"spool\.db is an SQLite database, expected a station file: TOML text"):
        load_station(tmp_path / "spool.db")


def test_a_schedule_without_a_folder_says_what_it_needs_the_folder_for(tmp_path: Path) -> None:
    schedule = '[[products.schedule]]\nat = "06:00"\nuse = "flange"\n'
    message = refusal(tmp_path, SMALLEST.replace('[inspection]\nbank = "bank.npz"', schedule))
    assert "[products] schedule is set and folder is missing. A schedule puts products of that folder to use" in message
    assert "set [products] folder" in message


def test_the_example_station_file_loads_and_shows_every_key() -> None:
    load_station(DOCS / "station.toml")
    text = (DOCS / "station.toml").read_text(encoding="utf-8")
    for section, model in sections(StationFile):
        bodies = re.findall(rf"^(?:# )?\[+{re.escape(section)}\]+\n(.*?)(?=^(?:# )?\[|\Z)", text, re.M | re.S)
        assert bodies, f"[{section}] is not in docs/station.toml"
        for key in keys_of(model):
            shown = any(re.search(rf"^(?:# )?{key} = ", body, re.M) for body in bodies)
            assert shown, f"[{section}] {key} is not in docs/station.toml"


def test_the_example_loads_with_every_comment_taken_off(tmp_path: Path) -> None:
    text = (DOCS / "station.toml").read_text(encoding="utf-8")
    all_of_it = re.sub(r"^# (?=\[*[\w.]+(\]+$| = ))", "", text, flags=re.M)
    all_of_it = re.sub(r"^producer = .*\n", "", all_of_it, flags=re.M)  # of another kind of camera
    with_a_bank = re.sub(r"^\[+products[\w.]*\]+\n(.+\n)+|^(products|use) = .*\n", "", all_of_it, flags=re.M)
    with_products = re.sub(r"^(bank|threshold|min_area_px|debounce_[kn]) = .*\n", "", all_of_it, flags=re.M)
    assert load_station(written(tmp_path, with_a_bank)).products is None
    assert load_station(written(tmp_path, with_products)).products is not None


def test_the_reference_says_of_every_key_what_it_takes_and_its_default() -> None:
    text = (DOCS / "station.md").read_text(encoding="utf-8")
    for section, model in sections(StationFile):
        body = re.search(rf"^## \[+{re.escape(section)}\]+\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        assert body, f"[{section}] is not in docs/station.md"
        keys = keys_of(model)
        for key, told in keys.items():
            row = f"| `{key}` | {expected(model, key)} | {default(told)} | {told.description} |"
            assert row in body[1].replace("\\|", "|"), f"docs/station.md should have: {row}"
        assert re.findall(r"^\| `(\w+)`", body[1], re.M) == list(keys), "keys nobody knows stand in docs/station.md"


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section that are no sections of their own."""
    inner = {name.rpartition(".")[2] for name, _ in sections(model)}
    return {key: field for key, field in model.model_fields.items() if key not in inner}


def default(field: FieldInfo) -> str:
    """The default as it would stand in the file."""
    if field.is_required():
        return "needed"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f'`"{value}"`' if isinstance(value, (str, Path)) else f"`{str(value).lower()}`"


# Several cameras

TWO_CAMERAS = """
[station]
device = "press-7"
product = "flange"

[[camera]]
name = "top"
source = "folder:top"

[[camera]]
name = "side"
source = "/dev/video1"
product = "flange-side"
bank = "side.npz"

[inspection]
bank = "top.npz"
"""


def test_every_camera_has_its_own_product_and_bank(tmp_path: Path) -> None:
    station = load_station(written(tmp_path, TWO_CAMERAS))
    top, side = (station.of_camera(camera) for camera in station.cameras)
    assert (top.station.product, top.inspection.bank) == ("flange", tmp_path / "top.npz")
    assert (side.station.product, side.inspection.bank) == ("flange-side", tmp_path / "side.npz")
    assert top.camera.source == f"folder:{tmp_path / 'top'}"
    assert side.cameras == (station.cameras[1],)


def test_a_camera_may_have_its_own_products_beside_one_with_a_bank(tmp_path: Path) -> None:
    text = TWO_CAMERAS.replace('bank = "side.npz"', 'products = "side"\nuse = "flange"')
    station = load_station(written(tmp_path, text))
    top, side = (station.of_camera(camera) for camera in station.cameras)
    assert top.products is None
    assert side.products is not None
    assert (side.products.folder, side.products.use) == (tmp_path / "side", "flange")


def test_two_cameras_cannot_have_one_name(tmp_path: Path) -> None:
    message = refusal(tmp_path, TWO_CAMERAS.replace('"side"', '"top"'))
    assert 'two cameras have the name "top"' in message


def test_a_mistake_says_in_which_camera_it_is(tmp_path: Path) -> None:
    message = refusal(tmp_path, TWO_CAMERAS.replace("/dev/video1", "video1"))
    assert '[[camera]] number 2: source is "video1", expected synthetic' in message


def test_a_camera_needs_something_to_judge_by(tmp_path: Path) -> None:
    assert "[inspection] bank is missing" in refusal(tmp_path, TWO_CAMERAS.replace('bank = "top.npz"', ""))


def test_a_station_needs_a_camera(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'camera = []\n[station]\ndevice = "a"\n')
    assert "the station has no camera. Add a section [camera]" in message


# Triggers

TRIGGERED = SMALLEST.replace('"synthetic"', '"synthetic"\nfps = 10') + "[camera.trigger]\n"


def test_every_camera_has_a_trigger_of_its_own(tmp_path: Path) -> None:
    two = TWO_CAMERAS.replace("[[camera]]", "[camera.trigger]\nkind = 'presence'\n[[camera]]").replace(
        "[camera.trigger]\nkind = 'presence'\n", "", 1
    )
    first, second = load_station(written(tmp_path, two)).cameras
    assert (first.trigger.kind, second.trigger.kind) == ("presence", "free")


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        ("kind = 'gpio'", "[camera.trigger] line is missing"),
        ("kind = 'gpi'", '[camera.trigger] kind is "gpi", expected "free" or "software" or "gpio" or'),
        ("kind = 'presence'\narea = [0, 0, 10]", "[camera.trigger] area is [0, 0, 10], expected [x, y, width, height]"),
        ("kind = 'presence'\narea = [0, 0, 10, 0]", "[camera.trigger] area is [0, 0, 10, 0], expected"),
        ("kind = 'software'\nqueue = 0", "[camera.trigger] queue is 0, expected whole number, 1 to 1000"),
    ],
)
def test_a_trigger_that_cannot_be_is_said(tmp_path: Path, trigger: str, says: str) -> None:
    assert says in refusal(tmp_path, TRIGGERED + trigger)


def test_what_gives_no_pictures_by_itself_cannot_be_told_when_a_part_is_there(tmp_path: Path) -> None:
    text = TRIGGERED.replace("fps = 10\n", "") + "kind = 'software'"
    assert "a synthetic without fps gives no pictures by itself. Set fps" in refusal(tmp_path, text)


@pytest.mark.parametrize("trigger", ['kind = "software"', 'kind = "gpio"\nline = 4'])
def test_a_watched_folder_cannot_be_told_when_a_part_is_there_and_it_is_said_why(tmp_path: Path, trigger: str) -> None:
    text = TRIGGERED.replace('"synthetic"\nfps = 10', '"folder:parts"\nwatch = true')
    message = refusal(tmp_path, text + trigger)
    assert "each file that is put into a watched folder is a part already" in message
    assert 'Set kind = "camera", or remove [camera.trigger]' in message
    assert load_station(written(tmp_path, text + 'kind = "camera"')).camera.watch
