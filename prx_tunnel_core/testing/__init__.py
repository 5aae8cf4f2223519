"""The contract of a backend, as tests that a plugin's test suite runs.

    import prx_tunnel_bore
    from prx_tunnel_core.testing import BackendContract

    class TestBore(BackendContract):
        plugin = prx_tunnel_bore
        announces = ["listening at bore.pub:41234"]

Each test runs a real program, a stand-in that is installed under the name of the backend's program,
on each event loop. The attributes of `Kit` are what a subclass may set. A test can be waived with a
reason; an override without one is an error. A minor release of core may add tests.

Needs the extra `testing`: pip install prx-tunnel-core[testing]
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failed assertion shows its values.
for _name in ("_lifecycle", "_safety", "_kit"):
    pytest.register_assert_rewrite(f"{__name__}.{_name}")

from prx_tunnel_core.testing._contract import BackendContract  # noqa: E402

__all__ = ["BackendContract"]
