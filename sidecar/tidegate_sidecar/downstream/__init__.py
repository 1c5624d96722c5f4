"""What faces the application: it listens, reads requests, writes bytes, and tells the call in progress what it hears.

It knows HTTP and nothing of calls, policies, providers or dialects: a request is handed to a handler that writes its own
answer, and what is no request is handed on as a `HeadFault`, for a record and a refusal in the caller's dialect.
"""
