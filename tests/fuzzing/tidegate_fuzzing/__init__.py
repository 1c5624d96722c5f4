"""What reads bytes of strangers is given bytes that nobody thought of: `python -m tidegate_fuzzing`, by atheris (libFuzzer).

A target is a function of some bytes that raises where a promise does not hold. `targets.py` names them; a run needs no test
runner, and pytest runs the targets on their seeds. What a run finds is kept in build/fuzzing, for `--replay`.
"""
