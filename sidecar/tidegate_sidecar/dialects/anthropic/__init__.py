"""The Anthropic dialect, messages: also spoken by Vertex AI's and other hosts of Claude, DeepSeek, Moonshot and vLLM.

Shapes: Anthropic API reference, "Messages", "Streaming messages" and "Errors". Where those who speak it differ, what the
Anthropic SDKs read is read here. The package must not know the other dialects.
"""

from tidegate_sidecar.dialects.anthropic.dialect import Anthropic

__all__ = ["Anthropic"]
