"""`prx completion`."""

from __future__ import annotations

import pytest

from support.command import Prx


@pytest.mark.parametrize("name", ["bash", "zsh", "tcsh"])
def test_completion(prx: Prx, name: str) -> None:
    done = prx("completion", name)
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("tunnel", "status", "detach"))


def test_bash_completes(prx: Prx) -> None:
    (prx.home / "completion").write_text(prx("completion", "bash").stdout)
    script = (
        'source "$HOME/completion"; COMP_WORDS=(prx tunnel sta); COMP_CWORD=2;'
        '_shtab_prx prx sta tunnel; echo "${COMPREPLY[@]}"'
    )
    assert prx.shell(script).stdout.split() == ["start", "status"]
