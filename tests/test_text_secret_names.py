"""Which names sound like those of a secret: all that each place recognised by a list of its own."""

from __future__ import annotations

import pytest

from prx_tunnel_core.text import sounds_secret

VARIABLES = (  # of [tunnel.custom.env], reported when they stand in the file
    "TOKEN", "BORE_TOKEN", "TOKEN_1", "TOKENS", "SECRET", "bore_secret", "PASSWORD", "DB_PASSWD",
    "PASSWORD_2", "CREDENTIAL", "AWS_CREDENTIALS", "KEY", "API_KEY", "APIKEY", "STRIPE_KEY",
    "ACCESSKEY", "AWS_SECRET_ACCESS_KEY", "private_key",
)  # fmt: skip
FIELDS = (  # of a backend's model, which has to type them as SecretStr
    "token", "authtoken", "auth_token", "secret", "client_secret", "password", "passwd",
    "passphrase", "key_passphrase", "credential", "credentials", "api_key", "apikey", "auth_key",
    "authkey", "api_key_id",
)  # fmt: skip
OPTIONS = (  # of a command, whose values every user of the machine can read
    "--token", "-token", "--auth-token", "--auth_token", "--secret", "--client-secret",
    "--password", "--passwd", "--db-password", "--passphrase", "--api-key", "--apikey",
    "--authkey", "--ts-authkey", "--authtoken", "--TOKEN",
)  # fmt: skip
POLICY = (  # keys of ngrok's traffic policy, whose values are masked in its log
    "secret", "client_secret", "password", "credentials", "token", "tokens", "access_token",
    "private_key", "privatekey", "PrivateKey",
)  # fmt: skip
MASKED_VARIABLES = (  # given to a program, and masked wherever they are shown
    *VARIABLES, "PASS", "DB_PASS", "PASSCODE", "PW", "PWD", "ROOT_PW", "AUTH", "BASIC_AUTH",
    "AUTHORIZATION", "CRED", "CREDS", "KEY", "KEYFILE", "KEY_1", "COOKIE", "SESSION_COOKIE",
    "TOKEN_FILE",
)  # fmt: skip
MASKED_OPTIONS = (  # in a configuration that is shown
    *OPTIONS, "--pass", "--pwd", "--pw", "--auth", "--basic-auth", "--cred", "--key", "--ssh-key",
    "--cookie", "--bearer", "--dsn", "--session", "--sid", "--sig", "--signature", "--pin",
    "--token-file", "--password-stdin",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted({*VARIABLES, *FIELDS, *OPTIONS, *POLICY}))
def test_what_certainly_names_a_secret(name: str) -> None:
    assert sounds_secret(name)
    assert sounds_secret(name, in_doubt=True)
    assert sounds_secret(name.upper())
    assert sounds_secret(name.lower())


@pytest.mark.parametrize("name", sorted({*MASKED_VARIABLES, *MASKED_OPTIONS}))
def test_what_is_masked_in_doubt(name: str) -> None:
    assert sounds_secret(name, in_doubt=True)
    assert sounds_secret(name.swapcase(), in_doubt=True)


@pytest.mark.parametrize("name", ["token", "secret", "password", "credentials", "api_key"])
@pytest.mark.parametrize(
    "about",
    ["file", "path", "dir", "stdin", "env", "command", "name", "url", "timeout", "interval"],
)
def test_what_is_about_a_secret_is_none(name: str, about: str) -> None:
    for dash in "_-":
        assert not sounds_secret(f"{name}{dash}{about}")
        assert not sounds_secret(f"--{name}{dash}{about}".upper())


@pytest.mark.parametrize(
    "name",
    ["", "port", "hostname", "identity_file", "public_key", "host_key", "hotkey", "monkey",
     "--key", "--tls-key", "auth", "AUTHOR", "session", "user", "pass", "keyword"],
)  # fmt: skip
def test_what_may_be_no_secret_is_not_refused(name: str) -> None:
    assert not sounds_secret(name)


@pytest.mark.parametrize(
    "name", ["", "port", "host", "--to", "--region", "design", "--hops", "spinning", "inside"]
)
def test_what_names_none(name: str) -> None:
    assert not sounds_secret(name, in_doubt=True)
