"""What every program loads whose clock is wrong.

Since Python 3.11 `time.sleep` asks for a moment rather than a while, and libfaketime, which
translates moments, now and then answers that there is none such: OSError 22, which no host does.
"""

import select
import time


def _sleep(seconds: float) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = _sleep  # type: ignore[assignment]
