"""What long commands say of the time that is left."""

import pytest
from rtseg_inference.progress import time_left


@pytest.mark.parametrize(
    "done, total, seconds, text",
    [(1, 3, 45.2, "0:01:30"), (3, 3, 10, "0:00:00"), (1, 10**30, 1, "11574 days, 1:46:40")],
)
def test_time_left(done, total, seconds, text):
    assert time_left(done, total, seconds) == text
