"""The two kinds of digest agree with the tools that hosts have."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep.backends.ssh.digests import Cksum, Sha256


@pytest.mark.parametrize(("tool", "kind"), [("cksum", Cksum), ("sha256sum", Sha256)])
@settings(max_examples=20, deadline=None)
@given(parts=st.lists(st.binary(max_size=300), max_size=4))
def test_a_digest_is_what_the_tool_prints(tool: str, kind: type[Cksum | Sha256], parts: list[bytes]) -> None:
    assert shutil.which(tool), f"{tool} is part of coreutils and has to be here"
    ours = kind()
    for part in parts:
        ours.update(part)
    theirs = subprocess.run([tool], input=b"".join(parts), capture_output=True, check=True).stdout
    assert ours.first_word() == theirs.decode().split()[0]
