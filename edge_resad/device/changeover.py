"""The changeover: which product judges the next part, changed between two parts while the line runs."""

from __future__ import annotations

import logging
import math
import shlex
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge_resad.bundle import Bundle
from edge_resad.decision import NotInspected, Verdict
from edge_resad.device.codes import CodeReader
from edge_resad.device.link import Backoff
from edge_resad.device.settings import EngineSection, ProductsSection
from edge_resad.device.timetable import Change, Timetable
from edge_resad.engine.alignment import Place
from edge_resad.engine.inspector import Inspector
from edge_resad.engine.product_inspector import ProductInspector, ReadyProduct
from edge_resad.errors import EdgeResadError, ProductError
from edge_resad.recipe import Choice, Product, Shelf

log = logging.getLogger(__name__)

POLL_S = 0.25  # how often the shelf is looked at
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0
"""What could not be read or said is tried again with pauses that grow: a disk may be full for a moment, or for days."""
LEAVE_S = 0.5  # how long the disk may take for a product when the station stops
HELD = 8  # products that stay ready: so many may alternate on a line without being read again


class LastProduct:
    """The product that judged a camera's parts last, for an engine that has to be opened again."""

    def __init__(self) -> None:
        self.judged: Choice | None = None
        self.named: Choice | None = None  # by a code on a part, since somebody put a product to use
        self.said_at = Shelf.NEVER  # when that was

    def forget_the_code(self, said_at: tuple[int, int]) -> None:
        """Somebody has put a product to use since."""
        self.named, self.said_at = None, said_at


class Changeover:
    """Judges with the product in use. A thread of its own waits for `edge-resad product use` and prepares what it says.

    The line's thread calls `before` and `inspect`; a part is judged by one product from its beginning to its end.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: ProductsSection,
        engine: EngineSection | None = None,
        *,
        poll_s: float = POLL_S,
        beside: Inspector | None = None,
        last_product: LastProduct | None = None,
    ) -> None:
        """beside: an inspector that is open, whose engine is shared until it is closed.

        last_product: what judged this camera's parts before an engine that has to be opened again.
        """
        self._problems: dict[str, str] = {}  # what could not be done -> why
        self._shelf = Shelf(settings.folder)
        self._settings = settings
        self._reader = None if settings.code == "off" else CodeReader(settings.code)
        self._poll_s = poll_s
        self._bundle = bundle
        self._engine = engine or EngineSection()
        self._beside = beside
        self._last_product = last_product or LastProduct()
        self._next: ReadyProduct | None = None
        self._due_at = math.inf  # when the product that was put to use is to be prepared, monotonic seconds
        self._scheduled: Change | None = None  # what the timetable wants and could not be put to use yet
        self._scheduled_at = 0.0  # when it is tried again
        self._again, self._scheduled_again = (Backoff(RETRY_MIN_S, RETRY_MAX_S) for _ in range(2))
        self._coded: Mapping[str, frozenset[Choice]] = {}
        self._codes_of: dict[Choice, tuple[str, ...]] = {}  # read once: a version never changes
        self._unread: set[Choice] = set()  # whose codes could not be read, which is said once
        self._code_ms: float | None = None  # what reading the last part's code took
        self._refusal: Exception | None = None  # why this part is not judged: its code names no product, or worse
        self._ready: OrderedDict[Choice, ReadyProduct] = OrderedDict()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, name="changeover", daemon=True)

    def __enter__(self) -> Changeover:
        for change in self._settings.schedule:
            self._shelf.find(change.use)  # one that is not there is said now, not in the night
        said_at_s = self._shelf.said_at()[0] * 1e-9  # what was due since then, while nobody was here, is done now
        self._timetable = Timetable(self._settings.schedule, since=said_at_s or time.time())
        self._by_timetable()
        self._said_at = self._shelf.said_at()
        self._asked = first_product(self._shelf, self._settings)
        last, first = self._last_product, self._asked
        if last.said_at == self._said_at:
            first = last.named or last.judged or first
        else:
            last.forget_the_code(self._said_at)
        if first not in (self._asked, last.named):  # what was put to use could not be used before
            self._due_at = time.monotonic()
        self._inspector = ProductInspector(
            self._bundle,
            self._shelf.open(first),
            threads=self._engine.threads,
            provider=self._engine.provider,
            engines=self._engine.engines,
            io_memory=self._engine.io_memory,
            precision=self._engine.precision,
            beside=self._beside,
        )
        with ExitStack() as opening:
            opening.enter_context(self._inspector)
            self._coded = self._codes()
            self._closing.clear()
            self._watcher.start()
            opening.pop_all()
        last.judged = first
        log.info("the product is %s", self.product.label)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._closing.set()
        self._watcher.join(LEAVE_S)  # a disk that hangs keeps its thread, not us
        self._inspector.__exit__(kind, error, trace)

    @property
    def inspector(self) -> Inspector:
        """What runs the network: others may be opened beside it."""
        return self._inspector.inspector

    def keep_warm(self) -> None:
        """Run the network on what it has seen last, so that an idle GPU keeps its clocks up."""
        self._inspector.keep_warm()

    @property
    def problem(self) -> str | None:
        """Why the product that was asked for is not in use, or codes cannot be followed. From any thread."""
        return next(iter(self._problems.values()), None)

    @property
    def product(self) -> Product:
        """The product that judges now."""
        return self._inspector.product

    @property
    def score_map(self) -> NDArray[np.float32]:
        """(h, w) anomaly map of the last part; valid until the next one."""
        return self._inspector.score_map

    @property
    def place(self) -> Place | None:
        """Where the last part lay against the product's picture; None where parts are not aligned."""
        return self._inspector.place

    @property
    def timings(self) -> Mapping[str, float]:
        """Milliseconds of the last part's stages."""
        timings = self._inspector.timings
        return timings if self._code_ms is None else {"code_ms": self._code_ms, **timings}

    def check(self, choice: Choice) -> None:
        """Refuse a version that cannot judge here, before anybody puts it to use. Any thread may ask.

        Raises:
            ProductError: it is damaged, or its banks belong to another bundle or precision.
        """
        self._inspector.check(self._shelf.open(choice))

    def before(self, frame: NDArray[np.uint8] | None) -> bool:
        """Change to the product that was asked for, or that the part's code names; True where that is another one.

        frame: None of a part that is not judged: its code is not looked for.
        """
        with self._lock:
            asked = wanted = self._next
            self._next = None
            if wanted is not None:
                self._last_product.named = None
        self._refusal = None
        try:
            coded = self._last_named(frame) if frame is not None else None
            if coded is not None:
                asked = None if coded == _choice(self.product) else self._prepared(coded)
        except Exception as error:  # of OpenCV's detectors too: a part whose product is in doubt is not judged
            self._doubt(f"its code cannot be followed: {error}")
        if asked is None or _choice(asked.product) == _choice(self.product):
            return False
        try:
            self._inspector.load(asked)
        except Exception as error:  # an engine that fails costs parts, as it does when it judges
            self._refusal = error
            with self._lock:
                if asked is wanted:
                    self._next = self._next or wanted  # with the next part once more
            return False
        self._last_product.judged = _choice(self.product)
        log.info("the product is %s now", self.product.label)
        return True

    def make_ready(self, frame: NDArray[np.uint8]) -> None:
        """Make a part that waits ready for the product in use; if another one judges it, it was for nothing.

        Belongs to one other thread than the line's. Raises what `inspect` will raise too.
        """
        self._inspector.make_ready(frame)

    def inspect(self, frame: NDArray[np.uint8], /) -> Verdict:
        """Judge one part by the product in use.

        Raises:
            NotInspected: the part's code names no product here, or the product cannot judge it.
            EngineError:  the engine fails, as it also may when it takes another product.
        """
        if self._refusal is not None:
            raise self._refusal
        return self._inspector.inspect(frame)

    def step(self) -> None:
        """Look at the shelf once: prepare the product that is asked for, where it is another one."""
        now, said_at = time.monotonic(), self._shelf.said_at()
        if said_at not in (self._said_at, Shelf.NEVER):  # what is gone, or cannot be looked at, says nothing
            self._said_at, self._due_at = said_at, now
            self._again.reset()
            self._scheduled = None  # it was for a time that is over
            self._done("schedule")
            with self._lock:
                self._last_product.forget_the_code(said_at)
        if now >= self._due_at:
            self._prepare_asked(now)
        try:
            self._coded = self._codes()
            self._done("codes")
        except Exception as error:  # those that are known go on
            self._say("codes", "codes of products cannot be looked up", error)

    def _prepare_asked(self, now: float) -> None:
        try:
            self._asked = self._shelf.in_use() or self._asked
            ready = self._prepared(self._asked)
        except Exception as error:  # whatever the folder holds, parts are judged by the product that is in use
            self._due_at = now + self._again.next()
            self._say("product", f"the product stays {self.product.label}", error)
            return
        self._due_at = math.inf
        self._done("product")
        with self._lock:
            if self._last_product.named is None:  # or a code has named another one since
                self._next = ready

    def _say(self, what: str, says: str, error: Exception) -> None:
        """Say once why something could not be done."""
        is_ours = not isinstance(error, EdgeResadError)
        why = f"{type(error).__name__} {error}".strip() + ". It is tried again." if is_ours else str(error)
        if self._problems.get(what) != why:
            self._problems = {**self._problems, what: why}
            log.error("%s: %s", says, why, exc_info=error if is_ours else None)

    def _done(self, what: str) -> None:
        """It could be done, or need not be any more."""
        if what in self._problems:
            self._problems = {name: why for name, why in self._problems.items() if name != what}

    def _watch(self) -> None:
        while not self._closing.wait(self._poll_s):
            try:
                self._by_timetable(running=True)
                self.step()
            except Exception:  # a mistake of ours; parts are judged by the product that is in use
                log.exception("the products in %s could not be looked at", self._settings.folder)

    def _by_timetable(self, *, running: bool = False) -> None:
        """Put to use what is due, as a person would: it is in use over restarts."""
        now, due = time.monotonic(), self._timetable.due(time.time())
        if due is not None:
            self._scheduled, self._scheduled_at = due, now
            self._scheduled_again.reset()
        change = self._scheduled
        if change is None or now < self._scheduled_at:
            return
        try:
            choice = self._shelf.find(change.use)
            if running:
                self.check(choice)  # what is said to be in use would be what judges after the next start
            self._shelf.use(choice)
        except Exception as error:  # of the disk too
            self._scheduled_at = now + self._scheduled_again.next()
            self._say("schedule", f"it was {change.at}, but the product stays as it is", error)
            return
        self._scheduled = None
        self._done("schedule")
        log.info("it was %s: %s is put to use, as [products] schedule says", change.at, change.use)

    def _prepared(self, choice: Choice) -> ReadyProduct:
        """A product, ready; those that were in use lately need not be read again, for a version never changes."""
        with self._lock:
            held = self._ready.get(choice)
            if held is not None:
                self._ready.move_to_end(choice)
                return held
        ready = self._inspector.prepare(self._shelf.open(choice))
        with self._lock:
            self._ready[choice] = ready
            while len(self._ready) > HELD:
                self._ready.popitem(last=False)
        return ready

    def _last_named(self, frame: NDArray[np.uint8]) -> Choice | None:
        """The product that the last code named, on this part or on one before it; None where none did.

        One that could not be made ready is not forgotten: those that follow without a code are its parts, too.
        """
        coded = self._named_by_code(frame)
        with self._lock:
            if coded is not None:
                self._last_product.named = coded
            return self._last_product.named if self._refusal is None else None

    def _named_by_code(self, frame: NDArray[np.uint8]) -> Choice | None:
        """The product that a code on the part names; None where there is no code to be read."""
        began = time.perf_counter()
        codes = self._reader.read(frame) if self._reader is not None else []
        if self._reader is not None:
            self._code_ms = 1e3 * (time.perf_counter() - began)
        named = {choice for code in codes for choice in self._coded.get(code, ())}
        if len(named) == 1:
            return next(iter(named))
        says = ", ".join(codes)
        if named:
            self._doubt(f'its codes say "{says}", which names several products')
        elif codes:
            self._doubt(
                f'its code says "{says}", which names no product. Put it into a recipe: '
                + self._shelf.command(f"change NAME --code {shlex.quote(codes[0])}")
            )
        elif self._settings.code_needed:
            self._doubt("its code is not found")
        return None

    def _doubt(self, says: str) -> None:
        """Nobody knows by which product this part is to be judged: it is not."""
        self._refusal = NotInspected("unknown_product", says)

    def _codes(self) -> Mapping[str, frozenset[Choice]]:
        """What codes mean: of the product in use the version in use, of others the newest.

        An older version that is in use may have a code that is another product's by now: such a code names both.
        """
        meaning: dict[str, frozenset[Choice]] = {}
        for name in self._shelf.names() if self._reader is not None else []:
            choice = self._asked if name == self._asked.product else self._shelf.find(name)
            try:
                if choice not in self._codes_of:
                    self._codes_of[choice] = self._shelf.recipe(choice).codes
            except ProductError as error:
                if choice not in self._unread:
                    self._unread.add(choice)
                    log.warning("codes of %s cannot be read: %s", choice, error)
            for code in (name, *self._codes_of.get(choice, ())):
                meaning[code] = meaning.get(code, frozenset()) | {choice}
        return meaning


def first_product(shelf: Shelf, settings: ProductsSection) -> Choice:
    """What a station begins with: the product that `edge-resad product use` named, or else that of its file.

    Raises:
        ProductError: there is none, or neither names one.
    """
    named = shelf.in_use()
    if named is not None:
        return named
    if settings.use is None:
        known = ", ".join(shelf.names()) or "none"
        raise ProductError(
            f"no product of {shelf.folder} is in use. There are: {known}. Name one: {shelf.command('use NAME')}, or "
            "[products] use in the station file."
        )
    return shelf.find(settings.use)


def _choice(product: Product) -> Choice:
    return Choice(product=product.recipe.product, version=product.version)
