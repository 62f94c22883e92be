"""Images from files that are whole, damaged, hostile, half downloaded, and real."""
from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medxai.core.errors import ContentError, CorruptFileError, MissingFileError, OptionError
from medxai.data.files import KnownFile, locate, safe_members
from medxai.data.images import IMAGE_SETS, ImageDataset, first_available, load_images
from medxai.data.readers import MEDNIST_COUNTS, MEDNIST_FILE, mednist_part, read_mednist
from medxai.data.splits import resized

PARTS = ("train", "val", "test")


@pytest.fixture(autouse=True)
def _nothing_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, no data folder, and loopback without a proxy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MEDXAI_DATA", raising=False)


# ------------------------------------------------------------------ downloads

CONTENT = bytes(range(256)) * 4096
KNOWN = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Site(BaseHTTPRequestHandler):
    """/cut ends in the middle on the first request, /other sends other bytes, /gone is not there."""

    seen: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        if self.path == "/gone": return self.send_error(404)
        first = self.path not in self.seen
        self.seen.add(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = CONTENT[::-1] if self.path == "/other" else CONTENT
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" and first else body)
        return None

    def log_message(self, *_: object) -> None: pass


@pytest.fixture
def site() -> Iterator[str]:
    Site.seen = set()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_interrupted_download_leaves_nothing_and_the_next_one_succeeds(site: str, tmp_path: Path) -> None:
    file = KnownFile("some/file.bin", f"{site}/cut", (KNOWN,), 1)
    with pytest.raises(MissingFileError, match=r"file\.bin: found nowhere \(the download failed: \w+\).*put it at"):
        locate(file, tmp_path / "root", progress=False)
    assert files_below(tmp_path) == []
    path = locate(file, tmp_path / "root", progress=False)
    assert path == tmp_path / "root/some/file.bin"
    assert files_below(tmp_path) == [path]
    assert path.read_bytes() == CONTENT


def test_a_download_with_another_checksum_is_not_kept(site: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match=r"/other: found another checksum, expected md5:\w+\. Nothing was kept"):
        locate(KnownFile("file.bin", f"{site}/other", (KNOWN,), 1), tmp_path, progress=False)
    assert files_below(tmp_path) == []


def test_a_file_that_is_gone_is_reported_with_its_address(site: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"HTTPError.*Fetch it from http://127\.0\.0\.1:\d+/gone"):
        locate(KnownFile("file.bin", f"{site}/gone", (KNOWN,), 1), tmp_path, progress=False)
    assert files_below(tmp_path) == []


def test_without_a_root_a_download_goes_to_the_cache_and_is_found_there(site: str, tmp_path: Path) -> None:
    file = KnownFile("file.bin", f"{site}/whole", (KNOWN,), 1)
    path = locate(file, progress=False)
    assert path.is_relative_to(tmp_path / "cache")
    assert locate(file, download=False) == path


def test_root_comes_before_the_data_folder_and_that_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDXAI_DATA", str(tmp_path / "data"))
    file = KnownFile("a/file.bin", "http://127.0.0.1:9/file.bin", (KNOWN,), 1)
    for folder in (tmp_path / "cache/medxai", tmp_path / "data", tmp_path / "root"):
        (folder / "a").mkdir(parents=True)
        (folder / "a/file.bin").write_bytes(CONTENT)
        assert locate(file, tmp_path / "root", download=False) == folder / "a/file.bin"


# ------------------------------------------------------------------ archives

def grey_level(number: int) -> int: return number // 40


def add_image(archive: tarfile.TarFile, kind: str, number: int) -> None:
    """A flat picture, which JPEG keeps exactly."""
    jpeg = io.BytesIO()
    Image.new("L", (64, 64), grey_level(number)).save(jpeg, "JPEG")
    info = tarfile.TarInfo(f"MedNIST/{kind}/{number:06d}.jpeg")
    info.size = jpeg.tell()
    archive.addfile(info, io.BytesIO(jpeg.getvalue()))


NUMBERS = range(0, 8954, 120)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mednist") / "MedNIST.tar.gz"
    with tarfile.open(path, "w:gz") as whole:
        for kind in MEDNIST_COUNTS:
            for number in NUMBERS: add_image(whole, kind, number)
    return path


def contents(path: Path, every: int) -> list[set[tuple[int, int]]]:
    """Label and grey level of the images of each split."""
    splits = read_mednist(path, every=every)
    return [set(zip(split.labels.tolist(), split.images[:, 0, 0, 0].tolist(), strict=True)) for split in splits]


@settings(deadline=None, max_examples=12)
@given(every=st.integers(1, 60), times=st.integers(1, 10))
def test_splits_are_disjoint_cover_everything_and_nest(archive: Path, every: int, times: int) -> None:
    splits, fewer = contents(archive, every), contents(archive, every * times)
    assert set.union(*splits) == {(label, grey_level(n)) for label in range(6) for n in NUMBERS if n % every == 0}
    assert sum(map(len, splits)) == len(set.union(*splits))
    assert all(few <= many for few, many in zip(fewer, splits, strict=True))


@given(kind=st.sampled_from(sorted(MEDNIST_COUNTS)), data=st.data())
def test_blocks_are_contiguous(kind: str, data: st.DataObject) -> None:
    low, high = sorted(data.draw(st.tuples(*[st.integers(0, MEDNIST_COUNTS[kind] - 1)] * 2)))
    assert PARTS.index(mednist_part(kind, low)) <= PARTS.index(mednist_part(kind, high))


@pytest.mark.parametrize(("name", "kind"), [
    ("MedNIST/../../CXR/000008.jpeg", tarfile.REGTYPE), ("/MedNIST/CXR/000008.jpeg", tarfile.REGTYPE),
    ("MedNIST/CXR/000008.jpeg", tarfile.SYMTYPE), ("MedNIST/CXR/000008.jpeg", tarfile.LNKTYPE)])
def test_a_hostile_archive_is_refused_and_nothing_is_written(tmp_path: Path, name: str, kind: bytes) -> None:
    path = tmp_path / "MedNIST.tar.gz"
    with tarfile.open(path, "w:gz") as hostile:
        add_image(hostile, "CXR", 0)
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        hostile.addfile(member)
    with pytest.raises(CorruptFileError, match=r"MedNIST\.tar\.gz: found the member .*(upwards|absolute|link).*Do not unpack"):
        read_mednist(path)
    assert files_below(tmp_path) == [path]


names = st.lists(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=5), min_size=1, max_size=4)


@given(parts=names, place=st.integers(0, 4))
def test_members_with_two_dots_are_refused_wherever_they_stand(parts: list[str], place: int) -> None:
    plain = tarfile.TarInfo("/".join(parts))
    assert [member.name for member in safe_members([plain], "x.tar")] == [plain.name]
    upwards = tarfile.TarInfo("/".join([*parts[:place], "..", *parts[place:]]))
    with pytest.raises(CorruptFileError): list(safe_members([upwards], "x.tar"))


# ------------------------------------------------------------------ whole sets from files made here

def md5(path: Path) -> str: return hashlib.md5(path.read_bytes()).hexdigest()


def medmnist_here(root: Path, monkeypatch: pytest.MonkeyPatch, name: str, labels: np.ndarray, channels: int = 1) -> Path:
    """A small file in MedMNIST's layout that counts as the published one."""
    from medmnist import INFO
    draw = np.random.default_rng(0)
    shape = (len(labels), 28, 28) if channels == 1 else (len(labels), 28, 28, channels)
    (root / "medmnist").mkdir(parents=True, exist_ok=True)
    path = root / f"medmnist/{name}.npz"
    np.savez(path, **{f"{part}_images": draw.integers(0, 256, shape, "u1") for part in PARTS},
             **{f"{part}_labels": labels for part in PARTS})
    monkeypatch.setitem(INFO[name], "MD5", md5(path))
    return path


@pytest.mark.parametrize(("name", "labels", "channels"), [
    ("breastmnist", np.eye(2)[:, :1], 1), ("retinamnist", np.arange(5)[:, None], 3),
    ("chestmnist", np.eye(14), 1), ("bloodmnist", np.arange(8)[:, None], 3)])
def test_medmnist_sets_arrive_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           name: str, labels: np.ndarray, channels: int) -> None:
    path = medmnist_here(tmp_path, monkeypatch, name, labels.astype("u1"), channels)
    data, published = load_images(name, tmp_path, download=False), np.load(path)
    for part in PARTS:
        split = getattr(data, part)
        images = published[f"{part}_images"]
        np.testing.assert_array_equal(split.images.movedim(1, -1).numpy().reshape(images.shape), images)
        np.testing.assert_array_equal(split.labels.reshape(len(split), -1), labels)
    assert split.labels.ndim == (2 if name == "chestmnist" else 1)
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ("several labels" in data.note, "grades" in data.note) == (name == "chestmnist", name == "retinamnist")


def test_labels_without_a_class_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medmnist_here(tmp_path, monkeypatch, "breastmnist", np.array([[0], [1], [7]], "u1"))
    with pytest.raises(ContentError, match=r"breastmnist train\.labels: found 0 to 7, expected 0 to 1"):
        load_images("breastmnist", tmp_path, download=False)


def test_mnist_in_the_official_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medxai.core.compatibility import ensure_torchvision
    ensure_torchvision()
    from torchvision.datasets import MNIST
    draw, raw = np.random.default_rng(0), tmp_path / "mnist/MNIST/raw"
    raw.mkdir(parents=True)
    arrays = [draw.integers(0, 256, (12, 28, 28), "u1"), np.arange(12, dtype="u1") % 10,
              draw.integers(0, 256, (3, 28, 28), "u1"), np.arange(3, dtype="u1")]
    for (name, _), array in zip(MNIST.resources, arrays, strict=True):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (raw / name).write_bytes(gzip.compress(head + array.tobytes()))
        (raw / name.removesuffix(".gz")).write_bytes(head + array.tobytes())
    monkeypatch.setattr(MNIST, "resources", [(name, md5(raw / name)) for name, _ in MNIST.resources])

    data = load_images("mnist", tmp_path, download=False)
    theirs, test = MNIST(tmp_path / "mnist"), MNIST(tmp_path / "mnist", train=False)
    assert torch.equal(torch.cat([data.train.images, data.val.images])[:, 0], theirs.data)
    assert torch.equal(torch.cat([data.train.labels, data.val.labels]), theirs.targets)
    assert torch.equal(data.test.images[:, 0], test.data)
    assert [len(getattr(data, part)) for part in PARTS] == [10, 2, 3]
    assert data.sha256 == hashlib.sha256(b"".join((raw / name).read_bytes() for name, _ in MNIST.resources)).hexdigest()
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    with pytest.raises(CorruptFileError, match=r"t10k-labels-idx1-ubyte\.gz: found md5"):
        load_images("mnist", tmp_path, download=False)


@pytest.mark.parametrize("name", [name for name in IMAGE_SETS if name != "digits"])
def test_a_missing_file_is_named_with_size_address_and_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFileError, match=r"about [\d.e+]+ MB\. Fetch it from https://\S+ and put it at .*root/\S+ or "):
        load_images(name, tmp_path / "root", download=False)


def test_the_first_set_that_can_be_had_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medmnist_here(tmp_path, monkeypatch, "breastmnist", np.array([[0], [1]], "u1"))
    medmnist_here(tmp_path, monkeypatch, "pneumoniamnist", np.array([[0], [1]], "u1")).write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="is not available") as said:
        data = first_available("mednist", "pneumoniamnist", "breastmnist", root=tmp_path, download=False)
    assert data.name == "breastmnist"
    assert [str(warning.message).split()[0] for warning in said] == ["mednist", "pneumoniamnist"]
    with pytest.raises(OptionError, match="Did you mean 'breastmnist'"): first_available("brestmnist")


@given(side=st.integers(1, 40), size=st.integers(1, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_resizing_stays_within_the_grey_levels(side: int, size: int, seed: int) -> None:
    images = torch.from_numpy(np.random.default_rng(seed).integers(50, 200, (3, 2, side, side), "u1"))
    small = resized(images, size)
    assert small.dtype == torch.uint8
    assert small.shape == (3, 2, size, size)
    assert images.min() <= small.min() <= small.max() <= images.max()


def test_the_digest_of_mednist_is_that_of_monai() -> None:
    from medxai.core.compatibility import ensure_torchvision
    ensure_torchvision()
    from monai.apps import MedNISTDataset
    assert MEDNIST_FILE.digests[0] == f"md5:{MedNISTDataset.md5}"
    assert MEDNIST_FILE.url == MedNISTDataset.resource


# ------------------------------------------------------------------ the real files

DATA = os.environ.get("MEDXAI_DATA")
real = pytest.mark.skipif(not DATA, reason="MEDXAI_DATA names no folder: the published files are not tried")


def real_set(name: str, **options: int) -> ImageDataset: return load_images(name, DATA, download=False, progress=False, **options)


@real
@pytest.mark.parametrize(("name", "sizes", "positive"), [
    ("pneumoniamnist", (4708, 524, 624), 390), ("breastmnist", (546, 78, 156), 114)])
def test_published_medmnist(name: str, sizes: tuple[int, ...], positive: int) -> None:
    data, published = real_set(name), np.load(Path(str(DATA)) / f"medmnist/{name}.npz")
    assert tuple(len(getattr(data, part)) for part in PARTS) == sizes
    np.testing.assert_array_equal(data.val.images[:, 0], published["val_images"])
    np.testing.assert_array_equal(data.train.labels, published["train_labels"][:, 0])
    assert data.test.labels.sum() == positive


@real
def test_published_mednist_by_another_way() -> None:
    data, few = real_set("mednist", size=64), real_set("mednist", size=64, every=16)
    assert [len(getattr(data, part)) for part in PARTS] == [5159, 737, 1474]
    assert data.class_names == ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")
    with tarfile.open(Path(str(DATA)) / MEDNIST_FILE.path) as archive:
        member = archive.extractfile("MedNIST/Hand/008008.jpeg")
        assert member is not None
        hand = np.asarray(Image.open(member))
    np.testing.assert_array_equal(data.test.images[data.test.labels == 4][1, 0], hand)
    for part in PARTS:
        many = {image.numpy().tobytes() for image in getattr(data, part).images}
        assert {image.numpy().tobytes() for image in getattr(few, part).images} <= many


@real
def test_the_subset_says_what_it_lacks() -> None:
    with pytest.raises(OptionError, match=r"every: found 1, expected a multiple of 8.*The whole archive is at https"):
        real_set("mednist", every=1)


@real
def test_a_truncated_and_a_renamed_file_are_told_by_their_checksum(tmp_path: Path) -> None:
    (tmp_path / "medmnist").mkdir()
    whole = (Path(str(DATA)) / "medmnist/breastmnist.npz").read_bytes()
    for content, name in ((whole[:-1000], "breastmnist"), (whole, "pneumoniamnist")):
        (tmp_path / f"medmnist/{name}.npz").write_bytes(content)
        with pytest.raises(CorruptFileError, match=f"{name}.npz: found md5:.*damaged, renamed or another version"):
            load_images(name, tmp_path, download=False)
