"""Unpacking: whole, resumed, damaged, and archives that would write elsewhere."""

import os
import stat
import zipfile

import pytest

from mrcnn.common.archives import unpack

CONTENT = {"data/a.txt": b"first", "data/deep/b.bin": bytes(range(256)) * 5000, "c.txt": b""}


def make(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_files_and_again_none(tmp_path):
    path = make(tmp_path / "data.zip", {"data/": b"", **CONTENT})
    out = tmp_path / "new" / "folder"
    assert unpack(path, out) == 3
    assert files(out) == CONTENT
    os.utime(out / "data/a.txt", (0, 0))
    assert unpack(path, str(out), progress=False) == 0
    assert os.path.getmtime(out / "data/a.txt") == 0  # not written again


def test_goes_on_after_a_break(tmp_path):
    path = make(tmp_path / "data.zip", CONTENT)
    out = tmp_path / "out"
    unpack(path, out)
    (out / "data/deep/b.bin").write_bytes(b"cut off")
    (out / "data/a.txt").unlink()
    assert unpack(path, out) == 2
    assert files(out) == CONTENT


@pytest.mark.parametrize(
    "name",
    [
        "../escaped.txt",
        "data/../../escaped.txt",
        "/escaped.txt",
        "C:/escaped.txt",
        "..\\escaped.txt",
    ],
)
def test_nothing_outside_of_the_folder(tmp_path, name):
    path = make(tmp_path / "evil.zip", {"good.txt": b"good", name: b"bad"})
    with pytest.raises(
        ValueError, match="evil.zip has a member that would lie outside of .*escaped"
    ):
        unpack(path, tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["evil.zip"]  # not even the good one


def test_folders_that_end_with_a_backslash(tmp_path):
    path = make(tmp_path / "windows.zip", {"data\\": b"", "data\\a.txt": b"first"})
    assert unpack(path, tmp_path / "out") == 1 and files(tmp_path / "out") == {
        "data/a.txt": b"first"
    }


@pytest.mark.parametrize(
    "offsets, change, message",
    [((6, 8), 1, "encrypted"), ((8, 10), 99, "compression method")],
    ids=["encrypted", "unknown method"],
)
def test_what_cannot_be_unpacked(tmp_path, offsets, change, message):
    path = tmp_path / "odd.zip"
    make(path, {"a.txt": b"first"})
    data = bytearray(path.read_bytes())
    for start, offset in zip((data.find(b"PK\x03\x04"), data.find(b"PK\x01\x02")), offsets):
        data[start + offset] = change
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"odd.zip cannot be unpacked here, .*{message}"):
        unpack(path, tmp_path / "out")
    assert files(tmp_path / "out") == {}


def test_no_links(tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(link, "/etc")
        archive.writestr("link/file", b"bad")
    with pytest.raises(ValueError, match="evil.zip has a link, 'link'"):
        unpack(tmp_path / "evil.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content", [os.urandom(5000), os.urandom(2500).hex().encode()], ids=["as it is", "packed"]
)
def test_damaged_and_missing(tmp_path, content):
    path = tmp_path / "data.zip"
    make(path, {"a.bin": content})
    data = bytearray(path.read_bytes())
    data[2000] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match="data.zip is not a zip archive, or is damaged"):
        unpack(path, tmp_path / "out")
    assert files(tmp_path / "out") == {}
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="fetch it again"):
        unpack(path, tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "none.zip", tmp_path / "out")
