"""PSNR and SSIM against scikit-image, BasicSR, scipy, the authors' numbers and values worked out by hand."""

import math

import numpy as np
import pytest

from msgnn_plugin.metrics import PROTOCOLS, measure_similarity

DB, UNITS = 1e-3, 1e-4


@pytest.fixture(params=[0, 1])
def pair(request, make_pair):
    return make_pair(request.param)


def by_scikit_image(derained, clean, **options):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    return peak_signal_noise_ratio(clean, derained, data_range=255), structural_similarity(
        clean, derained, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, **options
    )


def agree(measured, expected):
    assert measured.psnr == pytest.approx(expected[0], abs=DB)
    assert measured.ssim == pytest.approx(expected[1], abs=UNITS)


class TestAgainstScikitImage:
    def test_rgb(self, pair):
        agree(measure_similarity(*pair, "rgb"), by_scikit_image(*pair, channel_axis=2))

    def test_y(self, pair):
        from skimage.color import rgb2ycbcr

        agree(measure_similarity(*pair, "y"), by_scikit_image(*(rgb2ycbcr(picture)[..., 0] for picture in pair)))

    def test_y_matlab(self, pair):
        from skimage.color import rgb2ycbcr

        rounded = (np.round(rgb2ycbcr(picture)[..., 0]).astype(np.uint8) for picture in pair)
        agree(measure_similarity(*pair, "y-matlab"), by_scikit_image(*rounded))

    def test_grey_is_its_own_luma(self, pair):
        grey = [picture[..., 1] for picture in pair]
        for protocol in ("rgb", "y", "y-matlab"):
            agree(measure_similarity(*grey, protocol), by_scikit_image(*grey))


@pytest.mark.parametrize(("protocol", "y_channel"), [("rgb", False), ("y", True)])
def test_basicsr_agrees(pair, protocol, y_channel):
    from msgnn_plugin.adapters.basicsr import compat

    compat.apply()
    from basicsr.metrics import calculate_psnr, calculate_ssim

    swapped = [picture[..., ::-1] for picture in pair]
    agree(
        measure_similarity(*pair, protocol),
        [metric(*swapped, crop_border=0, test_y_channel=y_channel) for metric in (calculate_psnr, calculate_ssim)],
    )


class TestMatlab:
    """What rgb2ycbcr gives for pictures of 8 bits, from its documented matrix, worked out by hand."""

    @pytest.mark.parametrize(
        ("colour", "luma"),
        [
            ((0, 0, 0), 16),
            ((255, 255, 255), 235),
            ((255, 0, 0), 81),  # 16 + 65.481
            ((0, 255, 0), 145),  # 16 + 128.553
            ((0, 0, 255), 41),  # 16 + 24.966
            ((128, 128, 128), 126),  # 16 + 219 * 128 / 255 = 125.929
            ((200, 100, 50), 123),  # 16 + 51.358 + 50.413 + 4.895 = 122.666
        ],
    )
    def test_luma(self, colour, luma):
        picture, black = np.full((12, 12, 3), colour, np.uint8), np.zeros((12, 12, 3), np.uint8)
        distance = abs(luma - 16)
        expected = 20 * math.log10(255 / distance) if distance else math.inf
        assert measure_similarity(picture, black, "y-matlab").psnr == pytest.approx(expected, abs=1e-9)

    def test_rounding_is_what_differs(self):
        # 255 to 252 in red moves Y by 0.770: from 81.481 to 80.711, both of which round to 81.
        red, darker = (np.full((16, 16, 3), (value, 0, 0), np.uint8) for value in (255, 252))
        assert measure_similarity(red, darker, "y-matlab") == (math.inf, 1)
        assert measure_similarity(red, darker, "y").psnr == pytest.approx(20 * math.log10(255 / 0.770365), abs=DB)
        # Of 255 to 251, 80.454 rounds to 80, a step of one: 20 log10 255.
        darker[:] = 251, 0, 0
        assert measure_similarity(red, darker, "y-matlab").psnr == pytest.approx(48.1308, abs=DB)

    def test_ssim_of_two_flat_pictures(self):
        # Without structure SSIM is its luminance term: Y 235 and 126, (2 * 235 * 126 + C1) / (235^2 + 126^2 + C1).
        white, grey = (np.full((16, 16, 3), value, np.uint8) for value in (255, 128))
        assert measure_similarity(white, grey, "y-matlab").ssim == pytest.approx(59226.5025 / 71107.5025, abs=1e-6)

    def test_the_cost_of_rounding_at_high_psnr(self, make_pair):
        # Rounding Y adds an error of 1/12 to both sides; the loss is what grows with the PSNR.
        clean = make_pair(5, size=(240, 240))[1]
        generator = np.random.default_rng(0)
        losses = []
        for spread in (6, 0.8):
            noisy = np.clip(np.rint(clean + generator.normal(0, spread, clean.shape)), 0, 255).astype(np.uint8)
            losses.append(
                measure_similarity(noisy, clean, "y").psnr - measure_similarity(noisy, clean, "y-matlab").psnr
            )
        assert 0 < losses[0] < 0.1 < 0.5 < losses[1]


class TestMsgnn:
    @pytest.mark.parametrize("case", range(5))
    def test_the_authors_numbers(self, shared, case):
        stored = np.load(shared / "golden" / "msgnn" / "metrics.npz")
        batch = zip(stored[f"{case}/img1"], stored[f"{case}/img2"])
        measured = [
            measure_similarity(*(picture.transpose(1, 2, 0) for picture in pictures), "msgnn") for pictures in batch
        ]
        assert [one.ssim for one in measured] == pytest.approx(stored[f"{case}/ssim_per_image"].ravel(), abs=1e-5)
        if len(measured) == 1:  # its PSNR is that of the whole batch
            assert measured[0].psnr == pytest.approx(float(stored[f"{case}/psnr"]), abs=DB)

    def test_ssim_against_scipy(self, pair):
        from scipy.ndimage import gaussian_filter

        def blur(picture):
            return gaussian_filter(picture, (1.5, 1.5, 0), mode="constant", radius=(5, 5, 0))

        first, second = (picture / 255 for picture in pair)
        mean1, mean2 = blur(first), blur(second)
        variance = blur(first**2) + blur(second**2) - mean1**2 - mean2**2
        covariance = blur(first * second) - mean1 * mean2
        similar = (2 * mean1 * mean2 + 1e-4) * (2 * covariance + 9e-4)
        expected = np.mean(similar / ((mean1**2 + mean2**2 + 1e-4) * (variance + 9e-4)))
        assert measure_similarity(*pair, "msgnn").ssim == pytest.approx(expected, abs=1e-9)
        assert measure_similarity(*pair, "msgnn").ssim != pytest.approx(measure_similarity(*pair).ssim, abs=UNITS)
        assert measure_similarity(*pair, "msgnn").psnr == measure_similarity(*pair, "rgb").psnr

    def test_floats_are_not_rounded_and_clipped_for_psnr_alone(self):
        clean = np.ones((12, 12, 3))
        assert measure_similarity(clean + 0.5, clean, "msgnn").psnr == 100
        assert measure_similarity(clean + 0.5, clean, "msgnn").ssim < 0.95
        assert measure_similarity(clean - 1e-3, clean, "msgnn").psnr == pytest.approx(60, abs=DB)


class TestLimits:
    def test_equal_pictures(self, pair):
        for protocol in PROTOCOLS:
            psnr = 100 if protocol == "msgnn" else math.inf
            assert measure_similarity(pair[0], pair[0].copy(), protocol) == (psnr, pytest.approx(1))

    @pytest.mark.parametrize("size", [(1, 1), (10, 40), (40, 10)])
    def test_smaller_than_the_window(self, pair, size):
        tiny = [picture[: size[0], : size[1]] for picture in pair]
        for protocol in PROTOCOLS:
            psnr, ssim = measure_similarity(*tiny, protocol)
            assert psnr > 0
            assert math.isnan(ssim) == (protocol != "msgnn")

    def test_just_as_large_as_the_window(self, pair):
        assert math.isfinite(measure_similarity(*(picture[:11, :11] for picture in pair)).ssim)

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    def test_16_bits_measure_as_the_same_picture_of_8(self, pair, protocol):
        deep = [picture.astype(np.uint16) * 257 for picture in pair]
        expected = measure_similarity(*pair, protocol)
        assert measure_similarity(*deep, protocol) == pytest.approx(expected, abs=1e-9)
        assert measure_similarity(deep[0], pair[1], protocol) == pytest.approx(expected, abs=1e-9)

    def test_16_bits_are_not_rounded_to_8(self):
        clean = np.full((12, 12, 3), 25700, np.uint16)
        assert measure_similarity(clean + 1, clean).psnr == pytest.approx(20 * math.log10(65535), abs=1e-9)

    def test_grey_beside_colour_is_three_equal_channels(self, pair):
        derained, clean = pair
        grey = clean[..., 0]
        for protocol in PROTOCOLS:
            expected = measure_similarity(derained, np.dstack([grey] * 3), protocol)
            assert measure_similarity(derained, grey, protocol) == expected

    @pytest.mark.parametrize(
        ("derained", "protocol", "message"),
        [
            (np.zeros((12, 13, 3), np.uint8), "rgb", "as large as its clean picture, 12x12, got 13x12"),
            (np.zeros((12, 12, 4), np.uint8), "rgb", r"`derained` must have shape .* got \(12, 12, 4\)"),
            (np.zeros((0, 12, 3), np.uint8), "rgb", r"and pixels, got \(0, 12, 3\)"),
            (np.zeros((12, 12, 3)), "y", "8 or 16 bits for the protocol y, got float64"),
            (np.zeros((12, 12, 3), np.int64), "msgnn", "got int64"),
            (np.full((12, 12, 3), np.nan), "msgnn", "must hold finite numbers"),
            (np.zeros((12, 12, 3), np.uint8), "Y", "`protocol` must be one of rgb, y, y-matlab, msgnn, got 'Y'"),
        ],
    )
    def test_bad_input(self, derained, protocol, message):
        with pytest.raises(ValueError, match=message):
            measure_similarity(derained, np.zeros((12, 12, 3), np.uint8), protocol)
