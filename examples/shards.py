"""Latents in the collections that others know: tar shards for WebDataset, rows for Hugging Face datasets.

python examples/shards.py webdataset latents/ "shards/%06d.tar"    # pack .vtw files, then read them back
python examples/shards.py datasets latents/ rows/

Both keep whole .vtw files, some kilobytes a second of video, and unpack them where a sample is used.
"""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from vidtwin_codec import VtwFile

Sample = dict[str, Any]


def packed(folder: Path) -> Iterator[Sample]:
    """Each .vtw below a folder as a sample: its bytes, and a name without dots, which would end it for WebDataset."""
    for path in sorted(folder.rglob("*.vtw")):
        name = path.relative_to(folder).with_suffix("").as_posix().replace(".", "_")
        yield {"__key__": name, "vtw": path.read_bytes()}


def windows(data: bytes, clips: int) -> Iterator[dict[str, Tensor]]:
    """Windows of full clips of one tile, end to end from a random start, as `VtwDataset` gives them.

    Args:
        data: a .vtw.
        clips: length of a window.
    """
    with VtwFile(io.BytesIO(data)) as file:
        full = file.frame_count // file.header.clip_frames  # a last clip that was filled up is left out
        first = random.randint(0, full % clips)
        for start in range(first, full - clips + 1, clips):
            latents = file[start : start + clips].torch()
            for tile in range(file.tiles):
                yield {name: part[:, tile].contiguous() for name, part in latents._asdict().items()}


def write_shards(folder: Path, pattern: str, *, most_bytes: float = 1e9) -> None:
    """Pack a folder of .vtw files as tar shards.

    Args:
        folder: is searched at any depth.
        pattern: names of shards, such as ``shards/%06d.tar``.
        most_bytes: of a shard.
    """
    import webdataset

    Path(pattern).parent.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(pattern, maxsize=most_bytes, verbose=0) as writer:
        for sample in packed(folder):
            writer.write(sample)


def read_shards(urls: str | list[str], clips: int, *, shuffled: int = 1000) -> Any:
    """A WebDataset of windows; a DataLoader's workers each read shards of their own.

    Args:
        urls: of shards, as WebDataset takes them: ``shards/{000000..000009}.tar``, ``pipe:aws s3 cp …``.
        clips: length of a window.
        shuffled: windows held to draw from.
    """
    import webdataset

    def unpacked(samples: Iterable[Sample]) -> Iterator[dict[str, Tensor]]:
        for sample in samples:
            yield from windows(sample["vtw"], clips)

    shards = webdataset.WebDataset(urls, shardshuffle=100 if shuffled else False, empty_check=False)
    return shards.compose(unpacked).shuffle(shuffled)


def rows(folder: Path) -> Any:
    """A Hugging Face dataset with a row for each .vtw: its name and its bytes. It can be saved, pushed, streamed.

    All bytes are in memory meanwhile: some gigabytes for a few hundred hours.
    """
    from datasets import Dataset, Features, Value

    features = Features({"name": Value("string"), "vtw": Value("binary")})
    found = [{"name": sample["__key__"], "vtw": sample["vtw"]} for sample in packed(folder)]
    return Dataset.from_list(found, features=features)


def windows_of_rows(dataset: Any, clips: int) -> Any:
    """The windows of such a dataset, unpacked as they are asked for.

    Args:
        dataset: of :func:`rows`, loaded with ``datasets.load_dataset(…, streaming=True)`` or not.
        clips: length of a window.
    """

    def unpacked(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        found = [window for data in batch["vtw"] for window in windows(data, clips)]
        names = ("structure", "dynamics_x", "dynamics_y")
        return {name: [window[name].numpy() for window in found] for name in names}

    stream = dataset.to_iterable_dataset() if hasattr(dataset, "to_iterable_dataset") else dataset
    return stream.map(unpacked, batched=True, batch_size=1, remove_columns=["name", "vtw"]).with_format("torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("webdataset", "datasets"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("output")
    parser.add_argument("--clips", type=int, default=4)
    choices = parser.parse_args()
    if choices.kind == "webdataset":
        write_shards(choices.folder, choices.output)
        shards = sorted(str(path) for path in Path(choices.output).parent.glob(f"*{Path(choices.output).suffix}"))
        samples = read_shards(shards, choices.clips)
    else:
        rows(choices.folder).save_to_disk(choices.output)
        samples = windows_of_rows(rows(choices.folder), choices.clips)
    count = 0
    for count, sample in enumerate(samples, 1):
        if count == 1:
            print({name: tuple(part.shape) for name, part in sample.items()})
    print(f"{count} windows of {choices.clips} clips")


if __name__ == "__main__":
    main()
