"""Very many random calls through one sidecar, with random faults on either side: `python -m tidegate_enduring`.

Nothing may be left of them: no task, no connection that is not idle, no grant, no probe, no byte of the memory budget. Each
call carries a word of its own, and no answer may carry another's. What happens is drawn from a seed, which is printed;
when it happens is for the sockets, so a seed shows the same kinds of calls, not the same run.
"""
