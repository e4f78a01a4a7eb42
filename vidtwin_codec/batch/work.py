"""One job, from lock to record: the same code wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vidtwin_codec.batch.engine import Job, Row
from vidtwin_codec.batch.locks import OutputLocks
from vidtwin_codec.batch.network import StoppedError
from vidtwin_codec.batch.options import BatchOptions, fingerprint
from vidtwin_codec.batch.plan import NOT_OURS, Planner
from vidtwin_codec.batch.ray.segments import joining
from vidtwin_codec.batch.records import FOLDER, Record, Records, Stamp, file_sha256
from vidtwin_codec.batch.rows import MEASURED, SKIPPED, decoded_row, encoded_row
from vidtwin_codec.container import VtwReader
from vidtwin_codec.decoding.decode import decode
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.codec import measure_codec
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.files import atomic_path, check_output, explain_os_error
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import DecodeOptions, EncodeOptions, NetworkOptions, Reporter
from vidtwin_codec.weights import same_weights, whole_name


class Worker:
    """Does jobs: an :data:`~vidtwin_codec.batch.engine.Perform`. Any thread may call. Can be pickled, to do the same
    in another process; there, :meth:`settle` comes first.

    Args:
        destination: where the locks are kept.
        planner: knows when an output is as it should be.
        records: where finished outputs are noted.
    """

    def __init__(self, destination: Path, options: BatchOptions, planner: Planner, records: Records) -> None:
        work = replace(options.work, weights=whole_name(options.work.weights))
        self._options, self._planner, self._records = replace(options, work=work), planner, records
        self._locks = OutputLocks(destination / FOLDER / "locks")

    @property
    def options(self) -> BatchOptions:
        """Of the whole batch."""
        return self._options

    def settle(self) -> None:
        """Find the weights on this machine: the same file, wherever it lies.

        Raises:
            VidtwinError: they are not here.
        """
        entry = self._planner.entry  # a .vtw names its own, and is not decoded with others
        if entry is not None:
            here = same_weights(entry)
            self._options = replace(self._options, work=replace(self._options.work, weights=str(here.path)))

    def __call__(
        self, job: Job, load: LoadNetwork, reporter: Reporter, stopped: Callable[[], bool], wait: bool = False
    ) -> Row:
        """Encode or decode one file, note it and put it in its place.

        Raises:
            BusyError: another run is at it. StoppedError: it is not to be finished.
            VidtwinError: it cannot be done.
        """
        with self._locks.hold(job.name, wait=wait, stopped=stopped):
            self._records.refresh()
            record = self._records.find(job.name)
            if record is not None and self._planner.why_again(record, job.source, job.stamp, job.output) is None:
                return self._already_made(job, record, load, reporter)
            if record is None and job.output.exists() and not self._options.work.force:
                raise VidtwinError(NOT_OURS)
            return self._make(job, load, reporter, stopped)

    def _make(self, job: Job, load: LoadNetwork, reporter: Reporter, stopped: Callable[[], bool]) -> Row:
        if Stamp.of(job.source) != job.stamp:
            job = replace(job, stamp=Stamp.of(job.source), info=None, segments=())  # it is probed and read anew
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, job.output.parent) from error
        check_output(job.output, job.source, force=True)
        replace_it = self._options.work.force or job.output.exists()  # one that is not ours has been refused
        with atomic_path(job.output, force=replace_it) as temporary:
            row, weights = self._write(job, temporary, load, reporter)
            if self._options.measure:
                row |= self._measure(job, temporary, load, reporter)
            row |= {"source": str(job.source), "output": str(job.output)}
            try:
                digests = [file_sha256(path) for path in (job.source, temporary)]
            except OSError as error:
                raise explain_os_error(error, job.source) from error
            if stopped():
                raise StoppedError
            if Stamp.of(job.source) != job.stamp:
                raise VidtwinError("the source changed while it was read", "run the command again")
            options = fingerprint(self._options.work)
            size = temporary.stat().st_size
            # before the output is renamed into place: see Records
            self._records.add(Record(job.name, job.stamp, digests[0], options, weights, size, digests[1], row))
        return row

    def _write(self, job: Job, target: Path, load: LoadNetwork, reporter: Reporter) -> tuple[Row, str]:
        """The row, and the digest of the weights."""
        work = replace(self._options.work, force=True)  # the target is ours, and empty
        if isinstance(work, EncodeOptions):
            write = joining(job.segments) if job.segments else None
            result = encode(job.source, target, work, reporter=reporter, load=load, info=job.info, write=write)
            spent = sum(segment.seconds for segment in job.segments)
            result = replace(result, seconds=result.seconds + spent)
            with VtwReader(target) as reader:
                clips = sum(group.clips for group in reader.groups)
                return encoded_row(result, clips), reader.header.weights_sha256
        assert isinstance(work, DecodeOptions)
        decoded = decode(job.source, target, work, reporter=reporter, load=load)
        with VtwReader(job.source, recover=work.recover) as reader:
            return decoded_row(decoded, sum(group.clips for group in reader.groups)), reader.header.weights_sha256

    def _already_made(self, job: Job, record: Record, load: LoadNetwork, reporter: Reporter) -> Row:
        row = {**record.row, "source": str(job.source), "output": str(job.output)}
        if self._options.measure and row["psnr"] is None:
            row |= self._measure(job, job.output, load, reporter)
            self._records.add(replace(record, row=row, written=time.time()))
        return {**row, "status": SKIPPED}

    def _measure(self, job: Job, vtw: Path, load: LoadNetwork, reporter: Reporter) -> Row:
        work = self._options.work
        network = {name: getattr(work, name) for name in NetworkOptions.__dataclass_fields__}
        playlists = getattr(work, "allow_playlists", False)
        options = MeasureOptions(**network, metrics=("psnr",), allow_playlists=playlists)
        found = measure_codec(job.source, vtw, options, reporter, load)
        values = found.to_json()
        return {name: values[name] for name in MEASURED}
