"""The leg to providers: connections that are ours from the name to the last byte of an answer.

`origins` has one pool for each place, `origin` is that pool, `connector` makes its connections (`resolver`: names to
addresses, `http_proxy`: the way through a proxy, `tls`: whom to trust). `connection` carries one request and its answer at a
time and tells a `receiver` what comes; `outgoing` sends bodies that are too large for one write. `answer` reads what comes
back and does nothing else, `faults` says in values what went wrong; these two and `http_proxy` are pure.

Four rules hold everywhere here. Nothing that arrives on a connection that has no request on its way is ever read as an
answer: the connection is closed. No task, timer or closure exists for a single request. Nothing waits without a bound in
time. An exception of a library, and a byte of a header or a body, get into no fault and no message.

The package must not know what a request asks for, which provider is right, whether to ask again, or how an answer is
judged: it does not know dialects, policies or the exchange.
"""
