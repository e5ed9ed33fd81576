"""Every scoring method by the same interface: trained, scored, stored; null what it does not define."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import models.methods.swag as swag
import models.training.train as training
from models.artifact import ArtifactError, model_version, pack, unpack
from models.methods import METHODS
from models.methods.method import Fitted, method_of
from models.model import Model
from models.network import FoldedNetwork
from models.sampling import BLOCK
from models.settings import TrainingSettings
from models.training.train import train

Make = Callable[..., dict[str, Any]]

PRODUCT = Path(__file__).parents[3]
KEEP_MEMBERS = ("swag", "ensemble")
STRAY_NAME = re.compile(r'"(?:mle|mc_dropout|moments|swag|ensemble)"')


@pytest.fixture(scope="module")
def models(make: Make, small: TrainingSettings) -> dict[str, Model]:
    """A model of each method, of the same data and seed."""
    few = dataclasses.replace(
        small, epochs=6, ensemble_size=3, swag_samples=4, swag_epochs=3, swag_rank=2, n_samples=20
    )
    return {name: train(**make(), settings=dataclasses.replace(few, method=name))[0] for name in METHODS}


@pytest.fixture(scope="module")
def x(make: Make) -> np.ndarray:
    found: np.ndarray = make(units=9)["x"]
    return found


def test_a_method_is_its_file_and_its_name_in_one_list() -> None:
    files = {
        path.stem for path in (PRODUCT / "models/methods").glob("*.py") if "METHOD: Final" in path.read_text("utf-8")
    }
    assert files == set(METHODS)
    stray = [
        f"{path.relative_to(PRODUCT)}: {line.strip()}"
        for room in ("models", "pipeline", "review", "dags")
        for path in sorted((PRODUCT / room).rglob("*.py"))
        if path.parent.name != "methods"
        for line in path.read_text("utf-8").splitlines()
        if STRAY_NAME.search(line)
    ]
    defaults = ["models/model.py", "models/settings.py", "pipeline/base/setting_groups.py"]
    assert [line.split(":")[0] for line in stray] == defaults, stray


def test_a_name_is_checked_without_torch() -> None:
    code = (
        "import sys, models.methods as m; m.check_name('swag'); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PRODUCT)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_not_define_is_null(method: str, models: dict[str, Model], x: np.ndarray) -> None:
    scores = models[method].score(x)
    assert scores.finite.all()
    np.testing.assert_allclose(scores.class_probabilities.sum(axis=1), 1.0)
    assert np.isfinite(scores.predictive_entropy).all()
    split = (scores.mutual_information, scores.expected_entropy, scores.fault_std, scores.fault_q05, scores.fault_q95)
    for values in split:
        assert np.isnan(values).all() if not method_of(method).spread else np.isfinite(values).all()
    assert ("mutual_information" in models[method].quantiles) == method_of(method).spread
    expected = {"mle": 1, "temperature": 1, "moments": 1, "mc_dropout": 20, "swag": 4, "ensemble": 60}
    assert scores.n_samples == expected[method]
    defined = method in ("mc_dropout", "ensemble", "swag")
    assert np.isfinite(scores.monte_carlo_se).all() == defined


@pytest.mark.parametrize("method", METHODS)
def test_a_score_does_not_depend_on_the_others(method: str, models: dict[str, Model], x: np.ndarray) -> None:
    many = np.concatenate([x] * (1 + 2 * BLOCK // len(x)))
    whole, alone = models[method].score(many), models[method].score(many[BLOCK + 3 : BLOCK + 4])
    np.testing.assert_array_equal(whole.class_probabilities[BLOCK + 3], alone.class_probabilities[0])


@pytest.mark.parametrize("method", METHODS)
def test_an_artifact_keeps_it_and_a_changed_byte_is_refused(
    method: str, models: dict[str, Model], x: np.ndarray
) -> None:
    files = pack(models[method])
    assert ("members.safetensors" in files) == (method in KEEP_MEMBERS)
    again = unpack(files)
    assert again.method == method
    assert pack(again) == files
    np.testing.assert_array_equal(again.score(x).class_probabilities, models[method].score(x).class_probabilities)
    name = "members.safetensors" if method in KEEP_MEMBERS else "weights.safetensors"
    broken = bytearray(files[name])
    broken[-1] ^= 1
    with pytest.raises(ArtifactError, match=name):
        unpack({**files, name: bytes(broken)})
    if method in KEEP_MEMBERS:
        with pytest.raises(ArtifactError, match="members"):
            unpack({key: value for key, value in files.items() if key != name})


def test_every_method_is_another_version(models: dict[str, Model]) -> None:
    assert len({model_version(pack(model)) for model in models.values()}) == len(METHODS)


def test_the_point_estimate_has_no_temperature_and_its_rival_one(models: dict[str, Model], x: np.ndarray) -> None:
    mle, rival = models["mle"], models["temperature"]
    assert mle.temperature.value == 1.0
    assert rival.temperature.value != 1.0
    np.testing.assert_array_equal(mle.logits(x), rival.logits(x))
    logits = mle.logits(x)[0]
    expected = softmax(logits + mle.log_prior_correction, axis=1)
    np.testing.assert_allclose(mle.score(x).class_probabilities, expected, rtol=1e-5)


def test_an_ensemble_of_one_network_thrice_is_that_network(models: dict[str, Model], x: np.ndarray) -> None:
    one = models["mc_dropout"]
    assert one.network is not None
    assert one.bank is not None
    thrice = method_of("ensemble").sample((one.network,) * 3, one.bank)
    inputs = one.scaler.network_inputs(one.scaler.scale_features(x))
    single = method_of("mc_dropout").sample((one.network,), one.bank).logits(inputs)
    np.testing.assert_array_equal(thrice.logits(inputs), np.repeat(single, 3, axis=0))
    assert thrice.group == 3 * one.bank.sub_bank_size


def test_members_of_an_ensemble_differ(models: dict[str, Model]) -> None:
    ensemble = models["ensemble"]
    assert ensemble.network is not None
    firsts = [one.weights[0] for one in (ensemble.network, *ensemble.members)]
    assert len(firsts) == 3
    assert not any(a.equal(b) for a, b in ((firsts[0], firsts[1]), (firsts[0], firsts[2]), (firsts[1], firsts[2])))


def test_networks_that_swag_draws_differ(models: dict[str, Model]) -> None:
    """One iterate has no spread, and one seed draws one network: neither may pass."""
    heads = [one.weights[-1] for one in models["swag"].members]
    assert len(heads) == 4
    assert not any(heads[i].equal(heads[j]) for i in range(4) for j in range(i))


@pytest.mark.parametrize("method", METHODS)
def test_folds_are_sampled_and_calibrated_with_the_method_itself(method: str, models: dict[str, Model]) -> None:
    model = models[method]
    assert ("held-out units" in model.temperature.reason) == (method != "mle")
    if method_of(method).spread:
        assert model.quantiles["mutual_information"][50] > 0.0, "one sample has none"


def test_a_member_of_another_shape_is_refused(models: dict[str, Model]) -> None:
    ensemble = models["ensemble"]
    assert ensemble.network is not None
    other = dataclasses.replace(
        ensemble.members[0], weights=tuple(weight[:, :-1] for weight in ensemble.members[0].weights)
    )
    with pytest.raises(ValueError, match="member 0"):
        dataclasses.replace(ensemble, members=(other, *ensemble.members[1:]))
    with pytest.raises(ValueError, match="members"):
        dataclasses.replace(ensemble, members=())
    with pytest.raises(ValueError, match="2 members"):
        dataclasses.replace(models["mc_dropout"], members=ensemble.members)
    with pytest.raises(ValueError, match="method must be one of"):
        dataclasses.replace(models["mc_dropout"], method="magic")
    with pytest.raises(ValueError, match="method must be one of"):
        TrainingSettings(method="magic")


@pytest.mark.parametrize("method", METHODS)
def test_folds_have_as_many_samples_as_a_score(
    method: str, make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calibration and percentiles of fewer samples would be those of another method."""
    seen: list[Any] = []
    real = training.hold_out

    def spy(*args: Any) -> Any:
        seen.append(real(*args))
        return seen[-1]

    monkeypatch.setattr(training, "hold_out", spy)
    few = dataclasses.replace(small, epochs=2, ensemble_size=2, swag_samples=3, swag_epochs=2, swag_rank=2)
    model, _ = train(**make(), settings=dataclasses.replace(few, method=method))
    found = model.predictor
    assert found is not None
    assert seen[0].logits.shape[0] == found.sampler().n_samples
    assert seen[0].group == found.group


def test_swag_walks_and_draws_as_its_settings_say(
    make: Make, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[tuple[int, int, float]] = []
    real = swag.walk

    def spy(*args: Any, **more: Any) -> Any:
        path = real(*args, **more)
        walked.append((path.n, len(path.deviations), more["learning_rate"]))
        return path

    monkeypatch.setattr(swag, "walk", spy)
    wanted = dataclasses.replace(
        small, method="swag", epochs=2, swag_samples=6, swag_epochs=5, swag_rank=3, swag_learning_rate=0.02
    )
    model, report = train(**make(), settings=wanted)
    assert walked == [(5, 3, 0.02)] * (len(report.folds) + 1)
    assert len(model.members) == 6


def test_an_ensemble_trains_for_the_median_of_its_members_epochs() -> None:
    network = FoldedNetwork((), (), 0.0)
    settings = TrainingSettings(method="ensemble", ensemble_size=3)
    fitted = method_of("ensemble").fit(lambda number, go_on=None: Fitted(network, (3, 11, 10)[number]), settings)
    assert (fitted.epochs, len(fitted.members)) == (10, 2)
