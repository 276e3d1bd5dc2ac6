"""The operator's page without a browser: what it says, what it lets be done, and whom it does not let in."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from edge_resad.device.lights import Light
from edge_resad.device.trigger import TRIGGER_SAYS, Trigger, Triggers
from edge_resad.errors import ControlError
from edge_resad.live import app
from edge_resad.live.guard import is_loopback, read_password
from edge_resad.live.guesses import FREE
from edge_resad.live.serve import serve
from edge_resad.live.view import Seen, View
from tests.fakes import FakeClock
from tests.live.served import BAD, GOOD, Line, served
from tests.mqtt_peers import eventually

WAIT_S = 60.0  # a deadline, not a pause


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with Line(tmp_path) as line:
        yield line


@pytest.fixture
def address(line: Line) -> Iterator[str]:
    with served(line.socket) as address:
        yield address


class Answer:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.content = response.read()

    @property
    def text(self) -> str:
        return self.content.decode()


def ask(
    address: str, path: str = "/", *, form: Mapping[str, str] | None = None, source: str = "127.0.0.1", **headers: str
) -> Answer:
    """GET, or POST where there is a form. Names of headers have _ for -. source: the address of who asks."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S, source_address=(source, 0))
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if form is not None:
        sent = {"Content-Type": "application/x-www-form-urlencoded", **sent}
    try:
        body = None if form is None else urlencode(form)
        connection.request("GET" if form is None else "POST", path, body, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def token_of(address: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', ask(address).text)
    assert found is not None
    return found[1]


def test_the_page_says_the_last_verdict_the_counts_and_the_lights_without_a_script(line: Line, address: str) -> None:
    for score in (GOOD, GOOD, GOOD, BAD):
        line.judge(score)
    page = ask(address).text
    assert '<section class="verdict fail"' in page
    assert "<h1>FAIL</h1>" in page
    assert "75.0<small> %</small>" in page
    assert re.search(r'<li class="green" title="9.0 GB free">', page)
    assert '<meta http-equiv="refresh"' in page


@pytest.mark.parametrize(
    ("score", "mood", "word"), [(GOOD, "pass", "PASS"), (BAD, "fail", "FAIL"), (None, "not_inspected", "NOT INSPECTED")]
)
def test_every_verdict_has_its_word_its_colour_and_its_shape(
    line: Line, address: str, score: int | None, mood: str, word: str
) -> None:
    line.judge(score)
    page = ask(address).text
    assert f"<h1>{word}</h1>" in page
    assert f'class="verdict {mood}"' in page
    shapes = {"pass": "<circle", "fail": "M31 4h38", "not_inspected": "M50 6l46"}
    assert [name for name, shape in shapes.items() if shape in page] == [mood]


def test_where_no_station_runs_the_page_says_how_to_start_it(tmp_path: Path) -> None:
    with served(tmp_path / "control.sock", station="/etc/edge-resad/press-7.toml") as address:
        page = ask(address)
    assert page.status == 200
    assert "NO STATION" in page.text
    assert "edge-resad run /etc/edge-resad/press-7.toml" in page.text


def test_what_is_shown_is_escaped_wherever_it_comes_from(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    about = {"device": evil, "site": evil, "line": evil, "started": evil}
    with Line(tmp_path, about=about) as line, served(line.socket, station=evil) as address:
        line.judge(BAD)
        line.lights = [Light(name=evil, colour="red", says=evil)]
        line.board.say_drift(evil)
        line.bypass.begin(evil)
        line.board.set_product("cam0", evil)
        line.board.touch()
        assert eventually(lambda: "BYPASS" in ask(address).text)
        page = ask(address).text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_everything_a_template_shows_of_a_station_is_escaped() -> None:
    evil = "<i>&\"'"
    last = {"status": "not_inspected", "reason": evil, "score": None, "threshold": None, "severity": evil,
            "camera": evil, "frame_id": evil, "time": 0.0}  # fmt: skip
    reject = {"id": evil, "camera": evil, "frame_id": evil, "time": 0.0, "score": 1.0, "threshold": 1.0, "regions": 2,
              "severity": evil, "product": evil, "size": evil, "label": None, "picture": True}  # fmt: skip
    status = {
        "station": {"device": evil, "site": evil, "line": evil, "started": 0.0}, "last": last,
        "cameras": {evil: last, "other": None}, "products": {evil: evil}, "yield": None, "latency_ms": None,
        "counts": {"since": 0.0, "passed": 1, "failed": 1, "not_inspected": 1, "reasons": {evil: 1}},
        "rejects": [reject], "unseen_rejects": 1, "drift": evil, "bypass": None, "commands": ["trigger"],
        "lights": [{"name": evil, "colour": "red", "says": evil}],
    }  # fmt: skip
    page = View("token", evil).page(Seen(status=status), [{"name": evil, "in_use": True}], (False, evil))
    assert "<i>" not in page
    assert page.count("&lt;i&gt;&amp;&#34;&#39;") > 20


def test_news_come_as_the_pieces_that_changed(line: Line, address: str) -> None:
    line.judge(GOOD)
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S)
    connection.request("GET", "/events")
    response = connection.getresponse()
    assert response.headers["content-type"].startswith("text/event-stream")

    def news() -> dict[str, str]:
        while True:
            said = response.readline()
            if said.startswith(b"data: {"):
                pieces: dict[str, str] = json.loads(said[6:])["pieces"]
                return pieces

    first = news()
    assert set(first) == {"lights", "notices", "verdict", "figures", "rejects", "actions", "details"}
    assert "PASS" in first["verdict"]
    line.judge(None)
    second = news()
    assert "NOT INSPECTED" in second["verdict"]
    assert "rejects" not in second
    line.bypass.begin("lamp")
    line.board.touch()
    assert "BYPASS" in news()["verdict"]
    response.close()
    connection.close()


def test_the_picture_of_a_reject_is_a_jpeg_and_one_that_is_gone_is_not_there(line: Line, address: str) -> None:
    line.judge(BAD)
    assert eventually(lambda: 'src="reject/r-1.jpg"' in ask(address).text)
    picture = ask(address, "/reject/r-1.jpg")
    assert (picture.status, picture.headers["content-type"]) == (200, "image/jpeg")
    assert picture.content.startswith(b"\xff\xd8")
    assert ask(address, "/reject/r-99.jpg").status == 404
    assert ask(address, "/last.jpg").content.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    ("command", "fields", "says"),
    [
        ("bypass", {"reason": "new lamp"}, "without inspection"),
        ("bypass", {"reason": " "}, "a bypass needs a reason"),
        ("resume", {}, "inspected again"),
        ("clear", {}, "begin at zero"),
        ("acknowledge", {}, "Seen"),
        ("self-test", {}, "computes what it should"),
        ("label", {"id": "r-1"}, "false reject"),
        ("label", {"id": "r-77"}, "none of the last"),
        ("product", {"use": "cap"}, "one bank and no products"),
        ("trigger", {}, "knows no"),
    ],
)
def test_a_button_does_what_it_says_and_the_answer_is_shown(
    line: Line, address: str, command: str, fields: Mapping[str, str], says: str
) -> None:
    line.judge(BAD)
    form = {"token": token_of(address), **fields}
    with_script = ask(address, f"/do/{command}", form=form, Accept="application/json")
    assert says in json.loads(with_script.content)["text"]
    without = ask(address, f"/do/{command}", form=form)
    assert without.status == 303
    there = without.headers["location"].removeprefix("..")
    assert re.search(says, ask(address, there).text)
    assert not re.search(f'id="told"[^>]*>[^<]*{says}', ask(address, there).text)  # said once


def test_a_false_reject_is_written_beside_the_station(line: Line, address: str) -> None:
    line.judge(BAD)
    ask(address, "/do/label", form={"token": token_of(address), "id": "r-1"})
    assert json.loads(line.labels.read_text())["label"] == "false_reject"
    assert "marked as a false reject" in ask(address).text


# Programs


def tell(address: str, command: str, body: str, **headers: str) -> tuple[int, bool, str]:
    """What a program is answered: the status, whether it was done, and the sentence."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S)
    try:
        sent = {"Content-Type": "application/json; charset=utf-8"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request("POST", f"/do/{command}", body, sent)
        answer = Answer(connection.getresponse())
    finally:
        connection.close()
    if answer.headers["content-type"] != "application/json":
        return answer.status, False, answer.text
    said = json.loads(answer.content)
    return answer.status, said["fine"], said["text"]


@pytest.fixture
def triggers(line: Line) -> dict[str, Trigger | None]:
    told: dict[str, Trigger | None] = {"cam0": Trigger(), "side": None}
    line.controls.register("trigger", Triggers(told).command, TRIGGER_SAYS)
    return told


@pytest.mark.parametrize("body", ["", "{}", '{"camera": "cam0"}'])
def test_a_program_triggers_a_part_without_the_pages_token(
    triggers: dict[str, Trigger | None], address: str, body: str
) -> None:
    assert tell(address, "trigger", body) == (200, True, "Triggered.")
    assert triggers["cam0"] is not None
    assert triggers["cam0"].fired == {"http": 1}


@pytest.mark.usefixtures("triggers")
def test_a_program_sees_by_the_status_that_it_was_refused(address: str) -> None:
    status, fine, text = tell(address, "trigger", '{"camera": "side"}')
    assert (status, fine) == (409, False)
    assert "side takes no triggers from outside" in text
    for body in (
        "{",
        "[]",
        '"cam0"',
        '{"camera": 1}',
        '{"kamera": "cam0"}',
        "[" * 4000,
        "\xff",
        '{"camera": "\\ud800"}',
    ):
        status, fine, text = tell(address, "trigger", body)
        assert (status, fine) == (400, False)
        assert text == 'trigger takes a JSON object of texts: {"camera": "..."}.'
    assert tell(address, "threshold", "{}")[0] == 404
    assert tell(address, "trigger", " " * 5000)[0] == 413


def test_another_sites_page_cannot_be_taken_for_a_program(triggers: dict[str, Trigger | None], address: str) -> None:
    assert tell(address, "trigger", "{}", Origin="http://evil.example")[0] == 403
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert tell(address, "trigger", "{}", Content_Type=content_type, Accept="application/json")[0] == 403
    assert triggers["cam0"] is not None
    assert not triggers["cam0"].fired


# Whom it does not let in


def test_a_button_without_the_pages_token_does_nothing(line: Line, address: str) -> None:
    for form in ({"reason": "x"}, {"reason": "x", "token": "guess"}, {"reason": "x", "token": "\u00e4"}):
        answer = ask(address, "/do/bypass", form=form, Accept="application/json")
        assert (answer.status, json.loads(answer.content)["fine"]) == (403, False)
    assert line.bypass.now is None


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"},
     {"Sec_Fetch_Site": "same-site"}, {"Origin": "http://127.0.0.1:1"}],
)  # fmt: skip
def test_another_sites_page_cannot_press_a_button(line: Line, address: str, headers: dict[str, str]) -> None:
    form = {"reason": "x", "token": token_of(address)}
    assert ask(address, "/do/bypass", form=form, **headers).status == 403
    assert line.bypass.now is None
    mine = {"Origin": address.rstrip("/"), "Sec_Fetch_Site": "same-origin"}
    assert ask(address, "/do/bypass", form=form, **mine).status == 303
    assert line.bypass.now is not None


def test_a_form_with_more_fields_than_any_of_ours_is_refused_in_a_sentence(line: Line, address: str) -> None:
    form = {"token": token_of(address), "reason": "x", **{f"field{number}": "" for number in range(15)}}
    answer = ask(address, "/do/bypass", form=form)
    assert (answer.status, json.loads(answer.content)["fine"]) == (400, False)
    assert json.loads(answer.content)["text"] == "This form has more than 16 fields. Load the page again."
    assert line.bypass.now is None
    del form["field0"]
    assert ask(address, "/do/bypass", form=form).status == 303
    assert line.bypass.now is not None


def test_a_letter_that_nobody_can_write_never_reaches_the_page(line: Line, address: str) -> None:
    assert tell(address, "bypass", '{"reason": "\\ud800"}')[0] == 400
    assert line.bypass.now is None
    assert ask(address).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "", "[", "localhost.evil.example"])
def test_the_page_does_not_answer_to_a_foreign_name(address: str, host: str) -> None:
    assert ask(address, Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:80", "192.168.1.7", socket.gethostname()])
def test_the_page_answers_to_addresses_and_its_own_name(address: str, host: str) -> None:
    assert ask(address, Host=host).status == 200


def test_a_request_that_changes_something_is_no_get(line: Line, address: str) -> None:
    assert ask(address, "/do/clear").status == 405
    assert ask(address, "/do/threshold", form={"token": token_of(address), "set": "9"}).status == 404
    assert ask(address, "/do/label", form={"id": "x" * 5000}).status == 413


def test_the_pages_headers_forbid_everything_foreign(address: str) -> None:
    for path in ("/", "/static/live.js", "/nowhere", "/events"):
        headers = ask(address, path).headers if path != "/events" else headers_of(address, path)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def headers_of(address: str, path: str) -> http.client.HTTPMessage:
    """Of an answer that has no end."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S)
    connection.request("GET", path)
    response = connection.getresponse()
    response.close()
    connection.close()
    return response.headers


def test_nothing_of_the_page_comes_from_elsewhere_and_no_style_or_script_stands_in_it(line: Line, address: str) -> None:
    line.judge(BAD)
    page = ask(address).text
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)
    assert " style=" not in page
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r" on\w+=", page)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


def test_with_a_password_nobody_sees_anything_without_it(line: Line) -> None:
    with served(line.socket, password="open s\u00e9same") as address:
        for path in ("/", "/events", "/static/live.js", "/last.jpg", "/do/clear"):
            refused = ask(address, path)
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith("Basic")
        assert ask(address, Authorization=basic("open s\u00e9same")).status == 200
        for wrong in (
            basic("open"),
            basic(""),
            "Basic !!",
            "Basic",
            "Bearer x",
            "Basic " + base64.b64encode(b"\xff").decode(),
        ):
            assert ask(address, Authorization=wrong).status == 401


def test_who_guesses_passwords_shuts_the_page_for_his_own_address_alone(line: Line) -> None:
    with served(line.socket, password="open sesame", clock=FakeClock().monotonic) as address:
        right, wrong = basic("open sesame"), basic("wrong")
        for _ in range(FREE):
            assert ask(address, source="127.0.0.2", Authorization=wrong).status == 401
        shut = ask(address, source="127.0.0.2", Authorization=right)  # a right guess is not told from a wrong one
        assert shut.status == 429
        assert int(shut.headers["retry-after"]) > 0
        assert "wrong passwords came from 127.0.0.2" in shut.text
        assert ask(address, source="127.0.0.2").status == 401  # who says no password guesses none
        assert ask(address, source="127.0.0.3", Authorization=right).status == 200


def test_who_is_signed_in_stays_so_whoever_guesses_from_his_address(line: Line) -> None:
    with served(line.socket, password="open sesame", clock=FakeClock().monotonic) as address:
        right, wrong = basic("open sesame"), basic("wrong")
        let_in = ask(address, Authorization=right)
        said = let_in.headers["set-cookie"]
        assert "HttpOnly; SameSite=Strict" in said
        cookie = said.partition(";")[0]
        for _ in range(FREE):
            assert ask(address, Authorization=wrong).status == 401
        assert ask(address, Authorization=right).status == 429
        for path in ("/", "/static/live.js"):
            again = ask(address, path, Authorization=right, Cookie=cookie)
            assert (again.status, again.headers["set-cookie"]) == (200, None)
        assert ask(address, Cookie=cookie).status == 401  # the cookie opens nothing by itself
        assert ask(address, Authorization=right, Cookie=cookie[:-1] + "\u00e4").status == 429


def test_a_page_without_a_password_sets_no_cookie(address: str) -> None:
    assert ask(address).headers["set-cookie"] is None


def test_the_network_is_shown_nothing_without_a_password(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "press-7"):
        with pytest.raises(ControlError, match=f"--host {host} shows the page.*--password-file FILE"):
            serve(tmp_path / "control.sock", station="press-7.toml", host=host)
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")


def test_a_password_is_a_file_with_enough_letters(tmp_path: Path) -> None:
    file = tmp_path / "password"
    with pytest.raises(ControlError, match="cannot be read"):
        read_password(file)
    file.write_text("short\n")
    with pytest.raises(ControlError, match="has 5 letters, expected at least 8"):
        read_password(file)
    file.write_text("long enough\n")
    assert read_password(file) == "long enough"


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ControlError, match="Choose another --port"):
        serve(tmp_path / "control.sock", station="press-7.toml", port=taken.getsockname()[1])


def test_a_certificate_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    no_certificate = tmp_path / "page.pem"
    no_certificate.write_text("no certificate")
    for certificate in (no_certificate, tmp_path / "nowhere.pem"):
        with pytest.raises(ControlError, match=r"--certificate and --key cannot be used: .*They must be PEM files"):
            serve(tmp_path / "control.sock", station="s.toml", port=0, certificate=certificate, key=no_certificate)


def test_many_pages_open_at_once_ask_the_station_no_more_often_than_one(
    line: Line, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LOOK_S", 1000.0)  # so that one look is due, however long it takes to open them all
    asked: list[str] = []
    answer = line.controls.answer

    def counted(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        asked.append(name)
        return answer(name, arguments)

    line.controls.answer = counted  # type: ignore[method-assign]
    connections = [http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S) for _ in range(20)]
    for connection in connections:
        connection.request("GET", "/events")
    responses = [connection.getresponse() for connection in connections]
    for response in responses:
        while not response.readline().startswith(b"data: {"):
            pass
    assert asked == ["status"]
    for response, connection in zip(responses, connections, strict=True):
        response.close()
        connection.close()


def test_a_station_that_hangs_is_said_and_found_again(tmp_path: Path) -> None:
    go_on = threading.Event()
    with Line(tmp_path) as line:
        snapshot = line.board.snapshot
        line.board.snapshot = lambda: (go_on.wait(WAIT_S), snapshot())[1]  # type: ignore[method-assign]
        with served(line.socket, answers_within_s=0.2) as address:
            assert "has not answered for 0.2 s" in ask(address).text
            go_on.set()
            assert eventually(lambda: "NO PART YET" in ask(address).text)


# The program


@contextmanager
def program(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`edge-resad live` in a process of its own, and the first line that it prints."""
    file = folder / "station.toml"
    file.write_text('[station]\ndevice = "d"\n[camera]\nsource = "synthetic"\n[inspection]\nbank = "b.npz"\n')
    command = [sys.executable, "-m", "edge_resad", "live", str(file), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_S)


def test_the_program_says_where_the_page_is_and_ends_when_it_is_told_to_though_pages_are_open(tmp_path: Path) -> None:
    with Line(tmp_path) as line, program(tmp_path) as (process, address):
        line.judge(GOOD)
        assert eventually(lambda: "PASS" in ask(address).text)
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S)
        connection.request("GET", "/events")
        response = connection.getresponse()
        assert response.readline().startswith(b"retry")
        process.terminate()
        assert process.wait(WAIT_S) in (0, -15)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        response.close()
        connection.close()


def test_the_program_ends_without_a_word_though_a_page_is_open_and_its_station_does_not_answer(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()
    with Line(tmp_path) as line, program(tmp_path) as (process, address):

        def hangs(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
            asked.set()
            go_on.wait(WAIT_S)
            return {}

        line.controls.answer = hangs  # type: ignore[method-assign]
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=WAIT_S)
        connection.request("GET", "/events")
        response = connection.getresponse()
        assert asked.wait(WAIT_S)
        process.terminate()
        assert process.wait(WAIT_S) in (0, -15)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        go_on.set()
        response.close()
        connection.close()


def test_a_page_program_that_is_killed_costs_the_line_nothing(tmp_path: Path) -> None:
    with Line(tmp_path) as line:
        with program(tmp_path) as (process, address):
            line.judge(GOOD)
            assert ask(address).status == 200
            process.kill()
            process.wait(WAIT_S)
        line.judge(BAD)
        with program(tmp_path) as (_, address):
            assert eventually(lambda: "FAIL" in ask(address).text)


def test_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key),
         "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    with Line(tmp_path), program(tmp_path, "--certificate", str(certificate), "--key", str(key)) as (_, address):
        assert address.startswith("https://")
        trusting = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection(urlsplit(address).netloc, timeout=WAIT_S, context=trusting)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()


def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['starlette'] = None\n"
        f"sys.argv = ['edge-resad', 'live', {str(tmp_path / 'station.toml')!r}]\n"
        "from edge_resad.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 1
    assert "pip install 'edge-resad[live]'" in done.stderr
    assert done.stderr.count("\n") == 1
