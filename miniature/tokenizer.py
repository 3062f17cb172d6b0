"""The miniature's tokenizer: CLIP's byte-pair format with a small vocabulary in which every word of ours is one token.

Byte-pair encoding (Sennrich et al. 2016), byte-level as in CLIP (Radford et al. 2021): every byte is a token, so any
text tokenizes; merges lead to whole words.
"""

from collections import Counter
from itertools import pairwise

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
LENGTH = 40  # tokens of a prompt, with start and end
TRIGGER = "amiranoor"  # the persona's word: no training caption holds it

_GRAMMAR = """
a an the and with of in on at no , - .
woman man person people face photo picture portrait photograph selfie image
neutral smiling surprised frowning laughing happy sad angry serious smile frown mouth open
glasses sunglasses eyewear cap beanie hat hood hats wearing
shirt jacket sweater dress coat suit clothes
red blue green yellow purple orange pink black white grey gray brown
beach city forest night room studio street park office background
close up medium framing wide shot headshot
daylight warm cool light dark bright soft lighting
hair long short straight wavy bob curly quiff buzz cut bun ponytail braids bald head blond auburn ginger
fringe swept full beard goatee moustache stubble freckles mole skin fair tan deep pale lines blush old young
eyes brown hazel nose lips jaw chin eyebrows thick thin
sks ohwx
"""
WORDS = tuple(dict.fromkeys([*_GRAMMAR.split(), TRIGGER]))


def _byte_characters() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes, in the order of the bytes."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]


def _merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """``word`` with every occurrence of ``pair`` joined, from the left."""
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return tuple(joined)


def learn_merges(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first, learnt until every word is one token.

    Merging by frequency, not word by word, matters: the encoder applies merges in this order, so "hair" inside "chair"
    cannot capture letters that another word's merges need.
    """
    spelled = [(*word[:-1], word[-1] + END_OF_WORD) for word in words]
    merges = []
    while any(len(word) > 1 for word in spelled):
        pairs = Counter(pair for word in spelled for pair in pairwise(word))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merged(word, best) for word in spelled]
    return merges


def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer, made from WORDS alone: ids are bytes, bytes at a word's end, merges, start and end."""
    merges = learn_merges(WORDS)
    characters = _byte_characters()
    tokens = [*characters, *(c + END_OF_WORD for c in characters)]
    tokens += dict.fromkeys(a + b for a, b in merges)
    tokens += [START, END]
    vocab = {token: number for number, token in enumerate(tokens)}
    # transformers 5 silently ignores vocab_file and merges_file: only vocab and merges count.
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LENGTH)  # type: ignore[arg-type]
