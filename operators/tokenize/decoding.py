"""Token ids back to text."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer


class Decoder:
    """One tokenizer, ready to decode.

    tokenizer_json: its content, as ``foreign.files.tokenizer_json`` gives it.
    """

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)

    def text(self, ids: Sequence[int]) -> str:
        """All of it, special tokens by their names; bytes that are no UTF-8, as of half a character, as U+FFFD."""
        return self._tokenizer.decode([*ids], skip_special_tokens=False)

    def continuation(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """What ``ids`` add to a text: some tokenizers leave out a blank at the beginning of what they decode."""
        start, whole = self.text(before), self.text([*before, *ids])
        return whole[len(start) :] if whole.startswith(start) else self.text(ids)
