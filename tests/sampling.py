"""Two speeds: `pytest` samples what `pytest --long` exhausts. No tests."""

LONG = False  # set by conftest.py before a test is collected


def sample(short, long):
    """What to do now: little, as a newcomer waits for it, or all, as `pytest --long`."""
    return long if LONG else short
