"""Being asked to stop is heard, also where Python drops the exception of a signal."""

import signal
from collections.abc import Iterator

import pytest

from ops.watch import asked_to_stop, pause

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [signal.getsignal(number) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


class AskedAsItGoes:
    """Python prints what is raised in here, and goes on."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_that_was_dropped_comes_at_the_next_pause() -> None:
    with asked_to_stop() as stop:
        pause(stop, 0.0)
        AskedAsItGoes()
        with pytest.raises(KeyboardInterrupt):
            pause(stop, 60.0)


@pytest.mark.parametrize("number", NUMBERS)
def test_each_signal_is_heard_once_and_does_not_break_into_the_stopping(number: signal.Signals) -> None:
    with asked_to_stop():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        for again in NUMBERS:
            signal.raise_signal(again)
