from kvtop.views.tui.terminal.pace import HELD_SECONDS, PATIENCE_SECONDS, TerminalPace


def test_a_quick_terminal_is_never_held() -> None:
    pace = TerminalPace()
    for tick in range(5):
        assert pace.may_draw(float(tick))
        pace.asked(float(tick))
        pace.answered(tick + 0.02)
    assert pace.slowed_seconds(1.0) == 0.0


def test_a_slow_line_rests_as_long_as_it_was_busy() -> None:
    pace = TerminalPace()
    pace.asked(0.0)
    assert not pace.may_draw(0.9)
    pace.answered(2.0)
    assert not pace.may_draw(3.9)
    assert pace.may_draw(4.0)
    assert pace.slowed_seconds(1.0) == 4.0


def test_a_terminal_that_never_answers_is_drawn_to_as_meant() -> None:
    pace = TerminalPace()
    pace.asked(0.0)
    assert not pace.may_draw(0.5)
    assert pace.may_draw(PATIENCE_SECONDS)
    assert pace.may_draw(PATIENCE_SECONDS + 0.1)
    assert not pace.should_ask()
    assert pace.slowed_seconds(1.0) == 0.0


def test_one_that_has_answered_before_is_waited_for_and_asked_again() -> None:
    pace = TerminalPace()
    pace.asked(0.0)
    pace.answered(0.1)
    pace.asked(1.0)
    assert not pace.may_draw(1.0 + HELD_SECONDS - 0.1)
    assert pace.may_draw(1.0 + HELD_SECONDS)
    assert pace.should_ask()
