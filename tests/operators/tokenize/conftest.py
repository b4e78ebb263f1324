"""One small tokenizer for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from token_fakes import TEXTS, documents, trained


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """512 ids, three special tokens, trained on the six texts."""
    specials = ("<|endoftext|>", "<|pad|>", "<|fim_1|>")
    return trained(tmp_path_factory.mktemp("tokenizer") / "task", documents(TEXTS), special_tokens=specials)
