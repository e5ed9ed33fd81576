"""The words of plots and of the tools around them in English and Korean; `review.words` has them with all others."""

from __future__ import annotations

from typing import Final

PLOT_PAIRS: Final = {
    "plot_zoom": ("Zoom", "확대"),
    "plot_pan": ("Pan", "이동"),
    "plot_in": ("Zoom in", "더 확대"),
    "plot_out": ("Zoom out", "축소"),
    "plot_reset": ("Whole plot", "전체 보기"),
    "plot_keys": (
        "Keys: arrows move the cursor, Shift and arrows the plot, plus and minus zoom, Home shows all, Escape ends",
        "키: 화살표 커서 이동, Shift+화살표 그림 이동, +·− 확대·축소, Home 전체, Esc 끝내기",
    ),
    "to_plots": ("To the plots", "그림으로 이동"),
    "to_verdict": ("To the verdict", "판정으로 이동"),
    "to_content": ("To the content", "본문으로 이동"),
    "needs_script": (
        "The plots need JavaScript, which is off or blocked in this browser. Verdicts work without it.",
        "그림에는 JavaScript가 필요한데 이 브라우저에서 꺼져 있거나 막혀 있습니다. 판정은 할 수 있습니다.",
    ),
    "not_loaded": (
        "The data did not come. Load the page again; if that does not help, check the network.",
        "데이터를 받지 못했습니다. 페이지를 다시 불러오고, 계속되면 네트워크를 확인하십시오.",
    ),
    "only_values": (
        "The sensor sends ready values and no signal: see how they went below.",
        "센서가 계산한 값만 보내므로 신호가 없습니다. 값의 추이는 아래에 있습니다.",
    ),
    "how_unsure": ("how unsure (0: sure)", "불확실한 정도 (0: 확실)"),
    "recent": ("recent fault probability (compared with the levels)", "최근 고장 확률 (기준과 비교)"),
    "load": ("Load", "부하"),
    "change": ("Change", "변화"),
    "health": ("How far from this unit's usual (health index)", "이 장치의 평소와 벌어진 정도 (건전성 지수)"),
    "health_index": ("health index of a recording", "기록별 건전성 지수"),
    "running_median": ("smoothed (running median)", "평활값 (이동 중앙값)"),
    "threshold": ("alarm threshold", "경보 임계값"),
    "baseline_band": ("usual range, 5-95 %", "평소 범위 5–95 %"),
    "change_point": ("change", "변화점"),
    "no_trend": (
        "There is no trend yet: it begins when the unit's usual is known.",
        "아직 추세가 없습니다. 평소 상태를 알게 되면 시작됩니다.",
    ),
    "velocity_rms": ("vibration velocity, rms 10-1000 Hz", "진동 속도 실효값 10–1000 Hz"),
    "borrowed_limit": ("borrowed limit", "빌려온 한계"),
    "borrowed_why": (
        "The limits are borrowed from ISO 20816-3, which is for pumps, fans, motors and the like, not for robot axes. "
        "Nothing alarms by them.",
        "이 한계는 펌프, 송풍기, 전동기 등에 대한 국제 표준에서 빌려온 것이며 로봇 축의 한계가 아닙니다. "
        "이 값으로는 경보하지 않습니다.",
    ),
    "nothing_moved": ("All is as usual.", "모두 평소와 같습니다."),
    "any_regime": ("over all programs and speeds", "모든 프로그램과 속도"),
    "far_off": ("far from usual", "평소와 크게 다름"),
    "clearly_off": ("clearly off", "뚜렷이 다름"),
    "off": ("off", "다름"),
    "group_level": ("How strong it vibrates", "진동의 세기"),
    "group_impulses": ("Impacts and spikes", "충격과 뾰족함"),
    "group_bearing": ("Lines of the bearing", "베어링 특성 주파수"),
    "group_gear": ("Lines of the gears", "기어 특성 주파수"),
    "group_shaft": ("Lines of the shaft", "축 회전 성분"),
    "group_shape": ("Where in the spectrum", "스펙트럼의 모양"),
    "classes": ("What the model takes it for", "모델의 판단"),
    "no_classes": ("No model has scored this recording.", "이 기록을 채점한 모델이 없습니다."),
    "most_suspicious": ("the most suspicious one of this case", "이 사례에서 가장 의심스러운 기록"),
    "laid_under": ("Laid under it, in grey", "회색으로 겹친 기록"),
    "play": ("Play", "소리로 듣기"),
    "volume": ("Volume", "음량"),
    "no_sound": ("The sound cannot be played here.", "소리를 재생할 수 없습니다."),
    "harmonics": ("harmonics of the cursor", "커서의 고조파"),
    "sidebands": ("Sidebands of the cursor", "커서의 측대파"),
    "no_sidebands": ("no sidebands", "측대파 없음"),
    "log_axis": ("logarithmic", "로그 눈금"),
    "over_floor": ("over the floor", "바닥 대비"),
    "from_line": ("{hz} from {line}", "{line}에서 {hz}"),
    "waterfall": ("Waterfall: spectra over the time of the case", "워터폴: 사례 기간의 스펙트럼"),
    "waterfall_scale": ("from the floor (dark) to {db} dB above (bright)", "바닥(어두움)부터 {db} dB 위(밝음)까지"),
    "spectra_of": ("Spectrum of", "대상"),
    "of_envelope": ("squared envelope", "제곱 포락선"),
    "of_signal": ("signal itself", "신호 자체"),
}
