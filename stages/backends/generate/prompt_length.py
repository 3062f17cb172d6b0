"""How many tokens of a prompt a base model reads; what is longer, diffusers cuts off without a word."""

from functools import lru_cache
from pathlib import Path
from typing import Any

TOKENIZERS = ("tokenizer", "tokenizer_2")


def describe_overlong(backend: str, base: Path, text: str) -> str:
    """``90 tokens, and 75 are read`` where the backend would cut ``text`` off; empty where it reads all of it.

    ComfyUI reads longer prompts in windows; of backends of the user's own nothing is known.
    """
    if backend != "diffusers":
        return ""
    for name in TOKENIZERS:
        tokenizer = _open(base / name) if (base / name).is_dir() else None
        if tokenizer is None:
            continue
        ends = tokenizer.num_special_tokens_to_add()
        count, most = len(tokenizer(text)["input_ids"]) - ends, tokenizer.model_max_length - ends
        if count > most:
            return f"{count} tokens, and {most} are read"
    return ""


@lru_cache(maxsize=4)
def _open(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
