"""The OpenAI dialect, chat completions: also spoken by OpenRouter, Groq, DeepSeek, Mistral, xAI, vLLM, Ollama and others.

Shapes: OpenAI API reference, "Chat completions" and "Streaming". Where those who speak it differ, what the OpenAI SDKs read
is read here. The package must not know the other dialects.
"""

from tidegate_sidecar.dialects.openai.dialect import OpenAI

__all__ = ["OpenAI"]
