"""Detection over files and videos: what is written, and that nothing piles up."""

import importlib
import json
import os
import tempfile
import types
import weakref

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.inference.predict import predict, predictions
from mrcnn.inference.sources import find_sources, read_frames
from mrcnn.inference.writers import Videos, Writer
from mrcnn.model import MaskRCNN
from tests.inference.videos import write_video
from tests.tiny import image, tiny_config


@pytest.fixture(scope="module")
def model(detector, tmp_path_factory):
    """The detector with names for its classes."""
    model = MaskRCNN(
        "inference",
        tiny_config(CLASS_NAMES=["BG", "red", "blue/sky"]),
        str(tmp_path_factory.mktemp("l")),
    )
    model.keras_model.set_weights(detector.keras_model.get_weights())
    return model


@pytest.fixture
def photos(tmp_path):
    """a.jpg, b.png, deep/c.tif (of another size)."""
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.jpg", "b.png", "deep/c.tif")):
        Image.fromarray(image(64 - 10 * seed, 64, seed)).save(folder / name)
    return folder


# the module, whose name in the package is that of the function
PREDICT = importlib.import_module("mrcnn.inference.predict")


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def read_coco(folder):
    content = json.loads((folder / "predictions.json").read_text())
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return content, coco


def test_a_folder_becomes_pictures_and_one_json(model, photos, tmp_path, capsys):
    output = tmp_path / "found"
    summary = predict(model, photos, output, recursive=True)
    assert files(output) == ["a.jpg", "b.png", "deep/c.tif.png", "predictions.json"]
    content, coco = read_coco(output)
    assert content["info"]["complete"] is True
    assert [entry["file_name"] for entry in content["images"]] == ["a.jpg", "b.png", "deep/c.tif"]
    assert [(entry["width"], entry["height"]) for entry in content["images"]] == [
        (64, 64),
        (64, 54),
        (64, 44),
    ]
    assert content["categories"] == [{"id": 1, "name": "red"}, {"id": 2, "name": "blue/sky"}]
    assert [entry["id"] for entry in content["annotations"]] == list(
        range(1, len(content["annotations"]) + 1)
    )
    # equal to detecting one by one
    for entry, frame in zip(
        content["images"], read_frames(find_sources(photos, True)[0]), strict=True
    ):
        (result,) = model.detect([frame.image])
        assert result.count
        found = coco.loadAnns(coco.getAnnIds(imgIds=entry["id"]))
        assert [each["category_id"] for each in found] == result["class_ids"].tolist()
        np.testing.assert_allclose([each["score"] for each in found], result["scores"], atol=1e-5)
        for index, each in enumerate(found):
            assert (coco.annToMask(each) != result["masks"][..., index]).mean() < 0.01 and each[
                "iscrowd"
            ] == 0
    shown = np.array(Image.open(output / "b.png"))
    assert shown.shape == (54, 64, 3) and (shown != image(54, 64, 1)).any()
    assert summary.images == 3 and summary.counts.total() == len(content["annotations"])
    assert "3 images in" in str(summary) and str(output) in str(summary) and not summary.interrupted


def test_polygons_labelme_and_crops(model, photos, tmp_path):
    predict(
        model,
        photos,
        tmp_path / "found",
        save=["coco", "labelme", "crops"],
        polygons=True,
        progress=False,
    )
    content, coco = read_coco(tmp_path / "found")
    assert [type(entry["segmentation"]) for entry in content["annotations"] if entry["area"]].count(
        dict
    ) == 0
    for entry in content["annotations"]:
        assert coco.annToMask(entry).sum() == entry["area"]
    labels = json.loads((tmp_path / "found" / "labelme" / "a.json").read_text())
    first = coco.loadAnns(coco.getAnnIds(imgIds=1))
    assert os.path.normpath(tmp_path / "found" / "labelme" / labels["imagePath"]) == str(
        photos / "a.jpg"
    )
    assert {shape["label"] for shape in labels["shapes"]} == {
        coco.cats[entry["category_id"]]["name"] for entry in first if entry["area"]
    }
    crops = [name for name in files(tmp_path / "found") if name.startswith("crops/")]
    assert len(crops) == len(content["annotations"])
    assert {name.split("/")[1] for name in crops} <= {"red", "blue_sky"}
    crop = Image.open(tmp_path / "found" / crops[0])
    assert crop.mode == "RGBA"


def test_a_video_becomes_a_video(model, tmp_path):
    import cv2

    write_video(tmp_path / "clip.avi", 5)
    summary = predict(model, tmp_path / "clip.avi", tmp_path / "found", every=2)
    assert files(tmp_path / "found") == ["clip.avi.mp4", "predictions.json"] and summary.images == 3
    frames = list(read_frames(find_sources(tmp_path / "found" / "clip.avi.mp4")[0]))
    assert len(frames) == 3 and frames[0].image.shape == (48, 64, 3)
    assert cv2.VideoCapture(str(tmp_path / "found" / "clip.avi.mp4")).get(cv2.CAP_PROP_FPS) == 5
    content, _ = read_coco(tmp_path / "found")
    assert [
        (entry["file_name"], entry["video"], entry["frame"]) for entry in content["images"]
    ] == [(f"clip.avi/{number:06d}", "clip.avi", number) for number in (0, 2, 4)]


def test_videos_and_images_together_with_every_output(model, photos, tmp_path):
    write_video(photos / "one.avi", 2)
    write_video(photos / "two.avi", 3, size=(32, 96))
    predict(
        model,
        photos,
        tmp_path / "found",
        save=["pictures", "video", "frames", "labelme"],
        video_type=".avi",
        progress=False,
    )
    frames = [
        f"{name}.avi/00000{number}"
        for name, count in (("one", 2), ("two", 3))
        for number in range(count)
    ]
    assert set(files(tmp_path / "found")) == {
        "a.jpg",
        "b.png",
        "one.avi",
        "two.avi",
        *(f"frames/{name}.png" for name in frames),
        "labelme/a.json",
        "labelme/b.json",
        *(f"labelme/{name}{kind}" for name in frames for kind in (".json", ".png")),
    }
    labels = json.loads((tmp_path / "found" / "labelme" / "two.avi" / "000002.json").read_text())
    assert labels["imagePath"] == "000002.png" and (
        labels["imageHeight"],
        labels["imageWidth"],
    ) == (96, 32)


def test_classes_confidence_and_limit(model, photos, tmp_path):
    predict(
        model, photos, tmp_path / "found", classes="red", min_confidence=0.6, limit=1, save=["coco"]
    )
    content, _ = read_coco(tmp_path / "found")
    assert len(content["images"]) == 1
    (expected,) = model.detect(
        [next(read_frames(find_sources(photos)[0])).image], classes="red", min_confidence=0.6
    )
    assert len(content["annotations"]) == expected.count > 0
    assert {entry["category_id"] for entry in content["annotations"]} == {1}


def test_what_cannot_be_read_is_counted(model, photos, tmp_path, capsys):
    (photos / "aa.png").write_bytes(b"broken")
    for name in ("list.txt", "one.heic", "two.HEIC"):
        (photos / name).write_text("x")
    summary = predict(model, photos, tmp_path / "found")
    assert (
        summary.images == 2
        and [name for name, _ in summary.unreadable] == ["aa.png"]
        and summary.others == {".txt": 1, ".heic": 2}
    )
    assert (
        "1 could not be read" in str(summary)
        and "aa.png" in str(summary)
        and "3 files that are no" in str(summary)
        and "passed over: 2 .heic, 1 .txt" in str(summary)
        and "HEIC are not read: save or export them as JPEG" in str(summary)
    )
    assert len(read_coco(tmp_path / "found")[0]["images"]) == 2


@pytest.mark.parametrize(
    "stop, complete", [(KeyboardInterrupt, False), (OSError("disk full"), False)]
)
def test_what_was_done_before_an_interruption_is_valid(
    model, photos, tmp_path, monkeypatch, stop, complete
):
    detect, calls = model.detect, []

    def detect_some(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise stop
        return detect(*args, **kwargs)

    monkeypatch.setattr(model, "detect", detect_some)
    monkeypatch.setattr(model.config, "BATCH_SIZE", 1)
    if stop is KeyboardInterrupt:
        summary = predict(model, photos, tmp_path / "found")
        assert summary.interrupted and "interrupted" in str(summary)
    else:
        with pytest.raises(OSError, match="disk full"):
            predict(model, photos, tmp_path / "found")
    content, _ = read_coco(tmp_path / "found")
    assert content["info"]["complete"] is complete
    assert [entry["file_name"] for entry in content["images"]] == ["a.jpg"] and content[
        "annotations"
    ]
    assert files(tmp_path / "found") == ["a.jpg", "predictions.json"]  # no .part is left


def test_an_image_is_let_go_before_many_more_are_read(model, tmp_path):
    """Memory is bounded: at no time do more than a few images live."""
    alive, most = [], 0

    def frames():
        for number in range(12):
            picture = image(64, 64, number)
            alive.append(weakref.ref(picture))
            yield types.SimpleNamespace(image=picture)
            del picture

    for _ in predictions(model, frames()):
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) == 12 and most <= 2 * model.config.BATCH_SIZE + 1


def test_a_camera_is_read_until_the_key_q(model, tmp_path, monkeypatch):
    import cv2

    write_video(tmp_path / "clip.avi", 9)
    capture, shown = cv2.VideoCapture, []
    monkeypatch.setattr(
        cv2,
        "VideoCapture",
        lambda place: capture(str(tmp_path / "clip.avi") if place == 0 else place),
    )
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture), raising=False)
    monkeypatch.setattr(
        cv2, "waitKey", lambda delay: ord("q") if len(shown) == 3 else -1, raising=False
    )
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None, raising=False)
    summary = predict(model, 0, tmp_path / "found", show=True)
    assert (
        summary.images == 3 == len(shown)
        and shown[0].shape == (48, 64, 3)
        and not summary.interrupted
    )
    assert files(tmp_path / "found") == ["camera0.mp4", "predictions.json"]


def test_an_output_that_is_a_file_is_told_before_detection(tmp_path, photos, monkeypatch, model):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(model, "detect", None)
    with pytest.raises(NotADirectoryError, match="output must be a folder"):
        predict(model, photos, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_to_do_is_an_error(model, tmp_path, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no image and no video.*recursive"):
        predict(model, tmp_path / "empty", tmp_path / "found")
    with pytest.raises(ValueError, match="save has 'picture'; known are pictures"):
        predict(model, photos, tmp_path / "found", save=["picture"])
    with pytest.raises(ValueError, match="a.jpg is a file that is searched, and would be replaced"):
        predict(model, photos, photos)
    Image.fromarray(image(9, 9)).save(photos / "a.png")
    with pytest.raises(ValueError, match="a.jpg and a.png would share"):
        predict(model, photos, tmp_path / "found", save=["labelme"])
    with pytest.raises(ValueError, match="limit is 0; it must be at least 1"):
        predict(model, photos, tmp_path / "found", limit=0)
    with pytest.raises(ValueError, match="no class 'green'"):
        predict(model, photos, tmp_path / "found", classes="green")
    assert not (tmp_path / "found").exists()
    write_video(photos / "clip.avi", 2)
    with pytest.raises(ValueError, match="every is 0; it must be at least 1"):
        predict(model, photos, tmp_path / "found", every=0)
    with pytest.raises(ValueError, match="video_type is '.mov'"):
        predict(model, photos, tmp_path / "found", video_type=".mov")
    assert not (tmp_path / "found").exists() or not list((tmp_path / "found").glob("*.part"))


def as_link(photos, output):
    """The output is a link to the folder that is searched."""
    output.symlink_to(photos)
    return photos


def through_link(photos, output):
    """The folder is searched by way of a link, and the output is the folder itself."""
    (photos.parent / "link").symlink_to(photos)
    output.symlink_to(photos.parent / "link")
    return photos.parent / "link"


def symbolic(photos, output):
    """A link in the output leads to an image."""
    output.mkdir()
    (output / "b.png").symlink_to(photos / "a.jpg")
    return photos


def hard(photos, output):
    """A file of the output is an image by another name."""
    output.mkdir()
    os.link(photos / "b.png", output / "b.png")
    return photos


def of_a_link(photos, output):
    """What is searched is a link to a file of the output."""
    (photos / "a.jpg").rename(photos.parent / "original.jpg")
    (photos / "a.jpg").symlink_to(photos.parent / "original.jpg")
    output.mkdir()
    os.link(photos.parent / "original.jpg", output / "a.jpg")
    return photos


@pytest.mark.parametrize("link", [as_link, through_link, symbolic, hard, of_a_link])
def test_no_photo_is_replaced_through_a_link(model, photos, tmp_path, link):
    before = {path.name: path.read_bytes() for path in photos.iterdir() if path.is_file()}
    source = link(photos, tmp_path / "found")
    with pytest.raises(ValueError, match="is a file that is searched, and would be replaced"):
        predict(model, source, tmp_path / "found")
    after = {path.name: path.read_bytes() for path in photos.iterdir() if path.is_file()}
    assert after == before


def test_no_photo_is_replaced_by_a_crop_or_a_frame(model, photos, tmp_path):
    """Their names are known only when they are written."""
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "frames").symlink_to(photos)
    (photos / "clip.avi").mkdir()
    Image.fromarray(image(64, 64)).save(photos / "clip.avi" / "000001.png")
    write_video(tmp_path / "clip.avi", 3)
    before = (photos / "clip.avi" / "000001.png").read_bytes()
    with pytest.raises(ValueError, match="000001.png is a file that is searched"):
        predict(
            model,
            [tmp_path / "clip.avi", photos / "clip.avi" / "000001.png"],
            tmp_path / "found",
            save=["frames"],
        )
    assert (photos / "clip.avi" / "000001.png").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["a.jpg", "b.png", "deep/c.tif.png", "clip.avi", "predictions.json"]
)
def test_no_file_that_is_no_result_is_replaced(photos, tmp_path, name):
    """Also one that is not searched."""
    write_video(photos / "clip.avi", 2)
    mine = tmp_path / "others" / name
    mine.parent.mkdir(parents=True)
    if name.endswith("json"):
        mine.write_text('{"images": [], "annotations": [], "categories": []}')
    elif name.endswith("avi"):
        write_video(mine, 3)
    else:
        Image.fromarray(image(40, 40)).save(mine)
    before = mine.read_bytes()
    blind = types.SimpleNamespace(config=tiny_config())  # it detects nothing before this is told
    with pytest.raises(ValueError, match=f"{name} is there and would be replaced"):
        predict(blind, photos, tmp_path / "others", recursive=True, video_type=".avi")
    assert mine.read_bytes() == before and files(tmp_path / "others") == [name]


@pytest.mark.parametrize("save", ["frames", "crops"])
def test_no_file_that_is_no_result_is_replaced_by_a_crop_or_a_frame(model, tmp_path, save):
    write_video(tmp_path / "clip.avi", 2)
    predict(model, tmp_path / "clip.avi", tmp_path / "found", save=[save], progress=False)
    mine = next((tmp_path / "found").rglob("*.png"))
    Image.fromarray(image(40, 40)).save(mine)
    before = mine.read_bytes()
    with pytest.raises(ValueError, match=f"{mine.name} is there and would be replaced"):
        predict(model, tmp_path / "clip.avi", tmp_path / "found", save=[save], progress=False)
    assert mine.read_bytes() == before


@pytest.mark.parametrize("video_type", [".avi", ".mp4"])
def test_results_replace_results(model, photos, tmp_path, video_type):
    """Also those of a run that was killed before its json was there."""
    write_video(photos / "clip.avi", 3)
    save = ["pictures", "video", "frames", "crops", "coco"]
    for _ in range(2):
        predict(model, photos, tmp_path / "found", save=save, video_type=video_type, progress=False)
        (tmp_path / "found" / "predictions.json").unlink()
    (video,) = (path for path in (tmp_path / "found").glob("clip*"))
    assert len(list(read_frames(find_sources(video)[0]))) == 3


def test_pipes_are_counted_and_not_waited_for(model, photos, tmp_path):
    for name in ("pipe.jpg", "pipe.mp4", "pipe.txt"):
        os.mkfifo(photos / name)
    for places in (photos, str(photos / "*.*")):
        summary = predict(model, places, tmp_path / "found", save=["video", "coco"])
        assert summary.images == 2
        assert {name for name, _ in summary.unreadable} >= {"pipe.jpg", "pipe.mp4"}
    for name in ("pipe.jpg", "pipe.mp4"):
        summary = predict(model, photos / name, tmp_path / "found", save=["coco"])
        ((_, why),) = summary.unreadable
        assert why.endswith(f"{name}: a device or a pipe, not a file") and not summary.images


@pytest.mark.parametrize("corrected", ["a.json", "clip.avi/000001.json"])
def test_corrected_files_of_labelme_are_kept(model, photos, tmp_path, corrected):
    write_video(photos / "clip.avi", 2)
    predict(model, photos, tmp_path / "found", save=["labelme"])
    for path in (tmp_path / "found").rglob("*.json"):
        if not path.as_posix().endswith(corrected):
            path.unlink()
    (tmp_path / "found" / "labelme" / corrected).write_text("corrected")
    with pytest.raises(ValueError, match=f"{corrected} would be replaced, which someone may have"):
        predict(model, photos, tmp_path / "found", save=["labelme", "coco"])
    assert (tmp_path / "found" / "labelme" / corrected).read_text() == "corrected"
    assert not (tmp_path / "found" / "predictions.json").exists()
    predict(model, photos, tmp_path / "found", save=["coco"])


def test_pictures_of_two_images_must_differ(model, tmp_path):
    for name in ("a.tif", "a.tif.png"):
        Image.fromarray(image(64, 64)).save(tmp_path / name)
    with pytest.raises(ValueError, match="a.tif and a.tif.png would share the picture .*a.tif.png"):
        predict(model, tmp_path, tmp_path / "found")
    assert predict(model, tmp_path, tmp_path / "found", save=["coco"]).images == 2


class Failing(Writer):
    """A writer that fails, and says what it was asked to do."""

    def __init__(self, calls, error):
        super().__init__(None)
        self.calls, self.error = calls, error

    def close(self, complete):
        self.calls.append(complete)
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    "errors",
    [
        (OSError(28, "No space left"), None),
        (None, OSError(28, "No space left")),
        (OSError(28, "No space left"), OSError(28, "No space left")),
    ],
)
def test_all_writers_are_closed_where_one_fails(model, photos, tmp_path, monkeypatch, errors):
    calls = []
    writers = [Failing(calls, error) for error in errors]
    monkeypatch.setattr(PREDICT, "_writers", lambda *args: iter(writers))
    with pytest.raises(OSError, match="No space left: '.*found'"):  # and the folder is named
        predict(model, photos, tmp_path / "found")
    assert calls == [True, True]


def test_writers_opened_before_one_fails_are_closed(model, photos, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    calls = []
    monkeypatch.setattr(PREDICT, "Crops", lambda folder: Failing(calls, None))
    with pytest.raises(OSError, match="No space left"):
        predict(model, photos, tmp_path / "found", save=["crops", "coco"])
    assert calls == [False]


def test_a_video_cut_off_by_a_full_disk_is_an_error(model, tmp_path, monkeypatch):
    """OpenCV writes no further and says nothing."""
    write_video(tmp_path / "clip.avi", 5)
    write = Videos.write

    def write_some(self, frame, result):
        if frame.number < 3:
            write(self, frame, result)
        else:
            self.count += 1

    monkeypatch.setattr(Videos, "write", write_some)
    with pytest.raises(
        OSError, match="clip.avi.mp4: not all of its 5 frames could be written; is the disk full"
    ):
        predict(model, tmp_path / "clip.avi", tmp_path / "found")
    assert len(read_coco(tmp_path / "found")[0]["images"]) == 5


def test_a_class_name_leads_to_no_other_folder(detector, photos, tmp_path):
    model = MaskRCNN(
        "inference", tiny_config(CLASS_NAMES=["BG", "..", "/"]), str(tmp_path / "logs")
    )
    model.keras_model.set_weights(detector.keras_model.get_weights())
    summary = predict(model, photos, tmp_path / "found", save=["crops"])
    found = files(tmp_path / "found")
    assert len(found) == summary.counts.total() > 0 and {name.split("/")[0] for name in found} == {
        "crops"
    }
    assert {name.split("/")[1] for name in found} <= {"__", "_"}


def test_a_file_name_that_is_no_text(model, tmp_path):
    """As an old Latin-1 one under Linux."""
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "photos").mkdir()
    try:
        Image.fromarray(image(64, 64)).save(tmp_path / "photos" / name)
    except OSError:
        pytest.skip("the file system takes no such name")
    predict(model, tmp_path / "photos", tmp_path / "found", save=["pictures", "coco", "labelme"])
    assert read_coco(tmp_path / "found")[0]["images"][0]["file_name"] == name
    labels = json.loads(
        (tmp_path / "found" / "labelme" / name.replace(".png", ".json")).read_text()
    )
    assert os.path.basename(labels["imagePath"]) == name


def test_images_of_five_channels(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    config = tiny_config(IMAGE_CHANNEL_COUNT=5, MEAN_PIXEL=np.zeros(5))
    model = MaskRCNN("inference", config, str(tmp_path / "logs"))
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.concatenate([image(64, 64), image(64, 64, 1)], axis=-1)[..., :5],
        photometric="minisblack",
        planarconfig="contig",
    )
    summary = predict(model, tmp_path / "a.tif", tmp_path / "found", save=["pictures", "crops"])
    assert summary.images == 1 and Image.open(tmp_path / "found" / "a.tif.png").size == (64, 64)


def test_colours_by_object_and_no_labels(model, photos, tmp_path):
    style = {"color_by": "object", "labels": False}
    write_video(photos / "clip.avi", 2)
    predict(model, photos, tmp_path / "found", save=["pictures", "frames"], **style)
    for name, source in (("b.png", "b.png"), ("frames/clip.avi/000001.png", "clip.avi")):
        *_, frame = read_frames(find_sources(photos / source)[0])
        (result,) = model.detect([frame.image])
        assert result.count > 1
        drawn = np.asarray(Image.open(tmp_path / "found" / name))
        np.testing.assert_array_equal(drawn, result.draw(frame.image, **style))
        assert (drawn != result.draw(frame.image)).any()
    with pytest.raises(ValueError, match="color_by is 'size'; it must be one of class, object"):
        predict(model, photos, tmp_path / "none", color_by="size")
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("error")
def test_a_limit_that_is_reached_is_said_once(photos, tmp_path):
    """Two of three images have as many detections as there are rows."""
    from mrcnn.inference.detect import detect, warn_of_limit

    config = tiny_config(
        CLASS_NAMES=["BG", "red", "blue"], DETECTION_MAX_INSTANCES=3, IMAGES_PER_GPU=1
    )
    rows = iter([3, 2, 3])

    def network(batch, metas, min_confidence=None):
        found = np.zeros((1, 3, 6), np.float32)
        found[0, : next(rows)] = (0.4, 0.4, 0.6, 0.6, 1, 0.8)
        return found, np.ones((1, 3, 28, 28), np.float32)

    def detected(images, **options):
        found = detect(network, images, config, **options)
        warn_of_limit(found, config)
        return found

    model = types.SimpleNamespace(config=config, detect=detected)
    summary = predict(model, photos, tmp_path / "found", recursive=True, progress=False)
    assert summary.at_limit == 2 and summary.images == 3
    assert str(summary).count("DETECTION_MAX_INSTANCES = 3") == 1
    assert "on 2 images there are as many detections" in str(summary)
    rows = iter([2, 2, 2])
    summary = predict(model, photos, tmp_path / "found", recursive=True, progress=False)
    assert "DETECTION_MAX_INSTANCES" not in str(summary)


# === Images of few bits ===


def test_images_of_few_bits_are_counted_or_read_in_their_range(detector, tmp_path, monkeypatch):
    picture = image(64, 64)
    grey = np.dstack([picture[..., 0]] * 3)
    deep = np.rint(grey[..., 0] * (4095 / 255)).astype(np.uint16)
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.tif"):
        Image.fromarray(deep).save(tmp_path / "photos" / name)
    plain, options = detector.detect([grey])[0], {"save": ["coco"], "progress": False}

    summary = predict(detector, tmp_path / "photos", tmp_path / "dark", **options)
    assert "images of 16 bits without a value above 4095: 2 (first: a.png)" in str(summary)
    with pytest.warns(UserWarning, match="detect got images of 16 bits .* 4095: 2 "):
        detector.detect([deep, deep, grey])

    monkeypatch.setattr(detector.config, "IMAGE_RANGE", (0, 4095))
    summary = predict(detector, tmp_path / "photos", tmp_path / "found", **options)
    assert not len(summary.few_bits) and "16 bits" not in str(summary)
    objects = read_coco(tmp_path / "found")[0]["annotations"]
    np.testing.assert_allclose(
        [each["score"] for each in objects], np.tile(plain["scores"], 2), atol=1e-5
    )
    found = detector.detect([deep])[0]
    np.testing.assert_array_equal(found["rois"], plain["rois"])
    np.testing.assert_array_equal(found.image, grey[..., 0])  # as it was seen
