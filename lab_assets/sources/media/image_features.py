# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# (scikit-image and scipy.ndimage have types in part)
"""What is measured on the samples of one image: statistics, saturation, sharpness, number of particles, a thumbnail.

Belongs here: features of pixels, the same for every image format. Does not belong here: reading of files, names, scales.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

MAX_PIXELS: Final = 1 << 28
"""Largest page that is decoded, samples."""
MAX_FILE_SAMPLES: Final = 1 << 31
"""Most samples of all pages of one file together."""
FEATURE_PIXELS: Final = 1 << 22
"""Pixels of one page on which sharpness and particles are measured; larger pages are cut or reduced to that."""
FEATURE_PIXELS_PER_FILE: Final = 1 << 27
"""Pixels of one file on which sharpness and particles are measured; pages after that have neither."""
THUMBNAIL_PX: Final = 128

SMOOTHING_PX: Final = (1.0, 2.0)
"""Standard deviation of the Gaussian that takes out noise before the threshold; the second where the first leaves no contrast."""
MIN_PARTICLE_PX: Final = 12
"""Smallest particle, pixels: a disc of 4 px across."""
MIN_SEPARATION: Final = 4.0
"""Least distance of the means of foreground and background in their pooled standard deviations. Noise of a normal distribution
cut at its middle gives 2.65 (2 x 0.798 / 0.603), an even ramp of light 3.46 (the square root of 12); both hold no particles."""

_BLOCK_SAMPLES: Final = 1 << 22


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """Features of one page; the names are those of ``bronze.images``.

    Attributes:
        intensity_mean: Mean of the finite samples.
        intensity_sd: Their standard deviation (population).
        saturated_share: Share of samples at the largest value of their type; ``None`` for floats and bits.
        focus_score: See ``focus_score``.
        particle_count: See ``particle_count``.
        thumbnail_png: PNG of at most ``THUMBNAIL_PX``.
        n_not_finite: Samples that are NaN or infinite, left out of the statistics.
    """

    intensity_mean: float | None
    intensity_sd: float | None
    saturated_share: float | None
    focus_score: float | None
    particle_count: int | None
    thumbnail_png: bytes | None
    n_not_finite: int

    def columns(self) -> dict[str, Any]:
        """Return the features that are columns."""
        return {name: value for name, value in vars(self).items() if name != "n_not_finite"}


def measure(pixels: Pixels, *, bits: int | None = None, with_shapes: bool = True) -> ImageFeatures:
    """Measure one page.

    Args:
        pixels: Samples, shape (height, width) or (height, width, channels) without an alpha channel.
        bits: Significant bits of a sample where fewer than its type has, such as 12 of a 12-bit camera.
        with_shapes: Whether to measure sharpness and particles too, which take most of the time.

    Returns:
        The features; those that a kind of sample cannot have are ``None``.
    """
    if pixels.size == 0 or pixels.dtype.kind not in "buif":
        return ImageFeatures(
            intensity_mean=None,
            intensity_sd=None,
            saturated_share=None,
            focus_score=None,
            particle_count=None,
            thumbnail_png=None,
            n_not_finite=0,
        )
    # Floats near the largest double overflow in sums; the result is then left out, and is no reason for a warning.
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation, n_finite = _moments(pixels)
        shaped = with_shapes and n_finite == pixels.size
        return ImageFeatures(
            intensity_mean=mean,
            intensity_sd=deviation,
            saturated_share=saturated_share(pixels, bits=bits),
            focus_score=focus_score(pixels) if shaped else None,
            particle_count=particle_count(pixels) if shaped else None,
            thumbnail_png=thumbnail(pixels),
            n_not_finite=pixels.size - n_finite,
        )


def saturated_share(pixels: Pixels, *, bits: int | None = None) -> float | None:
    """Return the share of samples at the largest value that their type, or ``bits`` of it, can hold; ``None`` for floats and bits."""
    if pixels.dtype.kind not in "ui" or pixels.size == 0:
        return None
    largest = int(np.iinfo(pixels.dtype).max)
    if bits is not None and 1 < bits < pixels.dtype.itemsize * 8:
        largest = min(largest, (1 << bits) - 1)
    return float(np.count_nonzero(pixels >= largest)) / pixels.size


def focus_score(pixels: Pixels) -> float | None:
    """Return the sharpness of an image: the variance of its Laplacian over its mean, in units of one sample.

    The Laplacian is the five-point one with mirrored borders, on the mean of the channels. Of pages beyond ``FEATURE_PIXELS`` a window
    at the centre is taken at full resolution, because reducing an image changes its sharpness.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000; the mean takes out the exposure's scale of
    shot noise.

    Args:
        pixels: Shape (height, width) or (height, width, channels).

    Returns:
        A number that is larger for sharper images of one kind; ``None`` below 3 x 3 pixels or without light.
    """
    from scipy import ndimage

    if min(pixels.shape[:2]) < 3:
        return None
    plane = _grey(_window(pixels))
    mean = float(plane.mean())
    if mean <= 0:
        return None
    score = float(ndimage.laplace(plane, mode="reflect").var()) / mean
    return score if np.isfinite(score) else None


def particle_count(pixels: Pixels) -> int | None:
    """Count connected objects that are brighter or darker than the background.

    The mean of the channels is smoothed (``SMOOTHING_PX``) and cut at Otsu's threshold; the phase with fewer pixels is the particles,
    so that both bright ones on dark and dark ones on bright are found; pixels that touch, also diagonally, are one particle; particles
    cut by the border count; those below ``MIN_PARTICLE_PX`` do not. Particles that touch one another count as one. Pages beyond
    ``FEATURE_PIXELS`` are reduced by averaging whole blocks.

    Source: Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9 (1979) 62-66.

    Args:
        pixels: Shape (height, width) or (height, width, channels).

    Returns:
        The count; ``None`` where the image has no contrast (``MIN_SEPARATION``).
    """
    from scipy import ndimage
    from skimage.measure import label

    plane = _grey(_reduced(pixels))
    smoothed = (ndimage.gaussian_filter(plane, width_px, mode="nearest") for width_px in SMOOTHING_PX)
    bright = next((phase for one in smoothed if (phase := _bright_phase(one)) is not None), None)
    if bright is None:
        return None
    particles = bright if 2 * np.count_nonzero(bright) <= bright.size else ~bright
    sizes = np.bincount(np.asarray(label(particles, connectivity=2)).ravel())[1:]
    return int(np.count_nonzero(sizes >= MIN_PARTICLE_PX))


def _bright_phase(plane: Pixels) -> npt.NDArray[np.bool_] | None:
    """Return which pixels lie above Otsu's threshold, or ``None`` when the two phases are not apart."""
    from skimage.filters import threshold_otsu

    if not np.isfinite(plane).all() or float(plane.max()) <= float(plane.min()):
        return None
    bright = np.asarray(plane > threshold_otsu(plane))
    return bright if _separation(plane, bright) >= MIN_SEPARATION else None


def _separation(plane: Pixels, bright: npt.NDArray[np.bool_]) -> float:
    """Return the distance of the means of two phases in their pooled standard deviations; 0 when one is empty."""
    upper, lower = plane[bright].astype(np.float64), plane[~bright].astype(np.float64)
    if upper.size == 0 or lower.size == 0:
        return 0.0
    within = (upper.size * upper.var() + lower.size * lower.var()) / plane.size
    distance = float(upper.mean() - lower.mean())
    return distance / float(np.sqrt(within)) if within > 0 else float("inf")


def thumbnail(pixels: Pixels) -> bytes | None:
    """Return a grey or RGB PNG of at most ``THUMBNAIL_PX``, samples stretched to 8 bits; of two channels the first is shown."""
    from PIL import Image

    plane = pixels
    if pixels.ndim == 3:
        plane = pixels[..., :3] if pixels.shape[-1] >= 3 else pixels[..., 0]
    step = max(1, max(plane.shape[:2]) // (4 * THUMBNAIL_PX))
    small = plane[::step, ::step].astype(np.float64)
    finite = small[np.isfinite(small)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    span = high - low
    scaled = (
        np.zeros(small.shape) if not 0 < span < np.inf else (np.nan_to_num(small, nan=low, posinf=high, neginf=low) - low) * (255.0 / span)
    )
    picture = Image.fromarray(scaled.round().astype(np.uint8))
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _moments(pixels: Pixels) -> tuple[float | None, float | None, int]:
    """Return mean, standard deviation and number of the finite samples, in blocks of rows so that large pages stay within memory."""
    rows = max(1, _BLOCK_SAMPLES // max(1, pixels[0].size))
    blocks = [pixels[start : start + rows] for start in range(0, len(pixels), rows)]
    count = sum(int(_finite(block).size) for block in blocks)
    if count == 0:
        return None, None, 0
    mean = sum(float(_finite(block).sum(dtype=np.float64)) for block in blocks) / count
    squares = sum(float(((_finite(block).astype(np.float64) - mean) ** 2).sum()) for block in blocks)
    if not np.isfinite(mean) or not np.isfinite(squares):
        return None, None, count
    return mean, float(np.sqrt(squares / count)), count


def _finite(block: Pixels) -> Pixels:
    return block[np.isfinite(block)] if block.dtype.kind == "f" else block


def _grey(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return the mean of the channels, shape (height, width)."""
    plane = pixels if pixels.ndim == 2 else pixels.mean(axis=-1, dtype=np.float32)
    return plane.astype(np.float32)


def _window(pixels: Pixels) -> Pixels:
    """Return the page, or its central window of ``FEATURE_PIXELS`` in the page's proportions."""
    height, width = pixels.shape[:2]
    if height * width <= FEATURE_PIXELS:
        return pixels
    share = (FEATURE_PIXELS / (height * width)) ** 0.5
    rows, columns = (max(3, min(side, int(side * share))) for side in (height, width))
    rows, columns = min(rows, FEATURE_PIXELS // 3), min(columns, FEATURE_PIXELS // rows)
    top, left = (height - rows) // 2, (width - columns) // 2
    return pixels[top : top + rows, left : left + columns]


def _reduced(pixels: Pixels) -> Pixels:
    """Return the page, or means of blocks of it with at most about ``FEATURE_PIXELS``."""
    height, width = pixels.shape[:2]
    step = int(np.ceil((height * width / FEATURE_PIXELS) ** 0.5))
    if step <= 1 or min(height, width) < step:
        return pixels if step <= 1 else pixels[::step, ::step]
    rows, columns = height // step, width // step
    blocks = pixels[: rows * step, : columns * step].reshape(rows, step, columns, step, *pixels.shape[2:])
    return blocks.mean(axis=(1, 3), dtype=np.float32)
