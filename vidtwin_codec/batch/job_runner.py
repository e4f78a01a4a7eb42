"""Doing one job, from lock to record: the same code in every engine."""

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
from vidtwin_codec.batch.records import FOLDER, FileStamp, Record, Records
from vidtwin_codec.batch.rows import MEASURED, SKIPPED, decoded_row, encoded_row
from vidtwin_codec.container import VtwReader
from vidtwin_codec.decoding.decode import decode
from vidtwin_codec.encoding.encode import encode
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.evaluation.measure.codec import measure_codec
from vidtwin_codec.evaluation.measure.options import MeasureOptions
from vidtwin_codec.files import atomic_path, check_output, explain_os_error, file_sha256
from vidtwin_codec.network.runner import LoadNetwork
from vidtwin_codec.options import DecodeOptions, EncodeOptions, NetworkOptions, Reporter
from vidtwin_codec.weights import same_weights, whole_name


class JobRunner:
    """A runner does jobs, as an :data:`~vidtwin_codec.batch.engine.Perform`; any thread may call.

    It can be pickled to do the same in another process, where :meth:`settle` comes first.

    Args:
        destination: the batch's folder, which holds the locks.
        options: the batch's options.
        planner: knows whether an output is up to date.
        records: receive finished outputs.
    """

    def __init__(self, destination: Path, options: BatchOptions, planner: Planner, records: Records) -> None:
        file_options = replace(options.file_options, weights=whole_name(options.file_options.weights))
        self._options, self._planner, self._records = replace(options, file_options=file_options), planner, records
        self._locks = OutputLocks(destination / FOLDER / "locks")

    @property
    def options(self) -> BatchOptions:
        """Options of the batch."""
        return self._options

    def settle(self) -> None:
        """Find the same weights on this machine, wherever they lie.

        Raises:
            VidtwinError: they are not here.
        """
        entry = self._planner.entry  # None for decoding: a .vtw names its own weights
        if entry is not None:
            file_options = replace(self._options.file_options, weights=str(same_weights(entry).path))
            self._options = replace(self._options, file_options=file_options)

    def __call__(
        self, job: Job, load: LoadNetwork, reporter: Reporter, stopped: Callable[[], bool], wait: bool = False
    ) -> Row:
        """Encode or decode one file, record it, and rename the output into place.

        Args:
            job: what to do.
            load: reads networks.
            reporter: receives progress.
            stopped: says whether the batch is being stopped.
            wait: whether to wait for another run that holds the output.

        Raises:
            BusyError: another run holds the output.
            StoppedError: the batch is being stopped.
            VidtwinError: the file cannot be encoded or decoded.
        """
        with self._locks.hold(job.name, wait=wait, stopped=stopped):
            self._records.refresh()
            record = self._records.find(job.name)
            if record is not None and self._planner.why_again(record, job.source, job.stamp, job.output) is None:
                return self._already_made(job, record, load, reporter)
            if record is None and job.output.exists() and not self._options.file_options.force:
                raise VidtwinError(NOT_OURS)
            return self._make(job, load, reporter, stopped)

    def _make(self, job: Job, load: LoadNetwork, reporter: Reporter, stopped: Callable[[], bool]) -> Row:
        if FileStamp.of(job.source) != job.stamp:
            job = replace(
                job, stamp=FileStamp.of(job.source), info=None, segments=()
            )  # it changed, so it is probed anew
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, job.output.parent) from error
        check_output(job.output, job.source, force=True)
        # an existing output that no batch has made has been refused before
        replace_it = self._options.file_options.force or job.output.exists()
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
            if FileStamp.of(job.source) != job.stamp:
                raise VidtwinError("the source changed while it was read", "run the command again")
            options = fingerprint(self._options.file_options)
            size = temporary.stat().st_size
            # before the output is renamed into place: see Records
            self._records.add(Record(job.name, job.stamp, digests[0], options, weights, size, digests[1], row))
        return row

    def _write(self, job: Job, target: Path, load: LoadNetwork, reporter: Reporter) -> tuple[Row, str]:
        """Write the output to ``target``; return its row and the SHA-256 of the weights."""
        file_options = replace(self._options.file_options, force=True)  # the target is a temporary file
        if isinstance(file_options, EncodeOptions):
            write = joining(job.segments) if job.segments else None
            result = encode(job.source, target, file_options, reporter=reporter, load=load, info=job.info, write=write)
            spent = sum(segment.seconds for segment in job.segments)
            result = replace(result, seconds=result.seconds + spent)
            with VtwReader(target) as reader:
                clips = sum(group.clips for group in reader.groups)
                return encoded_row(result, clips), reader.header.weights_sha256
        assert isinstance(file_options, DecodeOptions)
        decoded = decode(job.source, target, file_options, reporter=reporter, load=load)
        with VtwReader(job.source, recover=file_options.recover) as reader:
            return decoded_row(decoded, sum(group.clips for group in reader.groups)), reader.header.weights_sha256

    def _already_made(self, job: Job, record: Record, load: LoadNetwork, reporter: Reporter) -> Row:
        row = {**record.row, "source": str(job.source), "output": str(job.output)}
        if self._options.measure and row["psnr"] is None:
            row |= self._measure(job, job.output, load, reporter)
            self._records.add(replace(record, row=row, written=time.time()))
        return {**row, "status": SKIPPED}

    def _measure(self, job: Job, vtw: Path, load: LoadNetwork, reporter: Reporter) -> Row:
        file_options = self._options.file_options
        network = {name: getattr(file_options, name) for name in NetworkOptions.__dataclass_fields__}
        reading = {name: getattr(file_options, name) for name in ("allow_playlists", "hwaccel")}
        options = MeasureOptions(**network, **reading, metrics=("psnr",))
        found = measure_codec(job.source, vtw, options, reporter, load)
        values = found.to_json()
        return {name: values[name] for name in MEASURED}
