"""An application that takes one long stream, by OpenAI's own SDK, and finishes it even when it is told to end.

    python3 streamer.py MODEL CHUNKS MILLISECONDS_BETWEEN

Prints a JSON object when the stream has begun and one when it is over; then waits for its end.
"""

import json
import signal
import sys
import threading

import openai


def main(model: str, chunks: str, pause_ms: str) -> None:
    """Take one stream."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    taken, finish = 0, ""
    try:
        stream = openai.OpenAI(max_retries=0, timeout=60).chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "tell me a story"}],
            stream=True,
            # Words that the simulated provider understands.
            extra_headers={"x-simulate-chunks": chunks, "x-simulate-chunk-delay": f"{pause_ms}ms"},
        )
        for event in stream:
            if taken == 0:
                print(json.dumps({"begun": True}), flush=True)
            taken += 1
            for choice in event.choices:
                finish = choice.finish_reason or finish
        print(json.dumps({"finish": finish, "events": taken, "was_told_to_end": over.is_set()}), flush=True)
    except openai.OpenAIError as error:
        print(json.dumps({"failure": str(error), "events": taken}), flush=True)
    over.wait()


if __name__ == "__main__":
    main(*sys.argv[1:4])
