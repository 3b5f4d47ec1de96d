"""`litellm` against a server, over two of its dialects: BASE_URL CHAT_MODEL."""

import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

base, chat_model = sys.argv[1:]
messages = [{"role": "user", "content": "What is 2 plus 2? Answer with one number."}]
texts = set()
for model, address in ((f"openai/{chat_model}", f"{base}/v1"), (f"ollama_chat/{chat_model}", base)):
    ask = dict(model=model, api_base=address, api_key="none", messages=messages, temperature=0, max_tokens=16)
    answer = litellm.completion(**ask)
    text = answer.choices[0].message.content
    assert "4" in text and answer.usage.completion_tokens > 0, answer
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ask, stream=True))
    assert streamed == text, (streamed, text)
    texts.add(text)
assert len(texts) == 1, texts
print("litellm: all as expected")
