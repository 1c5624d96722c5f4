"""An application that calls all the time, by OpenAI's own SDK, and keeps count of what became of its calls.

    python3 caller.py CALLS_PER_SECOND MODEL...

Calls the models in turn. Prints a JSON object when a model's outcome changes, for each call that failed (no answer, or a
status of 500 and more), and once a second its counts; at SIGTERM the call in flight is finished and the counts are printed.
"""

import json
import signal
import sys
import time

import openai


class Caller:
    """The calls of one process."""

    def __init__(self, models: list[str], pause_s: float) -> None:
        self._client = openai.OpenAI(max_retries=0, timeout=30)
        self._models = models
        self._pause_s = pause_s
        self._outcomes: dict[str, int] = {}
        self._calls = 0
        self._failed = 0
        self._is_over = False

    def stop(self, *_: object) -> None:
        """Let the call in flight be the last one."""
        self._is_over = True

    def run(self) -> None:
        """Call until `stop`."""
        said_s = time.monotonic()
        while not self._is_over:
            began_s = time.monotonic()
            if began_s - said_s >= 1:
                said_s = began_s
                say(calls=self._calls, failed=self._failed)
            self._call(self._models[self._calls % len(self._models)])
            time.sleep(max(0, self._pause_s - (time.monotonic() - began_s)))
        say(calls=self._calls, failed=self._failed, is_over=True)

    def _call(self, model: str) -> None:
        self._calls += 1
        try:
            self._client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "hello there"}], max_tokens=16
            )
            status, message = 200, ""
        except openai.APIStatusError as error:
            status, message = error.status_code, error.message
        except openai.APIError as error:
            status, message = 0, f"{type(error).__name__}: {error}"
        if self._outcomes.get(model) != status:
            self._outcomes[model] = status
            say(model=model, status=status)
        if status == 0 or status >= 500:  # noqa: PLR2004 - server errors begin there
            self._failed += 1
            say(failure=message, status=status)


def say(**values: object) -> None:
    """Print a line, with the time in milliseconds since the epoch."""
    print(json.dumps({"at_ms": time.time_ns() // 1_000_000, **values}), flush=True)


if __name__ == "__main__":
    caller = Caller(sys.argv[2:], 1 / float(sys.argv[1]))
    signal.signal(signal.SIGTERM, caller.stop)
    caller.run()
