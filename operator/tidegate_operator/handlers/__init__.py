"""From news of the cluster to configurations served and conditions written: level-triggered.

kopf is the engine that watches; `watch_engine.py` is its only importer. Its handlers take news into the index and say that
something changed, and nothing else. `reconciler.py` does the work, at its own pace: snapshot, compile, publish, status.
`resync.py` is the net under the watches. The package reads no environment and starts no task that
outlives a call: what runs, and for how long, is app.py's business.
"""
