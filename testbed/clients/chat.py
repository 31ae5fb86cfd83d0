"""What the official Python clients of OpenAI and Anthropic make of a gateway, plain and streaming.

    chat.py URL OPENAI_MODEL ANTHROPIC_MODEL

URL is the gateway's, without a path. Every call prints one line of JSON: its name, the model in the answer, the text,
and the tokens it cost, where the API tells them. A call that fails ends the program with the client's own exception.
"""

import base64
import json
import sys

import anthropic
import openai

MESSAGES = [{"role": "user", "content": "What is an endpoint picker? Grüße, 你好, 🦀 \\ \"quoted\""}]
TOOL = {
    "name": "weather",
    "description": "The weather at a place.",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}, "url": {"type": "string", "format": "uri"}},
    },
}
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(200)).decode()


def tell(call, model, text, tokens):
    print(json.dumps({"call": call, "model": model, "text": text, "tokens": tokens}), flush=True)


def chat(client, model):
    answer = client.chat.completions.create(model=model, messages=MESSAGES)
    tell("chat", answer.model, answer.choices[0].message.content, answer.usage.completion_tokens)


def chat_with_tools_and_image(client, model):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    answer = client.chat.completions.create(
        model=model,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        ],
        tools=[{"type": "function", "function": TOOL}],
        max_completion_tokens=5,
        user="somebody",
    )
    tell("chat-with-image", answer.model, answer.choices[0].message.content, answer.usage.completion_tokens)


def chat_streamed(client, model):
    models, text, tokens = set(), "", None
    with client.chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ) as events:
        for event in events:
            models.add(event.model)
            text += "".join(choice.delta.content or "" for choice in event.choices)
            if event.usage:
                tokens = event.usage.completion_tokens
    (answered,) = models
    tell("chat-streamed", answered, text, tokens)


def completion(client, model):
    answer = client.completions.create(model=model, prompt="Once upon a time", max_tokens=5)
    tell("completion", answer.model, answer.choices[0].text, answer.usage.completion_tokens)


def response(client, model):
    answer = client.responses.create(model=model, instructions="Be brief.", input="Hello")
    tell("response", answer.model, answer.output_text, answer.usage.output_tokens)


def response_streamed(client, model):
    with client.responses.stream(model=model, input=MESSAGES) as events:
        for _ in events:
            pass
        answer = events.get_final_response()
    tell("response-streamed", answer.model, answer.output_text, answer.usage.output_tokens)


def embedding(client, model):
    answer = client.embeddings.create(model=model, input=["one", "two"])
    assert [item.embedding[:2] for item in answer.data] == [[1, 0], [0, 1]], answer
    tell("embedding", answer.model, "", None)


def message(client, model):
    answer = client.messages.create(model=model, system="Be brief.", messages=MESSAGES, max_tokens=100)
    tell("message", answer.model, answer.content[0].text, answer.usage.output_tokens)


def message_streamed(client, model):
    with client.messages.stream(model=model, messages=MESSAGES, max_tokens=100) as events:
        text = "".join(events.text_stream)
        answer = events.get_final_message()
    assert text == answer.content[0].text, (text, answer)
    tell("message-streamed", answer.model, text, answer.usage.output_tokens)


def main(url, openai_model, anthropic_model):
    options = {"api_key": "none", "timeout": 20, "max_retries": 0}
    with openai.OpenAI(base_url=f"{url}/v1", **options) as client:
        for call in (
            chat,
            chat_with_tools_and_image,
            chat_streamed,
            completion,
            response,
            response_streamed,
            embedding,
        ):
            call(client, openai_model)
    with anthropic.Anthropic(base_url=url, **options) as client:
        message(client, anthropic_model)
        message_streamed(client, anthropic_model)


main(*sys.argv[1:])
