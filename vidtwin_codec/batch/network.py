"""One network on one device, used by many files at once: threads that run it, and runners that ask those threads.

Everything else, from reading to packing, stays on the threads of the files. On a GPU one thread runs the network. On a
CPU several do, which share its cores: calls side by side, each on few cores, wait less for each other than the cores of
one call do, above all while other threads want the cores too. A call of the network is made for one file
with exactly the tiles that encoding that file alone would give it, so the latents are the same to the last bit; or,
merged, for as many waiting files as fit one batch, where sums may round differently.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from vidtwin_codec import machine
from vidtwin_codec.closing import Closing
from vidtwin_codec.model import Latents, VidTwin
from vidtwin_codec.network.device import Device, tiles_in_memory
from vidtwin_codec.network.memory import forget, is_out_of_memory
from vidtwin_codec.network.runner import NetworkCache, NetworkRunner, Showing
from vidtwin_codec.options import NetworkOptions
from vidtwin_codec.weights import Entry

Tensors = tuple[torch.Tensor, ...]


class StoppedError(Exception):
    """The network takes no more requests, because the batch is being interrupted."""


@dataclass(eq=False)
class _Request:
    """A wish for ``network(inputs)``.

    Attributes:
        kind: requests of the same kind may run as one call on the concatenation of their inputs.
        network: what to call.
        inputs: tensors with the same first axis, the tiles.
        limit: most tiles of a merged call that this one is part of.
        answer: receives the result, or the error.
    """

    kind: Hashable
    network: Callable[[Tensors], Any]
    inputs: Tensors
    limit: int
    answer: Future[Any] = field(default_factory=Future)

    @property
    def tiles(self) -> int:
        return len(self.inputs[0])


class NetworkThreads(Closing):
    """Threads that run requests, first come, first served; a context manager.

    Args:
        merge: whether requests of one kind run together, up to their limit of tiles.
        count: number of threads; each uses its share of torch's cores.
        askers: says how many jobs may ask at the moment; if they are fewer than ``count``, each gets more cores.
    """

    def __init__(self, merge: bool, count: int = 1, askers: Callable[[], int] = lambda: 1) -> None:
        self._merge, self._askers = merge, askers
        self._cores = torch.get_num_threads()
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._most = count
        self._too_many: dict[Hashable, int] = {}  # tiles of a kind that were too many for the memory
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name="vidtwin-network", daemon=True)
            for number in range(count)
        ]
        self.calls = 0

    def __enter__(self) -> NetworkThreads:
        try:
            for thread in self._threads:
                machine.start(thread)
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Stop, and wait for the running calls."""
        self.stop()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join()
        if len(self._threads) > 1:
            torch.set_num_threads(self._cores)  # for threads that are started later

    def stop(self) -> None:
        """Finish the running calls, and refuse all other requests from now on."""
        with self._changed:
            self._stopped = True
            while self._waiting:
                self._waiting.popleft().answer.set_exception(StoppedError())
            self._changed.notify_all()

    def limit(self, count: int) -> None:
        """Run at most ``count`` requests at once from now on."""
        with self._changed:
            self._most = max(1, min(self._most, count))

    def ask(self, kind: Hashable, network: Callable[[Tensors], Tensors], inputs: Tensors, limit: int) -> Tensors:
        """Run ``network(inputs)`` on one of these threads, and wait for it.

        Args:
            kind: requests of the same kind may run as one call.
            network: what to call; its errors pass through.
            inputs: tensors with the same first axis, the tiles.
            limit: most tiles of a merged call.

        Raises:
            StoppedError: the threads have been stopped.
        """
        found: Tensors = self._wait_for(_Request(kind, network, inputs, limit))
        return found

    def _wait_for(self, request: _Request) -> Any:
        with self._changed:
            if self._stopped:
                raise StoppedError
            self._waiting.append(request)
            self._changed.notify_all()
        try:
            return request.answer.result()
        finally:
            # an error's traceback holds this frame, which would hold the error: a cycle that keeps tensors alive
            del request

    def _run(self, number: int) -> None:
        while requests := self._next(number):
            if len(self._threads) > 1:
                # holds for this thread, and for threads that start later
                torch.set_num_threads(max(1, self._cores // max(1, min(self._most, self._askers()))))
            try:
                self._answer(requests)
            except BaseException as error:  # raised again in the thread that asked
                forget(error)
                if len(requests) == 1:
                    requests[0].answer.set_exception(error)
                else:
                    # memory may have run out; alone, each request can shrink its own batches
                    if is_out_of_memory(error):
                        self._shrink(requests)
                    self._put_back(requests)
            del requests  # frees their tensors before waiting for the next request

    def _next(self, number: int) -> list[_Request]:
        """Choose the requests that a thread runs next; an empty list once the threads are stopped."""
        with self._changed:
            while (not self._waiting or number >= self._most) and not self._stopped:
                self._changed.wait()
            if not self._waiting:
                return []
            chosen = [self._waiting.popleft()]
            tiles, most = chosen[0].tiles, self._too_many.get(chosen[0].kind, math.inf)
            for request in list(self._waiting) if self._merge else []:
                limit = min(request.limit, chosen[0].limit, most - 1)
                if request.kind == chosen[0].kind and tiles + request.tiles <= limit:
                    self._waiting.remove(request)
                    chosen.append(request)
                    tiles += request.tiles
            return chosen

    def _answer(self, requests: list[_Request]) -> None:
        with self._changed:
            self.calls += 1
        first = requests[0]
        if len(requests) == 1:
            first.answer.set_result(first.network(first.inputs))
            return
        with torch.inference_mode():
            columns = zip(*(request.inputs for request in requests), strict=True)
            results = first.network(tuple(torch.cat(column) for column in columns))
            at = 0
            for request in requests:
                request.answer.set_result(tuple(part[at : at + request.tiles] for part in results))
                at += request.tiles

    def _shrink(self, requests: list[_Request]) -> None:
        """Limit merged calls of this kind to fewer tiles than these, which were too many."""
        with self._changed:
            self._too_many[requests[0].kind] = sum(request.tiles for request in requests)

    def _put_back(self, requests: list[_Request]) -> None:
        with self._changed:
            for request in reversed(requests):
                # with its own size as the limit it is not merged again
                self._waiting.appendleft(replace(request, limit=request.tiles))


class SharedNetworkRunner(NetworkRunner):
    """A network runner whose calls run on :class:`NetworkThreads`. Any thread may use it."""

    def __init__(self, model: VidTwin, device: Device, batch: int | None, threads: NetworkThreads) -> None:
        super().__init__(model, device, batch)
        self._threads = threads

    def encode_tiles(self, tiles: torch.Tensor) -> Latents:
        """See :meth:`NetworkRunner.encode_tiles`."""
        found = self._threads.ask(
            ("encode", id(self)),
            lambda inputs: NetworkRunner.encode_tiles(self, inputs[0]),
            (tiles,),
            self.batches.size,
        )
        return Latents(*found)

    def decode_tiles(self, latents: Latents, showing: Showing) -> torch.Tensor:
        """See :meth:`NetworkRunner.decode_tiles`."""
        (found,) = self._threads.ask(
            ("decode", id(self), showing),
            lambda inputs: (NetworkRunner.decode_tiles(self, Latents(*inputs), showing),),
            tuple(latents),
            self.batches.size,
        )
        return found

    def encode_windows(self, windows: torch.Tensor) -> Latents:
        """See :meth:`NetworkRunner.encode_windows`."""
        found = self._threads.ask(
            ("encode", id(self), tuple(windows.shape[1:])),
            lambda inputs: NetworkRunner.encode_windows(self, inputs[0]),
            (windows,),
            self.window_batches(*windows.shape[2:4]).size,
        )
        return Latents(*found)

    def decode_windows(self, latents: Latents, showing: Showing) -> torch.Tensor:
        """See :meth:`NetworkRunner.decode_windows`."""
        rows, columns = (size * self.model.config.patch_size for size in latents.structure.shape[2:4])
        (found,) = self._threads.ask(
            ("decode", id(self), showing, rows, columns),
            lambda inputs: (NetworkRunner.decode_windows(self, Latents(*inputs), showing),),
            tuple(latents),
            self.window_batches(rows, columns).size,
        )
        return found


class SharedNetworks:
    """The networks of one device, each half read once. Any thread may call.

    Args:
        device: where they run, such as ``cuda:1``, whatever the options say.
        threads: run the networks.
        share: share of the device's memory, where other processes have the rest.
    """

    def __init__(self, device: str, threads: NetworkThreads, share: float = 1.0) -> None:
        self._device, self._threads, self._share = device, threads, share
        self._networks = NetworkCache(self._read)
        self._lock = threading.Lock()

    def load(self, entry: Entry, options: NetworkOptions, part: str) -> NetworkRunner:
        """Read a network once for all files; see :meth:`NetworkRunner.load`."""
        with self._lock:
            return self._networks.load(entry, replace(options, device=self._device), part)

    def _read(self, entry: Entry, options: NetworkOptions, part: str) -> NetworkRunner:
        runner = NetworkRunner.load(entry, options, part)
        # all calls at once use no more memory than one largest batch would
        tiles = int(self._share * tiles_in_memory(runner.model.config, runner.device))
        self._threads.limit(tiles // runner.batches.size)
        return SharedNetworkRunner(runner.model, runner.device, options.batch, self._threads)
