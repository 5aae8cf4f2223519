"""`[tunnel.custom]`: what is accepted, and how a mistake is explained."""

from __future__ import annotations

from typing import Any

import pytest
from prx_tunnel_custom import command as commands
from prx_tunnel_custom.command import fill, other_port
from prx_tunnel_custom.config import CustomConfig
from pydantic import SecretStr

from prx_tunnel_core._configfile import load
from prx_tunnel_core.backend import Target
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError
from prx_tunnel_core.expansion import expand

TARGET = Target("127.0.0.1", 3000)
CANARY = "canary-5e5f0a"


def custom(**table: Any) -> CustomConfig:
    expanded = expand(table, {"SECRET": CANARY, "PORT": "5"}, path="tunnel.custom")
    assert isinstance(expanded, dict)
    return validate(CustomConfig, expanded, path="tunnel.custom")


def program(**table: Any) -> CustomConfig:
    return custom(**{"command": "tunnel", "url_pattern": "tunnel.example"} | table)


def reason(**table: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        custom(**table)
    assert CANARY not in str(caught.value)
    return str(caught.value)


# --- command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bore local 3000 --to bore.pub", ["bore", "local", "3000", "--to", "bore.pub"]),
        ("bore local {port} --to bore.pub", ["bore", "local", "3000", "--to", "bore.pub"]),
        ("ssh -R '80:{host}:{port}' a.example", ["ssh", "-R", "80:127.0.0.1:3000", "a.example"]),
        ('a "b c" d\\ e ""', ["a", "b c", "d e", ""]),
        ("a $HOME `id` *.txt ~/x #y", ["a", "$HOME", "`id`", "*.txt", "~/x", "#y"]),
        (["a", "b c", "{port}{port}", "x{port}y"], ["a", "b c", "30003000", "x3000y"]),
        (["awk", "{print $1} {PORT} { port } {} {0}"],
         ["awk", "{print $1} {PORT} { port } {} {0}"]),
        (["a", "{{port}}", "|", "&&"], ["a", "{3000}", "|", "&&"]),
        (["echo", "$${SECRET}"], ["echo", "${SECRET}"]),
    ],
)  # fmt: skip
def test_a_command_is_split_without_a_shell_and_filled(command: object, words: list[str]) -> None:
    assert fill(program(command=command).command, TARGET) == words


def test_placeholders_take_an_ipv6_target() -> None:
    assert fill(["a", "[{host}]:{port}"], Target("::1", 8080)) == ["a", "[::1]:8080"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "it is empty"), ([], "it is empty"), ("   ", "it is empty"), ([""], "it is empty"),
        ("a 'b", "no closing quotation"), ("a \\", "no escaped character"),
        (3, "write a string"), (["a", 3], "write a string"), ({"a": "b"}, "write a string"),
        (["a\x00b"], "NUL character"),
        ("a | b", "'|' needs a shell"), ("a && b", "'&&' needs a shell"),
        ("a > log", "'>' needs a shell"), ("a 2>&1", "'2>&1' needs a shell"),
        ("TOKEN=x a", "[tunnel.custom.env]"),
        ("a ${SECRET}", "[tunnel.custom.env]"), ("${SECRET}", "[tunnel.custom.env]"),
        (["a", "--token=${SECRET}"], "[tunnel.custom.env]"), (["a", "${PORT:-1}"], "custom.env]"),
    ],
)  # fmt: skip
def test_what_is_no_command_is_explained(command: object, said: str) -> None:
    message = reason(command=command, url_pattern="tunnel.example")
    assert message.startswith("tunnel.custom.command: ")
    assert said in message


def test_the_whole_list_cannot_come_from_a_variable() -> None:
    assert "[tunnel.custom.env]" in reason(command="${SECRET}", public_url="https://a.example")


@pytest.mark.parametrize(
    ("command", "other"),
    [
        (["bore", "local", "3000"], None), (["bore", "local", "{port}"], None),
        (["frpc", "-c", "/etc/frpc.toml"], None), (["ssh", "-p", "2222", "-R0:[::1]:3000"], None),
        (["bore", "local", "8080", "--to", "192.168.1000.1"], "8080"),
        (["ssh", "-R", "80:localhost:8080", "a.example"], "8080"),
    ],
)  # fmt: skip
def test_a_command_that_leads_elsewhere_is_noticed(command: list[str], other: str | None) -> None:
    assert other_port(command, 3000) == other


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"command": "bore local 3000 --to 127.0.0.1"}, True),
        ({"command": "bore local 3000 --to=localhost"}, True),
        ({"command": "ssh -N -R 0:127.0.0.1:{port} root@127.0.0.1"}, True),
        ({"command": ["x", "::1"]}, True),
        ({"command": "bore local 3000 --to bore.pub"}, False),
        ({"command": "ssh -N -R 0:localhost:{port} a.example"}, False),
        ({"command": "cloudflared tunnel --url http://localhost:3000"}, False),
        ({"command": "x --to 127.0.0.1.evil.test"}, False),
        ({"url_pattern": r"port (\d+)", "url_host": "127.0.0.1"}, True),
        ({"url_pattern": None, "public_url": "http://localhost:8000"}, True),
        ({"url_pattern": None, "public_url": "https://a.example"}, False),
    ],
)
def test_a_server_on_this_machine_is_recognised(table: dict[str, Any], expected: bool) -> None:
    assert program(**table).server_on_loopback() is expected


# --- env ---------------------------------------------------------------------------------------


def test_values_that_may_be_secret_are_masked_and_others_are_not() -> None:
    env = {"RUST_LOG": "debug", "MY_TOKEN": "literal", "SERVER": "${SECRET}", "SHORT": "${PORT}"}
    config = program(env=env)
    assert config.env == {
        "RUST_LOG": "debug",
        "MY_TOKEN": SecretStr("literal"),
        "SERVER": SecretStr(CANARY),
        "SHORT": SecretStr("5"),
    }
    assert CANARY not in f"{config!r} {config.model_dump()} {config.model_dump_json()}"


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"A-B": "x"}, "'A-B' is not a variable name"), ({"": "x"}, "'' is not a variable name"),
        ({"1A": "x"}, "'1A' is not a"), ({"A=B": "x"}, "'A=B' is not a"),
        ({"A\n": "x"}, "'A\\n' is not a variable name"), ({"Ä": "x"}, "is not a variable name"),
        ({"A": 3}, "write the value of A in quotes"), ({"A": True}, "in quotes"),
        ({"A": ["x"]}, "in quotes"), ({"A": "x\x00y"}, "NUL character"),
        (["A=B"], "write a table"), ("${SECRET}", "write a table"),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_explained(env: object, said: str) -> None:
    message = reason(command="x", url_pattern="a.example", env=env)
    assert message.startswith("tunnel.custom.env: ")
    assert said in message


# --- which keys go together --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, 'command = "bore local {port} --to bore.pub"'),
        ({"stop_grace": 1}, "or the public_url of a tunnel"),
        ({"command": "x"}, "exactly one of url_pattern"),
        ({"command": "x", "url_pattern": "a.b", "public_url": "https://a.b"}, "exactly one of"),
        ({"public_url": "https://a.b", "url_pattern": "a.b"}, "url_pattern has no meaning"),
        ({"public_url": "https://a.b", "ready_pattern": "up"}, "ready_pattern has no meaning"),
        ({"public_url": "https://a.b", "env": {"A": "b"}}, "env has no meaning"),
        ({"public_url": "a.b"}, "the scheme is not"),
        ({"public_url": "https://a.b/?q"}, "query"),
        ({"public_url": "https://user@a.b"}, "user information"),
        ({"command": "x", "url_pattern": "a.b", "url_scheme": "gopher"}, "'http', 'https'"),
        ({"command": "x", "url_pattern": "a.b", "url_host": "http://a"}, "url_host: "),
        ({"command": "x", "url_pattern": "a.b", "url_host": ""}, "url_host: "),
        ({"command": "x", "url_pattern": "a.b", "stop_grace": 0}, "stop_grace: "),
        ({"command": "x", "url_pattern": "a.b", "connect_timeout": -1}, "connect_timeout: "),
        ({"command": "x", "url_patern": "a.b"}, "did you mean 'url_pattern'?"),
        ({"start_command": "x"}, "did you mean 'command'?"),
    ],
)
def test_keys_that_do_not_go_together_are_explained(table: dict[str, Any], said: str) -> None:
    assert said in reason(**table)


def test_the_public_url_is_normalised_and_may_come_from_a_variable() -> None:
    assert custom(public_url="HTTPS://Agent.Example.COM:443/").public_url == (
        "https://agent.example.com"
    )
    assert custom(public_url="https://${SECRET}.example").public_url == f"https://{CANARY}.example"


def test_the_documented_example_is_valid(tmp_path: Any) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[tunnel]\nbackend = "custom"\n[tunnel.custom]\n'
        'command = "bore local 3000 --to bore.pub"\nurl_pattern = "bore.pub"\n'
    )
    table = load(file, environ={}).tunnel.table("custom")
    config = validate(CustomConfig, table, path="tunnel.custom")
    assert config.command == ("bore", "local", "3000", "--to", "bore.pub")
    assert [*config.announcement().urls("at bore.pub:41234")] == ["http://bore.pub:41234"]


@pytest.mark.parametrize("command", ["./tunnel.sh {port}", ["bin/tunnel", "{port}"]])
def test_a_program_that_depends_on_the_working_directory_is_refused(command: object) -> None:
    with pytest.raises(ConfigError, match=r"tunnel\.custom\.command: .*write the whole path"):
        validate(
            CustomConfig, {"command": command, "url_pattern": "bore.pub"}, path="tunnel.custom"
        )


def test_what_follows_a_secret_option_is_masked_and_never_taken_for_a_port() -> None:
    command = ("sh", "-c", "x", "--secret", "hunter-98765-zz", "--authtoken=s3cr3t-12345")
    assert commands.secret_values(command) == ["hunter-98765-zz", "s3cr3t-12345"]
    assert commands.other_port(command, 3000) is None
    assert commands.other_port(("bore", "local", "4000"), 3000) == "4000"
