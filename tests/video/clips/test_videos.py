"""Videos: frames, times and orientation as FFmpeg wrote them; damage and what is no video refused."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.video.clips.footage import noise, plain, write_sound, write_video
from tfpt.errors import SourceError
from tfpt.video.clips import open_clip

LOSSLESS = [
    ("a.mkv", {"codec": "ffv1", "pixels": "bgr0"}),
    ("a.mov", {"codec": "png", "pixels": "rgb24"}),
    ("a.avi", {"codec": "rawvideo", "pixels": "bgr24"}),
]


def frames(clip, start=0):
    return list(clip.frames(Fraction(start)))


def pixels(clip, start=0):
    return np.stack([frame.read() for frame in clip.frames(Fraction(start))])


@pytest.mark.parametrize(("name", "options"), LOSSLESS, ids=lambda value: str(value)[:5])
def test_a_lossless_video_gives_its_pictures(tmp_path, name, options):
    pictures = noise(7)
    clip = open_clip(write_video(tmp_path / name, pictures, **options))
    assert (clip.kind, clip.size, clip.fps, clip.length) == ("pictures", (22, 30), 25, None)
    np.testing.assert_array_equal(pixels(clip), pictures)
    assert [round(frame.time * 1000) for frame in frames(clip)] == [40 * k for k in range(7)]
    assert round(frames(clip)[-1].end * 1000) == 280


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.webm", "vp9"), ("a.ts", "libx264")]
)
def test_a_compressed_video_gives_nearly_its_pictures_in_their_order(tmp_path, name, codec):
    levels = [20, 200, 60, 160, 110, 240, 90, 30, 180]
    clip = open_clip(write_video(tmp_path / name, plain(levels, 64, 80), codec=codec, pixels="yuv420p"))
    found = pixels(clip).astype(float)
    assert found.shape == (9, 64, 80, 3)
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), levels, atol=4)
    times = [frame.time for frame in frames(clip)]
    assert times[0] == 0
    np.testing.assert_allclose([float(time) for time in times], np.arange(9) / 25, atol=1e-3)


def test_a_varying_rate_is_kept(tmp_path):
    times = [0, 10, 90, 120, 300]
    path = write_video(tmp_path / "a.mkv", noise(5), times=times)
    assert [frame.time * 1000 for frame in frames(open_clip(path))] == times


def test_another_rate_takes_the_frames_as_evenly_spaced(tmp_path):
    path = write_video(tmp_path / "a.mkv", noise(3), times=[0, 10, 500])
    clip = open_clip(path, fps=50)
    assert clip.fps == 50
    assert [frame.time for frame in frames(clip)] == [0, Fraction(1, 50), Fraction(2, 50)]


def test_times_are_counted_from_the_first_frame(tmp_path):
    path = write_video(tmp_path / "a.mkv", noise(3), times=[3000, 3040, 3080])
    assert [frame.time * 1000 for frame in frames(open_clip(path))] == [0, 40, 80]


def test_sound_is_left_alone_however_long(tmp_path):
    path = write_video(tmp_path / "a.mp4", noise(5), codec="libx264", pixels="yuv444p", sound=True)
    assert len(frames(open_clip(path))) == 5


def test_reading_begins_at_the_key_frame_before_the_start(tmp_path):
    levels = list(range(0, 250, 2))
    path = write_video(
        tmp_path / "a.mp4", plain(levels, 32, 32), codec="libx264", pixels="yuv420p", key_frames=10
    )
    found = frames(open_clip(path), start=4)
    assert Fraction(3) < found[0].time <= 4
    assert found[-1].time == Fraction(124, 25)
    at_4 = next(frame for frame in found if frame.time == 4)
    assert at_4.read().mean() == pytest.approx(levels[100], abs=4)


# The display matrix in FFmpeg's order: x' = a x + c y, y' = b x + d y (and y down); numpy's way to do the same.
TURNS = {
    "quarter right": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "half": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "quarter left": ((0, -1, 1, 0), lambda picture: np.rot90(picture, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda picture: picture[::-1]),
    "transposed": ((0, 1, 1, 0), lambda picture: picture.swapaxes(0, 1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_are_turned_as_the_file_says(tmp_path, turn):
    (a, b, c, d), expected = TURNS[turn]
    one = 1 << 16
    matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
    pictures = noise(3)
    path = write_video(tmp_path / "a.mov", pictures, codec="png", pixels="rgb24", matrix=matrix)
    clip = open_clip(path)
    found = pixels(clip)
    assert clip.size == found.shape[1:3]
    np.testing.assert_array_equal(found, np.stack([expected(picture) for picture in pictures]))


def test_a_rotation_turns_as_ffmpeg_says_it_turns(tmp_path):
    """PyAV's own rotation of a frame is counter-clockwise; this is the sign that the matrices above agree with."""
    import av

    one = 1 << 16
    path = write_video(
        tmp_path / "a.mov", noise(2), codec="png", pixels="rgb24",
        matrix=[0, one, 0, -one, 0, 0, 0, 0, 1 << 30],
    )  # fmt: skip
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation % 360 == 270  # counter-clockwise: a quarter to the right


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", {}),
        ("a.mp4", {"codec": "libx264", "pixels": "yuv420p", "movflags": "faststart"}),
        ("a.avi", {"codec": "mpeg4", "pixels": "yuv420p"}),
        ("a.webm", {"codec": "vp9", "pixels": "yuv420p"}),
        ("a.ts", {"codec": "libx264", "pixels": "yuv420p"}),
    ],
)
def test_a_video_that_is_cut_off_is_refused(tmp_path, name, options, share):
    path = write_video(tmp_path / name, noise(50, 48, 64), **options)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceError, match=r"truncated|damaged") as refused:
        pixels(open_clip(path))
    assert refused.value.where.startswith(str(path))
    assert "--end" in refused.value.hint


def test_a_video_that_was_trimmed_without_encoding_it_anew_is_whole(tmp_path):
    """Phones do so, by MP4's edit list: one second from the twelfth frame on, of the two that are in the file."""
    levels = [5 * k for k in range(50)]
    path = write_video(tmp_path / "a.mp4", plain(levels, 48, 64), codec="libx264", pixels="yuv420p")
    whole = bytearray(path.read_bytes())
    entry = whole.index(b"elst") + 12
    (begin,) = struct.unpack(">i", whole[entry + 4 : entry + 8])
    whole[entry : entry + 8] = struct.pack(">Ii", 1000, begin + 12 * 512)
    path.write_bytes(whole)
    found = frames(open_clip(path))
    assert [frame.time for frame in found] == [Fraction(k, 25) for k in range(25)]
    assert found[0].read().mean() == pytest.approx(levels[12], abs=4)


def test_what_is_whole_of_a_video_that_is_cut_off_can_be_read(tmp_path):
    path = write_video(tmp_path / "a.mkv", noise(50, 48, 64))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    reading = open_clip(path).frames(Fraction(0))
    assert [next(reading).time for _ in range(25)] == [Fraction(k, 25) for k in range(25)]


def test_a_video_without_its_index_is_said_to_be_cut_off(tmp_path):
    path = write_video(tmp_path / "a.mp4", noise(50, 48, 64), codec="libx264", pixels="yuv420p")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(SourceError, match="starts like a video, but cannot be opened") as refused:
        open_clip(path)
    assert "download it again" in refused.value.hint


def test_damage_in_the_middle_is_refused(tmp_path):
    options = {"codec": "libx264", "pixels": "yuv420p", "movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", noise(50, 48, 64), **options)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 3000] = bytes(3000)
    path.write_bytes(whole)
    with pytest.raises(SourceError, match="the video is damaged"):
        frames(open_clip(path))


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes"])
def test_a_text_is_no_video(tmp_path, name):
    path = tmp_path / name
    path.write_text("frames, frames, frames\n" * 40)
    with pytest.raises(SourceError, match="does not contain a video") as refused:
        open_clip(path)
    assert refused.value.got


def test_an_empty_file_and_one_that_is_absent(tmp_path):
    (tmp_path / "cricket.mp4").touch()
    with pytest.raises(SourceError, match="empty file"):
        open_clip(tmp_path / "cricket.mp4")
    with pytest.raises(SourceError, match="there is no such clip") as refused:
        open_clip(tmp_path / "criket.mp4")
    assert refused.value.nearest == ("cricket.mp4",)


def test_sound_alone_is_no_video(tmp_path):
    with pytest.raises(SourceError, match="does not contain a video") as refused:
        open_clip(write_sound(tmp_path / "a.m4a"))
    assert refused.value.got.endswith("with audio only")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.ts", "libx264"),
        ("a.mpg", "mpeg2video"),
        ("a.flv", "libx264"),
        ("a.h264", "libx264"),
        ("a.avi", "mpeg4"),
    ],
)
def test_a_start_gives_what_reading_from_the_beginning_gives(tmp_path, name, codec):
    """Transport streams have no index to seek by, program streams few times, raw H.264 neither."""
    levels = [(37 * k) % 230 + 10 for k in range(60)]
    clip = open_clip(write_video(tmp_path / name, plain(levels, 32, 32), codec=codec, pixels="yuv420p"))
    whole = {frame.time: frame.read() for frame in frames(clip)}
    assert len(whole) == 60
    for start in (Fraction(1, 25), Fraction(4, 5), Fraction(49, 25), Fraction(59, 25)):
        found = frames(clip, start)
        assert found[0].time <= start
        assert [frame.time for frame in found] == [time for time in whole if time >= found[0].time]
        for frame in found:
            np.testing.assert_array_equal(frame.read(), whole[frame.time])


def test_a_start_after_the_end_is_not_reported_as_damage(tmp_path):
    path = write_video(tmp_path / "a.y4m", plain([20, 90], 32, 32), codec="rawvideo", pixels="yuv420p")
    assert [frame.time for frame in frames(open_clip(path), start=9)] == [0, Fraction(1, 25)]
    assert frames(open_clip(path), start=10**300)


def test_the_first_frame_is_at_0_in_an_avi_with_b_frames_too(tmp_path):
    """Its first packet is of a frame that is shown one later."""
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"bf": "2"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for picture in plain(range(20, 200, 20), 32, 32):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert [frame.time for frame in frames(open_clip(path))] == [Fraction(k, 25) for k in range(9)]
