"""Planning: every input is found, named, probed and compared with the records of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from vidtwin_codec import weights
from vidtwin_codec.batch.engine import Job, Row
from vidtwin_codec.batch.looking import PATIENCE_SECONDS, in_parallel
from vidtwin_codec.batch.names import name_outputs
from vidtwin_codec.batch.options import BatchOptions
from vidtwin_codec.batch.records import FileStamp, Record, Records
from vidtwin_codec.batch.rows import SKIPPED, failed_row
from vidtwin_codec.batch.shards import shard_members
from vidtwin_codec.batch.sources import Input, Listing, find_inputs
from vidtwin_codec.container import VtwReader
from vidtwin_codec.decoding.decoder import matching_weights
from vidtwin_codec.encoding.encode import look
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import MediaInfo, stated_seconds
from vidtwin_codec.model import VidTwinConfig
from vidtwin_codec.network.device import MAX_BATCH
from vidtwin_codec.network.geometry import Geometry, scaled_size
from vidtwin_codec.network.runner import network_geometry
from vidtwin_codec.options import EncodeOptions, Reporter

NEW = "new"
NOT_OURS = "an output of that name exists and no batch has made it; --force replaces it"
# Pieces of a file in memory: two wait to be encoded, one is being read, one encoded, one packed.
_PIECES = 5
_BYTES_PER_SECOND = 250_000  # a guess for a video whose length only decoding can tell

_UNSEEN_MEMORY = 1 << 30  # a guess at the frames in memory of a file that nobody has looked at
SLOW = "takes long to look at, which is done in its turn"
_SHOWN = 4


@dataclass
class Plan:
    """The inputs of a batch by what is to happen to them.

    Attributes:
        jobs: what there is to do.
        skipped: rows of outputs that are up to date.
        failed: rows of inputs that cannot be done, with reasons.
        notes: notes for the user.
        elsewhere: number of files that belong to other shards.
    """

    jobs: list[Job] = field(default_factory=list)
    skipped: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    elsewhere: int = 0


class Planner:
    """A planner looks at inputs and outputs, and changes nothing.

    Args:
        destination: where outputs go.
        options: the batch's options.
        records: what earlier runs made there.
        kind: kind of the devices that the network will run on.

    Attributes:
        entry: the weights to encode with; None for decoding.

    Raises:
        VidtwinError: there are no such weights.
    """

    def __init__(self, destination: Path, options: BatchOptions, records: Records, kind: str) -> None:
        self._destination, self._options, self._records = destination, options, records
        file_options = options.file_options
        self.entry = None if options.decodes else weights.resolve(weights.whole_name(file_options.weights))
        self._batch = file_options.batch or MAX_BATCH[kind]
        self._playlists: bool = getattr(file_options, "allow_playlists", False)

    def plan(self, sources: Sequence[str], lists: Sequence[str] = (), reporter: Reporter | None = None) -> Plan:
        """Find the inputs, choose those of this shard, probe them, and compare them with the records.

        Args:
            sources: folders, patterns and files.
            lists: text files that name inputs.
            reporter: receives progress.

        Raises:
            VidtwinError: a list cannot be read, or there is no input at all.
        """
        options, reporter = self._options, reporter or Reporter()
        listing = find_inputs(
            sources,
            options.input_suffixes,
            lists=lists,
            root=options.root,
            hidden=options.hidden,
            without=self._destination,
        )
        plan = Plan(notes=listing.notes)
        names, problems, said = name_outputs(listing.inputs, options.output_suffix)
        plan.notes += said
        chosen = self._share_out(list(names), plan, reporter)
        if options.shard is None or options.shard.number == 1:
            plan.failed += _failures(listing, problems)
        if not (names or listing.problems or problems):
            raise VidtwinError("nothing to work on", "; ".join(listing.notes) or None)
        looking = reporter.stage("looking at files", "file")
        found = in_parallel(lambda one: self._look(one, names[one]), chosen, looking, patience=PATIENCE_SECONDS)
        slow = [str(one.path) for one, result in zip(chosen, found, strict=True) if result is None]
        if slow:
            shown = ", ".join([*slow[:_SHOWN], *(["…"] if len(slow) > _SHOWN else [])])
            plan.notes.append(f"slow to look at, so done last: {len(slow)} ({shown})")
        for one, given in zip(chosen, found, strict=True):
            result = self._unseen(one, names[one]) if given is None else given
            if isinstance(result, VidtwinError):
                plan.failed.append(failed_row(str(one.path), str(self._destination / names[one]), result.message))
            elif isinstance(result, Job):
                plan.jobs.append(result)
            else:
                plan.skipped.append(result)
        return plan

    def _share_out(self, inputs: list[Input], plan: Plan, reporter: Reporter) -> list[Input]:
        shard = self._options.shard
        if shard is None:
            return inputs
        # shards follow from the files alone, never from what is done already, so that all machines agree on them
        inputs = sorted(inputs, key=lambda one: one.relative.as_posix())
        found = in_parallel(self._stated, [one.path for one in inputs], reporter.stage("sharing out", "file"))
        seconds = [one if isinstance(one, float) else 0.0 for one in found]
        chosen = [inputs[index] for index in shard_members(seconds, shard)]
        plan.elsewhere = len(inputs) - len(chosen)
        return chosen

    def _stated(self, path: Path) -> float:
        if not self._options.decodes:
            return stated_seconds(path, playlists=self._playlists) or FileStamp.of(path).bytes / _BYTES_PER_SECOND
        with VtwReader(path, recover=True, fallback=True) as reader:
            return float(reader.frames / reader.header.fps)

    def _look(self, one: Input, name: PurePath) -> Job | Row:
        """Make a job of an input, or return its row if it is up to date."""
        options, output = self._options, self._destination / name
        stamp, record = FileStamp.of(one.path), self._records.find(name.as_posix())
        reason = NEW
        if record is not None:
            why = self.why_again(record, one.path, stamp, output)
            if why is None and not (options.measure and record.row["psnr"] is None):
                return {**record.row, "source": str(one.path), "output": str(output), "status": SKIPPED}
            reason = why or "to be measured"
        elif output.exists() and not options.file_options.force:
            raise VidtwinError(NOT_OURS)
        if options.decodes:
            return self._vtw_job(one.path, output, name.as_posix(), stamp, reason)
        return self._video_job(one.path, output, name.as_posix(), stamp, reason)

    def _unseen(self, one: Input, name: PurePath) -> Job | VidtwinError:
        """Make a job, to be done last, of an input that takes long to look at; the job itself looks at it."""
        try:
            stamp = FileStamp.of(one.path)
        except VidtwinError as error:
            return error
        seconds = stamp.bytes / _BYTES_PER_SECOND
        output = self._destination / name
        return Job(one.path, output, name.as_posix(), stamp, None, 0, seconds, 0.0, _UNSEEN_MEMORY, SLOW)

    def why_again(self, record: Record, source: Path, stamp: FileStamp, output: Path) -> str | None:
        """Say why a recorded output must be made again; None if it is up to date."""
        digest = None if self.entry is None else self.entry.sha256
        why = record.difference(source, stamp, self._options.file_options, digest, digest=self._options.digest)
        if why is None and not record.is_whole(output):
            why = "the output is damaged or was changed" if output.exists() else "the output is missing"
        return why

    def _video_job(self, source: Path, output: Path, name: str, stamp: FileStamp, reason: str) -> Job:
        file_options = self._options.file_options
        assert isinstance(file_options, EncodeOptions)
        assert self.entry is not None
        info = look(source, file_options)
        config = VidTwinConfig.from_dict(self.entry.metadata.config)
        width, height = scaled_size(info.width, info.height, file_options.short_side)
        geometry = network_geometry(config, width, height, file_options.overlap)
        fps = file_options.fps or info.fps
        seconds = float(info.duration) if info.duration else info.file_bytes / _BYTES_PER_SECOND
        frames = round(seconds * fps)
        job = self._job(source, output, name, stamp, info, geometry, frames, seconds, reason)
        return replace(job, part_clips=geometry.most_clips_per_group(fps), clip_frames=geometry.clip_frames)

    def _vtw_job(self, source: Path, output: Path, name: str, stamp: FileStamp, reason: str) -> Job:
        with VtwReader(source, recover=getattr(self._options.file_options, "recover", False)) as reader:
            header = reader.header
            frames = reader.frames
        matching_weights(header, self._options.file_options.weights)
        geometry = Geometry.of(header)
        return self._job(source, output, name, stamp, None, geometry, frames, float(frames / header.fps), reason)

    def _job(
        self,
        source: Path,
        output: Path,
        name: str,
        stamp: FileStamp,
        info: MediaInfo | None,
        geometry: Geometry,
        frames: int,
        seconds: float,
        reason: str,
    ) -> Job:
        tiles = len(geometry.tiles)
        camera = getattr(self._options.file_options, "camera", True)  # a canvas may be as large as two frames
        if geometry.abutting:  # one clip at a time, whose latents take about as much as its frames
            piece, pixel = geometry.clip_frames, 9 if camera else 6
        else:
            piece, pixel = max(1, self._batch // tiles) * geometry.clip_frames, 6 if camera else 3
        memory = min(frames, _PIECES * piece) * geometry.width * geometry.height * pixel
        if self._options.decodes and not geometry.abutting and tiles > 1:  # the canvas on which tiles are joined
            memory += geometry.clip_frames * geometry.width * geometry.height * 3 * 4
        cost = float(geometry.clips(frames) * tiles)
        return Job(source, output, name, stamp, info, frames, seconds, cost, memory, reason)


def _failures(listing: Listing, problems: dict[Input, str]) -> list[Row]:
    named = {str(one.path): reason for one, reason in problems.items()}
    return [failed_row(path, None, reason) for path, reason in {**listing.problems, **named}.items()]
