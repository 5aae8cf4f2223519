"""How long a target is fuzzed: briefly by default, as long as wanted by a variable."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("PRX_TUNNEL_FUZZ_EXAMPLES", "50"))

fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
