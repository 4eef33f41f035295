"""Downloads from a server of our own: whole, resumed, cut off, wrong, refused."""

import concurrent.futures
import functools
import hashlib
import http.server
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from mrcnn.common.download import DownloadError, download
from mrcnn.weights import published as downloads
from tests.paths import ROOT

CONTENT = bytes(range(256)) * 9000  # 2.3 MB: more than two chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT by path: /file with ranges, /plain without, /cut breaks off, /slow waits,
    /lost is 404.
    """

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        if self.path == "/lost":
            return self.send_error(404, "Not Found")
        start = 0
        if wanted and self.path != "/plain":
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                return self.send_error(416)
            self.send_response(206)
            shown = start + 1 if self.path == "/odd" else start
            self.send_header("Content-Range", f"bytes {shown}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        if self.path == "/slow":
            time.sleep(2)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: 1 << 20] if self.path == "/cut" else body)

    def log_message(self, *_):
        """Keep the test output quiet."""


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.handle_error = lambda *_: None  # of clients that leave early
        running.requests = []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def visible(folder):
    """The names of its files but for the lock of one that has not come."""
    return [name for name in os.listdir(folder) if name != ".file.h5.lock"]


def test_whole_file_and_no_second_request(server, tmp_path):
    path = tmp_path / "new" / "folder" / "file.h5"
    assert download(server.url + "/file", path, SHA256, MD5, len(CONTENT)) == str(path)
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["file.h5"]
    download(server.url + "/file", path, SHA256.upper())
    assert server.requests == [("/file", None)]


def test_resumes_a_part(server, tmp_path):
    path = tmp_path / "file.h5"
    (tmp_path / "file.h5.part").write_bytes(CONTENT[:1000])
    download(server.url + "/file", path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/file", "bytes=1000-")]


def test_cut_off_keeps_the_part_and_the_next_call_continues(server, tmp_path):
    path = tmp_path / "file.h5"
    with pytest.raises(DownloadError, match="broke off after 1,048,576 of 2,304,000 bytes"):
        download(server.url + "/cut", path, SHA256, progress=False)
    assert visible(tmp_path) == ["file.h5.part"]
    download(server.url + "/file", path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1] == ("/file", "bytes=1048576-")


def at_once(calls):
    """The results of functions that begin in threads of their own at the same moment."""
    together = threading.Barrier(len(calls))

    def begin(call):
        together.wait()
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


@pytest.mark.parametrize("part", [None, CONTENT[:1000]], ids=["anew", "going on"])
def test_many_at_once_are_one_request(server, tmp_path, part):
    path = tmp_path / "file.h5"
    if part:
        (tmp_path / "file.h5.part").write_bytes(part)
    fetch = functools.partial(download, server.url + "/file", path, progress=False)
    assert at_once([fetch] * 8) == [str(path)] * 8
    assert path.read_bytes() == CONTENT and len(server.requests) == 1
    assert os.listdir(tmp_path) == ["file.h5"]


def test_one_who_waits_goes_on_where_the_first_broke_off(server, tmp_path):
    path = tmp_path / "file.h5"

    def fetch(place):
        try:
            return download(server.url + place, path, SHA256, progress=False)
        except DownloadError:
            return None

    results = at_once([functools.partial(fetch, place) for place in ["/cut"] * 3 + ["/file"] * 3])
    assert path.read_bytes() == CONTENT
    assert results[3:] == [str(path)] * 3


def test_processes_wait_for_each_other(server, tmp_path):
    path = tmp_path / "file.h5"
    code = """
import sys
from mrcnn.common.download import download
download(sys.argv[1], sys.argv[2], md5=sys.argv[3])
"""
    command = [sys.executable, "-c", code, server.url + "/slow", str(path), MD5]
    running = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert path.read_bytes() == CONTENT and len(server.requests) == 1
    assert sum("Waiting for another process that fetches file.h5" in text for text in told) == 1


def test_server_without_ranges_starts_over(server, tmp_path):
    path = tmp_path / "file.h5"
    (tmp_path / "file.h5.part").write_bytes(b"x" * 1000)
    download(server.url + "/plain", path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 1000, CONTENT + b"more"], ids=["shorter", "longer"])
def test_part_of_another_file_starts_over(server, tmp_path, part):
    path = tmp_path / "file.h5"
    (tmp_path / "file.h5.part").write_bytes(part)
    download(server.url + "/file", path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [f"bytes={len(part)}-", None]


def test_whole_part_is_taken_by_its_hash(server, tmp_path):
    path = tmp_path / "file.h5"
    (tmp_path / "file.h5.part").write_bytes(CONTENT)
    download(server.url + "/file", path, SHA256, progress=False)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/file", f"bytes={len(CONTENT)}-")]


def test_another_range_than_asked_for_is_an_error(server, tmp_path):
    path = tmp_path / "file.h5"
    (tmp_path / "file.h5.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match="asked for the bytes from 1000 on"):
        download(server.url + "/odd", path, progress=False)
    assert not path.exists()


@pytest.mark.parametrize(
    "expected",
    [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"size": 7}],
    ids=["sha256", "md5", "size"],
)
def test_wrong_file_is_removed(server, tmp_path, expected):
    path = tmp_path / "file.h5"
    with pytest.raises(DownloadError, match="gave a wrong file, which was removed") as error:
        download(server.url + "/file", path, progress=False, **expected)
    actual = {"sha256": SHA256, "md5": MD5, "size": "2,304,000"}[next(iter(expected))]
    assert actual in str(error.value) and str(next(iter(expected.values()))) in str(error.value)
    assert visible(tmp_path) == []


def test_wrong_file_of_the_user_is_kept(server, tmp_path):
    path = tmp_path / "file.h5"
    path.write_bytes(b"mine")
    with pytest.raises(DownloadError, match="exists but is not the file of"):
        download(server.url + "/file", path, SHA256)
    assert path.read_bytes() == b"mine" and server.requests == []


def test_http_error_says_what_to_do(server, tmp_path):
    path = tmp_path / "file.h5"
    with pytest.raises(DownloadError) as error:
        download(server.url + "/lost", path, SHA256, progress=False)
    for word in (server.url + "/lost", "404", str(path), SHA256, "by hand"):
        assert word in str(error.value)
    assert visible(tmp_path) == []


def test_refused_connection_says_what_to_do(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file"
        with pytest.raises(DownloadError) as error:
            download(url, tmp_path / "file.h5", md5=MD5, progress=False)
    for word in ("could not fetch " + url, "refused", str(tmp_path / "file.h5"), MD5):
        assert word in str(error.value)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "models").write_text("a file where the folder would be")
    with pytest.raises(DownloadError, match="models, which cannot be written.*KERAS_HOME"):
        download("http://127.0.0.1:1/file", tmp_path / "models" / "file.h5", progress=False)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/file", "file.h5"])
def test_only_http(tmp_path, url):
    with pytest.raises(ValueError, match="is not an http or https address"):
        download(url, tmp_path / "file.h5")
    assert visible(tmp_path) == []


@pytest.mark.parametrize("with_rich", [True, False])
def test_progress_goes_to_stderr(server, tmp_path, capsys, monkeypatch, with_rich):
    if with_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
    download(server.url + "/file", tmp_path / "file.h5")
    out, err = capsys.readouterr()
    assert out == "" and "file.h5" in err
    if not with_rich:
        assert "file.h5: 2,304,000/2,304,000 bytes" in err
    download(server.url + "/file", tmp_path / "quiet.h5", progress=False)
    assert capsys.readouterr() == ("", "")


# === The published files ===


def test_published_files():
    coco = downloads.COCO_WEIGHTS
    assert coco.url == (
        "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
    )
    assert coco.md5 == "e98aaff6f99e307b5e2a8a3ff741a518"
    resnet = pytest.importorskip("keras.src.applications.resnet")
    for name, file in downloads.IMAGENET_WEIGHTS.items():
        assert file.md5 == resnet.WEIGHTS_HASHES[name][1]
        assert file.url == resnet.BASE_WEIGHTS_PATH + file.name
        assert file.name == f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"


@pytest.fixture
def published(server, monkeypatch):
    """The published files, as if our server had them."""

    def served(name):
        return downloads.RemoteFile(name, server.url + "/file", md5=MD5, sha256=SHA256)

    monkeypatch.setattr(downloads, "COCO_WEIGHTS", served("coco.h5"))
    monkeypatch.setattr(
        downloads,
        "IMAGENET_WEIGHTS",
        {"resnet50": served("r50.h5"), "resnet101": served("r101.h5")},
    )
    return server


def test_coco_weights(published, tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.h5"
    assert downloads.coco_weights(path, verbose=0) == str(path)
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert downloads.coco_weights() == str(tmp_path / "keras" / "models" / "coco.h5")
    downloads.coco_weights()
    assert len(published.requests) == 2


def test_imagenet_weights(published, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert downloads.imagenet_weights("resnet50") == str(tmp_path / ".keras" / "models" / "r50.h5")
    path = downloads.imagenet_weights("resnet101", cache_dir=tmp_path)
    assert path == str(tmp_path / "r101.h5") and os.path.getsize(path) == len(CONTENT)
    with pytest.raises(ValueError, match="'vgg16', only for resnet50 and resnet101"):
        downloads.imagenet_weights("vgg16")
