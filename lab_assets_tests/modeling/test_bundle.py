from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from lab_assets.modeling.bundle import ModelBundle, bundle_digest
from lab_assets.modeling.bundle_info import BundleInfo, DigestMismatchError, UnsafeBundleError
from lab_assets_tests.modeling.data import experiment, matrix


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return experiment().bundle


def test_what_is_saved_is_loaded_with_the_same_digest(bundle, tmp_path):
    bundle.save(tmp_path / "b")
    loaded = ModelBundle.load(tmp_path / "b", bundle.digest)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["bundle.json", "model.txt"]
    assert loaded.digest == bundle.digest
    assert loaded.info.to_bytes() == bundle.info.to_bytes()
    rows = matrix()[0].features[:50]
    assert np.array_equal(loaded.score(rows).risk, bundle.score(rows).risk)
    with pytest.raises(FileExistsError):
        bundle.save(tmp_path / "b")


def test_digest_by_hand():
    """SHA-256 over name, length and bytes of both files; sha256sum of the same bytes tells the same."""
    import hashlib

    expected = hashlib.sha256(b"model.txt\x003\x00abcbundle.json\x002\x00{}").hexdigest()
    assert bundle_digest(b"abc", b"{}") == expected
    assert bundle_digest(b"ab", b"c{}") != expected


@pytest.mark.parametrize("name", ["model.txt", "bundle.json"])
def test_one_changed_byte_is_refused(bundle, tmp_path, name):
    bundle.save(tmp_path / "b")
    path = tmp_path / "b" / name
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0", b"1", 1))
    with pytest.raises(DigestMismatchError, match=bundle.digest):
        ModelBundle.load(tmp_path / "b", bundle.digest)


def test_anything_but_the_two_files_is_refused(bundle, tmp_path):
    folder = tmp_path / "b"
    bundle.save(folder)
    (folder / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeBundleError, match=r"model\.pkl"):
        ModelBundle.load(folder, bundle.digest)
    (folder / "model.pkl").unlink()
    (folder / "model.txt").rename(tmp_path / "elsewhere.txt")
    (folder / "model.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(UnsafeBundleError, match="regular file"):
        ModelBundle.load(folder, bundle.digest)
    with pytest.raises(UnsafeBundleError, match="not a folder"):
        ModelBundle.load(tmp_path / "nothing")


def test_a_pickle_under_the_name_of_the_model_is_refused(bundle, tmp_path):
    bundle.save(tmp_path / "b")
    (tmp_path / "b" / "model.txt").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(UnsafeBundleError, match="text format"):
        ModelBundle.load(tmp_path / "b")


def test_a_cut_model_is_refused(bundle):
    with pytest.raises(UnsafeBundleError):
        ModelBundle.create(bundle.info, "tree\nversion=v4\nnum_class=1\n")


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"format": "other/1"}, "other/1"),
        ({"fill": []}, "not consistent"),
        ({"thresholds": {}}, "not consistent"),
        ({"calibration": {"method": "pickle", "scores": [0.0], "risks": [0.5]}}, "unknown calibration"),
        ({"calibration": {"method": "platt", "scores": [0.0, 0.0], "risks": [0.5, 0.6]}}, "strictly increasing"),
        ({"calibration": {"method": "platt", "scores": [0.0, 1.0], "risks": [0.5, 1.6]}}, "within 0 and 1"),
        ({"feature_names": None}, "not a bundle description"),
    ],
)
def test_a_description_that_is_not_sound_is_refused(bundle, change, answer):
    document = {**json.loads(bundle.info.to_bytes()), **change}
    with pytest.raises(UnsafeBundleError, match=answer):
        BundleInfo.from_bytes(json.dumps(document).encode())


def test_trees_and_description_must_have_the_same_features(bundle):
    with pytest.raises(UnsafeBundleError, match="features of the trees"):
        ModelBundle.create(replace(bundle.info, feature_names=("a", "b", "c")), bundle.model_text)


def test_a_row_alone_and_among_others_scores_the_same_to_the_last_bit(bundle):
    rows = matrix(seed=9, injections=100)[0].features.copy()
    rows[5, 1] = np.nan
    rows[6, 0] = np.nan
    rows[7, 0] = 5.0
    together = bundle.score(rows)
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(bundle.score_row, rows))
    for i, each in enumerate(alone):
        expected = {name: getattr(together, name)[i] for name in ("raw", "risk", "low", "high", "verdict")}
        assert asdict(each) == expected


def test_scores_are_ordered_and_bounded(bundle):
    scores = bundle.score(matrix(seed=9, injections=100)[0].features)
    assert ((scores.low >= 0) & (scores.low <= scores.risk) & (scores.risk <= scores.high) & (scores.high <= 1)).all()
    assert set(scores.verdict) <= {"likely_pass", "likely_fail", "cannot_tell_yet"}
    assert (scores.verdict != "cannot_tell_yet").any()
    assert (np.argsort(scores.raw, kind="stable") == np.argsort(scores.risk, kind="stable")).mean() > 0.5


def test_no_verdict_where_a_feature_is_missing_that_never_was_or_too_early(bundle):
    """``noise`` was missing in training, ``early`` never: only the latter takes the verdict away."""
    sure = matrix(seed=9, injections=100)[0].features
    sure = sure[bundle.score(sure).verdict == "likely_pass"][:1]
    without_noise, without_early, too_early = sure.copy(), sure.copy(), sure.copy()
    without_noise[0, 2], without_early[0, 1], too_early[0, 0] = np.nan, np.nan, 5.0
    assert bundle.info.fill[2] is None
    assert bundle.score_row(without_early[0]).verdict == "cannot_tell_yet"
    assert bundle.score_row(too_early[0]).verdict == "cannot_tell_yet"
    filled, count = bundle.prepared(without_early)
    assert filled[0, 1] == bundle.info.fill[1]
    assert count[0] == 1
    assert bundle.prepared(without_noise)[1][0] == 0


def test_no_rows_and_wrong_widths(bundle):
    assert bundle.score(np.empty((0, 3))).risk.shape == (0,)
    with pytest.raises(ValueError, match=r"expected \(n, 3\)"):
        bundle.score(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="expected 3"):
        bundle.score_row(np.zeros(2))
