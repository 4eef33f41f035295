"""Files are written whole or not at all."""

import errno
import os
import re

import pytest

from mrcnn.common.files import (
    file_hash,
    remove_temporary_files,
    what_else,
    whole_file,
    write_whole,
)
from mrcnn.common.json_files import read_json
from mrcnn.data.images import read_image
from tests.full_disk import files_of_at_most


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_that_fails_leaves_the_old_one(tmp_path, durable):
    path = tmp_path / "a.txt"
    for text, error in (("one", None), ("two", OSError(28, "No space left on device"))):
        try:
            with whole_file(path, durable) as temporary, open(temporary, "w") as file:
                file.write(text)
                if error:
                    raise error
        except OSError as caught:
            assert caught is error
        assert path.read_text() == "one" and os.listdir(tmp_path) == ["a.txt"]
    assert file_hash(path) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


@pytest.mark.parametrize("size", [0, 1, 4096, 99_999])
def test_a_full_disk_leaves_the_old_file(tmp_path, size):
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with files_of_at_most(size), pytest.raises(OSError) as caught:
        write_whole(path, bytes(100_000))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]
    with files_of_at_most(100_000):
        write_whole(path, bytes(100_000))
    assert path.read_bytes() == bytes(100_000)


def test_errors_name_the_file(tmp_path):
    for size, path, error in (
        (9, tmp_path / "a.bin", errno.EFBIG),
        (9, tmp_path / "gone" / "a.bin", errno.ENOENT),
        (9, tmp_path, errno.EISDIR),
    ):
        with files_of_at_most(size), pytest.raises(OSError) as caught:
            write_whole(path, bytes(100_000))
        assert str(caught.value) == f"[Errno {error}] {os.strerror(error)}: {str(path)!r}"
    with pytest.raises(OSError) as caught, whole_file(tmp_path / "a.bin"):
        pass  # nothing is written, so nothing can be renamed
    assert caught.value.filename == str(tmp_path / "a.bin") and ".tmp" not in str(caught.value)
    with pytest.raises(OSError, match="other"), whole_file(tmp_path / "a.bin"):
        open(tmp_path / "other")


def test_a_device_is_written_into(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "link"):
        if not path.exists():
            path.symlink_to(tmp_path / "pipe")
        read = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        write_whole(path, b"new")
        assert os.read(read, 9) == b"new" and path.is_fifo()
        os.close(read)
    with open(tmp_path / "a.bin", "wb") as file:
        write_whole(f"/dev/fd/{file.fileno()}", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_what_a_link_leads_to_stays(tmp_path, link):
    (tmp_path / "source.txt").write_text("source")
    link(tmp_path / "source.txt", tmp_path / "link.txt")
    write_whole(tmp_path / "link.txt", b"new")
    assert (tmp_path / "source.txt").read_text() == "source"
    assert (tmp_path / "link.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["clip.mp4", "a", "a" * 251 + ".png", "b" * 255])
def test_the_temporary_file_has_the_ending(tmp_path, name):
    """Writers such as OpenCV's go by it; and no name is too long for it."""
    with whole_file(tmp_path / name) as temporary:
        assert os.path.splitext(temporary)[1] == (os.path.splitext(name)[1] or ".tmp")
        write_whole(temporary, b"")
    assert os.listdir(tmp_path) == [name]


def test_only_what_writers_left_is_removed(tmp_path):
    left = [".0123abcd.tmp", ".0123abcd.tmp.h5"]
    others = [".0123abcd.tmpl", ".a.tmp", ".bashrc", "b.tmp"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    assert sorted(remove_temporary_files(tmp_path)) == left
    assert sorted(os.listdir(tmp_path)) == others


@pytest.mark.parametrize(
    "content, said",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ('{"images": []}'.encode("utf-16"), "UTF-16: save it as UTF-8"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*JPEG"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"", "^$"),
        (b"no image", "^$"),
    ],
)
def test_what_else_a_file_is(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    assert re.search(said, what_else(tmp_path / "a.json"))
    if said != "^$":
        for read in (lambda path: read_json(path, "annotations"), read_image):
            with pytest.raises(ValueError, match=said):
                read(tmp_path / "a.json")
