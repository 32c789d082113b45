"""Every reason that driver criu is refused for has a command that shows it and a remedy."""

from __future__ import annotations

import re

from sidestep.backends.process.criu import REMEDIES, incapable
from sidestep.backends.process.scripts import source


def test_what_the_operations_say_is_what_the_table_knows() -> None:
    texts = (source(name) for name in ("criu", "prepare", "restore", "thaw", "capture", "launch"))
    assert {code for text in texts for code in re.findall(r"\bCRIU_[A-Z]+", text)} == set(REMEDIES)
    assert all(command and remedy for command, remedy in REMEDIES.values())


def test_an_error_has_the_code_the_command_and_the_remedy() -> None:
    error = incapable("h1", "prepare", "CRIU_MISSING: there is no criu here")
    assert error.code == "CRIU_MISSING"
    assert str(error).startswith("h1: prepare: CRIU_MISSING: there is no criu here; command: criu --version")
    assert "apt install criu" in str(error)
