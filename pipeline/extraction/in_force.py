"""The features that today's settings ask for: settings, version and names, by quantity or model scope."""

from __future__ import annotations

from functools import lru_cache

from features.quality.quality import quality_settings
from features.settings import FeatureSettings, feature_names, feature_version
from features.windows import WindowSettings
from pipeline.base.log_schema import QUANTITY_UNITS, quantity_of
from pipeline.base.quantities import OVERALL, VIBRATIONS
from pipeline.base.settings import ExtractionSettings


def feature_settings(settings: ExtractionSettings, quantity: str) -> FeatureSettings:
    """Return the feature settings of a quantity: the shortest scored recording, high pass and thresholds differ."""
    if quantity in OVERALL:
        return FeatureSettings(windows=WindowSettings(samples=2, min_samples=2), overall=OVERALL[quantity])
    is_vibration = quantity in VIBRATIONS
    shortest = settings.min_samples_acceleration if is_vibration else settings.min_samples_other
    windows = WindowSettings(
        turns=settings.window_turns,
        samples=max(settings.window_samples, shortest),
        min_samples=shortest,
        mode=settings.window_mode,
    )
    high_pass_hz = settings.high_pass_hz if is_vibration else 0.0
    return FeatureSettings(windows=windows, quality=quality_settings(quantity), high_pass_hz=high_pass_hz)


def shortest_scored(settings: ExtractionSettings, quantity: str) -> int:
    """Return the samples of the shortest recording of a quantity that is scored."""
    return 1 if quantity in OVERALL else feature_settings(settings, quantity).windows.min_samples


def feature_versions(settings: ExtractionSettings) -> dict[str, str]:
    """Return the feature version of every quantity under these settings."""
    return {quantity: _version(feature_settings(settings, quantity)) for quantity in QUANTITY_UNITS}


_version = lru_cache(maxsize=256)(feature_version)


def feature_version_of(settings: ExtractionSettings, scope: str) -> str:
    """Return the feature version of a model scope under these settings."""
    return feature_versions(settings)[quantity_of(scope)]


def feature_names_of(settings: ExtractionSettings, scope: str) -> tuple[str, ...]:
    """Return the names of the features of a model scope under these settings, in their order."""
    return feature_names(feature_settings(settings, quantity_of(scope)))
