"""Dialects: one package for each family of providers says how it is asked, how it answers and what its errors mean (PURE).

Bytes and parsed JSON in, values out. `base` has the protocol that all of them carry out and the words in which all of them
judge, `registry` the dialects there are. What is true of every dialect stands beside them: event streams (`sse`), JSON as
others write it (`json_text`), the reading of tables of failures (`judging`) and of requests (`asking`). The package must not
know sockets, limits, or which provider is chosen; nothing outside it must know a member of a request, answer or error by name.
"""
