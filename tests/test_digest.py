"""The digests against the standard library's."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from pielink import digest


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000, (1 << 19) - 3, 1 << 20])
def test_digests_equal_those_of_hashlib(size: int) -> None:
    data = bytes(i * i % 251 for i in range(size % 9999)).ljust(size, b"x")
    parts = [data[: size // 3], memoryview(data)[size // 3 :]]
    assert digest.sha256(parts) == hashlib.sha256(data).digest()
    for key in (bytes(32), b"key", b"k" * 64):
        assert digest.hmac_sha256(key, parts) == hmac.digest(key, data, "sha256")


def test_an_interpreter_without_its_own_uses_hashlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_BUILT_IN", "_no_such_module")
    assert digest.sha256([b"abc"]) == hashlib.sha256(b"abc").digest()
