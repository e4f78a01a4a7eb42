"""Weights to the Hugging Face hub, through ``huggingface_hub`` (an optional extra)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.reporter import Reporter
from vidtwin_codec.weights import store
from vidtwin_codec.weights.hub import SHARED_FILE

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Pushed:
    """The place that weights have been put in.

    Attributes:
        entry: the weights.
        repository: on the hub, as ``user/repo``.
        url: of the commit.
    """

    entry: store.Entry
    repository: str
    url: str


def push(name: str, repository: str, *, private: bool = False, reporter: Reporter | None = None) -> Pushed:
    """Put weights into a repository of the hub, with their digest and a model card, in one commit.

    The repository is made if it is not there. A token is needed, as the hub's library finds it: from ``hf auth login``
    or the environment's ``HF_TOKEN``. The model card is only written where there is none yet.

    Args:
        name: of weights on this machine: a name, a digest or a path.
        repository: as ``user/repo``.
        private: whether a new repository is shown to its owner alone.
        reporter: receives progress; the bytes go up in one piece, of which the hub's library draws a bar of its own.

    Raises:
        VidtwinError: there are no such weights, huggingface_hub is not installed, or the hub refuses.
    """
    if not REPOSITORY.fullmatch(repository):
        raise VidtwinError(f"{repository!r} names no repository of the hub", "write it as user/repo")
    entry, reporter = store.resolve(name), reporter or Reporter()
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise VidtwinError(
            "sharing weights needs the package huggingface_hub, which is not installed",
            'install it: pip install "vidtwin-codec[hub]"',
        ) from error
    api = HfApi()
    record = f"{entry.sha256}  {SHARED_FILE}\n".encode()
    reporter.stage(f"uploading {entry.name} to {repository}", "byte").started(size := entry.path.stat().st_size, "")
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        contents: dict[str, str | bytes] = {SHARED_FILE: str(entry.path), SHARED_FILE + ".sha256": record}
        if not api.file_exists(repository, "README.md"):
            contents["README.md"] = model_card(entry, repository).encode()
        commit = api.create_commit(
            repository,
            [CommitOperationAdd(path, content) for path, content in contents.items()],
            commit_message=f"vidtwin weights {entry.name}, SHA-256 {entry.sha256[:12]}",
        )
        reporter.advanced(size)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        hint = "check the repository's name, and that HF_TOKEN, or `hf auth login`, may write to it"
        raise VidtwinError(f"{repository}: the hub answers {status}", hint) from error
    except Exception as error:  # the library changes its HTTP client between versions, and its exceptions with it
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise VidtwinError(
            f"{repository}: cannot be uploaded to: {lines[0][:200]}", "check the connection and HF_ENDPOINT"
        ) from error
    return Pushed(entry, repository, str(commit.commit_url))


def model_card(entry: store.Entry, repository: str) -> str:
    """Write the card that the hub shows of the weights, in Markdown with the hub's header."""
    metadata = entry.metadata
    clip = f"{metadata.config.get('frames')} frames of " + (
        "any size"
        if metadata.config.get("any_grid")
        else f"{metadata.config.get('height')} x {metadata.config.get('width')} pixels"
    )
    rows = {
        "parameters": f"{metadata.parameters / 1e6:.1f} million",
        "clip": clip,
        "stored as": metadata.storage,
        "computes in": metadata.compute_dtype,
        "origin": entry.origin or "not said",
        "SHA-256": f"`{entry.sha256}`",
    }
    table = "\n".join(f"| {label} | {_cell(text)} |" for label, text in rows.items())
    described = f"{_cell(entry.description)}\n\n" if entry.description else ""
    return (
        "---\nlibrary_name: vidtwin-codec\ntags:\n- video-compression\n- vidtwin\n---\n\n"
        f"# {_cell(entry.name)}\n\n{described}"
        "Network weights of [VidTwin](https://arxiv.org/abs/2412.17726) for the vidtwin video codec.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        f"    vidtwin weights fetch {repository}\n"
        f"    vidtwin encode --weights {repository.split('/')[1].lower()} in.mp4 out.vtw\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
