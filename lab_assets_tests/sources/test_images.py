"""TIFF, PNG and JPEG: what they state, what is measured on them, and files that are damaged or hostile."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab_assets.contracts.bronze_core import PROVENANCE
from lab_assets.contracts.bronze_media import IMAGES
from lab_assets.sources.base import ReadContext, Reader, ReadResult, UnreadableFileError
from lab_assets.sources.media import image_features
from lab_assets.sources.media.image_features import focus_score, measure, particle_count, saturated_share, thumbnail
from lab_assets.sources.media.image_metadata import bare_description, length_um, pixel_um, read_ome
from lab_assets.sources.media.raster_image import RasterImageReader
from lab_assets.sources.media.tiff_image import TiffImageReader
from lab_assets_tests.samples import needs_samples, samples_dir
from lab_assets_tests.sources.image_builders import Plane, raster, tiff

TIFF, RASTER = TiffImageReader(), RasterImageReader()


def read(data: bytes, name: str = "sub/a.tif", reader: Reader = TIFF) -> ReadResult:
    return reader.read(data, ReadContext(file_name=name))


def rows(data: bytes, name: str = "sub/a.tif", reader: Reader = TIFF) -> list[dict[str, Any]]:
    return read(data, name, reader).tables["images"]


def rule_of(data: bytes, reader: Reader = TIFF) -> str:
    try:
        read(data, "a", reader)
    except UnreadableFileError as error:
        return error.rule
    return ""


def discs(centres: list[tuple[int, int]], radius: int = 6, *, noise: float = 0.0, dark: bool = False) -> npt.NDArray[np.uint8]:
    """Discs of 150 on a background of 50, 128 x 128; or 105 on 205."""
    down, across = np.mgrid[:128, :128]
    grey = np.full((128, 128), 50.0)
    for y, x in centres:
        grey[(down - y) ** 2 + (across - x) ** 2 <= radius * radius] = 150
    grey += np.random.default_rng(7).normal(0, noise, grey.shape) if noise else 0
    return np.clip(255 - grey if dark else grey, 0, 255).astype(np.uint8)


GRID = [(y, x) for y in (20, 60, 100) for x in (20, 50, 80, 110)]
GREY = np.arange(200, dtype=np.uint8).reshape(10, 20)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("noise", [0.0, 5.0, 15.0])
def test_particles_bright_or_dark_clean_or_noisy(noise: float, dark: bool) -> None:
    assert particle_count(discs(GRID, noise=noise, dark=dark)) == 12


def test_particles_at_the_border_touching_and_small() -> None:
    """Cut by the border they count; two that touch are one; a disc of 1 px radius (5 px) is dust."""
    assert particle_count(discs([(0, 0), (64, 127), (127, 64), (64, 64)])) == 4
    assert particle_count(discs([(64, 60), (64, 70), (20, 20)])) == 2
    dusty = discs([(64, 64)])
    dusty[20, 20] = 255
    assert particle_count(dusty) == 1
    assert particle_count(discs([(64, 64)], radius=1) * np.uint8(0) + discs(GRID)) == 12


def test_no_particles_without_contrast() -> None:
    generator = np.random.default_rng(1)
    for plane in (np.zeros((64, 64)), generator.normal(100, 10, (256, 256)), np.tile(np.arange(256.0), (256, 1)), np.ones((1, 1))):
        assert particle_count(plane) is None


def test_particles_of_large_and_coloured_images(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = np.stack([discs(GRID)] * 3, axis=-1)
    assert particle_count(coloured) == 12
    large = np.kron(discs(GRID), np.ones((4, 4), np.uint8))
    monkeypatch.setattr(image_features, "FEATURE_PIXELS", 128 * 128)
    assert particle_count(large) == 12
    assert particle_count(np.stack([large] * 3, axis=-1)) == 12


def test_focus_score_by_hand() -> None:
    """A pixel of 9 in 3 x 3 zeros has the Laplacian -36 and four times 9; variance 180, mean 1. Blurring lowers the score."""
    from scipy.ndimage import gaussian_filter

    spot = np.zeros((3, 3))
    spot[1, 1] = 9
    assert focus_score(spot) == pytest.approx(180.0)
    sharp = discs(GRID).astype(float)
    scores = [focus_score(gaussian_filter(sharp, width)) or 0.0 for width in (0.0, 1.0, 2.0, 4.0)]
    assert scores == sorted(scores, reverse=True)
    assert focus_score(np.zeros((9, 9))) is None
    assert focus_score(np.ones((2, 9))) is None


def test_focus_of_a_large_image_is_that_of_its_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    page = np.random.default_rng(3).random((60, 80))
    monkeypatch.setattr(image_features, "FEATURE_PIXELS", 30 * 40)
    assert focus_score(page) == pytest.approx(focus_score(page[15:45, 20:60]))


def test_saturation_by_type_and_significant_bits() -> None:
    assert saturated_share(np.array([[255, 254], [255, 0]], np.uint8)) == 0.5
    assert saturated_share(np.array([[4095, 4094]], np.uint16)) == 0.0
    assert saturated_share(np.array([[4095, 4094]], np.uint16), bits=12) == 0.5
    assert saturated_share(np.array([[1.0]])) is None
    assert saturated_share(np.array([[True]])) is None


def test_statistics_leave_out_what_is_not_finite() -> None:
    """Mean of 1, 2, 3 is 2, their standard deviation the square root of 2/3."""
    features = measure(np.array([[1, 2], [np.nan, 3]]))
    assert (features.intensity_mean, features.n_not_finite, features.particle_count) == (2.0, 1, None)
    assert features.intensity_sd == pytest.approx((2 / 3) ** 0.5)
    assert measure(np.full((4, 4), np.inf)).intensity_mean is None
    assert measure(np.full((4, 4), 1e308)).intensity_sd is None
    assert measure(np.ones((4, 4), np.complex64)).intensity_mean is None


def test_thumbnails_keep_proportions() -> None:
    from PIL import Image

    for shape, size in (((10, 20), (20, 10)), ((500, 1000, 3), (128, 64)), ((64, 64, 2), (64, 64))):
        png = thumbnail(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
        assert png is not None
        assert Image.open(io.BytesIO(png)).size == size


@pytest.mark.parametrize("data", [tiff(GREY), raster(GREY), raster(GREY, "JPEG")], ids=["tiff", "png", "jpeg"])
def test_rows_carry_exactly_the_columns_of_their_contract(data: bytes) -> None:
    reader = next(one for one in (TIFF, RASTER) if one.sniff("", data[:64]))
    engine = {column.name for column in PROVENANCE} - {"source_row"}
    (row,) = rows(data, "sub/x", reader)
    assert set(row) == set(IMAGES.column_names) - engine
    assert (row["image_name"], row["page"], row["width_px"], row["height_px"]) == ("x", 1, 20, 10)


def test_readers_know_their_own_files_by_content() -> None:
    assert [TIFF.sniff("a.png", data[:64]) for data in (tiff(GREY), raster(GREY), raster(GREY, "JPEG"))] == [100, 0, 0]
    assert [RASTER.sniff("a.tif", data[:64]) for data in (tiff(GREY), raster(GREY), raster(GREY, "JPEG"))] == [0, 100, 100]
    assert [reader.sniff("a.png", b"GIF89a") for reader in (TIFF, RASTER)] == [0, 0]


def test_tiff_pages_sizes_and_statistics() -> None:
    """Mean and standard deviation of 0..199 are 99.5 and sqrt((200^2 - 1) / 12) = 57.734."""
    import tifffile
    from PIL import Image

    buffer = io.BytesIO()
    stated: dict[str, Any] = {
        "resolution": (2500.0, 2500.0),
        "resolutionunit": "CENTIMETER",
        "metadata": None,
        "datetime": "2025:03:04 05:06:07",
    }
    texts: dict[str, Any] = {"description": "lot L1\nuser name: tom\npassword = hunter2", "software": "Scope 3"}
    with tifffile.TiffWriter(buffer) as writer:
        for _ in range(2):
            writer.write(GREY.astype(np.uint16), **stated, **texts)
    first, row = rows(buffer.getvalue(), "sub/tablet.tif")
    assert [(one["image_name"], one["page"], one["source_row"]) for one in (first, row)] == [("tablet.tif", 1, 1), ("tablet.tif", 2, 2)]
    assert (row["width_px"], row["height_px"], row["channels"], row["dtype"]) == (20, 10, 1, "uint16")
    assert row["pixel_size_um"] == pytest.approx(4.0)
    assert row["intensity_mean"] == pytest.approx(99.5)
    assert row["intensity_sd"] == pytest.approx(57.734, abs=1e-3)
    assert (row["description"], row["software"], row["acquired_at_text"]) == ("lot L1", "Scope 3", "2025:03:04 05:06:07")
    assert row["channel_names"] is None
    assert Image.open(io.BytesIO(row["thumbnail_png"])).size == (20, 10)


def test_ome_channels_scale_and_time() -> None:
    """Planes run channel first, then focus: page 4 is the first channel again. Persons of the description stay out."""
    stated = {
        "axes": "ZCYX",
        "PhysicalSizeX": 107.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.214,
        "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
        "SignificantBits": 12,
        "Description": "lot L7",
        "AcquisitionDate": "2025-03-04T05:06:07",
    }
    planes = np.zeros((2, 3, 16, 20), np.uint16)
    planes[1, 0] = 4095
    found = rows(tiff(planes, ome=True, metadata=stated, photometric="minisblack"))
    assert len(found) == 6
    assert all(row["channel_names"] == ["DAPI", "GFP", "RFP"] for row in found)
    assert [row["rescued"]["channel"] for row in found] == ["DAPI", "GFP", "RFP"] * 2
    assert [row["saturated_share"] for row in found] == [0, 0, 0, 1, 0, 0]
    row = found[0]
    assert row["pixel_size_um"] == pytest.approx(0.107)
    assert row["rescued"]["pixel_size_y_um"] == "0.214"
    assert (row["description"], row["acquired_at_text"]) == ("lot L7", "2025-03-04T05:06:07")
    assert row["software"].startswith("tifffile.py")


OME = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:1" Creator="Bio-Formats 6">
<Instrument ID="I"><Microscope Manufacturer="Zeiss" Model="Axio"/></Instrument>
<Image ID="Image:0"><AcquisitionDate>2024-01-02T03:04:05</AcquisitionDate>
<Pixels DimensionOrder="XYZCT" SizeC="2" SizeZ="3" SizeT="1" PhysicalSizeX="0.5">
<Channel Name="DAPI"/><Channel Fluor="Cy5"/>
<TiffData IFD="4" FirstC="1" FirstZ="2"/><TiffData IFD="0"><UUID FileName="other.tif">urn:2</UUID></TiffData></Pixels></Image>
<Image ID="Image:1"><Pixels SizeC="3" SizeZ="1" SizeT="1"><Channel SamplesPerPixel="3"/></Pixels></Image></OME>"""


def test_ome_images_of_several_files() -> None:
    """Page 4 is plane 5 (focus 2 of 3, channel 1 of 2); the other plane lies in another file. No unit means micrometres."""
    pages = read_ome(OME)
    image, plane = pages[4]
    assert (plane, image.channel(plane), image.channel_names) == (5, 1, ("DAPI", "Cy5"))
    assert (image.pixel_x_um, image.instrument_name, image.software) == (0.5, "Zeiss Axio", "Bio-Formats 6")
    assert 0 not in pages
    assert pages[6][0].channel_names == ()


@pytest.mark.parametrize(
    "text",
    ["<OME", '<!DOCTYPE OME [<!ENTITY a "b">]><OME>&a;</OME>', '<?xml version="1.0" encoding="x-none"?><OME/>', "<OME>&undefined;</OME>"],
)
def test_ome_that_cannot_be_read_is_reported(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_ome(text)
    import tifffile

    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, description=f"{text}</OME>", metadata=None)
    assert read(buffer.getvalue()).tables["images"][0]["channel_names"] is None


def test_imagej_scale_labels_and_version() -> None:
    labels = ["red", "green"]
    data = tiff(
        np.zeros((2, 30, 40), np.uint8),
        imagej=True,
        resolution=(1 / 0.107, 1 / 0.107),
        metadata={"axes": "CYX", "unit": "\\u00B5m", "Labels": labels},
    )
    first, second = rows(data)
    assert first["pixel_size_um"] == pytest.approx(0.107, rel=1e-4)
    assert first["channel_names"] == labels
    assert (second["rescued"]["label"], second["software"].split()[0]) == ("green", "ImageJ")


def test_aperio_states_its_scale_in_the_description() -> None:
    (row,) = rows(tiff(GREY, description="Aperio Image Library v12|AppMag = 20|MPP = 0.4990|User = x|Password = hunter2"))
    assert row["pixel_size_um"] == pytest.approx(0.499)
    assert "hunter2" not in row["description"]


@pytest.mark.parametrize(
    ("resolution", "unit", "size_um", "warned"),
    [
        ((300, 300), "INCH", 84.6667, False),
        ((72, 72), "INCH", 352.778, True),
        ((100, 100), "NONE", None, False),
        ((0, 1), "CENTIMETER", None, False),
    ],
)
def test_resolution_tags(resolution: tuple[int, int], unit: str, size_um: float | None, warned: bool) -> None:
    result = read(tiff(GREY, resolution=resolution, resolutionunit=unit))
    size = result.tables["images"][0]["pixel_size_um"]
    assert size == (pytest.approx(size_um, rel=1e-5) if size_um else None)
    assert bool(result.warnings) == warned


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_in_either_layout_and_without_transparency(planar: str) -> None:
    """Samples 10, 20, 30 have the mean 20; an opaque alpha channel is no saturation."""
    colour = np.broadcast_to(np.array([10, 20, 30, 255], np.uint8), (40, 50, 4))
    pixels = colour if planar == "contig" else np.moveaxis(colour, -1, 0)
    (row,) = rows(tiff(np.ascontiguousarray(pixels), photometric="rgb", planarconfig=planar, extrasamples=["unassalpha"]))
    assert (row["width_px"], row["height_px"], row["channels"]) == (50, 40, 4)
    assert (row["intensity_mean"], row["saturated_share"]) == (20.0, 0.0)


@pytest.mark.parametrize(
    ("compression", "mode"), [("tiff_lzw", "L"), ("jpeg", "RGB"), ("group4", "1"), ("tiff_deflate", "I;16"), ("packbits", "L")]
)
def test_compressions(compression: str, mode: str) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    pages = [Image.new(mode, (40, 30), value) for value in (1, 0)]
    pages[0].save(buffer, "TIFF", compression=compression, save_all=True, append_images=pages[1:])
    found = rows(buffer.getvalue())
    assert [(row["width_px"], row["height_px"]) for row in found] == [(40, 30)] * 2
    assert found[0]["intensity_mean"] > found[1]["intensity_mean"] == 0


def test_tiff_that_is_too_large_or_damaged() -> None:
    whole = tiff(np.full((500, 1000, 3), 7, np.uint8), photometric="rgb")
    assert rule_of(whole[:4000]) == "truncated"
    assert rule_of(b"II*\x00\x08\x00\x00\x00\xff") == "truncated"
    width = struct.pack("<HHII", 256, 4, 1, 20)
    assert width in tiff(GREY)
    assert rule_of(tiff(GREY).replace(width, struct.pack("<HHII", 256, 4, 1, 1 << 16))) == "truncated"
    assert rule_of(tiff(GREY).replace(width, struct.pack("<HHII", 256, 4, 1, 1 << 29))) == "too_large"


def test_pages_beyond_the_budget_have_no_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    from lab_assets.sources.media import tiff_image

    monkeypatch.setattr(tiff_image, "FEATURE_PIXELS_PER_FILE", 128 * 128)
    result = read(tiff(np.stack([discs(GRID)] * 2), photometric="minisblack"))
    assert [row["particle_count"] for row in result.tables["images"]] == [12, None]
    assert "too large" in result.warnings[0]


def test_png_texts_and_pixels_per_metre() -> None:
    """10000 pixels per metre (254 dpi) are 100 um each."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in {
        "Software": "Scope 3",
        "Description": "lot L1",
        "Creation Time": "4 Mar 2025 05:06:07 GMT",
        "Token": "hunter2",
        "Lens": "4x",
    }.items():
        info.add_text(key, value)
    (row,) = rows(raster(GREY, pnginfo=info, dpi=(254, 254)), "a.png", RASTER)
    assert row["pixel_size_um"] == pytest.approx(100.0)
    assert (row["software"], row["description"], row["acquired_at_text"]) == ("Scope 3", "lot L1", "4 Mar 2025 05:06:07 GMT")
    assert row["rescued"] == {"Lens": "4x"}
    assert (row["intensity_mean"], row["dtype"], row["channels"]) == (99.5, "uint8", 1)


def test_png_ratio_is_no_scale() -> None:
    """A pHYs chunk of unit 0 states only the proportions of a pixel."""
    data = raster(GREY)
    body = b"pHYs" + struct.pack(">IIB", 10000, 10000, 0)
    chunk = struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body))
    (row,) = rows(data[:33] + chunk + data[33:], "a.png", RASTER)
    assert row["pixel_size_um"] is None


@pytest.mark.parametrize(
    ("pixels", "mode", "channels", "dtype", "mean"),
    [
        (np.full((8, 8), 300, np.uint16), None, 1, "uint16", 300.0),
        (np.full((8, 8, 4), (10, 20, 30, 255), np.uint8), None, 4, "uint8", 20.0),
        (np.full((8, 8, 3), (10, 20, 30), np.uint8), "P", 3, "uint8", 20.0),
        (np.full((8, 8), 255, np.uint8), "1", 1, "bool", 1.0),
        (np.full((8, 8), 9, np.uint8), "LA", 2, "uint8", 9.0),
    ],
)
def test_png_kinds(pixels: Plane, mode: str | None, channels: int, dtype: str, mean: float) -> None:
    (row,) = rows(raster(pixels, mode=mode), "a.png", RASTER)
    assert (row["channels"], row["dtype"]) == (channels, dtype)
    assert row["intensity_mean"] == pytest.approx(mean, abs=3 if mode == "P" else 0)


def test_jpeg_camera_time_and_density() -> None:
    """120 pixels per centimetre are 83.33 um each; without a unit there is no scale."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131], exif[0x010E] = "Maker", "Cam 1", "Firm 2", "lot L2"
    exif.get_ifd(0x8769).update({0x9003: "2025:03:04 05:06:07", 0x9011: "+01:00"})
    exif[0x0128], exif[0x011A], exif[0x011B] = 3, 120.0, 120.0
    (row,) = rows(raster(GREY, "JPEG", exif=exif), "a.jpg", RASTER)
    assert (row["instrument_name"], row["software"], row["description"]) == ("Maker Cam 1", "Firm 2", "lot L2")
    assert row["acquired_at_text"] == "2025:03:04 05:06:07+01:00"
    assert row["pixel_size_um"] == pytest.approx(83.333, rel=1e-4)
    (dense,) = rows(raster(GREY, "JPEG", dpi=(508, 508)), "a.jpg", RASTER)
    assert dense["pixel_size_um"] == pytest.approx(50.0)
    (plain,) = rows(raster(GREY, "JPEG"), "a.jpg", RASTER)
    assert (plain["pixel_size_um"], plain["acquired_at_text"]) == (None, None)


def test_a_picture_that_lost_its_end_is_refused() -> None:
    for data in (raster(discs(GRID)), raster(discs(GRID), "JPEG")):
        assert rule_of(data, RASTER) == ""
        for cut in (1, 2, 12, 100, len(data) // 2, len(data) - 20):
            assert rule_of(data[:-cut], RASTER) == "truncated"
    assert rule_of(raster(GREY) + b"trailing", RASTER) == ""
    assert rule_of(raster(GREY, "JPEG") + b"\xff\xdatrailing", RASTER) == ""


def test_a_picture_that_unpacks_to_too_much_is_refused_before_it_is_decoded() -> None:
    def claims(width: int, height: int) -> bytes:
        body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
        data = b"IDAT" + zlib.compress(b"\x00" * 1000)
        return head + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data)) + b"\x00\x00\x00\x00IEND\xaeB`\x82"

    assert rule_of(claims(60_000, 60_000), RASTER) == "too_large"
    assert rule_of(claims(12_000, 12_000), RASTER) == "too_large"
    assert rule_of(claims(100, 100), RASTER) == "truncated"


def test_texts_that_unpack_to_too_much_are_refused() -> None:
    body = b"zTXt" + b"Comment\x00\x00" + zlib.compress(b"x" * (8 << 20))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    data = raster(GREY)
    assert rule_of(data[:33] + chunk + data[33:], RASTER) == "too_large"


def test_lengths_and_resolutions() -> None:
    assert length_um("0.107", "µm") == length_um(0.107, "\\u00B5m") == length_um("0.107", "micron") == 0.107
    assert length_um("107", "nm") == pytest.approx(0.107)
    assert [length_um(value, "um") for value in ("nan", "inf", "-1", "0", "x", None)] == [None] * 6
    assert length_um("1", "pixel") is None
    assert pixel_um(254.0, "inch") == pytest.approx(100.0)
    assert pixel_um(0.0, "inch") is None
    assert bare_description("a: 1\nLogin: tom\n|token=x|b") == "a: 1\n|b"


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_damaged_images_are_refused_or_read(data: st.DataObject) -> None:
    whole, reader = data.draw(st.sampled_from(WHOLE))
    damaged = bytearray(whole[: data.draw(st.integers(8, len(whole)))] if data.draw(st.booleans()) else whole)
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    rule_of(bytes(damaged), reader)


WHOLE: list[tuple[bytes, Reader]] = [
    (tiff(GREY, compression="zlib"), TIFF),
    (tiff(np.zeros((2, 3, 8, 8), np.uint16), ome=True, metadata={"axes": "ZCYX"}, photometric="minisblack"), TIFF),
    (tiff(np.zeros((2, 8, 8), np.uint8), imagej=True, metadata={"axes": "CYX", "Labels": ["a", "b"]}), TIFF),
    (raster(GREY, dpi=(100, 100)), RASTER),
    (raster(np.zeros((8, 8, 3), np.uint8), mode="P"), RASTER),
    (raster(GREY, "JPEG", dpi=(100, 100)), RASTER),
]


@needs_samples
def test_real_images() -> None:
    """The cell is one object on a darker ground; the pages' resolution is a screen's."""
    folder = samples_dir()
    assert folder is not None
    (cell,) = rows((folder / "images/cell.png").read_bytes(), "cell.png", RASTER)
    assert (cell["width_px"], cell["height_px"], cell["dtype"], cell["pixel_size_um"]) == (550, 660, "uint8", None)
    assert cell["particle_count"] == 1
    result = read((folder / "images/multipage.tif").read_bytes(), "multipage.tif")
    assert [(row["width_px"], row["height_px"]) for row in result.tables["images"]] == [(10, 15)] * 2
    assert result.tables["images"][0]["software"].startswith("ImageMagick 6.4.1")
    assert "72 or 96 dpi" in result.warnings[0]
