"""What a backend says of itself, and of settings that are wrong."""

from __future__ import annotations

import anyio
import pytest
from pydantic import ValidationError

from prx_tunnel_core.errors import ConfigError, SetupError
from prx_tunnel_core.testing._kit import Kit
from prx_tunnel_core.text import sounds_secret


class Description(Kit):
    def test_the_plugin_provides_the_backend(self) -> None:
        backend = self.backend
        assert backend.summary.strip(), "summary: one line for `prx tunnel backends`"
        assert backend.summary.isprintable(), "summary: one line, without control characters"
        if not self.runs_program:
            assert backend.program is None, "it names a program, so `runs_program` is wrong"

    def test_wrong_settings_are_refused_by_their_key(self) -> None:
        table = f"tunnel.{self.backend.name}"
        with pytest.raises(ConfigError) as caught:
            self.read({**self.settings, "no_such_key": 1})
        assert "no_such_key" in str(caught.value)
        assert table in str(caught.value)
        for key, value in self.wrong_settings.items():
            with pytest.raises(ConfigError) as caught:
                self.read({**self.settings, key: value})
            assert key in str(caught.value), f"the error does not name {key}: {caught.value}"

    def test_settings_cannot_be_changed(self) -> None:
        """One object is shared by every attempt, and by who shows it."""
        config = self.read(self.settings)
        for name in type(config).model_fields:
            with pytest.raises((ValidationError, AttributeError, TypeError)):
                setattr(config, name, getattr(config, name))

    def test_secrets_are_typed_as_secrets(self) -> None:
        """As plain text, one would be shown by every repr, error and log of the settings."""
        plain = [
            name
            for name, field in self.backend.config.model_fields.items()
            if sounds_secret(name)
            and "str" in str(field.annotation)
            and "Secret" not in str(field.annotation)
        ]
        assert not plain, f"write SecretStr for {', '.join(plain)}"

    def test_another_event_loop_is_refused_in_words(self) -> None:
        others = {"asyncio", "trio"} - set(self.event_loops)
        if not others:
            pytest.skip("this backend works on every event loop")

        async def connect() -> None:
            with pytest.raises(SetupError, match=r"(?i)asyncio|trio"):
                async with self.opened():
                    pytest.fail("it works, so `event_loops` is too short")

        for name in others:
            anyio.run(connect, backend=name)
