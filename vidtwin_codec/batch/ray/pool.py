"""The workers of a Ray cluster: started as there is room for them, given jobs, missed when they are gone."""

from __future__ import annotations

import pickle
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vidtwin_codec.batch.ray.agreement import Program
from vidtwin_codec.batch.ray.cluster import RayCluster
from vidtwin_codec.batch.ray.worker import Order, RayWorker, Ready, Refused, Setup, Told
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.options import Reporter

_LOOK_SECONDS = 5.0
"""How often machines are counted: they may come and go."""
_PATIENCE_SECONDS = 300.0
"""How long there may be no worker at all."""
_START_FAILURES = 3
"""So many workers in a row that die before they are ready are no accident."""
_CLOSE_SECONDS = 30.0


@dataclass(eq=False)
class Hand:
    """A worker, seen from here.

    Attributes:
        mark: in the names of its temporary files. machine: where it is, once it is ready.
        orders: in hand, by number; those in ``given`` it has not been told of yet.
    """

    actor: Any
    mark: str
    machine: str | None = None
    orders: dict[int, Order] = field(default_factory=dict)
    given: list[Order] = field(default_factory=list)


@dataclass(frozen=True)
class Lost:
    """A worker is gone, with what it had in hand."""

    hand: Hand
    reason: str


class Pool:
    """All workers of one run.

    Args:
        setup: for each of them.
        reporter: is told of what is worth knowing.
    """

    def __init__(self, cluster: RayCluster, setup: Setup, reporter: Reporter) -> None:
        self._cluster, self._ray, self._reporter = cluster, cluster.ray, reporter
        self._setup = self._ray.put(pickle.dumps(setup))
        self._program = (Program.here().version, Program.here().code)
        self._actor = cluster.actor(RayWorker)
        self._all: set[Hand] = set()
        self._hands: dict[Any, Hand] = {}  # by what is waited for
        self._looked = self._missed = float("-inf")
        self._room = self._refused = self._failures = 0
        self._lenient = False

    @property
    def ready(self) -> list[Hand]:
        """Workers that can be given jobs, the idlest first."""
        return sorted((hand for hand in self._hands.values() if hand.machine), key=lambda hand: len(hand.orders))

    @property
    def size(self) -> int:
        """Workers, those included that are being started."""
        return len(self._all)

    def be_lenient(self) -> None:
        """From now on a machine that does not fit is left out; before, it ends the run."""
        self._lenient = True

    def hire(self, wanted: int) -> None:
        """See that there are so many workers, as far as the machines that are up have room.

        Raises:
            VidtwinError: there has been none for long.
        """
        now = time.monotonic()
        if now >= self._looked + _LOOK_SECONDS:
            self._looked, self._room = now, self._cluster.room()
        while len(self._hands) < min(wanted, self._room - self._refused):
            self._start()
        if self.ready or self._missed == float("-inf"):
            self._missed = now
        elif now > self._missed + _PATIENCE_SECONDS:
            raise VidtwinError(
                f"the Ray cluster has had no worker for {_PATIENCE_SECONDS / 60:.0f} minutes",
                "look at it with `ray status`; the same command goes on",
            )

    def give(self, hand: Hand, order: Order) -> None:
        """Have a job done by a worker that is ready."""
        hand.orders[order.number] = order
        hand.given.append(order)

    def wait(self) -> Iterator[tuple[Hand, Told] | Lost]:
        """What workers tell, and which of them are gone; waits a moment for either.

        Raises:
            VidtwinError: a worker does not fit, or none can be started.
        """
        pending = list(self._hands)
        if not pending:
            time.sleep(1)
            return
        found, _ = self._ray.wait(pending, num_returns=1, timeout=1)
        if found and len(pending) > 1:
            found, _ = self._ray.wait(pending, num_returns=len(pending), timeout=0)
        for ref in found:
            hand = self._hands.pop(ref)
            try:
                answer = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                reason = _reason(error)
                if hand.machine is None:
                    self._count_failure(reason)
                self._discard(hand)
                yield Lost(hand, reason)
                continue
            if isinstance(answer, Refused):
                self._refuse(hand, answer)
                continue
            if isinstance(answer, Ready):
                hand.machine, self._failures = answer.machine, 0
            self._go_on(hand)
            if isinstance(answer, Told):
                yield hand, answer

    def close(self) -> list[Hand]:
        """Have all drop what they have in hand, and end them; gives those that were there."""
        hands = list(self._all)
        closing = [hand.actor.close.remote() for hand in hands if hand.machine]
        self._hands.clear()
        try:
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        finally:
            for hand in hands:
                self._discard(hand)
        return hands

    def _start(self) -> None:
        hand = Hand(self._actor.remote(), secrets.token_hex(4))
        self._all.add(hand)
        self._hands[hand.actor.prepare.remote(self._program, hand.mark, self._setup)] = hand

    def _go_on(self, hand: Hand) -> None:
        given, hand.given = hand.given, []
        self._hands[hand.actor.work.remote(given)] = hand

    def _discard(self, hand: Hand) -> None:
        """End what may be left of a worker."""
        self._all.discard(hand)
        self._ray.kill(hand.actor)

    def _refuse(self, hand: Hand, refused: Refused) -> None:
        self._discard(hand)
        if not self._lenient:
            raise VidtwinError(refused.message, refused.hint)
        self._refused += 1
        self._reporter.said(f"a worker is left out: {refused.message}")

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= _START_FAILURES:
            raise VidtwinError(f"workers cannot be started: {reason}", "is the same vidtwin installed on all machines?")


def _reason(error: Exception) -> str:
    """What Ray says at length, in short."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}"
    text = " ".join(str(error).split()).partition(" Some common causes")[0]
    return text.partition("The actor is dead because ")[2] or text or type(error).__name__
