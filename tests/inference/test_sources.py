"""Files, folders, patterns and videos as a stream of images."""

import shutil

import numpy as np
import pytest
from PIL import Image

from mrcnn.inference.sources import count_frames, find_sources, read_frames
from tests.inference.videos import write_video
from tests.tiny import image


@pytest.fixture
def folder(tmp_path):
    """b.png, a.JPG, notes.txt, deep/c.tif, deep/down/d.png, deep/clip.avi of 5 frames."""
    (tmp_path / "deep" / "down").mkdir(parents=True)
    for seed, name in enumerate(("b.png", "a.JPG", "deep/c.tif", "deep/down/d.png")):
        Image.fromarray(image(20, 30, seed)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    write_video(tmp_path / "deep" / "clip.avi", 5)
    return tmp_path


def names(found):
    return [source.name for source in found[0]]


def test_a_folder(folder):
    assert names(find_sources(folder)) == ["a.JPG", "b.png"] and find_sources(folder)[1] == {
        ".txt": 1
    }
    found, others = find_sources(folder, recursive=True)
    assert names((found,)) == [
        "a.JPG",
        "b.png",
        "deep/c.tif",
        "deep/clip.avi",
        "deep/down/d.png",
    ] and others == {".txt": 1}
    assert [source.kind for source in found] == ["image"] * 3 + ["video", "image"]


def test_results_of_an_earlier_run_are_no_sources(folder):
    assert names(find_sources(folder, True, leave_out=folder / "deep")) == ["a.JPG", "b.png"]
    assert names(find_sources(str(folder / "**" / "*.*"), leave_out=folder / "deep")) == [
        "a.JPG",
        "b.png",
        "notes.txt",
    ]
    # unless one looks into them, or writes to a folder above
    assert len(names(find_sources(folder / "deep", leave_out=folder / "deep"))) == 2
    assert len(names(find_sources(folder, leave_out=folder.parent))) == 2
    for leave_out in (folder, folder.parent, folder / "deep"):
        assert names(find_sources(str(folder / "deep" / "*.tif"), leave_out=leave_out)) == ["c.tif"]


def test_files_patterns_and_cameras_each_once(folder):
    found = find_sources(
        [folder / "b.png", str(folder / "*.png"), str(folder / "**" / "*.tif"), 0, "1"]
    )
    assert names(found) == ["b.png", "deep/c.tif", "camera0", "camera1"]
    assert [source.path for source in found[0][2:]] == [0, 1] and not found[1]


def test_names_of_several_folders_do_not_collide(folder):
    (folder / "other").mkdir()
    Image.fromarray(image(9, 9)).save(folder / "other" / "c.tif")
    assert names(find_sources([folder / "deep", folder / "other"])) == [
        "deep/c.tif",
        "deep/clip.avi",
        "other/c.tif",
    ]


@pytest.mark.parametrize(
    "place, message",
    [
        ("missing.png", "no file, folder or camera .*missing.png"),
        ("*.webp", "no file fits the pattern .*webp"),
    ],
)
def test_places_that_do_not_exist(folder, place, message):
    with pytest.raises(FileNotFoundError, match=message):
        find_sources(str(folder / place))


def test_images_are_read_in_order(folder):
    frames = list(read_frames(find_sources(folder)[0]))
    assert [frame.name for frame in frames] == ["a.JPG", "b.png"]
    np.testing.assert_array_equal(frames[1].image, image(20, 30, 0))
    assert frames[1].number is None
    (grey,) = read_frames(find_sources(folder / "b.png")[0], channels=1)
    assert grey.image.shape == (20, 30, 1)


@pytest.mark.parametrize(
    "every, numbers", [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4]), (9, [0])]
)
def test_frames_of_a_video(folder, every, numbers):
    sources, _ = find_sources(folder / "deep" / "clip.avi")
    frames = list(read_frames(sources, every=every))
    assert [frame.number for frame in frames] == numbers and count_frames(sources, every) == len(
        numbers
    )
    assert frames[-1].name == f"clip.avi/{numbers[-1]:06d}" and frames[0].rate == 10 / every
    for frame in frames:
        # of the colours that went in: red grows with the number, the codec loses a little
        assert frame.image.shape == (48, 64, 3)
        np.testing.assert_allclose(
            frame.image.mean(axis=(0, 1)), [40 * frame.number, 80, 20], atol=6
        )


def test_every_must_be_at_least_one(folder):
    with pytest.raises(ValueError, match="every is 0"):
        read_frames(find_sources(folder)[0], every=0)  # at once, before a frame is asked for


def test_a_link_to_nothing_is_told(folder):
    (folder / "link.png").symlink_to(folder / "gone.png")
    unreadable = []
    sources, _ = find_sources(folder)
    assert [frame.name for frame in read_frames(sources, unreadable=unreadable)] == [
        "a.JPG",
        "b.png",
    ]
    assert unreadable[0][0] == "link.png" and "link.png" in unreadable[0][1]


def test_counts(folder):
    assert count_frames(find_sources(folder, True)[0], 2) == 4 + 3
    assert count_frames(find_sources([folder, 0])[0]) is None
    assert count_frames([]) == 0


def test_what_cannot_be_read_is_told_and_passed_over(folder):
    (folder / "a.JPG").write_bytes(b"broken")
    (folder / "empty.png").write_bytes(b"")
    (folder / "film.mp4").write_bytes(b"broken")
    clip = folder / "deep" / "clip.avi"
    clip.write_bytes(clip.read_bytes()[:-3000])
    unreadable = []
    sources, _ = find_sources(folder, True)
    read = [frame.name for frame in read_frames(sources, unreadable=unreadable)]
    assert [name for name in read if "clip" not in name] == [
        "b.png",
        "deep/c.tif",
        "deep/down/d.png",
    ]
    told = dict(unreadable)
    assert set(told) >= {"a.JPG", "empty.png", "film.mp4"}
    assert "damaged or no image" in told["a.JPG"] and "0 bytes" in told["empty.png"]
    assert "not a video" in told["film.mp4"]
    with pytest.raises(ValueError, match="a.JPG"):
        list(read_frames(sources))


def test_a_video_that_ends_early_is_told(folder, monkeypatch):
    import cv2

    class Longer:
        """A capture that states more frames than there are."""

        def __init__(self, path, capture=cv2.VideoCapture):
            self.video = capture(path)

        def get(self, key):
            return 8.0 if key == cv2.CAP_PROP_FRAME_COUNT else self.video.get(key)

        def __getattr__(self, name):
            return getattr(self.video, name)

    monkeypatch.setattr(cv2, "VideoCapture", Longer)
    unreadable = []
    assert (
        len(list(read_frames(find_sources(folder / "deep" / "clip.avi")[0], unreadable=unreadable)))
        == 5
    )
    assert unreadable[0][0] == "clip.avi" and "only 5 of the 8 frames" in unreadable[0][1]


def test_no_such_camera():
    unreadable = []
    assert list(read_frames(find_sources(97)[0], unreadable=unreadable)) == []
    assert unreadable[0][0] == "camera97" and "no such camera" in unreadable[0][1]


def test_results_are_no_sources_where_they_are_reached_by_a_link(folder):
    deep = folder / "deep"
    (deep / "found").mkdir()
    shutil.copy(folder / "b.png", deep / "found" / "b.png")
    (folder / "to_found").symlink_to(deep / "found")
    (folder / "to_deep").symlink_to(deep)
    for place, output in (
        (deep, deep / "found"),
        (deep, folder / "to_found"),
        (folder / "to_deep", deep / "found"),
        (folder / "to_deep", folder / "to_found"),
    ):
        found = find_sources(place, True, leave_out=output)
        assert names(found) == ["c.tif", "clip.avi", "down/d.png"]


def test_hidden_files_are_no_sources(folder):
    for name in ("._a.JPG", ".hidden.png", "deep/._c.tif", ".thumbs/a.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"no image")
    found, others = find_sources(folder, recursive=True)
    assert names((found,)) == ["a.JPG", "b.png", "deep/c.tif", "deep/clip.avi", "deep/down/d.png"]
    assert others == {".txt": 1}
    assert names(find_sources(folder / ".thumbs")) == ["a.jpg"]  # asked for by its name


def test_places_without_an_image(tmp_path):
    for name in ("a.heic", "b.heic", "notes"):
        (tmp_path / name).touch()
    with pytest.raises(
        FileNotFoundError, match="there are 2 .heic, 1 without ending; .*recursive=True"
    ):
        find_sources(tmp_path)
    with pytest.raises(FileNotFoundError, match="1 without ending$"):
        find_sources(tmp_path, recursive=True)


def test_every_ending_of_images(tmp_path):
    for name in ("a.jfif", "b.jpe", "c.AVIF", "d.heic"):
        (tmp_path / name).touch()
    found, others = find_sources(tmp_path)
    assert names((found,)) == ["a.jfif", "b.jpe", "c.AVIF"] and others == {".heic": 1}
