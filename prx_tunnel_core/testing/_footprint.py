"""What is left of a connection afterwards: nothing; and what it does to its host: nothing."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from prx_tunnel_core.testing._kit import LINGER, Kit, gone
from prx_tunnel_core.testing._place import Place
from prx_tunnel_core.testing._resources import grown, held, host
from prx_tunnel_core.testing._stand_in import StandIn


class Footprint(Kit):
    async def test_nothing_is_left(self, program_stand_in: StandIn, place: Place) -> None:
        """Measured from the second connection on: the first may fill what is kept for good."""
        async with self.in_time("the tunnel did not come up and close", program_stand_in):
            files = held(place)["files"]
            await self._once()
            before = {**held(place), "files": files}
            await self._once()
        with anyio.move_on_after(min(LINGER, self.patience)):
            while grown(before, place):
                await anyio.sleep(0.01)
        more = grown(before, place)
        assert not more, f"a connection left behind {more}"
        assert await gone(program_stand_in, self.patience), "the program outlived its connection"

    async def test_the_host_is_not_changed(self, program_stand_in: StandIn) -> None:
        """What belongs to the whole process is not a backend's to set, not even for a while."""
        before = host()
        async with (
            self.in_time("the tunnel did not come up and close", program_stand_in),
            self.opened(),
        ):
            during = host()
        after = host()
        changed = [key for key in before if not before[key] == during[key] == after[key]]
        if changed:
            pytest.fail(f"the backend changed {', '.join(changed)}")

    async def _once(self) -> None:
        async with self.opened():
            await anyio.lowlevel.checkpoint()
