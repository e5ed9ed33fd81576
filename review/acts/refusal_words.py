"""Why something was refused, in English and Korean; `review.words` has them with all others."""

from __future__ import annotations

from typing import Final

REFUSAL_PAIRS: Final = {
    "refused_other": ("This was refused.", "요청이 거부되었습니다."),
    "refused_log_in": (
        "Your log-in has ended. Log in again; nothing was changed.",
        "로그인이 끝났습니다. 다시 로그인하십시오. 바뀐 것은 없습니다.",
    ),
    "refused_csrf": (
        "This page is from an earlier log-in. Load it again, then send it once more.",
        "이전 로그인에서 열린 화면입니다. 새로 고친 뒤 다시 보내십시오.",
    ),
    "refused_role": (
        "This needs the role {role}; yours is {own}. Ask an administrator.",
        "{role} 권한이 필요합니다. 현재 권한은 {own}입니다. 관리자에게 문의하십시오.",
    ),
    "refused_origin": (
        "The request came from a page of another site. Use the pages of this application.",
        "다른 사이트의 화면에서 온 요청입니다. 이 프로그램의 화면을 사용하십시오.",
    ),
    "refused_not_allowed": ("You may not do this.", "이 작업을 할 권한이 없습니다."),
    "refused_no_page": (
        "There is no such page. Check the address, or begin at the queue.",
        "그런 화면이 없습니다. 주소를 확인하거나 검토 목록에서 시작하십시오.",
    ),
    "refused_bad_request": (
        "The request could not be read. Load the page again, then try once more.",
        "요청을 읽을 수 없습니다. 화면을 새로 고친 뒤 다시 시도하십시오.",
    ),
    "refused_broken": (
        "Something in the application went wrong; nothing was stored. Try again; if it stays, tell your administrator.",
        "프로그램에 문제가 생겨 저장하지 못했습니다. 다시 시도하고, 계속되면 관리자에게 알리십시오.",
    ),
    "refused_busy": (
        "Many people log in at this moment. Try again in a few seconds.",
        "지금 로그인 요청이 많습니다. 잠시 뒤에 다시 시도하십시오.",
    ),
    "refused_too_many_tries": (
        "Too many wrong passwords from here. Wait {minutes} minutes, then try again.",
        "이 기기나 망에서 비밀번호를 너무 많이 틀렸습니다. {minutes}분 뒤에 다시 시도하십시오.",
    ),
    "refused_no_case": (
        "Not found: there is no case {case}. Look for it in the queue.",
        "없는 사례입니다: {case}. 목록에서 찾으십시오.",
    ),
    "refused_no_axis": (
        "Not found: there is no axis {axis}. Look for it in the fleet.",
        "없는 축입니다: {axis}. 설비 현황에서 찾으십시오.",
    ),
    "refused_no_position": (
        "This is no place in the queue. Begin at its first page.",
        "목록에 없는 위치입니다. 첫 페이지에서 시작하십시오.",
    ),
    "refused_claimed": (
        "Case {case} is claimed by {who} until {until}. Ask {who}, or wait until then.",
        "사례 {case}의 담당자는 {who}입니다({until}까지). 담당자에게 묻거나 그때까지 기다리십시오.",
    ),
    "refused_stale": (
        "Not recorded: case {case} has changed since you opened it ({action}, {who}, {at}). Look at it again; "
        "what you chose is kept, record it once more if it still holds.",
        "기록하지 않았습니다. 화면을 연 뒤 사례 {case}의 내용이 바뀌었습니다({action}, {who}, {at}). 다시 확인하고, "
        "선택한 내용이 여전히 맞으면 한 번 더 기록하십시오.",
    ),
    "refused_old_page": (
        "What this page showed is not on record. Load it again, then record.",
        "이 화면의 내용이 기록과 맞지 않습니다. 새로 고친 뒤 기록하십시오.",
    ),
    "refused_closed_look_alike": (
        "Nothing was recorded: case {case} was closed meanwhile. Untick it, then record again.",
        "기록하지 않았습니다. 그 사이 종결된 사례가 있습니다: {case}. 선택을 풀고 다시 기록하십시오.",
    ),
    "refused_closed_claim": (
        "Case {case} is closed. A later finding needs no claim.",
        "종결된 사례입니다: {case}. 이후 확인된 사실은 담당하지 않아도 기록할 수 있습니다.",
    ),
    "refused_closed_snooze": (
        "Case {case} is closed; only open cases are snoozed.",
        "종결된 사례는 보류할 수 없습니다: {case}.",
    ),
    "refused_extreme": (
        "Not recorded: the model gives case {case} a fault probability of {p}. Tick that the signal alone is enough, "
        "or choose other evidence.",
        "기록하지 않았습니다. 사례 {case}의 고장 확률은 {p}입니다. 신호만으로 충분한지 확인란에 표시하거나 "
        "다른 근거를 고르십시오.",
    ),
    "refused_empty_verdict": (
        "Nothing was recorded: no verdict is chosen. Choose one.",
        "판정을 고르지 않아 기록하지 않았습니다. 판정을 고르십시오.",
    ),
    "refused_empty_evidence": (
        "Nothing was recorded: no evidence is chosen. Choose what the verdict rests on.",
        "근거를 고르지 않아 기록하지 않았습니다. 판정의 근거를 고르십시오.",
    ),
    "refused_unknown_word": (
        "“{value}” is no choice of {name}. Choose one from the list.",
        "{name}에 없는 값입니다: “{value}”. 목록에서 고르십시오.",
    ),
    "refused_mode_needs_fault": (
        "A failure mode goes with the verdict fault only. Take it out, or choose fault.",
        "고장 모드는 고장 판정에만 쓸 수 있습니다. 비우거나 판정을 고장으로 바꾸십시오.",
    ),
    "refused_range_order": (
        "The end of the time range is not after its start. Put it right.",
        "기간의 끝이 시작보다 늦지 않습니다. 고쳐 주십시오.",
    ),
    "refused_range_future": (
        "The time range begins in the future. Put it right.",
        "기간의 시작이 현재보다 늦습니다. 고쳐 주십시오.",
    ),
    "refused_range_outside": (
        "The time range lies outside the time of the case. Put it right, or leave it empty.",
        "기간이 사례의 시간과 겹치지 않습니다. 고치거나 비워 두십시오.",
    ),
    "refused_no_time": (
        "{name}: this is no time. Give day and time.",
        "{name}: 시각이 아닙니다. 날짜와 시간을 넣으십시오.",
    ),
    "refused_shift_range": (
        "The start must lie in the past, at most {days} days back. Choose another time.",
        "시작은 현재보다 앞서야 하며 최대 {days}일 전까지입니다. 다른 시각을 고르십시오.",
    ),
    "refused_time_passed": (
        "{until} has passed. Choose a later time.",
        "이미 지난 시각입니다: {until}. 더 늦은 시각을 고르십시오.",
    ),
    "refused_time_far": (
        "{until} is too far away. Choose a time within {days} days.",
        "너무 먼 시각입니다: {until}. {days}일 이내의 시각을 고르십시오.",
    ),
    "refused_not_claimed": ("Nobody has claimed case {case}.", "담당자가 없는 사례입니다: {case}."),
    "refused_not_snoozed": ("Case {case} is not snoozed.", "보류 중인 사례가 아닙니다: {case}."),
    "refused_no_end": (
        "The end of the snooze is missing. Give a time, or snooze until it gets worse.",
        "보류 기한이 없습니다. 시각을 넣거나 악화될 때까지 보류하십시오.",
    ),
    "refused_length": (
        "The text must have 1 to {most} characters, all of them printable.",
        "글은 1–{most}자여야 하며 표시할 수 있는 문자만 쓸 수 있습니다.",
    ),
    "refused_no_reviewer": (
        "There is no reviewer {who}. Ask an administrator for the name.",
        "없는 검토자입니다: {who}. 관리자에게 이름을 확인하십시오.",
    ),
    "refused_nothing_to_undo": (
        "No verdict of yours stands on case {case}, so there is nothing to withdraw.",
        "사례 {case}에 취소할 내 판정이 없습니다.",
    ),
    "refused_not_muted": ("The axis is not muted.", "알림이 중지된 축이 아닙니다."),
    "refused_same_moment": (
        "Somebody else changed this at the same moment. Look again, then retry.",
        "다른 사용자가 같은 순간에 바꾸었습니다. 확인한 뒤 다시 시도하십시오.",
    ),
    "refused_nothing_chosen": (
        "No case was chosen. Tick at least one.",
        "선택한 사례가 없습니다. 하나 이상 고르십시오.",
    ),
}
