"""`prx config`."""

from __future__ import annotations

import json
import tomllib

from support.command import Prx


def test_config_shows_what_the_file_says(prx: Prx) -> None:
    done = prx("config")
    assert (done.returncode, done.stderr) == (0, "")
    path, _, text = done.stdout.partition("\n")
    assert path == str(prx.config)
    assert tomllib.loads(text) == tomllib.loads(prx.config.read_text())


def test_config_without_a_file(fresh: Prx) -> None:
    done = fresh("config")
    assert (done.returncode, done.stdout) == (0, f"{fresh.config}\n")
    assert "prx init" in done.stderr
    report = json.loads(fresh("config", "--json").stdout)
    assert report == {"path": str(fresh.config), "exists": False, "config": {}}


def test_config_shows_a_file_that_is_not_valid_and_says_why(prx: Prx) -> None:
    prx.config.write_text("[tunnel]\nbackend = 'lab'\n[tunnel.lab]\ntypo = 1\n")
    done = prx("config")
    assert done.returncode == 2
    assert "[tunnel.lab]" in done.stdout
    assert "unknown key 'typo'" in done.stderr


def test_init_and_config_name_the_file_that_was_named(fresh: Prx) -> None:
    path = fresh.home / "my agent.toml"
    option = f"--config '{path}'"
    shown = fresh("config", "--config", str(path))
    assert shown.stderr.endswith(f"prx init {option}\n")
    written = fresh("init", "--backend", "lab", "--config", str(path))
    assert written.stderr.endswith(f"prx tunnel start {option}\n")
    again = fresh("init", "--backend", "lab", "--config", str(path))
    assert again.stderr.endswith(f"prx config {option}\n")


def test_config_prints_nothing_that_moves_a_cursor(prx: Prx) -> None:
    prx.config.write_text('[tunnel]\nbackend = "lab"\n[agent]\n"k\\u001b[2J" = true\n')
    for arguments in (["config"], ["config", "--json"]):
        assert "\x1b" not in prx(*arguments).stdout
