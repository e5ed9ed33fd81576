"""What a feature is called by people: its group, what it is about, a name in two languages, and how its value reads.

The groups are those of a reader: how strong, how spiky, which lines, where in the spectrum.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from review.terms import term

Form = Literal["amplitude", "power", "ratio", "db", "hz", "log_hz", "share", "count", "percent", "plain"]

GROUPS: Final = ("level", "impulses", "bearing", "gear", "shaft", "shape")


@dataclass(frozen=True)
class FeatureWords:
    """A feature for people.

    Attributes
    ----------
    group : str
        One of `GROUPS`.
    about : str
        What it tells about: of features that tell about the same, one is enough for a reader.
    name : str
        In the language asked for.
    form : str
        How its value is stored: `amplitude` log10 in the signal's unit, `power` log10 of its square, `ratio` log10
        without a unit, `log_hz` log10 of Hz, `share` 0 to 1, the others as they are called.
    """

    group: str
    about: str
    name: str
    form: Form


_PLAIN: Final[dict[str, tuple[str, str, Form, str, str]]] = {
    "rms_log10": ("level", "overall", "amplitude", "overall level (rms)", "전체 크기 (rms)"),
    "peak_log10": ("level", "overall", "amplitude", "highest peak", "최대 피크"),
    "peak_to_peak_log10": ("level", "overall", "amplitude", "peak to peak", "피크 간 크기"),
    "crest_factor_log10": ("impulses", "waveform", "ratio", "crest factor: peak over rms", "파고율 (피크/rms)"),
    "kurtosis_log10": ("impulses", "waveform", "ratio", "kurtosis: how spiky the signal is", "첨도 (뾰족한 정도)"),
    "skewness": ("impulses", "skewness", "plain", "skewness: spikes to one side", "왜도 (한쪽 치우침)"),
    "shape_factor": ("impulses", "waveform", "plain", "shape factor: rms over mean", "파형률 (rms/평균)"),
    "impulse_factor_log10": ("impulses", "waveform", "ratio", "impulse factor: peak over mean", "충격률 (피크/평균)"),
    "clearance_factor_log10": ("impulses", "waveform", "ratio", "clearance factor", "간극률"),
    "spectral_centroid_hz": ("shape", "middle", "hz", "mean frequency", "평균 주파수"),
    "rms_frequency_hz": ("shape", "middle", "hz", "rms frequency", "rms 주파수"),
    "spectral_entropy": ("shape", "entropy", "plain", "evenness of the spectrum (entropy)", "스펙트럼 고름 (엔트로피)"),
    "spectral_kurtosis_max_log10": (
        *("impulses", "bands", "ratio"),
        *("strongest bursts in a frame's band (spectral kurtosis)", "가장 강한 충격 (스펙트럼 첨도)"),
    ),
    "spectral_kurtosis_mean_log10": (
        *("impulses", "bands", "ratio"),
        *("bursts over all frequencies (spectral kurtosis)", "전체 충격 (스펙트럼 첨도)"),
    ),
    "best_band_kurtosis_log10": ("impulses", "bands", "ratio", "bursts in the best band", "최적 대역의 충격"),
    "best_band_center_hz": ("shape", "best", "hz", "middle of the band with most bursts", "충격이 많은 대역의 중심"),
    "best_band_width_hz": ("shape", "best", "hz", "width of the band with most bursts", "충격이 많은 대역의 폭"),
    "raw_gear_mesh_sidebands_db": ("gear", "sidebands", "db", "sidebands of the gear mesh", "기어 맞물림 측대파"),
    "raw_gear_mesh_sideband_ratio_log10": (
        *("gear", "sidebands", "ratio"),
        *("sidebands over the line of the gear mesh", "기어 맞물림 대비 측대파"),
    ),
    "tsa_share": ("shaft", "turns", "share", "share that repeats with every turn", "매 회전 반복되는 비중"),
    "tsa_residual_ratio_log10": (
        *("shaft", "turns", "ratio"),
        *("share that does not repeat with the turns", "회전과 무관한 비중"),
    ),
    "tsa_residual_kurtosis_log10": (
        *("impulses", "turns", "ratio"),
        *("bursts that do not repeat with the turns", "회전과 무관한 충격"),
    ),
    "tsa_fm4_log10": ("gear", "tooth", "ratio", "single bad tooth (FM4)", "손상된 이 하나 (FM4)"),
    "temperature_c": ("level", "temperature", "plain", "temperature, °C", "온도, °C"),
    "raw_shaft_mean14_db": ("shaft", "lines", "db", "shaft, mean of harmonics 1 to 4", "축 회전 1–4차 평균"),
}
_ENVELOPES: Final = {
    "low": ("low band", "저대역"),
    "high": ("high band", "고대역"),
    "white": ("whitened", "백색화"),
    "best": ("best band", "최적 대역"),
}
_PARTS: Final = {
    "h1_db": ("line in the envelope", "포락선 피크"),
    "mean13_db": ("harmonics 1 to 3 in the envelope", "포락선 1–3차"),
    "1x_db": ("line in the envelope", "포락선 피크"),
    "2x_db": ("second harmonic in the envelope", "포락선 2차"),
    "sidebands_db": ("sidebands in the envelope", "포락선 측대파"),
    "harmonics": ("harmonics that stand out", "두드러진 고조파 수"),
    "sideband_pairs": ("pairs of sidebands that stand out", "두드러진 측대파 쌍"),
}
_EVIDENCE: Final = {
    "max_db": ("best match in an envelope", "포락선 최대 일치도"),
    "mean_db": ("match over all envelopes", "포락선 평균 일치도"),
    "max_margin_db": ("best match, ahead of other parts", "다른 부품 대비 최대 일치도"),
    "mean_margin_db": ("match, ahead of other parts", "다른 부품 대비 일치도"),
    "h1_db": ("line, mean over the envelopes", "포락선 피크 평균"),
    "offset_percent": ("distance of the line from its place", "예상 위치와의 차이"),
}
_CLASSES: Final = {"outer": "outer_race", "inner": "inner_race", "ball": "ball"}
_LINES: Final = {"bpfo": "outer_race", "bpfi": "inner_race", "bsf": "ball", "bsf2x": "ball", "ftf": "cage"}


def words_of(feature: str, language: str) -> FeatureWords:
    """Return the words for a feature in a language (`en` or `ko`); a name that is not known stays as it is."""
    ko = language == "ko"
    if feature in _PLAIN:
        group, about, form, *names = _PLAIN[feature]
        return FeatureWords(group, about, names[ko], form)
    if found := re.fullmatch(r"band_([\d.]+)_([\d.]+)_(log_power|share)", feature):
        low, high, what = found.groups()
        if what == "share":
            name = f"{low}–{high} Hz 비중" if ko else f"share of the power at {low}–{high} Hz"
            return FeatureWords("shape", f"share {low}", name, "share")
        return FeatureWords(
            "level", f"band {low}", f"{low}–{high} Hz 크기" if ko else f"level at {low}–{high} Hz", "power"
        )
    if found := re.fullmatch(r"(long_)?ses_([a-z]+)_(bpfo|bpfi|bsf2x|bsf|ftf|shaft)_(\w+)", feature):
        long, envelope, line, part = found.groups()
        whose = term(line if line == "bsf" else _LINES.get(line, line), language)
        turns = (", 긴 구간" if ko else ", long windows") if long else ""
        name = f"{whose}: {_PARTS[part][ko]} ({_ENVELOPES[envelope][ko]}{turns})"
        counted: Form = "db" if part.endswith("_db") else "count"
        return FeatureWords("shaft" if line == "shaft" else "bearing", _LINES.get(line, line), name, counted)
    if found := re.fullmatch(r"evidence_(outer|inner|ball)_(\w+)", feature):
        part = _CLASSES[found[1]]
        name = f"{term(part, language)}: {_EVIDENCE[found[2]][ko]}"
        return FeatureWords("bearing", part, name, "percent" if found[2] == "offset_percent" else "db")
    if found := re.fullmatch(r"raw_gear_mesh_h(\d)_db", feature):
        name = f"기어 맞물림 {found[1]}차" if ko else f"gear mesh, harmonic {found[1]}"
        return FeatureWords("gear", "mesh", name, "db")
    if found := re.fullmatch(r"spectrum_q(\d+)_log10_hz", feature):
        name = (
            f"신호의 {found[1]} %가 놓인 상한 주파수"
            if ko
            else f"frequency below which {found[1]} % of the signal lies"
        )
        return FeatureWords("shape", "quantiles", name, "log_hz")
    return FeatureWords("shape", feature, feature, "plain")
