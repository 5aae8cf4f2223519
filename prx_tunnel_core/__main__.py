"""`python -m prx_tunnel_core`: the command `prx`, for an interpreter or options of one's choice."""

from prx_tunnel_core._cli import main

raise SystemExit(main())
