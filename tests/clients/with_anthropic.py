"""The `anthropic` client against a server: BASE_URL CHAT_MODEL [TOOL_MODEL]."""

import sys

import anthropic

base, chat_model, *tool_models = sys.argv[1:]
client = anthropic.Anthropic(base_url=base, api_key="none", max_retries=0)
ask = dict(
    model=chat_model,
    max_tokens=16,
    extra_body={"temperature": 0},
    messages=[{"role": "user", "content": "What is 2 plus 2? Answer with one number."}],
)

answer = client.messages.create(**ask)
assert "4" in answer.content[0].text and answer.stop_reason in ("end_turn", "max_tokens"), answer
assert answer.usage.input_tokens > 5 and answer.usage.output_tokens > 0, answer

with client.messages.stream(**ask) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == answer.content[0].text == final.content[0].text, (text, final)
assert final.stop_reason == answer.stop_reason and final.usage.output_tokens == answer.usage.output_tokens, final

stopped = client.messages.create(**(ask | {"stop_sequences": ["4"]}))
assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == "4", stopped

counted = client.messages.count_tokens(model=chat_model, messages=ask["messages"])
assert counted.input_tokens == answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0), (counted, answer)

try:
    client.messages.create(**(ask | {"model": "no-such-model"}))
    raise AssertionError("an unknown model was taken")
except anthropic.NotFoundError as error:
    assert error.body["error"]["type"] == "not_found_error", error.body

for model in tool_models:
    tool = {
        "name": "get_weather",
        "description": "The weather in a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    called = client.messages.create(
        model=model,
        max_tokens=64,
        extra_body={"temperature": 0},
        tools=[tool],
        tool_choice={"type": "tool", "name": "get_weather"},
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
    )
    block = called.content[-1]
    assert called.stop_reason == "tool_use" and block.name == "get_weather" and "Paris" in str(block.input), called
print("anthropic: all as expected")
