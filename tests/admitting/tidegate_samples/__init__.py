"""Samples of our objects: documents that are right, and documents with one thing wrong, named by what it is.

Most are derived: `places` walks the schema that a kind has, `scalars` and `containers` put a value on each side of
each bound they find there. What cannot be derived is written down: words for each pattern (`spellings`), a violation
of each CEL rule (`rules`), what we refuse although the API server cannot (`stricter`), the metadata (`envelope`).
`objects/` has the valid documents that all of them start from. The tests fail when a field, pattern or rule has none.

They know the API models and no server. `server` is the connection to one, `fixtures` starts it and applies our CRDs.
"""
