"""Names of runs and checkpoints: made, recognised, and the newest found."""

import datetime
import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.config.file import save_config
from mrcnn.training.run_folder import (
    check_name,
    checkpoints,
    claim,
    find_last_checkpoint,
    next_beginning,
    run_folder,
    what_is_wrong,
)
from mrcnn.training.run_state import (
    RunState,
    file_facts,
    fingerprint,
    load_state,
    save_state,
    state_path,
)
from mrcnn.weights.h5_format import write_h5

NOW = datetime.datetime(2017, 10, 29, 7, 5, 59)


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".h5"):
            write_h5(path, [("conv1", [("conv1/kernel:0", np.full((40, 50), 0.5, np.float32))])])
        else:
            path.write_bytes(b"")


def test_new_run():
    run = run_folder("logs", "Balloon", now=NOW)
    assert run.log_dir == os.path.join("logs", "balloon20171029T0705")
    assert run.epoch == 0
    assert run.checkpoint_path.format(epoch=12) == os.path.join(
        run.log_dir, "mask_rcnn_balloon_0012.h5"
    )


def test_clock_names_a_run():
    before = datetime.datetime.now().replace(second=0, microsecond=0)
    stamp = run_folder("logs", "a").log_dir[-13:]
    assert before <= datetime.datetime.strptime(stamp, "%Y%m%dT%H%M") <= datetime.datetime.now()


@pytest.mark.parametrize(
    "path, epoch",
    [
        ("/logs/coco20171029T2315/mask_rcnn_coco_0007.h5", 7),
        ("coco20171029T2315/mask_rcnn_coco_0120.h5", 120),
        ("C:\\runs\\coco20171029T2315\\mask_rcnn_coco_0003.h5", 3),
        # the original began again at epoch 0 where a folder had a space in its name
        ("/my runs/big cells20171029T2315/mask_rcnn_big cells_0002.h5", 2),
    ],
)
def test_checkpoint_gives_the_time_and_epoch_of_the_run(path, epoch):
    run = run_folder("/logs", "Coco", path, now=NOW)
    assert (run.log_dir, run.epoch) == (os.path.join("/logs", "coco20171029T2315"), epoch)
    assert os.path.basename(run.checkpoint_path) == "mask_rcnn_coco_{epoch:04d}.h5"


@pytest.mark.parametrize(
    "path",
    [
        "mask_rcnn_coco.h5",
        "/logs/coco20171029T2315/best.h5",
        "/logs/coco/mask_rcnn_coco_0007.h5",
        "/logs/coco20171029T2315/mask_rcnn_coco_0007.h5.bak",
    ],
)
def test_other_files_start_a_new_run(path):
    run = run_folder("logs", "coco", path, now=NOW)
    assert (run.log_dir, run.epoch) == (os.path.join("logs", "coco20171029T0705"), 0)


def test_path_objects(tmp_path):
    run = run_folder(tmp_path, "a", tmp_path / "a20200101T0000" / "mask_rcnn_a_0004.h5")
    assert (run.log_dir, run.epoch) == (str(tmp_path / "a20200101T0000"), 4)


def test_nothing_is_made_on_disk(tmp_path):
    run_folder(str(tmp_path / "logs"), "a")
    assert list(tmp_path.iterdir()) == []


# === Names ===


@pytest.mark.parametrize("name", ["a/b", "", None])
def test_a_name_that_no_run_has(tmp_path, name):
    with pytest.raises(ValueError, match="NAME is "):
        check_name(tmp_path, name)


@pytest.mark.parametrize("parent", ["", "logs", "logs/deep"])
def test_a_name_that_the_file_system_refuses(tmp_path, monkeypatch, parent):
    """As one of a disk that takes shorter names or no such letters."""

    def lstat(path):
        if "é" in os.path.basename(path):
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), path)
        return stat(path)

    stat = os.lstat
    monkeypatch.setattr(os, "lstat", lstat)
    check_name(tmp_path / parent, "e")
    with pytest.raises(ValueError, match=f"NAME is 'É'.*{tmp_path} refuses .*éx?.*take another"):
        check_name(tmp_path / parent, "É")
    assert not list(tmp_path.iterdir())


def test_a_path_that_is_too_long(tmp_path):
    deep = os.path.join(tmp_path, *["d" * 200] * 19)
    with pytest.raises(ValueError, match="NAME is 'aaa.*too long"):
        check_name(deep, "a" * 200)


@pytest.mark.parametrize("name", ["größe", "模型", "My cells {2}", "👩‍🔬"])
def test_a_run_of_any_script(tmp_path, name):
    check_name(tmp_path, name)
    first = begin(tmp_path, name, NOW)
    assert find_last_checkpoint(tmp_path, name) == first
    folder = run_folder(tmp_path, name, first)
    assert (folder.epoch, folder.is_new) == (1, False)
    assert folder.checkpoint_path.format(epoch=1) == first


# === A folder of its own ===


def test_a_minute_that_is_taken_gives_way_to_the_next_free_one(tmp_path):
    """Across midnight and the end of the year, and past a file of that name."""
    last = datetime.datetime(2017, 12, 31, 23, 58)
    times = [claim(run_folder(tmp_path, "A", now=last)).time for _ in range(2)]
    (tmp_path / "a20180101T0000").write_text("")
    times.append(claim(run_folder(tmp_path, "a", now=last)).time)
    assert times == ["20171231T2358", "20171231T2359", "20180101T0001"]
    assert claim(run_folder(tmp_path, "ab", now=last)).time == times[0]  # of another name


def test_runs_that_chose_one_minute_get_a_folder_each(tmp_path):
    """The minute was free when each of them looked."""
    chosen = [run_folder(tmp_path / "logs", "a", now=NOW) for _ in range(40)]
    assert len({folder.log_dir for folder in chosen}) == 1
    with ThreadPoolExecutor(20) as pool:
        claimed = list(pool.map(claim, chosen))
    assert len({folder.log_dir for folder in claimed}) == 40
    assert sorted(os.listdir(tmp_path / "logs")) == [
        f"a20171029T07{5 + minute:02}" for minute in range(40)
    ]
    assert not any(folder.is_new for folder in claimed)


def test_only_the_folder_of_the_checkpoint_itself_is_gone_on_in(tmp_path, monkeypatch):
    """A checkpoint of another NAME or place is where a new run starts, and its minute may be taken
    by a run that started from it before.
    """
    make(
        tmp_path,
        "logs/a20171029T0705/mask_rcnn_a_0003.h5",
        "logs/b20171029T0705/mask_rcnn_b_0004.h5",
        "else/a20171029T0705/mask_rcnn_a_0003.h5",
    )
    logs, path = tmp_path / "logs", "a20171029T0705/mask_rcnn_a_0003.h5"
    assert not run_folder(logs, "a", logs / path).is_new
    monkeypatch.chdir(logs)
    assert not run_folder(logs, "a", path).is_new
    os.symlink(logs, tmp_path / "link")
    assert not run_folder(logs, "a", tmp_path / "link" / path).is_new
    for name, start in (("b", logs / path), ("a", tmp_path / "else" / path)):
        folder = run_folder(logs, name, start)
        assert (folder.time, folder.epoch, folder.is_new) == ("20171029T0706", 3, True)


def test_a_parent_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "logs").write_text("")
    with pytest.raises(OSError):
        claim(run_folder(tmp_path / "logs", "a"))


def test_braces_in_a_path_are_not_the_epochs(tmp_path):
    folder = run_folder(tmp_path / "{x}", "a{b}", now=NOW)
    assert folder.checkpoint_path.format(epoch=3) == str(
        tmp_path / "{x}" / "a{b}20171029T0705" / "mask_rcnn_a{b}_0003.h5"
    )


# === The last run ===


def begin(root, name, now):
    """A run with a checkpoint, begun when the clock says ``now``; the path of the checkpoint."""
    began = next_beginning(root, name)
    folder = claim(run_folder(root, name, now=now))
    config = type("RunConfig", (Config,), {"NAME": name})()
    save_config(folder.log_dir, config, began=began)
    path = folder.checkpoint_path.format(epoch=1)
    make(root, os.path.relpath(path, root))
    return path


SUMMER, WINTER = datetime.datetime(2026, 10, 25, 2, 50), datetime.datetime(2026, 10, 25, 2, 10)


def test_the_last_run_is_the_one_that_began_last_whatever_the_clock_says(tmp_path):
    times = [SUMMER, WINTER, SUMMER, datetime.datetime(2001, 1, 1), WINTER]
    for time in times:
        path = begin(tmp_path, "a", time)
        assert find_last_checkpoint(tmp_path, "a") == path


def test_a_clock_that_is_set_back_under_the_record_too(tmp_path, monkeypatch):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2001, 1, 1, 12, 0, 0, 5, tz)

    first = begin(tmp_path, "a", SUMMER)
    monkeypatch.setattr("mrcnn.training.run_folder.datetime.datetime", Clock)
    ends = [begin(tmp_path, "a", None) for _ in range(3)]
    assert [os.path.basename(os.path.dirname(end)) for end in ends] == [
        "a20010101T1200",
        "a20010101T1201",
        "a20010101T1202",
    ]
    monkeypatch.undo()
    assert find_last_checkpoint(tmp_path, "a") == ends[-1] != first


def test_copies_and_new_names_of_folders_change_no_order(tmp_path):
    import shutil

    first, last = (os.path.dirname(begin(tmp_path / "logs", "a", now)) for now in (SUMMER, WINTER))
    shutil.copytree(tmp_path / "logs", tmp_path / "copy", copy_function=shutil.copyfile)
    os.utime(tmp_path / "copy" / os.path.basename(first))
    assert os.path.basename(last) in find_last_checkpoint(tmp_path / "copy", "a")
    os.rename(first, tmp_path / "logs" / "a_best")
    assert os.path.basename(last) in find_last_checkpoint(tmp_path / "logs", "a")


def test_runs_of_the_original_are_in_the_order_of_their_names(tmp_path):
    """Beside recorded ones as well, whose place among them their beginning gives."""
    for name in ("a20200102T0000", "a20200101T0000", "a_best"):
        make(tmp_path, f"{name}/mask_rcnn_a_0001.h5")
    assert "a_best" in find_last_checkpoint(tmp_path, "a")
    path = begin(tmp_path, "a", datetime.datetime(2010, 1, 1))
    assert find_last_checkpoint(tmp_path, "a") == path
    os.rename(tmp_path / "a_best", tmp_path / "a29990101T0000")
    assert "a2999" in find_last_checkpoint(tmp_path, "a")
    path = begin(tmp_path, "a", SUMMER)
    assert find_last_checkpoint(tmp_path, "a") == path


def test_a_file_of_settings_without_the_record_tells_its_first_use(tmp_path):
    paths = [begin(tmp_path, "a", now) for now in (SUMMER, WINTER)]
    for path, time in zip(paths, ("02:50:00+02:00", "02:10:00+01:00")):
        file = os.path.join(os.path.dirname(path), "config.json")
        with open(file) as stream:
            content = json.load(stream)
        del content["began"]
        content["uses"][0]["time"] = f"2026-10-25T{time}"
        with open(file, "w") as stream:
            json.dump(content, stream)
    assert find_last_checkpoint(tmp_path, "a") == paths[1]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"config": {}, "uses": []}', '{"config": {}, "uses": [{"time": 3}]}']
)
def test_a_damaged_file_of_settings_leaves_the_name(tmp_path, text):
    make(tmp_path, "a20200102T0000/mask_rcnn_a_0001.h5", "a20200101T0000/mask_rcnn_a_0001.h5")
    (tmp_path / "a20200101T0000" / "config.json").write_text(text)
    assert "a20200102T0000" in find_last_checkpoint(tmp_path, "a")


def test_last_checkpoint_of_the_newest_run(tmp_path):
    make(
        tmp_path,
        "coco20200101T0000/mask_rcnn_coco_0009.h5",
        "coco20200102T0000/mask_rcnn_coco_0002.h5",
        "coco20200102T0000/mask_rcnn_coco_0010.h5",
        "coco20200102T0000/z.txt",
        "coco20200102T0000/mask_rcnn_coco.csv",
        "zebra20300101T0000/mask_rcnn_zebra_0001.h5",
    )
    assert find_last_checkpoint(str(tmp_path), "COCO") == str(
        tmp_path / "coco20200102T0000/mask_rcnn_coco_0010.h5"
    )


def test_run_that_died_in_its_first_epoch_is_passed_over(tmp_path):
    make(tmp_path, "coco20200101T0000/mask_rcnn_coco_0001.h5", "coco20200102T0000/events.out")
    assert find_last_checkpoint(str(tmp_path), "coco").endswith(
        "coco20200101T0000/mask_rcnn_coco_0001.h5"
    )


def test_a_name_that_starts_another(tmp_path):
    make(
        tmp_path,
        "coco20200101T0000/mask_rcnn_coco_0001.h5",
        "coco_people20250101T0000/mask_rcnn_coco_people_0001.h5",
        "coco220250101T0000/mask_rcnn_coco2_0001.h5",
    )
    assert "coco20200101T0000" in find_last_checkpoint(str(tmp_path), "coco")


def test_renamed_folder_is_found(tmp_path):
    make(tmp_path, "coco_best/mask_rcnn_coco_0005.h5")
    assert find_last_checkpoint(str(tmp_path), "coco").endswith("mask_rcnn_coco_0005.h5")


def test_file_named_like_a_run_is_no_run(tmp_path):
    make(tmp_path, "coco20200101T0000", "coco20190101T0000/mask_rcnn_coco_0005.h5")
    assert "coco20190101T0000" in find_last_checkpoint(str(tmp_path), "coco")


@pytest.mark.parametrize(
    "files, message",
    [
        ((), "no run of 'coco' was found"),
        (("coco20200101T0000/x.txt",), "1 runs of 'coco' have no whole checkpoint"),
    ],
)
def test_no_checkpoint(tmp_path, files, message):
    make(tmp_path, *files)
    with pytest.raises(FileNotFoundError, match=message) as caught:
        find_last_checkpoint(str(tmp_path), "coco")
    assert caught.value.errno == errno.ENOENT and str(tmp_path) in str(caught.value)


def test_missing_folder_of_runs(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run"):
        find_last_checkpoint(str(tmp_path / "never"), "coco")


# === Damaged files ===


def run_state(checkpoint=None, **fields):
    """A small `RunState`, of a checkpoint on the disk or of none."""
    values = dict(
        epoch=7,
        batches=14,
        data={"seed": 5},
        stage={"layers": "heads"},
        stage_ended=False,
        stages=[],
        best={"val_loss": float("nan")},
        callbacks=[],
        config={"NAME": "coco"},
        weights="00",
        checkpoint=file_facts(checkpoint) if checkpoint else {},
        optimizer={
            "iteration": np.int64(4),
            "conv1/kernel_momentum": np.random.RandomState(0).randn(30, 40),
        },
        random={"drop": np.array([3, 4])},
    )
    return RunState(**{**values, **fields})


RUN = "coco20200102T0000/mask_rcnn_coco_{:04d}.h5"


@pytest.fixture
def three(tmp_path):
    """The paths of three epochs with their state files."""
    names = [RUN.format(epoch) for epoch in (1, 2, 3)]
    make(tmp_path, *names)
    (tmp_path / "coco20200102T0000" / "config.json").write_text("{}")
    paths = [str(tmp_path / name) for name in names]
    for epoch, path in enumerate(paths, 1):
        save_state(state_path(path), run_state(path, epoch=epoch))
    return paths


def cut(path):
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) * 2 // 3)


def flip(path):
    """Change a byte of the data, which no reader of HDF5 notices."""
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 255]))


def empty(path):
    with open(path, "wb"):
        pass


def test_state_comes_back(tmp_path):
    state = run_state(
        best={"val_segm_AP": 0.25},
        callbacks=[{"class": "EarlyStopping", "attributes": {"wait": 2}}],
    )
    path = str(tmp_path / "a.state.npz")
    save_state(path, state)
    read = load_state(path)
    for name, value in vars(state).items():
        if name in ("optimizer", "random"):
            assert set(getattr(read, name)) == set(value)
            for key, array in value.items():
                np.testing.assert_array_equal(getattr(read, name)[key], array)
                assert getattr(read, name)[key].dtype == np.asarray(array).dtype
        else:
            assert getattr(read, name) == value, name


def test_a_name_for_a_state():
    assert state_path("logs/x/mask_rcnn_coco_0007.h5") == "logs/x/mask_rcnn_coco_0007.state.npz"


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_state_is_an_error(tmp_path, damage):
    path = str(tmp_path / "a.state.npz")
    save_state(path, run_state())
    damage(path)
    with pytest.raises(ValueError, match=r"a\.state\.npz is damaged or cut short"):
        load_state(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_state_of_values_that_are_no_numbers_is_an_error(tmp_path, value):
    path = str(tmp_path / "a.state.npz")
    slots = {"conv1_kernel_momentum": np.array([0, 1, value], np.float32)}
    save_state(path, run_state(optimizer=slots))
    with pytest.raises(ValueError, match=r"a\.state\.npz has .* NaN .*1 \(conv1_kernel_momentum\)"):
        load_state(path)
    # of float16, whose update will be skipped
    save_state(path, run_state(optimizer={"conv1_kernel_gradient_sum": np.array([value])}))
    load_state(path)


def test_checkpoints_with_nan_are_passed_over(tmp_path, three):
    layers = [("conv1", [("conv1/kernel:0", np.array([np.nan], np.float32))])]
    write_h5(three[2], layers)
    os.remove(state_path(three[2]))
    save_state(state_path(three[1]), run_state(three[1], optimizer={"a": np.array([np.inf])}))
    with pytest.warns(UserWarning) as told:
        assert find_last_checkpoint(tmp_path, "coco", with_state=True) == three[0]
    told = " ".join(str(warning.message) for warning in told)
    assert "values that are NaN or infinite (as float32) in 1 (conv1/kernel:0)" in told
    assert "in 1 (a)" in told


def test_no_state_and_a_later_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="no state file"):
        load_state(str(tmp_path / "a.state.npz"))
    np.savez(tmp_path / "a.state.npz", state=np.frombuffer(b'{"format": 99}', np.uint8))
    with pytest.raises(ValueError, match="another version"):
        load_state(str(tmp_path / "a.state.npz"))


def test_fingerprint_tells_bits_apart():
    ones = [np.ones(3, np.float32), np.zeros(2, np.float32)]
    assert fingerprint(ones) == fingerprint([array.copy() for array in ones])
    assert fingerprint(ones) != fingerprint([ones[0], -ones[1]])  # -0.0 is another number
    assert fingerprint(ones) != fingerprint(ones[::-1])


@pytest.mark.parametrize("damage", [cut, flip, empty], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("with_state", [False, True])
def test_a_damaged_checkpoint_is_passed_over_and_told(tmp_path, three, damage, with_state):
    assert what_is_wrong(three[2]) is None
    damage(three[2])
    with pytest.warns(UserWarning, match=r"mask_rcnn_coco_0003\.h5 is passed over: it(s| has)"):
        assert find_last_checkpoint(str(tmp_path), "coco", with_state) == three[1]


def test_a_checkpoint_without_state_that_is_cut_short(tmp_path, three):
    for path in three:
        os.remove(state_path(path))
    cut(three[2])
    with pytest.warns(UserWarning, match="0003.h5 is passed over: .*cut short"):
        assert find_last_checkpoint(str(tmp_path), "coco") == three[1]


@pytest.mark.parametrize(
    "damage, message",
    [(cut, "damaged or cut short"), (os.remove, "no state file, so it ends no epoch")],
)
def test_an_epoch_is_over_when_its_state_is_there(tmp_path, three, damage, message, recwarn):
    damage(state_path(three[2]))
    assert find_last_checkpoint(str(tmp_path), "coco") == three[2] and not recwarn  # to detect with
    with pytest.warns(UserWarning, match=f"0003.h5 is passed over: .*{message}"):
        # to go on from
        assert find_last_checkpoint(str(tmp_path), "coco", with_state=True) == three[1]


def test_weights_without_any_whole_state_are_better_than_nothing(tmp_path, three):
    for path in three:
        cut(state_path(path))
    with pytest.warns(UserWarning, match="0003.h5 is taken all the same"):
        assert find_last_checkpoint(str(tmp_path), "coco", with_state=True) == three[2]


def test_a_first_epoch_that_did_not_end_is_begun_again(tmp_path):
    """Weights alone would go on without their momentum: not as if nothing had happened."""
    make(tmp_path, RUN.format(1))
    (tmp_path / "coco20200102T0000" / "config.json").write_text("{}")
    with pytest.warns(UserWarning, match="ends no epoch"):
        with pytest.raises(FileNotFoundError, match="no whole checkpoint"):
            find_last_checkpoint(str(tmp_path), "coco", with_state=True)
    assert find_last_checkpoint(str(tmp_path), "coco").endswith("0001.h5")


def test_deleted_states_leave_the_weights(tmp_path, three):
    for path in three:
        os.remove(state_path(path))
    with pytest.warns(UserWarning, match="0002.h5 is taken all the same"):
        assert find_last_checkpoint(str(tmp_path), "coco", with_state=True) == three[1]


def test_a_run_of_the_original_has_no_states(tmp_path, recwarn):
    make(tmp_path, RUN.format(1), RUN.format(2))
    assert (
        find_last_checkpoint(str(tmp_path), "coco", with_state=True).endswith("0002.h5")
        and not recwarn
    )


def test_nothing_whole(tmp_path, three):
    for path in three:
        empty(path)
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(FileNotFoundError, match="no whole checkpoint"),
    ):
        find_last_checkpoint(str(tmp_path), "coco")


def test_best_weights_are_no_checkpoint(tmp_path, three):
    make(
        tmp_path,
        "coco20200102T0000/mask_rcnn_coco_best.h5",
        "coco20200102T0000/mask_rcnn_coco_10000.h5",
    )
    folder = tmp_path / "coco20200102T0000"
    assert checkpoints(str(folder)) == [*three, str(folder / "mask_rcnn_coco_10000.h5")]
    assert find_last_checkpoint(str(tmp_path), "coco").endswith("_10000.h5")
    assert run_folder(str(tmp_path), "coco", str(folder / "mask_rcnn_coco_10000.h5")).epoch == 10000
    assert run_folder(str(tmp_path), "coco", str(folder / "mask_rcnn_coco_best.h5")).epoch == 0
