"""`python -m dubbing` is `dub`.

With DUB_ENDS_WITH_STDIN in the environment, as the review server starts it, the process is interrupted when its stdin
ends: a pipe that its parent holds ends with the parent, even when that is killed.
"""

import os
import signal
import threading
import time

_PATIENCE_S = 30.0  # from the interruption until it is killed


def _end_with_stdin() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    if os.environ.pop("DUB_ENDS_WITH_STDIN", ""):  # not for processes that this one starts
        threading.Thread(target=_end_with_stdin, name="end with stdin", daemon=True).start()

    from dubbing.cli import main

    main()
