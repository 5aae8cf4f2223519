"""`python -m prx_tunnel_core` is `prx`."""

from prx_tunnel_core.cli import main

raise SystemExit(main())
