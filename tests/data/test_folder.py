"""Folders of images, and the function that decodes them."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lenext
from lenext.data import images
from lenext.data.image_files import ImageFiles
from lenext.data.images import decode_image, read_image
from lenext.foundation.errors import DataError

Photos = Callable[..., Path]


def test_three_splits_under_their_other_names(photos: Photos) -> None:
    root = photos("Training/up", "Training/down", "valid/up", "valid/down", "testing/up", "testing/down")
    data = lenext.load(root)
    assert data.classes == ("down", "up")
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 20, "validation": 20, "test": 20}
    assert data.shape == (3, 224, 224)
    assert data.train.ids[0] == "Training/down/00.png"
    assert data.flip_invariant


def test_train_and_val_make_val_the_test_set_and_say_so(photos: Photos) -> None:
    data = lenext.load(photos("train/up", "train/down", "val/up", "val/down"), image_size=16)
    assert data.validation is None
    assert data.test is not None
    assert any("val is the test set" in note for note in data.notes)


def test_a_flat_folder_of_classes(photos: Photos) -> None:
    data = lenext.load(photos("up", "down"), image_size=16)
    assert list(data.splits()) == ["train"]
    assert data.train.ids[-1] == "up/09.jpg"


def test_grey_images_stay_grey_and_of_one_size_stay_so(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(np.full((20, 30), 40 * number, np.uint8)).save(tmp_path / name / f"{number}.png")
    data = lenext.load(tmp_path)
    assert data.shape == (1, 20, 30)
    assert not data.flip_invariant


def test_files_and_memory_give_the_same_pixels(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photos("up", "down")
    loaded = lenext.load(root, image_size=24)
    monkeypatch.setattr("lenext.data.folder.MAX_BYTES_IN_MEMORY", 0)
    lazy = lenext.load(root, image_size=24)
    rows = torch.tensor([3, 0, 19])
    assert isinstance(lazy.train.images, ImageFiles)
    assert lazy.shape == loaded.shape
    assert torch.equal(lazy.train.images[rows], loaded.train.images[rows])
    assert torch.equal(lazy.train.take(rows).images[torch.tensor([1])], loaded.train.images[rows[1:2]])
    assert lazy.normalization.mean == pytest.approx(loaded.normalization.mean)


def test_hidden_folders_and_other_files_are_left_out(photos: Photos) -> None:
    root = photos("up", "down")
    (root / ".ipynb_checkpoints").mkdir()
    (root / "up" / ".hidden.png").write_bytes(b"x")
    (root / "up" / "notes.txt").write_text("x")
    data = lenext.load(root, image_size=8)
    assert data.classes == ("down", "up")
    assert any("notes.txt" in note for note in data.notes)


def test_a_class_that_val_lacks_is_said_and_one_that_train_lacks_refused(photos: Photos) -> None:
    data = lenext.load(photos("train/up", "train/down", "val/up"), image_size=8)
    assert any("val has no images of: down" in note for note in data.notes)
    assert data.test is not None
    assert data.test.labels.unique().tolist() == [1]
    with pytest.raises(DataError, match="class 'left' is not one of the training data's: down, up"):
        lenext.load(photos("train/up", "train/down", "val/left", root="other"), image_size=8)


def test_too_few_classes_or_images(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only the class 'up'"):
        lenext.load(photos("up", root="one"))
    root = photos("up", "down", root="two")
    (root / "left").mkdir()
    with pytest.raises(DataError, match=r"left: no image in it"):
        lenext.load(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        lenext.load(tmp_path / "empty")
    with pytest.raises(DataError, match="no train folder"):
        lenext.load(photos("val/up", "val/down", root="three"))


def broken(root: Path, kind: str) -> Path:
    """Put one broken image among the good ones."""
    good = (root / "up" / "00.png").read_bytes()
    path = root / "up" / "zz.png"
    content = {"rubbish": b"not an image", "cut": good[: len(good) // 2], "empty": b""}
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("kind", ["rubbish", "cut", "empty"])
def test_a_broken_image_is_named_or_left_out(
    photos: Photos, kind: str, lazy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos("up", "down")
    path = broken(root, kind)
    if lazy:
        monkeypatch.setattr("lenext.data.folder.MAX_BYTES_IN_MEMORY", 0)
    if not (lazy and kind == "cut"):  # found when it is first decoded
        with pytest.raises(DataError, match=r"zz\.png.*--on-bad-image skip"):
            lenext.load(root, image_size=8)
    data = lenext.load(root, image_size=8, on_bad_image="skip")
    assert len(data.train) == 20
    assert str(path) not in data.train.ids
    assert any("left out" in note and "zz.png" in note for note in data.notes)


def test_a_bomb_of_an_image_is_refused_unread(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", {})
    monkeypatch.setattr(images, "MAX_PIXELS_DEFAULT", 2000)
    with pytest.raises(DataError, match=r"pixels are more than the 2,000 allowed"):
        lenext.load(photos("up", "down"))


def saved(tmp_path: Path, image: Image.Image, name: str = "p.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)  # type: ignore[arg-type]
    return tmp_path / name


BASE = Image.fromarray(np.tile(np.linspace(0, 255, 40, dtype=np.uint8)[None, :, None], (40, 1, 3)))


@pytest.mark.parametrize(
    ("mode", "name", "tolerance"),
    [
        ("L", "p.png", 1), ("RGB", "p.jpg", 4), ("RGB", "p.webp", 8), ("RGB", "p.bmp", 1), ("CMYK", "p.jpg", 8),
        ("P", "p.png", 2), ("P", "p.gif", 2), ("RGBA", "p.png", 1), ("LA", "p.png", 1), ("I;16", "p.png", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_the_same_image(tmp_path: Path, mode: str, name: str, tolerance: int, channels: int) -> None:
    image = BASE.quantize(256) if mode == "P" else BASE.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    pixels = read_image(saved(tmp_path, image, name), channels, (40, 40))
    assert pixels.shape == (channels, 40, 40)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.asarray(BASE).transpose(2, 0, 1)[:channels]).mean() <= tolerance


def test_transparent_images_are_put_on_white(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    assert read_image(saved(tmp_path, clear), 3, (10, 10)).min() == 255


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    turned = saved(tmp_path, BASE, "p.jpg", exif=exif, quality=95)
    pixels = read_image(turned, 1, (40, 40))[0].astype(int)
    assert np.abs(pixels - np.rot90(np.asarray(BASE)[:, :, 0].astype(int), -1)).mean() < 4


def test_the_first_frame_of_a_gif(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (200, 10)]
    path = saved(tmp_path, frames[0], "p.gif", save_all=True, append_images=frames[1:])
    assert read_image(path, 1, (8, 8)).min() == 200


def test_cropping_takes_the_centre_and_padding_keeps_the_whole(tmp_path: Path) -> None:
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 200
    path = saved(tmp_path, Image.fromarray(wide))
    assert read_image(path, 1, (20, 20)).min() == 200
    padded = read_image(path, 1, (60, 60), "pad")[0]
    assert np.array_equal(padded[20:40], wide)
    assert padded[:20].max() == padded[40:].max() == 0


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    path = saved(tmp_path, BASE, "p.tiff")
    path.rename(tmp_path / "p.png")
    with pytest.raises(DataError, match="not an image of the formats"):
        read_image(tmp_path / "p.png", 3, (8, 8))
    with pytest.raises(DataError, match="there is no such image"):
        read_image(tmp_path / "missing.png", 3, (8, 8))


def test_mutated_images_raise_only_our_error(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        good = io.BytesIO()
        BASE.save(good, format)
        for _ in range(60):
            content = bytearray(good.getvalue())
            for place in draw.integers(0, len(content), 4):
                content[place] = draw.integers(0, 256)
            (tmp_path / "m").write_bytes(content[: draw.integers(1, len(content) + 1)])
            try:
                read_image(tmp_path / "m", 3, (8, 8))
            except DataError as error:
                assert "\n" not in str(error)


def test_a_separate_test_set_leaves_val_for_validation(photos: Photos) -> None:
    root = photos("train/up", "train/down", "val/up", "val/down")
    test_root = photos("up", "down", count=3, root="other")
    data = lenext.load(root, test=test_root, image_size=8)
    assert {name: len(split) for name, split in data.splits().items()} == {"train": 20, "validation": 20, "test": 6}
    assert data.test is not None
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_digits_and_letters_are_not_mirrored(photos: Photos) -> None:
    assert not lenext.load(photos("7", "12"), image_size=8).flip_invariant
    assert lenext.load(photos("cat", "dog", root="pets"), image_size=8).flip_invariant


def test_a_class_may_be_called_train(photos: Photos) -> None:
    assert lenext.load(photos("train", "car", "bus"), image_size=8).classes == ("bus", "car", "train")


def test_an_image_far_from_the_shape_of_the_others_is_refused(tmp_path: Path) -> None:
    Image.new("L", (1, 400_000)).save(tmp_path / "long.png")  # 224 x 400,000 pixels between the passes
    with pytest.raises(DataError, match="too far from the shape of 224 x 224"):
        read_image(tmp_path / "long.png", 1, (224, 224))
    assert read_image(tmp_path / "long.png", 1, (8, 8)).shape == (1, 8, 8)


def test_an_orientation_that_is_no_number_is_upright(tmp_path: Path) -> None:
    entry = struct.pack("<HHI4s", 0x0112, 2, 2, b"6\0")  # two characters instead of a number
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    Image.linear_gradient("L").resize((9, 5)).save(tmp_path / "odd.jpg", exif=exif)
    assert decode_image(tmp_path / "odd.jpg", 1, (5, 9)).orientation == 1
