"""The balloon script: VIA annotations of both versions, COCO weights without the last layers,
colour splash.
"""

import json
import pathlib
import runpy

import numpy as np
import pytest
import skimage.color
import skimage.io

from mrcnn.config import Config
from mrcnn.weights.h5_format import read_h5
from tests.matterport.toy_network import ToyNetwork

BALLOONS = [(5, 8, 35, 32), (10, 50, 26, 66), (50, 20, 82, 50), (40, 70, 85, 115)]
LAST_LAYERS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask"]


class CocoConfig(ToyNetwork, Config):
    NAME = "coco"
    NUM_CLASSES = 81
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    SEED = 5


@pytest.fixture
def dataset(tmp_path, photo):
    """Two images to train on (VIA 1, one without regions beside them) and one to validate (VIA
    2).
    """
    for subset, count in (("train", 3), ("val", 1)):
        folder = tmp_path / "balloons" / subset
        folder.mkdir(parents=True)
        entries = {}
        for number in range(count):
            name = f"{number}.png"
            skimage.io.imsave(
                folder / name, photo(90, 120, BALLOONS, seed=number), check_contrast=False
            )
            regions = [
                {
                    "region_attributes": {},
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_y": [y1, y1, y2 - 1, y2 - 1],
                        "all_points_x": [x1, x2 - 1, x2 - 1, x1],
                    },
                }
                for y1, x1, y2, x2 in BALLOONS
                if number < 2
            ]
            if subset == "train":
                regions = {str(key): region for key, region in enumerate(regions)}
            entries[f"{name}123"] = {
                "filename": name,
                "regions": regions,
                "size": 123,
                "file_attributes": {},
            }
        (folder / "via_region_data.json").write_text(json.dumps(entries))
    return tmp_path / "balloons"


def test_train_from_coco_then_splash(script, dataset, tmp_path, eagerly, start_weights, capsys):
    coco = start_weights(CocoConfig(), tmp_path / "root" / "mask_rcnn_coco.h5")
    kept = {layer.name: layer.get_weights() for layer in coco.keras_model.layers if layer.weights}

    names = script("old_balloon.py", "train", f"--dataset={dataset}", "--weights=coco")
    model = names["model"]
    assert model.epoch == 1 and model.find_last().endswith("mask_rcnn_balloon_0001.h5")
    assert model.log_dir.startswith(str(tmp_path / "root" / "logs" / "balloon20"))
    # the backbone has COCO's values, and was not trained; the rest was
    checkpoint = {
        layer: weights for layer, weights in read_h5(model.find_last()).items() if weights
    }
    assert set(kept) == set(checkpoint)
    for layer, weights in checkpoint.items():
        same = [
            value.shape == other.shape and np.array_equal(value, other)
            for (name, value), other in zip(weights, kept[layer], strict=True)
            if "moving" not in name
        ]
        if layer == "fpn_p5":
            continue  # hardly an anchor of that level is drawn in the one step, and at times none
        assert not any(same) if layer.startswith(("mrcnn", "rpn", "fpn")) else all(same), layer
    assert {name: dict(checkpoint[name])[f"{name}/bias:0"].shape for name in LAST_LAYERS} == {
        "mrcnn_class_logits": (2,),
        "mrcnn_bbox_fc": (8,),
        "mrcnn_mask": (2,),
    }
    printed = capsys.readouterr().out
    assert "excluded on request: 3 (mrcnn_bbox_fc, mrcnn_class_logits, mrcnn_mask)" in printed

    balloons = names["BalloonDataset"]()
    balloons.load_balloon(str(dataset), "train")
    balloons.prepare()
    assert balloons.num_images == 2 and balloons.class_names == ["BG", "balloon"]
    expected = np.zeros((90, 120, len(BALLOONS)), bool)
    for index, (y1, x1, y2, x2) in enumerate(BALLOONS):
        expected[y1:y2, x1:x2, index] = True
    np.testing.assert_array_equal(balloons.load_mask(0)[0], expected)

    photo = dataset / "val" / "0.png"
    names = script("old_balloon.py", "splash", "--weights=last", f"--image={photo}")
    saved = skimage.io.imread(tmp_path / "root" / "samples" / "user" / names["saved"])
    assert "Saved to  splash_" in capsys.readouterr().out
    image = skimage.io.imread(photo)
    masks = names["result"]["masks"]
    assert masks.shape[:2] == (90, 120) and masks.any() and not masks.any(axis=2).all()
    coloured = masks.any(axis=2)
    np.testing.assert_array_equal(saved[coloured], image[coloured])
    assert (saved[~coloured] == saved[~coloured][:, :1]).all()


def test_outlines_up_to_the_edge(dataset):
    """Vertices at x = width and y = height, as annotation tools write them: today's
    skimage.draw.polygon counts them in, and the script's array has no such pixel."""
    path = dataset / "train" / "via_region_data.json"
    entries = json.loads(path.read_text())
    for entry in entries.values():
        for region in dict(entry["regions"]).values():
            outline = region["shape_attributes"]
            for axis, side in (("x", 120), ("y", 90)):
                values = outline[f"all_points_{axis}"]
                outline[f"all_points_{axis}"] = [
                    side if value == max(values) else value for value in values
                ]
    path.write_text(json.dumps(entries))
    script = runpy.run_path(str(pathlib.Path(__file__).parent / "old_balloon.py"))
    balloons = script["BalloonDataset"]()
    balloons.load_balloon(str(dataset), "train")
    balloons.prepare()
    with pytest.warns(
        UserWarning, match=r"Image balloon\.0\.png: .*90 x 120 pixels .* was cut at its edge"
    ):
        masks, class_ids = balloons.load_mask(0)
    for index, (y1, x1, _, _) in enumerate(BALLOONS):
        assert masks[y1:, x1:, index].all() and masks[..., index].sum() == (90 - y1) * (120 - x1)
    assert class_ids.tolist() == [1] * len(BALLOONS)


def test_weights_of_another_class_count_need_exclude(script, dataset, tmp_path, start_weights):
    """The original's message was Keras' own, about a shape."""
    path = tmp_path / "eighty_one.h5"
    start_weights(CocoConfig(), path)
    with pytest.raises(
        ValueError,
        match=r"(?s)eighty_one\.h5.*NUM_CLASSES = 81, the model has NUM_CLASSES = 2.*exclude",
    ):
        script("old_balloon.py", "train", f"--dataset={dataset}", f"--weights={path}")


def test_no_run_to_go_on_from(script, dataset):
    with pytest.raises(FileNotFoundError, match="'balloon'"):
        script("old_balloon.py", "splash", "--weights=last", "--image=unread.png")
