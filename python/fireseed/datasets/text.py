"""Text: lines or a running stream of tokens (characters, words, or what a function makes) as int64 tensors."""
import os
import re
from collections import Counter

from .. import _C
from ..utils.data import Dataset
from ._files import read_text

_WORD = re.compile(r"\w+|[^\w\s]")


def _splitter(level):
    """The function from a text to its tokens: "char", "word" (words and single punctuation marks), or your own."""
    if level == "char":
        return list
    if level == "word":
        return _WORD.findall
    if callable(level):
        return level
    raise ValueError(f"level must be 'char', 'word' or a function from a text to a list of tokens, got {level!r}")


class Vocabulary:
    """Tokens and their numbers. specials come first, then the others: the frequent before the rare.

    "<unk>", if among the specials, is the number of whatever is unknown; without it an unknown token is a KeyError.
    """

    def __init__(self, tokens, specials=("<pad>", "<unk>")):
        self.tokens = list(dict.fromkeys([*specials, *tokens]))
        self.index = {token: i for i, token in enumerate(self.tokens)}
        self.unknown = self.index.get("<unk>")

    @classmethod
    def build(cls, sequences, min_count=1, max_size=None, specials=("<pad>", "<unk>")):
        """The vocabulary of an iterable of token lists; equally frequent tokens are in sorted order.

        min_count drops the rare, max_size bounds the whole size, specials included.
        """
        counts = Counter()
        for tokens in sequences:
            counts.update(tokens)
        ordered = sorted((t for t, n in counts.items() if n >= min_count and t not in specials),
                         key=lambda t: (-counts[t], t))
        if max_size is not None:
            if max_size < len(specials):
                raise ValueError(f"max_size={max_size} leaves no room for the {len(specials)} specials {specials}")
            ordered = ordered[:max_size - len(specials)]
        return cls(ordered, specials)

    def __len__(self):
        return len(self.tokens)

    def __contains__(self, token):
        return token in self.index

    def __getitem__(self, token):
        i = self.index.get(token, self.unknown)
        if i is None:
            raise KeyError(f"{token!r} is not in this vocabulary of {len(self)} tokens, which has no '<unk>'")
        return i

    def encode(self, tokens):
        """The numbers of a sequence of tokens, int64 (T)."""
        return _C.tensor([self[t] for t in tokens], dtype=_C.int64) if len(tokens) else _C.empty(0, dtype=_C.int64)

    def decode(self, numbers):
        """The tokens of a sequence or tensor of numbers, a list."""
        return [self.tokens[i] for i in (numbers.tolist() if isinstance(numbers, _C.Tensor) else numbers)]

    def __repr__(self):
        return f"Vocabulary({len(self)} tokens: {', '.join(map(repr, self.tokens[:6]))}{', …' if len(self) > 6 else ''})"


class TextLines(Dataset):
    """The lines of a text file, plain or gzip: samples are int64 tensors (T) of the tokens of one line.

    level: "word", "char" or a function; vocabulary: that of the training set for validation and test sets, made from
    this file if None. skip_empty leaves out blank lines; lower lowers the case; add_ends puts <bos> and <eos> around
    each line. `lines` holds the texts. pad_collate makes batches of lines of unequal lengths.
    """

    def __init__(self, path, level="word", vocabulary=None, *, min_count=1, max_size=None, lower=False, add_ends=False,
                 skip_empty=True, encoding="utf-8", errors="strict", transform=None):
        self.path = os.fspath(path)
        text = read_text(path, encoding, errors)
        lines = (text.lower() if lower else text).split("\n")
        lines = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
        self.lines = [line for line in lines if line.strip()] if skip_empty else lines
        self._split, self._add_ends, self.transform = _splitter(level), add_ends, transform
        specials = ("<pad>", "<unk>") + (("<bos>", "<eos>") if add_ends else ())
        self.vocabulary = vocabulary if vocabulary is not None else Vocabulary.build(
            map(self._split, self.lines), min_count, max_size, specials)

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        tokens = self._split(self.lines[index])
        x = self.vocabulary.encode(["<bos>", *tokens, "<eos>"] if self._add_ends else tokens)
        return x if self.transform is None else self.transform(x)


class TextWindows(Dataset):
    """Windows of a text for language models: samples are (input, target), int64 (length), the target one token on.

    stride: from the start of a window to that of the next, length if None. level and vocabulary as for TextLines; the
    default is characters. `tokens` holds the whole text, int64 (N).
    """

    def __init__(self, path, length, level="char", vocabulary=None, *, stride=None, min_count=1, max_size=None,
                 lower=False, encoding="utf-8", errors="strict"):
        self.length, self.stride = int(length), int(length if stride is None else stride)
        if self.length < 1 or self.stride < 1:
            raise ValueError(f"TextWindows: length and stride must be 1 or more, got {length} and {stride}")
        text = read_text(path, encoding, errors)
        tokens = _splitter(level)(text.lower() if lower else text)
        if len(tokens) <= self.length:
            raise ValueError(f"TextWindows: {os.fspath(path)} has {len(tokens)} tokens, a window of length {self.length} and "
                             f"its target need {self.length + 1}")
        specials = () if level == "char" and min_count == 1 and max_size is None else ("<unk>",)
        self.vocabulary = vocabulary if vocabulary is not None else Vocabulary.build(
            [tokens], min_count, max_size, specials)
        self.tokens = self.vocabulary.encode(tokens)

    def __len__(self):
        return (len(self.tokens) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index):
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"TextWindows: index {index} is out of range, there are {n} windows")
        start = index % n * self.stride
        return self.tokens[start:start + self.length], self.tokens[start + 1:start + 1 + self.length]


def pad_collate(samples, padding_value=0):
    """A collate_fn for tensors (T, …) of unequal lengths: (padded (N, longest T, …), lengths int64 (N)).

    Samples that are tuples, (tensor, target), give (padded, lengths, targets).
    """
    from ..nn.utils.rnn import pad_sequence
    from ..utils.data import default_collate
    pairs = isinstance(samples[0], (tuple, list))
    sequences = [s[0] for s in samples] if pairs else list(samples)
    padded = pad_sequence(sequences, batch_first=True, padding_value=padding_value)
    lengths = _C.tensor([len(s) for s in sequences], dtype=_C.int64)
    return (padded, lengths, *(default_collate([s[i] for s in samples]) for i in range(1, len(samples[0])))) if pairs else (
        padded, lengths)
