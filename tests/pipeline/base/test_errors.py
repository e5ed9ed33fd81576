"""Messages: whatever text from outside is in them, a terminal and a log can show them."""

from __future__ import annotations

from pipeline.base.errors import AxiswatchError, Coded


def test_a_message_has_no_letters_that_steer_a_terminal_and_no_endless_lines() -> None:
    error = AxiswatchError("column \x1b[31mred\x00 \ud800 is not known\n  - second\n" + "x" * 1_000_000)
    first, second, third = str(error).split("\n")
    assert first == "column \ufffd[31mred\ufffd \ufffd is not known"
    assert second == "  - second"
    assert len(third) < 1_100
    str(error).encode()


def test_what_is_worded_anew_keeps_its_values() -> None:
    error = AxiswatchError(Coded("no case \x1b", "no_case", case="\x1b"))
    assert error.sentences[0].values == {"case": "\x1b"}
