"""Fonts for names in every script."""

import warnings

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager

from mrcnn.data import fonts
from mrcnn.data.drawing import draw_instances
from mrcnn.data.fonts import drawable, font_file, load_font, use_fonts_that_show

LATIN, ARABIC, CHINESE = "Bär é Ж", "قط", "猫"


@pytest.fixture
def installed(monkeypatch):
    """A function that makes fonts the only ones that are installed; none at first."""
    for function in (fonts._installed, fonts._warn, fonts._characters):
        function.cache_clear()
    monkeypatch.setattr(fontManager, "ttflist", [])
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    yield lambda *entries: monkeypatch.setattr(fontManager, "ttflist", list(entries))
    for function in (fonts._installed, fonts._warn, fonts._characters):
        function.cache_clear()


@pytest.fixture(scope="module")
def cat_font(tmp_path_factory):
    """A font whose only picture is that of the Chinese character for cat: a square."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pens = pytest.importorskip("fontTools.pens.ttGlyphPen")

    def square(side):
        pen = pens.TTGlyphPen(None)
        pen.moveTo((0, 0))
        for point in ((0, side), (side, side), (side, 0)):
            pen.lineTo(point)
        pen.closePath()
        return pen.glyph()

    names = [".notdef", "cat", "space"]
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(CHINESE): "cat", ord(" "): "space", ord("9"): "cat"})
    builder.setupGlyf({".notdef": square(100), "cat": square(800), "space": square(1)})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Cats", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path = str(tmp_path_factory.mktemp("fonts") / "cats.ttf")
    builder.save(path)
    return FontEntry(fname=path, name="Cats", style="normal", weight=400)


def picture(name, labels=True):
    masks = np.zeros((90, 90, 1), bool)
    masks[60:80, 20:60] = True
    image = np.zeros((90, 90, 3), np.uint8)
    boxes = np.array([[60, 20, 80, 60]])
    return draw_instances(image, boxes, masks, [1], ["BG", name], labels=labels)


def label(name):
    """The part of a picture where its label is."""
    drawn, without = picture(name), picture(name, labels=False)
    rows, columns = np.nonzero((drawn != without).any(axis=2))
    return drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@pytest.mark.parametrize("text", ["cat", LATIN, ARABIC])
def test_the_default_font_does(installed, text):
    assert font_file(text) == (None, True)


def test_a_font_that_is_installed(installed, cat_font):
    assert font_file(CHINESE) == (None, False)
    fonts._installed.cache_clear()
    installed(cat_font)
    assert font_file(CHINESE) == (cat_font.fname, True)
    assert font_file(CHINESE + " 9") == (cat_font.fname, True)
    assert font_file(CHINESE + "犬") == (None, False)


def test_a_font_that_is_made_for_screens_is_preferred(installed, cat_font):
    others = [FontEntry(fname=cat_font.fname, name=name) for name in ("Serif", "Noto Sans CJK JP")]
    installed(*others)
    assert fonts._installed(frozenset(CHINESE)) == (cat_font.fname, "Noto Sans CJK JP")


def test_a_font_that_was_installed_later(installed, cat_font, monkeypatch):
    """matplotlib reads the list of fonts from a file that it made at its first start."""
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [cat_font.fname])
    assert font_file(CHINESE) == (cat_font.fname, True)
    assert [entry.name for entry in fontManager.ttflist] == ["Cats"]


def test_the_font_of_last_resort_is_none(installed, cat_font):
    """Its pictures name the script of a character."""
    installed(FontEntry(fname=cat_font.fname, name="Last Resort High-Efficiency"))
    assert font_file(CHINESE) == (None, False)


def test_a_damaged_font_is_passed_over(installed, cat_font, tmp_path):
    (tmp_path / "damaged.ttf").write_bytes(b"no font")
    damaged = FontEntry(fname=str(tmp_path / "damaged.ttf"), name="Noto Sans")
    gone = FontEntry(fname=str(tmp_path / "gone.ttf"), name="Noto Sans")
    installed(damaged, gone, cat_font)
    assert font_file(CHINESE) == (cat_font.fname, True)


def test_a_label_is_drawn_with_it(installed, cat_font):
    installed(cat_font)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = label(CHINESE)
    size = drawn.shape[0]
    # the font's square, and not the outline that stands for a missing character
    inner = drawn[size // 2 - 2 : size // 2 + 2, 4:8].astype(int)
    assert np.ptp(inner.reshape(-1, 3), axis=0).max() == 0
    assert (inner[0, 0] != drawn[0, 0]).any()


def test_without_a_font_the_class_has_a_number(installed):
    with pytest.warns(UserWarning, match="no font on this machine has.*'猫'.*say 'class 1'"):
        drawn = label(CHINESE)
    np.testing.assert_array_equal(drawn, label("class 1"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        label(CHINESE)
    with pytest.warns(UserWarning):
        assert drawable("犬", "class 2") == "class 2"


def test_names_with_line_ends_and_escapes_are_one_line(installed):
    np.testing.assert_array_equal(label("a\nb\x1b"), label(r"a\nb\x1b"))


def test_texts_of_figures(installed, cat_font):
    installed(cat_font)
    figure = Figure()
    ax = figure.add_subplot()
    texts = [ax.text(0, 0, text) for text in ("cat", LATIN, CHINESE)]
    plain = texts[0].get_fontfamily()
    use_fonts_that_show(figure)
    assert texts[0].get_fontfamily() == plain
    assert texts[1].get_fontfamily() == ["DejaVu Sans"]
    assert texts[2].get_fontfamily() == ["DejaVu Sans", "Cats"]
    use_fonts_that_show(texts[2])


def test_the_font_of_matplotlib_where_the_system_has_none(monkeypatch):
    monkeypatch.setattr(fonts, "DEFAULT", "DejaVuSans-Bold.ttf")
    assert load_font(20).getname()[0] == "DejaVu Sans"
    from PIL import ImageFont

    real = ImageFont.truetype
    monkeypatch.setattr(
        ImageFont, "truetype", lambda path, size: real(path, size) if "mpl-data" in path else gone()
    )
    assert load_font(20).getname() == ("DejaVu Sans", "Bold")


def gone():
    raise OSError("cannot open resource")
