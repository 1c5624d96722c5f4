"""An application that knows nothing of Tidegate: it asks a model something every few seconds, by OpenAI's own SDK.

Where it asks is told by OPENAI_BASE_URL, as that SDK wants it. Prints one JSON object per answer or refusal.

    python3 chat.py [MODEL [SECONDS]]
"""

import json
import signal
import sys
import time

import openai


def main(model: str, pause_s: float) -> None:
    """Ask until somebody ends the process."""
    while True:
        try:
            # Made anew each time: without a key it cannot be made, and that is worth a line too.
            client = openai.OpenAI(max_retries=0, timeout=30)
            answer = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "hello there"}], max_tokens=64
            )
            said = {"status": 200, "text": answer.choices[0].message.content}
        except openai.APIStatusError as error:
            said = {"status": error.status_code, "message": error.message}
        except openai.OpenAIError as error:
            said = {"status": 0, "message": str(error)}
        print(json.dumps(said), flush=True)
        time.sleep(pause_s)


if __name__ == "__main__":
    # The first process of a container has no default for signals.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    given = dict(enumerate(sys.argv))
    main(given.get(1, "gpt-5.4-mini"), float(given.get(2, "2")))
