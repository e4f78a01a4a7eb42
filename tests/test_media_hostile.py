"""Inputs that are not what they seem: playlists under a video's name, and what names other files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from batches import encoding, run_batch, statuses
from media_samples import X264, ffmpeg, lavfi, read_all

from vidtwin_codec.errors import VidtwinError
from vidtwin_codec.media import probe, stated_seconds, whitelist
from vidtwin_codec.media.ffmpeg import executable

MPD = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="{duration}" minBufferTime="PT1S"
profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1000">{media}</Representation></AdaptationSet></Period></MPD>"""
ENDLESS = '<SegmentTemplate timescale="1" duration="1" startNumber="1" media="{0}" initialization="{0}"/>'
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 1234 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
IMF = '<?xml version="1.0"?>\n<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"/>\n'


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """A video that belongs to somebody else."""
    return lavfi(tmp_path / "private.mp4", *X264)


def playlists(private: Path) -> dict[str, str]:
    hls = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\n{private.name}\n#EXT-X-ENDLIST\n"
    return {
        "DASH": MPD.format(duration="PT1S", media=f"<BaseURL>{private}</BaseURL>"),
        "endless DASH": MPD.format(duration="PT100000H", media=ENDLESS.format(private)),
        "ffconcat": f"ffconcat version 1.0\nfile {private.name}\n",
        "HLS": hls,
        "SDP": SDP,
        "IMF": IMF,
    }


@pytest.mark.parametrize("kind", ["DASH", "endless DASH", "ffconcat", "HLS", "SDP", "IMF"])
@pytest.mark.parametrize("name", ["x.mp4", "x.m3u8", "x.mpd", "x.png", "x"])
def test_a_playlist_is_refused_whatever_its_name(tmp_path: Path, private: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    path.write_text(playlists(private)[kind])
    for look in (probe, stated_seconds):
        with pytest.raises(VidtwinError) as caught:
            look(path)
        assert "\n" not in caught.value.message
        assert str(path) in caught.value.message
        assert kind.rsplit(maxsplit=1)[-1] in caught.value.message
        assert "--allow-playlists" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["DASH", "ffconcat", "HLS", "SDP", "IMF"])
def test_a_playlist_that_goes_unnoticed_is_not_opened_by_ffmpeg(
    tmp_path: Path, private: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.m3u8"
    path.write_text(playlists(private)[kind])
    monkeypatch.setattr("vidtwin_codec.media.source.refuse_playlist", lambda *_: None)
    with pytest.raises(VidtwinError, match="not a video that can be read"):
        probe(path)


@pytest.mark.parametrize("kind", ["DASH", "ffconcat", "HLS"])
def test_a_playlist_that_is_allowed_reads_local_files(tmp_path: Path, private: Path, kind: str) -> None:
    path = tmp_path / "x.m3u8"
    if kind == "HLS":
        ffmpeg("-i", private, "-c", "copy", "-f", "mpegts", private.with_suffix(".ts"))
        private = private.with_suffix(".ts")
    path.write_text(playlists(private)[kind])
    info = probe(path, playlists=True)
    assert len(read_all(info)) == 25


CONTAINERS = {
    "mp4": X264, "mov": X264, "mkv": X264, "ts": X264, "flv": X264, "avi": X264, "3gp": X264, "h264": X264,
    "webm": ("-c:v", "libvpx"), "ivf": ("-c:v", "libvpx"), "mpg": ("-c:v", "mpeg2video"), "m2v": ("-c:v", "mpeg2video"),
    "mxf": ("-c:v", "mpeg2video"), "wmv": ("-c:v", "wmv2"), "ogv": ("-c:v", "libtheora"), "gif": (), "apng": (),
    "y4m": (), "mjpeg": ("-c:v", "mjpeg"), "rm": ("-c:v", "rv20", "-s", "176x144"), "nut": ("-c:v", "ffv1"),
    "swf": ("-c:v", "flv1"), "gxf": ("-c:v", "mpeg2video", "-s", "720x576"), "hevc": ("-c:v", "libx265"),
    "m4v": ("-c:v", "mpeg4"), "obu": ("-c:v", "libsvtav1"), "dv": ("-s", "720x576", "-pix_fmt", "yuv420p"),
    "roq": ("-r", "30", "-s", "64x64"), "webp": (), "png": ("-frames:v", "1"), "jpg": ("-frames:v", "1"),
}  # fmt: skip


@pytest.mark.parametrize("extension", CONTAINERS)
def test_real_containers_are_read_whatever_their_name(tmp_path: Path, extension: str) -> None:
    made = lavfi(tmp_path / f"a.{extension}", *CONTAINERS[extension], source="testsrc2=s=64x48:r=25:d=0.2")
    assert probe(made).width in (64, 176, 720)
    made.rename(tmp_path / "unnamed")
    assert probe(tmp_path / "unnamed").width in (64, 176, 720)


def test_every_format_that_is_taken_is_one_that_ffmpeg_knows() -> None:
    """A slip in the list would close the door on a real container."""
    listing = subprocess.run([executable(), "-hide_banner", "-demuxers"], capture_output=True, text=True, check=True)
    known = {
        name for line in listing.stdout.splitlines() if line[1:2] == "D" for name in line[4:].split()[0].split(",")
    }
    known |= {
        name for line in listing.stdout.splitlines() if len(line.split()) > 1 for name in line.split()[1].split(",")
    }
    assert set(whitelist._ALLOWED.split(",")) <= known
    assert not set(whitelist._ALLOWED.split(",")) & {"hls", "dash", "concat", "imf", "sdp", "avisynth", "vobsub"}


def test_probing_ends_where_a_file_gives_more_than_it_can_hold(
    tmp_path: Path, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidtwin_codec.media.scan._LEAST_LIMIT", 10)
    assert probe(private).frames == 25
    monkeypatch.setattr("vidtwin_codec.media.scan._MOST_READ", 0.1)
    with pytest.raises(VidtwinError, match=r"private\.mp4: goes on without end"):
        probe(private)
    listing = tmp_path / "l.txt"
    listing.write_text(playlists(private)["ffconcat"])
    assert probe(listing, playlists=True).frames == 25


def test_an_endless_file_does_not_hold_up_a_batch(private: Path, micro_weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    lavfi(folder / "good.mp4", *X264, source="testsrc2=s=32x32:r=25:d=0.2")
    (folder / "endless.mp4").write_text(playlists(private)["endless DASH"])
    batch = run_batch(folder, tmp_path / "packed", encoding(micro_weights))
    assert statuses(batch) == {"good.mp4": "done", "endless.mp4": "failed"}
