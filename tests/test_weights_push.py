"""Sharing weights through a stand-in for the hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hub_server import Hub, serving

from vidtwin_codec.calibration.fetching import fetch
from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.weights import resolve
from vidtwin_codec.weights.hub import SHARED_FILE
from vidtwin_codec.weights.pushing import model_card, push

pytest.importorskip("huggingface_hub")
REPOSITORY = "somebody/My-Tuned_Weights"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_weights: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("VIDTWIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with serving(Hub(REPOSITORY, SHARED_FILE, micro_weights.read_bytes())) as served:
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", served.url, raising=False)
        yield served


def pushed(
    hub: Hub, micro_weights: Path, token: str = "secret", more: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    code = "from vidtwin_codec.cli.main import main; main()"
    command = [sys.executable, "-c", code, "weights", "push", str(micro_weights), REPOSITORY, "--json", *more]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": token}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_weights_are_pushed_with_digest_and_card(hub: Hub, micro_weights: Path) -> None:
    done = pushed(hub, micro_weights)
    assert done.returncode == 0, done.stderr
    entry = resolve(micro_weights)
    assert json.loads(done.stdout)["sha256"] == entry.sha256
    assert hub.pushed[SHARED_FILE] == micro_weights.read_bytes()
    assert hub.pushed[SHARED_FILE + ".sha256"].decode() == f"{entry.sha256}  {SHARED_FILE}\n"
    card = hub.pushed["README.md"].decode()
    assert card == model_card(entry, REPOSITORY)
    assert card.startswith("---\nlibrary_name: vidtwin-codec\n")
    assert entry.sha256 in card
    assert f"vidtwin weights fetch {REPOSITORY}" in card


def test_an_upload_is_told_in_events(hub: Hub, micro_weights: Path) -> None:
    events = [json.loads(line) for line in pushed(hub, micro_weights, more=["--progress", "json"]).stderr.splitlines()]
    size = micro_weights.stat().st_size
    assert [(event["event"], event["unit"], event["done"]) for event in events if event["event"] != "message"] == [
        ("started", "byte", 0),
        ("progress", "byte", size),
    ]


def test_a_card_that_is_there_stays(hub: Hub, micro_weights: Path) -> None:
    hub.card = True
    assert pushed(hub, micro_weights).returncode == 0
    assert set(hub.pushed) == {SHARED_FILE, SHARED_FILE + ".sha256"}


def test_a_token_that_may_not_write_is_one_clear_line(hub: Hub, micro_weights: Path) -> None:
    done = pushed(hub, micro_weights, token="other")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == f"{REPOSITORY}: the hub answers 401"
    assert "HF_TOKEN" in done.stderr
    assert not hub.pushed


def test_shared_weights_are_fetched_byte_for_byte(hub: Hub, micro_weights: Path) -> None:
    entry = fetch(REPOSITORY).entry
    assert entry.name == "my-tuned_weights"
    assert entry.sha256 == resolve(micro_weights).sha256
    assert resolve("my-tuned_weights") == entry


def test_fetching_stops_at_the_stated_size(hub: Hub, tmp_path: Path) -> None:
    hub.size = len(hub.content) - 100
    with pytest.raises(VidtwinError, match=f"more than the {hub.size} bytes"):
        fetch(REPOSITORY)
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["repo", "a/b/c", "/b", "a/", "../b", "a/..", "a b/c", "http://x/y"])
def test_what_is_no_repository_is_refused(name: str, micro_weights: Path) -> None:
    with pytest.raises(VidtwinError, match="names no repository"):
        push(str(micro_weights), name)
    with pytest.raises(VidtwinError, match="cannot be fetched"):
        fetch(name)
