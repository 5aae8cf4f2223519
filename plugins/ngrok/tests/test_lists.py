"""Lists of this plugin, each walked whole; written here a second time, from ngrok's pages."""

from __future__ import annotations

import pytest
from prx_tunnel_ngrok import prx_tunnel_backends, yaml12
from prx_tunnel_ngrok.config import NgrokConfig
from prx_tunnel_ngrok.reasons import Treatment, explain, refusal_in

from prx_tunnel_core.backend import Backend
from prx_tunnel_core.config import validate
from prx_tunnel_core.errors import ConfigError

P, L, T = Treatment.PERMANENT, Treatment.LIMITED, Treatment.TRANSIENT

# https://ngrok.com/docs/errors: the codes, what they mean for us, and what the fix speaks of.
DOCUMENTED = [
    ("105 106 107 300 4018", P, "authtoken"),
    ("123 382", P, "verify your e-mail"),
    ("120 121", P, "install a current"),
    ("102 103 337 338", P, "suspended"),
    ("115 116 118 122 127 9040", P, "policy refuses this host"),
    ("8013 8014", P, "see your account"),
    ("128 380 722 6000", T, ""),
    ("8000 8001 8002 8003 8004 8005 8006 8007 8008 8009", T, ""),
    ("108", L, "number of agents"),
    ("334", L, "pooling"),
    ("324 348 349 350 351", L, "number of endpoints"),
    ("6025", L, "see your account"),
    ("313 314 315", P, "does not include this"),
    ("303 312", P, "TLS endpoints"),
    ("307 308 309 310 311 316 317 318 319 320 321 322 354", P, "domain"),
    ("326 327 328 329 330 331 347 355 396 397", P, "domain"),
    ("332 359 360 361 362 363 364 365 366 367 368 369 370 371 372 373 374 375 376", P, "change"),
    ("377 378 379 381 383 384 385 386 387 388 389 390 391 392 393", P, "change the key"),
    ("725 726 727 728 729 730 731 732 733", P, "monthly quota"),
]


def test_each_code_of_them_all_is_treated_as_ngrok_documents_it() -> None:
    known = {int(code): row[1:] for row in DOCUMENTED for code in row[0].split()}
    for code in range(1, 10_000):
        refusal = refusal_in(f"No.\r\n\r\nERR_NGROK_{code}\r\n")
        assert refusal is not None
        treatment, fix = known.get(code, (T, ""))
        assert (refusal.code, refusal.treatment) == (code, treatment), code
        assert (fix in refusal.fix) if fix else not refusal.fix, code


# As Go's net, crypto/x509, crypto/tls and net/http packages word it.
WORDS = [
    ("failed to fetch CRL", "revocation list"),
    ("x509: certificate signed by unknown authority", "intercepts TLS"),
    ("x509 trouble", "intercepts TLS"),
    ("expired certificate", "intercepts TLS"),
    ("remote error: tls: bad record", "intercepts TLS"),
    ("proxyconnect tcp: EOF", "HTTPS_PROXY"),
    ("no such host", "does not resolve"),
    ("lookup a.example on 127.0.0.53", "does not resolve"),
    ("a.example has no records", "does not resolve"),
    ("server misbehaving", "does not resolve"),
    ("i/o timeout", "no answer"),
    ("context deadline exceeded", "no answer"),
    ("connection timed out", "no answer"),
    ("connection refused", "the way out is closed"),
    ("connection reset by peer", "the way out is closed"),
    ("network is unreachable", "the way out is closed"),
    ("no route to host", "the way out is closed"),
]


@pytest.mark.parametrize(("words", "meaning"), WORDS)
def test_each_sign_of_a_network_error_alone(words: str, meaning: str) -> None:
    assert meaning in explain(words)
    assert meaning in explain(words.upper())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("~", "null", "Null", "NULL", "")),
        *((word, word) for word in ("yes", "on", "off", "n", "tRUE", "nULL", "0x1f", "1_000")),
        ("0", 0),
        ("+12", 12),
        ("-3", -3),
        ("1.", 1.0),
        ("-.5", -0.5),
        ("1.5e3", 1500.0),
    ],
)
def test_each_word_that_is_more_than_text(text: str, value: object) -> None:
    read = yaml12.load(f"key: {text}")["key"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("theirs", "ours"), [("auth_token", "authtoken"), ("ngrok_path", "program")]
)
def test_a_key_of_another_tool_is_told_its_name_here(theirs: str, ours: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(NgrokConfig, {theirs: "x"}, path="t")
    assert str(caught.value) == f"t: unknown key {theirs!r}; did you mean {ours!r}?"


def test_what_holds_for_a_key_that_is_not_set() -> None:
    fields = {k: each for k, each in NgrokConfig.model_fields.items() if not each.is_required()}
    found = {key: each.get_default(call_default_factory=True) for key, each in fields.items()}
    assert found == {
        "connect_timeout": None,
        "authtoken": None,
        "domain": None,
        "pooling": False,
        "basic_auth": [],
        "oauth": None,
        "oidc": None,
        "allow_cidrs": [],
        "deny_cidrs": [],
        "verify_webhook": None,
        "traffic_policy": None,
        "program": "ngrok",
        "config_file": None,
        "inspector": True,
        "inspector_port": None,
    }


def test_the_servers_that_doctor_asks() -> None:
    (backend,) = prx_tunnel_backends()
    assert isinstance(backend, Backend)
    assert backend.servers is not None
    assert list(backend.servers(validate(NgrokConfig, {}, path="t"))) == [
        "connect.ngrok-agent.com:443"
    ]
