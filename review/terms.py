"""Stored words (taxonomy, reasons, actions, data-quality verdicts) in English and Korean."""

from __future__ import annotations

from typing import Final

_TERMS: Final = {
    # verdicts and states
    "healthy": ("healthy", "정상"),
    "fault": ("fault", "고장"),
    "sensor_or_data": ("sensor or data", "센서·데이터 문제"),
    "benign_change": ("benign change", "무해한 변화"),
    "unsure": ("unsure", "판단 보류"),
    "watch": ("watch", "관찰"),
    "alarm": ("alarm", "경보"),
    "data_fault": ("data fault", "데이터 이상"),
    "silent": ("silent", "무응답"),
    "unknown": ("unknown", "불확실"),
    "open": ("open", "열림"),
    "snoozed": ("snoozed", "보류"),
    "closed": ("closed", "종결"),
    "all": ("any", "전체"),
    "replayed": ("accepted later", "나중에 수용됨"),
    # evidence
    "signal_only": ("from the signal only", "신호만으로 판단"),
    "inspected": ("inspected on the machine", "현장 점검"),
    "teardown": ("teardown", "분해 확인"),
    # components
    "bearing": ("bearing", "베어링"),
    "gear": ("gear", "기어"),
    "reducer": ("reducer", "감속기"),
    "motor": ("motor", "모터"),
    "belt": ("belt", "벨트"),
    "brake": ("brake", "브레이크"),
    "sensor": ("sensor", "센서"),
    "cable": ("cable", "케이블"),
    "other": ("other", "기타"),
    # failure modes
    "inner_race": ("inner race", "내륜"),
    "outer_race": ("outer race", "외륜"),
    "ball": ("ball", "볼(전동체)"),
    "cage": ("cage", "케이지"),
    "gear_tooth": ("gear tooth", "기어 이 손상"),
    "gear_wear": ("gear wear", "기어 마모"),
    "lubrication": ("lubrication", "윤활 불량"),
    "looseness": ("looseness", "풀림"),
    "misalignment": ("misalignment", "축 정렬 불량"),
    "imbalance": ("imbalance", "불균형"),
    "fault_unknown": ("a fault, part not known", "고장(부위 모름)"),
    # causes
    "new_load": ("new load", "새 부하"),
    "new_speed": ("new speed", "새 속도"),
    "new_unit": ("new unit", "새 장치"),
    "maintenance": ("maintenance", "정비"),
    "temperature": ("temperature", "온도"),
    "sensor_fault": ("sensor fault", "센서 고장"),
    "cable_fault": ("cable fault", "케이블 고장"),
    "clock_fault": ("clock fault", "시계 이상"),
    # severities
    "monitor": ("keep an eye on it", "지켜보기"),
    "plan": ("plan a repair", "정비 계획"),
    "urgent": ("urgent", "긴급"),
    "stop": ("stop the machine", "즉시 정지"),
    # reasons
    "unseen": ("too few examples learned", "학습한 예가 적음"),
    "novel": ("unlike anything learned", "처음 보는 신호"),
    "new_program": ("never seen this program", "처음 보는 프로그램"),
    "unmodelled": ("a fault that the model does not know", "모델이 모르는 고장"),
    "undecided": ("suspicion below the alarm level", "경보 기준 아래의 의심"),
    "blocked": ("bad signal, yet looks like a fault", "신호 불량이나 고장처럼 보임"),
    "ambiguous": ("healthy and faulty look alike", "정상·고장 구별 어려움"),
    "data": ("the sensor is in doubt", "센서가 의심됨"),
    "audit": ("random audit", "무작위 점검"),
    "model": ("the model tells nothing", "모델이 구별하지 못함"),
    "confirm": ("a finding in doubt: confirm it", "의심되는 판정: 확인 필요"),
    "machine": ("machine", "기계"),
    "remembered": ("looks like a fault", "고장 사례와 비슷함"),
    # model scopes
    "acceleration": ("acceleration", "가속도"),
    "motor_current": ("motor current", "모터 전류"),
    "motor_torque": ("motor torque", "모터 토크"),
    "force": ("force", "힘"),
    "voltage": ("voltage", "전압"),
    # verdicts on data quality
    "ok": ("good", "양호"),
    "flatline": ("the signal does not change", "신호 변화 없음"),
    "clipping": ("clipped", "신호 잘림"),
    "dropout": ("parts of the signal are lost", "신호 일부 유실"),
    "mains_hum": ("mains hum", "전원 잡음"),
    "rate_mismatch": ("wrong sampling rate", "샘플링 속도 불일치"),
    "wrong_speed": ("wrong speed", "속도 불일치"),
    "gain_mismatch": ("wrong gain or unit", "이득·단위 불일치"),
    "loose_mount": ("sensor is loose", "센서 고정 불량"),
    "swapped_channels": ("channels swapped", "채널 뒤바뀜"),
    "polarity": ("polarity reversed", "극성 반대"),
    "non_finite": ("no score could be computed", "점수 계산 불가"),
    "too_short": ("too short", "기록이 너무 짧음"),
    # acts
    "opened": ("opened", "사례 생성"),
    "reopened": ("reopened", "다시 열림"),
    "changed": ("got worse", "악화됨"),
    "verdict": ("verdict", "판정"),
    "claimed": ("claimed", "담당 시작"),
    "released": ("released", "담당 해제"),
    "handed_over": ("handed over", "인계"),
    "woken": ("snooze ended", "보류 해제"),
    "comment": ("comment", "의견"),
    "work_order": ("work order", "작업지시"),
    "undone": ("verdict withdrawn", "판정 취소"),
    # details of acts
    "until": ("until", "까지"),
    "to": ("to", "받는 사람"),
    "text": ("text", "내용"),
    "why": ("why", "이유"),
    "number": ("number", "번호"),
    "reasons": ("reasons", "사유"),
    "priority": ("priority", "우선순위"),
    "evidence": ("evidence", "근거"),
    "mode": ("failure mode", "고장 모드"),
    "component": ("component", "부품"),
    "cause": ("cause", "원인"),
    "severity": ("severity", "심각도"),
    "looks_like": ("looks like", "비슷한 사례"),
    "memory": ("look-alikes", "비슷한 사례의 판정"),
    "selection_probability": ("chance of being drawn", "뽑힐 확률"),
    "from_at": ("from", "시작"),
    "to_at": ("to", "끝"),
    "it gets worse": ("it gets worse", "악화될 때까지"),
    "it got worse": ("it got worse", "악화됨"),
    "its date has come": ("the snooze is over", "보류 기한 도래"),
    "recordings arrive again": ("recordings arrive again", "기록이 다시 들어옴"),
    # the timeline of an axis
    "installed": ("installed", "설치"),
    "replaced": ("replaced", "교체"),
    "removed": ("removed", "제거"),
    "note": ("note", "메모"),
    # lines
    "shaft": ("shaft", "축 회전"),
    "bpfo": ("outer race (bpfo)", "외륜 (bpfo)"),
    "bpfi": ("inner race (bpfi)", "내륜 (bpfi)"),
    "bsf": ("ball spin (bsf)", "볼 자전 (bsf)"),
    "bsf2x": ("ball", "볼(전동체)"),
    "ftf": ("cage (ftf)", "케이지 (ftf)"),
    "gear mesh": ("gear mesh", "기어 맞물림"),
    # models and people
    "classification": ("classification", "분류"),
    "fault_types": ("fault types only", "고장 유형만"),
    "baseline_only": ("usual state only", "평소 상태만"),
    "champion": ("in use", "사용 중"),
    "challenger": ("candidate", "후보"),
    "first": ("first", "최초"),
    "promoted": ("put to use", "사용 시작"),
    "rolled_back": ("rolled back", "되돌림"),
    "trained": ("trained", "학습됨"),
    "kept": ("kept", "유지"),
    "waiting": ("waiting", "대기"),
    "refused": ("refused", "거부됨"),
    "accuracy": ("share of right answers", "맞힌 비율"),
    "macro_auroc": ("separation of the classes (AUROC, 1 is best)", "상태 구별 능력 (AUROC, 1이 최고)"),
    "fault_auroc": ("separation of faulty and healthy (AUROC, 1 is best)", "고장·정상 구별 능력 (AUROC, 1이 최고)"),
    "nll": ("surprise by the truth (log loss, 0 is best)", "예측 오차 (로그 손실, 0이 최고)"),
    "brier": ("error of the probabilities (Brier, 0 is best)", "확률의 오차 (브라이어, 0이 최고)"),
    "nll_at_fault_prior": ("log loss at the plant's share of faults", "현장 고장 비율에서의 로그 손실"),
    "viewer": ("viewer", "열람자"),
    "reviewer": ("reviewer", "검토자"),
    "admin": ("admin", "관리자"),
}


def term(word: str | None, language: str) -> str:
    """Return a stored word in a language (`en` or `ko`); '' for None; a word that is not in the list stays as it is."""
    if word is None:
        return ""
    pair = _TERMS.get(word)
    return str(word) if pair is None else pair[language == "ko"]


def share_text(value: float | None) -> str:
    """Write a probability with two digits; only an exact 0 or 1 is written as 0.00 or 1.00."""
    if value is None:
        return "–"
    if 0.0 < value < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 < value < 1.0 else f"{value:.2f}"
