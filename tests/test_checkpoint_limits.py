"""Small checkpoints that claim much: refused before anything large is built."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from micro import micro_config

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.model import VidTwinConfig, open_checkpoint
from vidtwin_codec.model.deduce import MAX_TOKENS, _grid
from vidtwin_codec.model.unpickle import MAX_OPERATIONS

DOUBLING = b"X\x01\0\0\0Aq\0" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60))
GLOBAL_STORAGE = b"ctorch\nFloatStorage\n"
BOMBS = {
    "a storage's name": b"\x80\x02(X\x07\0\0\0storage" + GLOBAL_STORAGE + DOUBLING + b"X\x03\0\0\0cpuK\x01tQ.",
    "text to encode": b"\x80\x02c_codecs\nencode\n" + DOUBLING + b"\x85R.",
    "a key": b"\x80\x02}" + DOUBLING + b"K\x01s.",
    "keys": b"\x80\x02}(" + DOUBLING + b"K\x01u.",
    "a key of a sorted dictionary": b"\x80\x02ccollections\nOrderedDict\n](" + DOUBLING + b"K\x01\x86e\x85R.",
    "an element": b"\x80\x04\x8f(" + DOUBLING + b"\x90.",
    "a frozen element": b"\x80\x04(" + DOUBLING + b"\x91.",
    "an integer": b"\x80\x02\x8b" + struct.pack("<I", 1000) + b"\x7f" * 1000 + b".",
    "a byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "operations": b"\x80\x04(" + b"\x8f" * MAX_OPERATIONS + b".",
    "hyper-parameters": b"\x80\x02}X\x10\0\0\0hyper_parameters]q\x00K\x01a"
    + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(30))
    + b"s.",
}


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", data)
    return stream.getvalue()


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_that_grows_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(BOMBS[name]))
    with pytest.raises(VidtwinError):
        open_checkpoint(path)


def test_a_place_before_the_beginning_is_damage(tmp_path: Path) -> None:
    data = bytearray(zipped(b"\x80\x02}."))
    at = data.rindex(b"PK\x05\x06") + 16  # where the archive's list of entries begins
    data[at : at + 4] = struct.pack("<I", struct.unpack_from("<I", data, at)[0] + 1000)
    path = tmp_path / "a.ckpt"
    path.write_bytes(data)
    with pytest.raises(VidtwinError, match="truncated or damaged"):
        open_checkpoint(path)


def test_python_does_not_warn_of_damaged_text(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(b"\x80\x02S'\\ '\n."))
    with pytest.raises(VidtwinError, match="no state dict"):
        open_checkpoint(path)


def test_a_memo_takes_no_more_than_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(b"\x80\x02}r" + struct.pack("<I", (1 << 31) - 1) + b"."))  # 32 GiB in the C unpickler
    with pytest.raises(VidtwinError, match="no state dict"):
        open_checkpoint(path)


def test_a_sorted_dictionary_keeps_its_methods(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(b"\x80\x02ccollections\nOrderedDict\n)R}X\x03\0\0\0getNsb."))
    with pytest.raises(VidtwinError, match="no state dict"):
        open_checkpoint(path)


def test_names_of_tensors_are_text(tmp_path: Path) -> None:
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage" + GLOBAL_STORAGE
        + b"X\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0K\x04\x85K\x01\x85\x89}tR"
    )  # fmt: skip
    path = tmp_path / "a.ckpt"
    for key in (b"K\x05", b"N", b"X\x02\0\0\0\x1bc", b"X" + struct.pack("<I", 2000) + b"n" * 2000):
        path.write_bytes(zipped(b"\x80\x02}" + key + tensor + b"s."))
        with pytest.raises(VidtwinError, match="names of its tensors"):
            open_checkpoint(path)
    path.write_bytes(zipped(b"\x80\x02}X\x01\0\0\0a" + tensor + b"s."))
    with pytest.raises(VidtwinError, match="not a VidTwin's"):
        open_checkpoint(path)


def test_positions_of_no_size_are_not_counted_through() -> None:
    with pytest.raises(VidtwinError, match="patches"):
        _grid({"decoder.pos_embed": (1, 10**12, 0)}, 16, None)
    assert _grid({"decoder.pos_embed": (1, MAX_TOKENS, 4)}, 4, None) == (256, 256)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": True},
        {"linear": 1},
        {"structure_blocks": 65536},
        {"height": 65536, "width": 65536, "patch_size": 8, "dynamics_blocks": 0},
        {"frames": 1024, "height": 8192, "width": 8192},
        {"patterns": (True, 1, 0)},
        {"patterns": {"a": 1}},
        {"encoder": {"hidden_size": 16, "depth": 65536, "num_heads": 2, "causal": True}},
        {"encoder": {"hidden_size": 16, "depth": True, "num_heads": 2, "causal": True}},
    ],
)
def test_configurations_that_no_network_has(changes: dict[str, Any]) -> None:
    values = micro_config().to_dict()
    assert VidTwinConfig.from_dict(values) == micro_config()
    with pytest.raises(VidtwinError, match="weights configuration"):
        VidTwinConfig.from_dict({**values, **changes})


@pytest.mark.parametrize("number", [float("inf"), float("nan"), True, 1.5, "8", [1]])
def test_upstream_numbers_are_whole(number: object) -> None:
    side = {
        "params": {"input_size": [4, 32, 32], "patch_size": [1, 8, 8], "hidden_size": 16, "depth": 1, "num_heads": 2}
    }
    former = {"params": {"encoder_hidden_size": 16, "num_query_tokens": 3, "query_hidden_size": 8}}
    values = {
        "encoder_config": side, "decoder_config": side, "temporal_qformer_config": former, "expect_ch": 2, "d_dim": 3,
        "cont_num_blocks": 1, "motion_num_blocks": 1, "downsample_motion": True,
    }  # fmt: skip
    assert VidTwinConfig.from_upstream(values).dynamics_channels == 3
    with pytest.raises(VidtwinError, match="upstream parameters"):
        VidTwinConfig.from_upstream({**values, "d_dim": number})


def test_an_honest_pickle_of_any_protocol_is_read(tmp_path: Path) -> None:
    for protocol in (2, 3, 4, 5):
        path = tmp_path / "a.ckpt"
        path.write_bytes(zipped(pickle.dumps({"state_dict": {}, ("a", 1): {1, 2}, "x": frozenset("ab")}, protocol)))
        with pytest.raises(VidtwinError, match="no state dict"):
            open_checkpoint(path)
