"""A PostgreSQL server of its own in a temporary folder, which can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import psycopg


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl: Debian keeps them outside PATH; the newest version wins."""
    if os.geteuid() == 0 and (shutil.which("runuser") is None or not _has_user("postgres")):
        return None  # PostgreSQL does not run as root
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = next((str(folder) for folder in reversed(folders) if (folder / "initdb").exists()), None)
    on_path = shutil.which("initdb")
    return Path(found) if found else Path(on_path).parent if on_path else None


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


POSTGRES = _programs()


class Postgres:
    """Listens on a Unix socket alone."""

    def __init__(self, settings: str = "") -> None:
        self._settings = settings

    def __enter__(self) -> Postgres:
        self._folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a Unix socket's path has 107 characters at most
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", "fleet", "-E", "UTF8", "-N")
        with open(self._folder / "data" / "postgresql.conf", "a") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self._folder}'\n{self._settings}\n")
        self.start()
        self._databases = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-l", log, "-w", "-t", "60", "start")

    def stop(self, mode: str) -> None:
        """mode: fast, or immediate, which is like a crash."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", mode, "-w", "-t", "60", "stop")

    def new_database(self) -> str:
        """The address of an empty database, as the fleet file wants it."""
        self._databases += 1
        name = f"fleet{self._databases}"
        with psycopg.connect(host=str(self._folder), user="fleet", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql+psycopg://fleet@/{name}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        assert POSTGRES is not None, "a test that needs PostgreSQL carries the marker `postgres`"
        command = [str(POSTGRES / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        with open(os.devnull, "w") as nothing:
            subprocess.run(
                command, check=True, timeout=120, cwd="/", stdin=subprocess.DEVNULL, stdout=nothing, stderr=nothing
            )
