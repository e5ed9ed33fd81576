import numpy as np
import pytest

from features.kinematics import Orders, bearing_orders
from features.spectra import envelope as env
from features.spectra.line_reader import LineReader
from features.spectra.lines import LineSettings
from features.spectra.spectrum import real_transform

RATE, LENGTH, RPM = 12_000.0, 12_032, 1797.0
BIN_HZ = RATE / LENGTH
SHAFT = RPM / 60
TURNS = LENGTH * SHAFT / RATE
ORDERS = bearing_orders(9, 7.94, 39.04)
SETTINGS = LineSettings()
T = np.arange(LENGTH) / RATE


def transform(x):
    x = np.atleast_2d(x)
    return real_transform((x - x.mean(axis=1, keepdims=True)).astype(np.float32))


def pulses(order, *, slip=0.0, level=1.0, seed=0, resonance=3200.0):
    """Impulse responses of a resonance at every pass, in noise; balls slip at random by 1 % from pass to pass."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(LENGTH) * 0.3
    period = 1 / (order * SHAFT * (1 + slip))
    passes = 0.003 + np.cumsum(period * (1 + 0.01 * rng.standard_normal(int(LENGTH / RATE / period))))
    for start in passes:
        late = T - start
        ring = np.exp(-900 * np.clip(late, 0, None)) * np.sin(2 * np.pi * resonance * late)
        x += level * np.where(late >= 0, ring, 0.0)
    return x


def reader_of(ses, usable, turns=TURNS):
    return LineReader(ses, turns=turns, usable=np.full(len(ses), usable), settings=SETTINGS)


def statistics(x, version="high"):
    spectrum = transform(x)
    if version == "white":
        band, spectrum = env.whole_band_bins(LENGTH), env.prewhiten(spectrum)
    else:
        low, high = (500.0, 2000.0) if version == "low" else (2000.0, 5000.0)
        band = env.band_bins(low, high, bin_hz=BIN_HZ, length=LENGTH, min_width_hz=1500.0)
    ses = env.squared_envelope_spectrum(spectrum, band)
    values = env.line_statistics(reader_of(ses, env.usable_bins(band)), ORDERS)
    return dict(zip(env.STATISTICS, values.T, strict=True))


@pytest.mark.parametrize("line, order", [("bpfo", ORDERS.bpfo), ("bpfi", ORDERS.bpfi), ("bsf2x", 2 * ORDERS.bsf)])
@pytest.mark.parametrize("slip", [0.0, -0.015, 0.015])
@pytest.mark.parametrize("version", ["high", "white"])
def test_a_pulse_train_shows_at_its_own_order_and_at_no_other(line, order, slip, version):
    found = statistics(pulses(order, slip=slip, level=2.0), version)
    lines = {name: found[f"{name}_h1_db"][0] for name in ("bpfo", "bpfi", "bsf2x")}
    assert max(lines, key=lines.get) == line
    assert lines[line] > 12
    others = [value for name, value in lines.items() if name != line]
    assert max(others) < 9


def test_a_pulse_train_is_sharp_in_the_spectrum():
    band = env.band_bins(2000.0, 5000.0, bin_hz=BIN_HZ, length=LENGTH, min_width_hz=1500.0)
    ses = env.squared_envelope_spectrum(transform(pulses(ORDERS.bpfo, level=2.0)), band)[0]
    assert abs(int(ses[5:150].argmax()) + 5 - ORDERS.bpfo * TURNS) <= 1


def test_amplitude_modulation_shows_at_the_modulation_only():
    # (1 + a cos)^2 has 2a at the modulation and a^2/2 at its double: a line power of (2a)^2 / 2.
    a, k = 0.2, 150
    x = (1 + a * np.cos(2 * np.pi * k * BIN_HZ * T)) * np.cos(2 * np.pi * 3000 * BIN_HZ * T)
    band = env.band_bins(2000.0, 5000.0, bin_hz=BIN_HZ, length=LENGTH, min_width_hz=1500.0)
    ses = env.squared_envelope_spectrum(transform(x), band)[0]
    assert ses.argmax() == k
    assert ses[k - 1 : k + 2].sum() == pytest.approx(2 * a**2 / (1 + a**2 / 2) ** 2, rel=1e-3)
    assert ses[2 * k - 1 : 2 * k + 2].sum() == pytest.approx(a**4 / 8 / (1 + a**2 / 2) ** 2, rel=1e-2)
    rest = np.delete(ses, [*range(k - 2, k + 3), *range(2 * k - 2, 2 * k + 3)])
    assert rest.max() < 1e-6 * ses.max()


def test_the_short_baseband_transform_equals_the_textbook_one():
    x = pulses(ORDERS.bpfi)
    band = env.band_bins(500.0, 2000.0, bin_hz=BIN_HZ, length=LENGTH, min_width_hz=1500.0)
    one_sided = np.zeros(LENGTH, dtype=complex)
    one_sided[band[0] : band[1]] = np.fft.rfft(x - x.mean())[band[0] : band[1]]
    square = np.abs(np.fft.ifft(one_sided)) ** 2
    square = square / square.mean() - 1
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(LENGTH) / LENGTH)
    wanted = 2 * np.abs(np.fft.rfft(square * hann)) ** 2 / (LENGTH**2 * 0.375)
    found = env.squared_envelope_spectrum(transform(x), band)[0]
    np.testing.assert_allclose(found, wanted[: found.size], rtol=2e-3, atol=1e-6 * wanted.max())


@pytest.mark.parametrize("version", ["low", "high", "white"])
def test_white_noise_shows_nothing(version):
    found = statistics(np.random.default_rng(11).standard_normal((600, LENGTH)), version)
    for name, values in found.items():
        assert abs(values.mean()) < 0.6, name
    textbook = np.stack([found[f"{name}_h1_db"] for name in ("bpfo", "bpfi", "bsf2x")])
    assert (textbook.max(axis=0) > 8).mean() < 0.02
    harmonics = np.stack([found[f"{name}_mean13_db"] for name in ("bpfo", "bpfi", "bsf2x")])
    assert (harmonics.max(axis=0) > 5).mean() < 0.01


def test_modulation_by_the_shaft_gives_sidebands():
    gate = 1 + 0.9 * np.cos(2 * np.pi * SHAFT * T)
    steady = statistics(pulses(ORDERS.bpfi, level=2.0))
    modulated = statistics(pulses(ORDERS.bpfi, level=2.0) * gate)
    assert modulated["bpfi_sidebands_db"][0] > steady["bpfi_sidebands_db"][0] + 8
    assert modulated["shaft_1x_db"][0] > steady["shaft_1x_db"][0] + 8


def test_prewhitening_sets_every_magnitude_to_one_and_leaves_zero():
    spectrum = transform(pulses(ORDERS.bpfo))
    spectrum[0, 100] = 0
    size = np.abs(env.prewhiten(spectrum))[0]
    assert size[100] == 0
    np.testing.assert_allclose(np.delete(size, [0, 100])[:-1], 1.0, rtol=1e-5)


def test_bands_that_do_not_fit_are_not_available():
    def high(rate):
        return env.band_bins(2000.0, 5000.0, bin_hz=rate / 12_000, length=12_000, min_width_hz=1500.0)

    assert high(12_000.0) == (2000, 5001)
    assert high(8000.0)[1] == 5701  # cut at 3800 Hz, in bins of 2/3 Hz
    assert high(7400.0)[1] > 0 and high(7300.0) is None  # 0.95 * 3700 = 3515 Hz; 3467 Hz leaves less than 1500 Hz
    assert env.band_bins(500.0, 2000.0, bin_hz=98.0, length=1024, min_width_hz=1500.0) is None
    assert env.whole_band_bins(100) is None


def test_orders_that_are_unknown_are_missing_and_the_rest_is_there():
    ses = np.random.default_rng(0).exponential(size=(3, 1400))
    values = env.line_statistics(reader_of(ses, 1400, turns=30.0), Orders(bpfo=3.585))
    known = {n for n, column in zip(env.STATISTICS, values.T, strict=True) if np.isfinite(column).all()}
    assert known == {"bpfo_h1_db", "bpfo_mean13_db", "shaft_1x_db", "shaft_2x_db"}


def test_mean_of_harmonics_falls_back_to_two_and_not_to_one():
    one, two, three, nothing = (np.array([v]) for v in (3.0, 5.0, 10.0, np.nan))
    assert env.mean_of_harmonics([one, two, three])[0] == 6.0
    assert env.mean_of_harmonics([one, two, nothing])[0] == 4.0
    assert np.isnan(env.mean_of_harmonics([one, nothing, nothing])[0])


def test_the_end_of_an_envelope_spectrum_is_not_used():
    assert env.usable_bins((500, 2001)) == 1350
    ses = np.random.default_rng(0).exponential(size=(1, 1501))
    for order, there in ((43.0, True), (46.0, False)):  # bins 1290 and 1380, each with 2 % to both sides
        values = env.line_statistics(reader_of(ses, env.usable_bins((500, 2001)), turns=30.0), Orders(bpfo=order))
        assert np.isfinite(values[0, 0]) == there
