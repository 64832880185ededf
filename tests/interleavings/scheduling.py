"""Processes that run one at a time, each until its next step, in an order that is chosen.

A process is a thread that is let on for one step at a time, so a run with the same choices is the
same run. Time is a number: a step takes a little of it, and a process that sleeps goes on when it
is chosen, which makes it as late as it was to sleep.
"""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

NETWORK: Final = "network"
"""Not a process: requests that are on their way land when this is chosen."""

KILL: Final = "kill "
"""Ahead of the name of a process that is killed when this is chosen."""

_STEP_SECONDS: Final = 0.01
_MOST_STEPS: Final = 5000


class KilledError(BaseException):
    """Ends the thread of a process that was killed; nothing that it does has an effect any more."""


class Process:
    """A thread that is let on step by step."""

    def __init__(self, simulation: "Simulation", name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.wakes = 0.0
        self.is_done = False
        self.is_killed = False
        self.error: BaseException | None = None
        self._simulation = simulation
        self._work = work
        self._go = threading.Semaphore(0)
        self._rests = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        self._simulation.here.process = self
        try:
            if not self.is_killed:
                self._work()
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised where the run is
            self.error = None if self.is_killed else error
        finally:
            self.is_done = True
            self._rests.release()

    def go_on(self) -> None:
        """Let it take a step, and wait until it is before the next, or at its end."""
        self._go.release()
        self._rests.acquire()

    def rest(self) -> None:
        """Wait to be let on, in its own thread."""
        if not self.is_killed:
            self._rests.release()
            self._go.acquire()
        if self.is_killed:
            raise KilledError

    def kill(self) -> None:
        """End it where it is."""
        self.is_killed = not self.is_done
        while not self.is_done:
            self.go_on()


class Choices(NamedTuple):
    """What could go on at a point of a run: the one that did, and all others."""

    chosen: str
    others: tuple[str, ...]


class _Here(threading.local):
    process: Process | None = None


class Simulation:
    """Some processes, the time, and requests that are on their way."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.here = _Here()
        self.processes: dict[str, Process] = {}
        self.trace: list[str] = []
        self.choices: list[Choices] = []
        self.on_their_way: list[Callable[[], str]] = []
        self.is_wrong: Callable[[], bool] = lambda: False
        self.wrong = False

    def start(self, name: str, work: Callable[[], None]) -> None:
        self.processes[name] = Process(self, name, work)

    # Of a process.

    def step(self, label: str) -> None:
        """Come to a step: whatever else is chosen to happen happens before it."""
        process = self.here.process
        if process is not None:
            process.rest()
            self._note(f"{process.name}: {label}")

    def sleep(self, seconds: float) -> None:
        process = self.here.process
        if process is None:
            self.now += seconds
        else:
            process.wakes = self.now + seconds
            process.rest()

    def clock(self) -> float:
        return self.now

    # Running.

    def run(self, choose: "Chooser") -> None:
        """Let all processes come to their ends."""
        last = ""
        try:
            for point in itertools.count():
                going = [one for one in self.processes.values() if not one.is_done]
                if not going:
                    break
                assert point < _MOST_STEPS, self.trace[-50:]
                usual = _usual(going, last, self.now)
                names = [one.name for one in going]
                if self.on_their_way:
                    names.append(NETWORK)
                chosen = choose(point, usual, names)
                others = tuple(name for name in names if name != chosen)
                self.choices.append(Choices(chosen, others))
                last = self._let(chosen, last)
            while self.on_their_way:
                self._let(NETWORK, last)
        finally:
            for one in self.processes.values():
                one.kill()
        for one in self.processes.values():
            if one.error is not None:
                raise one.error

    def _let(self, chosen: str, last: str) -> str:
        if chosen.startswith(KILL):
            name = chosen.removeprefix(KILL)
            self.processes[name].kill()
            self._note(f"{name} dies")
            return last
        if chosen == NETWORK:
            self._note(self.on_their_way.pop(0)())
            return last
        process = self.processes[chosen]
        self.now = max(self.now, process.wakes) + _STEP_SECONDS
        process.go_on()
        self._look()
        return chosen

    def _note(self, label: str) -> None:
        if not self.wrong:
            self.trace.append(label)
            self._look()

    def _look(self) -> None:
        if not self.wrong and self.is_wrong():
            self.wrong = True


Chooser = Callable[[int, str, list[str]], str]
"""Chooses who goes on at a point, given who does unless there is a reason, and who could."""


def _usual(going: list[Process], last: str, now: float) -> str:
    awake = [one for one in going if one.wakes <= now]
    if any(one.name == last for one in awake):
        return last
    found = awake[0] if awake else min(going, key=lambda one: one.wakes)
    return found.name


def switching(switches: Mapping[int, str]) -> Chooser:
    """Return who lets each go on as far as it comes, but for these switches at these points."""

    def choose(point: int, usual: str, names: list[str]) -> str:
        wanted = switches.get(point, usual)
        return wanted if wanted in names else usual

    return choose


def rolling(seed: int, often: float) -> Chooser:
    """Return who switches at random."""
    dice = random.Random(seed)

    def choose(point: int, usual: str, names: list[str]) -> str:
        return dice.choice(names) if dice.random() < often else usual

    return choose


def killing(name: str, at: int) -> Chooser:
    """Return who lets each go on as far as it comes, and kills one at a point."""

    def choose(point: int, usual: str, names: list[str]) -> str:
        return f"{KILL}{name}" if point == at and name in names else usual

    return choose


def all_switches(run: Callable[[Chooser], Simulation], most: int) -> Iterator[Simulation]:
    """Run with every choice of at most so many switches to another than usual; yield each run."""
    todo: list[tuple[tuple[int, str], ...]] = [()]
    while todo:
        following: list[tuple[tuple[int, str], ...]] = []
        for switches in todo:
            done = run(switching(dict(switches)))
            yield done
            if len(switches) < most:
                first = switches[-1][0] + 1 if switches else 0
                following += [
                    (*switches, (point, other))
                    for point, choices in enumerate(done.choices)
                    if point >= first
                    for other in choices.others
                ]
        todo = following
