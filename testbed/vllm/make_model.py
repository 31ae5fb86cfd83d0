"""Makes a tiny Llama without weights: a folder with its config, its tokenizer and its chat template.

    make_model.py FOLDER

vLLM gives it random weights (`--load-format dummy`), so nothing is downloaded. The tokenizer is trained on the longest
English text that comes with Python, until a token is worth about four bytes, as those of real models are.
"""

import json
import sys
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

# Real tokenizers have ten times more; this many is what half a megabyte of text is worth.
VOCABULARY = 8192

# The longest prompt and answer together, in tokens: more than the longest of the routing bench.
CONTEXT = 12288

# Marks as those of Llama 3, whose chat template follows in its short form: no tools, no dates.
BEGIN, START_HEADER, END_HEADER, END = "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    f"{START_HEADER}{{{{ message['role'] }}}}{END_HEADER}\n\n{{{{ message['content'] | trim }}}}{END}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{START_HEADER}assistant{END_HEADER}\n\n{{% endif %}}"
)


def tokenizer(text: str) -> Tokenizer:
    """Byte-level BPE: every text can be encoded, whatever the training text lacked."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        [text],
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[BEGIN, START_HEADER, END_HEADER, END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def config(made: Tokenizer) -> dict:
    """A Llama in every respect but its size: half of what its KV cache holds for a token is keys, half is values, in
    grouped heads; 2 * 4 layers * 2 heads * 64 * 4 bytes = 4 KiB for a token."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": made.get_vocab_size(),
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "bos_token_id": made.token_to_id(BEGIN),
        "eos_token_id": made.token_to_id(END),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    text = "\n".join(topics.values())
    made = tokenizer(text)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    documents = {
        "config.json": config(made),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BEGIN,
            "eos_token": END,
            "model_max_length": CONTEXT,
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")
    bytes_a_token = len(text.encode()) / len(made.encode(text).ids)
    print(f"{folder}: a vocabulary of {made.get_vocab_size()}, {bytes_a_token:.1f} bytes a token")


main()
