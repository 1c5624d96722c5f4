"""The simulated provider: an HTTP server that speaks like OpenAI and Anthropic, and fails on demand.

It serves `tidegate simulate`, `tidegate run --demo` and every test that needs a provider, so what people try at home
is what the tests rely on. One server plays any number of providers (`/providers/NAME/v1/...`); request headers
`x-simulate-...`, flags or `Simulator.set_behaviour` tell it to be slow, to fail, to stall or to cut a stream.

It must know nothing of the data plane, of compiled configuration or of Kubernetes, and never call out: an answer
follows from the request and the behaviour alone. The path of a request: `server.py` receives, `exchange.py` carries
out (the only modules that await), `behaviour.py` says how, `prompt.py` and `answer.py` say what, `openai.py` and
`anthropic.py` say in which words.
"""
