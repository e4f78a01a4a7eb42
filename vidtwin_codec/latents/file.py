"""A .vtw as a sequence of clips of latents, and as a stream of frames."""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cached_property
from math import floor
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vidtwin_codec import weights
from vidtwin_codec.closing import Closing
from vidtwin_codec.coding import LatentArrays
from vidtwin_codec.coding.placement import Placement
from vidtwin_codec.coding.sparse_group import SparseGroup
from vidtwin_codec.container import Header, VtwReader
from vidtwin_codec.container.fields import to_json
from vidtwin_codec.container.remote import open_source
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.latents.cache import GroupCache, narrowed
from vidtwin_codec.latents.clips import ClipLatents, cropped, largest_layout
from vidtwin_codec.options.display import extent
from vidtwin_codec.text import counted

if TYPE_CHECKING:
    from vidtwin_codec.network.runner import NetworkCache

_OWN_CACHE = 64 << 20


class VtwFile(Closing):
    """A .vtw file open for reading; a context manager. Any thread may read; latents need neither torch nor weights.

    ``len(file)`` is its number of clips; ``file[3]``, ``file[2:5]``, ``file.by_frame[100:150]`` and
    ``file.by_time[1.5:4]`` give `ClipLatents`, reading only the groups that hold them. Where a file follows the camera,
    clips may have grids of different sizes (see `ClipLatents.placements`).

    >>> with VtwFile("a.vtw") as file:
    ...     latents = file[:4].numpy()
    ...     for frame in file.frames(0, 16):
    ...         ...

    >>> with VtwFile("https://example.org/a.vtw") as file:  # needs the extra `remote`
    ...     latents = file[10].numpy()  # asks for the header, the index and one group

    Args:
        path: the file, a seekable binary stream (which stays open), or a URL that fsspec knows (``https://``, ``s3://``
            …), of which no more than what is needed is fetched.
        cache: where unpacked groups are kept; its own of 64 MiB if left out. Several files may share one.

    Attributes:
        path: as given.
        name: the path or URL, or what the stream is called.
        header: everything that is the same for the whole file: size, rate, layout, steps, weights.

    Raises:
        VidtwinError: not a .vtw, or damaged (``vidtwin verify`` tells more), or a server does not give it.
    """

    def __init__(self, path: str | os.PathLike[str] | BinaryIO, *, cache: GroupCache | None = None) -> None:
        self.path = path
        self._source = open_source(path)
        # one that is dropped closes, too: a dataset has too many to keep track of who still reads which
        self._close = weakref.finalize(self, self._source.close)
        self.name = self._source.name
        try:
            self._reader = VtwReader(self._source)
        except BaseException:
            self._close()
            raise
        self._cache = cache or GroupCache(_OWN_CACHE)
        self.header: Header = self._reader.header
        # a group holds any number of clips, so only the index tells where a clip is
        self._starts = np.array([entry.first_clip for entry in self._reader.groups], dtype=np.int64)
        self._clips = self._reader.groups[-1].span.end_clip if self._reader.groups else 0
        self._networks: NetworkCache | None = None
        self._places: dict[int, GroupPlaces] = {}

    def close(self) -> None:
        """Close the file."""
        self._close()

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return not self._close.alive

    def __repr__(self) -> str:
        header = self.header
        shown = extent(header.width, header.height, self.frame_count, self.fps)
        inside = f"{counted(len(self), 'clip')} in {counted(len(self.group_clips), 'group')}"
        size, state = self._reader.counts.vtw_bytes, ", closed" if self.closed else ""
        return f"<VtwFile {self.name}: {shown}, {inside}, {size} bytes, weights {header.weights_name!r}{state}>"

    def _repr_html_(self) -> str:
        from vidtwin_codec.latents.notebook import file_html

        return file_html(self)

    def __len__(self) -> int:
        """Number of clips; the last one may be filled up by repeating its last frame."""
        return self._clips

    @property
    def frame_count(self) -> int:
        """True frames of the video."""
        return self._reader.frames

    @property
    def fps(self) -> Fraction:
        """Frames a second."""
        return self.header.fps

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.frame_count / self.fps)

    @property
    def tiles(self) -> int:
        """Tiles of a clip, row by row; of one on a canvas that is cut into tiles, `ClipLatents.tile_counts`."""
        return self.header.tiles

    @cached_property
    def group_clips(self) -> tuple[int, ...]:
        """How many clips each group holds."""
        return tuple(entry.clips for entry in self._reader.groups)

    @cached_property
    def group_bytes(self) -> tuple[int, ...]:
        """How many bytes each group takes in the file."""
        return tuple(entry.size for entry in self._reader.groups)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The header as plain values (docs/FORMAT.md names them), with ``frames`` and ``clips``."""
        return {**to_json(self.header), "frames": self.frame_count, "clips": len(self)}

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal digits that differ between files of different latents: of header and index."""
        groups = [(entry.crc, entry.size, *entry.span) for entry in self._reader.groups]
        return hashlib.sha256(self.header.to_bytes() + repr(groups).encode()).hexdigest()[:32]

    def __getitem__(self, clips: int | slice) -> ClipLatents:
        """Return latents of one clip, or of a slice of clips; the first axis is the clip in either case.

        Raises:
            IndexError: there is no clip of that number.
            VidtwinError: a group is damaged.
        """
        numbers = _numbers(clips, len(self), "clip")
        frames = self._frames_of(numbers)
        return self._read(numbers, frames)

    @property
    def by_frame(self) -> Indexer[int]:
        """``file.by_frame[a:b]``: the clips of frames ``a`` to ``b - 1``; ``file.by_frame[a]``: that of one frame."""
        return Indexer(self._by_frame)

    @property
    def by_time(self) -> Indexer[float]:
        """``file.by_time[a:b]``: the clips shown in seconds ``a`` to ``b``; ``file.by_time[a]``: that of a moment."""
        return Indexer(self._by_time)

    def frames(self, start: int = 0, stop: int | None = None, **choices: Any) -> Iterator[NDArray[np.uint8]]:
        """Decode frames ``start`` … ``stop`` - 1, one after the other: uint8 ``[height, width, 3]`` RGB.

        Args:
            start: number of the first frame.
            stop: one past the last; None: to the end.
            choices: of `DecodeOptions`: ``only="structure"``, ``coded_size=True``, ``device="cuda"`` …

        Raises:
            VidtwinError: the weights are not here, or a group is damaged.
        """
        from vidtwin_codec.decoding.decoder import Decoder
        from vidtwin_codec.network.runner import NetworkCache
        from vidtwin_codec.options import DecodeOptions

        wanted = _numbers(slice(start, stop), self.frame_count, "frame")
        if not wanted:
            return
        options = DecodeOptions(start=float(wanted.start / self.fps), duration=float(len(wanted) / self.fps), **choices)
        self._networks = self._networks or NetworkCache()
        with Decoder(self._source, options, load=self._networks.load) as decoder:
            for clip in decoder.frames():
                yield from clip

    def pieces(self) -> Iterator[ClipLatents]:
        """All clips in order, as they are read with the least memory: group by group, or clip by clip of wide latents.

        Raises:
            VidtwinError: a group is damaged.
        """
        first = 0
        for number, clips in enumerate(self.group_clips):
            if self._wide:
                for clip, (symbols, placement) in enumerate(self._reader.placed(number), first):
                    numbers = range(clip, clip + 1)
                    arrays = narrowed(symbols).map(lambda part: part[None])
                    yield ClipLatents(numbers, self._frames_of(numbers), arrays, self.header.steps, (placement,))
            else:
                yield self[first : first + clips]
            first += clips

    @property
    def _wide(self) -> bool:
        return self.header.layout.patterns is not None

    def _by_frame(self, key: int | slice) -> ClipLatents:
        frames = _numbers(key, self.frame_count, "frame")
        if frames.step != 1:
            raise ValueError("frames can only be sliced in steps of 1: latents come in whole clips")
        size = self.header.clip_frames
        numbers = range(frames.start // size, -(-frames.stop // size)) if frames else range(0)
        return self._read(numbers, frames)

    def _by_time(self, key: float | slice) -> ClipLatents:
        if not isinstance(key, slice):
            return self._by_frame(self._frame_at(key))
        if key.step is not None:
            raise ValueError("time is sliced without a step")
        first = 0 if key.start is None else self._frame_at(key.start)
        last = self.frame_count if key.stop is None else self._frame_at(key.stop)
        if key.start is None or key.stop is None or key.start < key.stop:
            last = max(last, first + 1)  # a stretch shorter than a frame still shows one
        return self._by_frame(slice(first, last))

    def _frame_at(self, seconds: float) -> int:
        """The frame that begins nearest to a time, as ``decode --start`` takes it."""
        if not 0 <= seconds < float("inf"):
            raise IndexError(f"{seconds} is not a time in a video")
        return floor(Fraction(seconds) * self.fps + Fraction(1, 2))

    def _frames_of(self, numbers: range) -> range:
        size = self.header.clip_frames
        if not numbers or numbers.step != 1:
            return range(0)
        return range(numbers.start * size, min(numbers.stop * size, self.frame_count))

    def _read(self, numbers: range, frames: range) -> ClipLatents:
        wanted = np.fromiter(numbers, dtype=np.int64, count=len(numbers))
        homes = self._starts.searchsorted(wanted, side="right") - 1
        if self._wide:
            symbols, placements = self._read_wide(wanted, homes)
            return ClipLatents(numbers, frames, symbols, self.header.steps, placements)
        parts: dict[int, LatentArrays] = {int(group): self._group(int(group)) for group in np.unique(homes)}
        dtype = np.result_type(np.int8, *(part.structure.dtype for part in parts.values()))
        places = {group: self._places_of(group) for group in parts}
        tiles = max((places[group].tiles for group in parts), default=self.tiles)
        arrays = self.header.layout.shapes().zeros(len(wanted), tiles, dtype=dtype)
        for group, part in parts.items():
            inside, own = homes == group, places[group].tiles
            for out, array in zip(arrays, part, strict=True):
                whole = array.reshape(-1, own, *array.shape[1:])
                out[inside, :own] = whole[wanted[inside] - self._starts[group]]
        pairs = zip(homes.tolist(), (wanted - self._starts[homes]).tolist(), strict=True)
        placements = tuple(places[home].placements[clip] for home, clip in pairs)
        counts = tuple(places[home].tiles for home in homes.tolist()) if self.header.camera else ()
        return ClipLatents(numbers, frames, arrays, self.header.steps, placements, counts)

    def _places_of(self, number: int) -> GroupPlaces:
        """Return where the clips of a group lie; the file is read for it only where they may have canvases."""
        if not self.header.camera:
            return GroupPlaces(self.tiles, (None,) * self.group_clips[number])
        if number not in self._places:
            group = self._reader.open_group(number)
            self._places[number] = GroupPlaces(group.tiles, group.placements)
        return self._places[number]

    def placements(self) -> tuple[Placement | None, ...]:
        """The canvases of all clips; of wide latents, these are read for it.

        Raises:
            VidtwinError: a group is damaged.
        """
        if self._wide and self.header.camera:
            return tuple(placement for piece in self.pieces() for placement in piece.placements)
        return tuple(place for number in range(len(self.group_clips)) for place in self._places_of(number).placements)

    def placement(self, clip: int) -> Placement | None:
        """The canvas of a clip, if it has one.

        Raises:
            VidtwinError: its group is damaged.
        """
        if not self.header.camera:
            return None
        if self._wide:
            return self[clip].placements[0]
        home = int(self._starts.searchsorted(clip, side="right")) - 1
        return self._places_of(home).placements[clip - int(self._starts[home])]

    def _read_wide(
        self, wanted: NDArray[np.int64], homes: NDArray[np.int64]
    ) -> tuple[LatentArrays, tuple[Placement | None, ...]]:
        layout, tiles = self.header.layout, self.tiles
        groups = {int(number): self._sparse_group(int(number)) for number in np.unique(homes)}
        dtype = np.result_type(np.int8, *(group.dtype for group in groups.values()))
        inside = wanted - self._starts[homes]
        pairs = [(groups[int(home)], int(clip)) for home, clip in zip(homes, inside, strict=True)]
        placements = tuple(group.placements[clip] for group, clip in pairs)
        shapes = largest_layout(layout, placements)
        arrays = shapes.zeros(len(wanted), tiles, dtype=dtype)
        for place, (group, clip) in enumerate(pairs):
            own = cropped(arrays.map(itemgetter(place)), layout, placements[place])
            for array, part in zip(own, group.clip(clip, layout, tiles).symbols, strict=True):
                array[:] = part
        return arrays, placements

    def _sparse_group(self, number: int) -> SparseGroup:
        layout = self.header.layout
        return self._cache.get_sparse(self.digest, number, layout, self.tiles, lambda: self._reader.placed(number))

    def _group(self, number: int) -> LatentArrays:
        return self._cache.get(self.digest, number, self.header.layout, lambda: self._reader.read_group(number).symbols)


class GroupPlaces(NamedTuple):
    """Tiles of each clip of a group without patterns, and where each clip lies."""

    tiles: int
    placements: tuple[Placement | None, ...]


T = TypeVar("T")


class Indexer(Generic[T]):
    """A part of a file that can be sliced like the file itself."""

    def __init__(self, read: Callable[[Any], ClipLatents]) -> None:
        self._read = read

    def __getitem__(self, key: T | slice) -> ClipLatents:
        return self._read(key)


def _numbers(key: int | slice, count: int, thing: str) -> range:
    """The numbers that an index or a slice means, as for a list."""
    if isinstance(key, slice):
        return range(*key.indices(count))
    number = key + count if key < 0 else key
    if not 0 <= number < count:
        raise IndexError(f"{thing} {key} of {count}")
    return range(number, number + 1)


def check_same_latents(one: VtwFile, other: VtwFile) -> None:
    """Make sure that two files' latents were made by one network, or by networks whose encoders are the same.

    Raises:
        VidtwinError: they were made with other weights, and none here decode both; names both digests.
    """
    a, b = one.header, other.header
    if not weights.share_latents(a.weights_sha256, b.weights_sha256):
        raise VidtwinError(
            f"{one.name} was made with weights {a.weights_name!r} (SHA-256 {a.weights_sha256[:12]}…), "
            f"{other.name} with {b.weights_name!r} (SHA-256 {b.weights_sha256[:12]}…)",
            "latents of different networks do not go together: encode both videos with the same --weights",
        )
    windows = [f"{header.tile_width} x {header.tile_height}" for header in (a, b)]
    if a.abutting and b.abutting and windows[0] != windows[1]:
        raise VidtwinError(
            f"{one.name} was coded in windows of {windows[0]} pixels, {other.name} in windows of {windows[1]}",
            "latents of windows of different sizes do not go together: encode both videos at the same size",
        )
    if (a.layout, a.clip_frames, a.tile_height, a.tile_width) != (
        b.layout,
        b.clip_frames,
        b.tile_height,
        b.tile_width,
    ):
        raise VidtwinError(f"{other.name}: its latents do not have the shapes of {one.name}'s")
