"""POSIX ACLs, written as the kernel keeps them: nothing has to be installed for that."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER, GROUP, MASK = 2, 8, 16

_NO_NUMBER = 0xFFFFFFFF


def give(
    path: Path, *entries: tuple[int, int, int], group: int = 0, mask: int = 7, kind: str = ACCESS
) -> None:
    """Give rights (4 read, 2 write, 1 enter) by entries `(USER or GROUP, number, rights)`.

    The test is skipped where the file system has no ACLs.
    """
    owner = os.stat(path).st_mode >> 6 & 7
    fixed = [(1, _NO_NUMBER, owner), (4, _NO_NUMBER, group), (MASK, _NO_NUMBER, mask)]
    every = sorted([*fixed, *entries, (32, _NO_NUMBER, 0)])
    packed = b"".join(struct.pack("<HHI", tag, rights, number) for tag, number, rights in every)
    if not hasattr(os, "setxattr"):
        pytest.skip("this system has no POSIX ACLs")
    try:
        os.setxattr(path, kind, struct.pack("<I", 2) + packed)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip(f"the file system of {path} has no ACLs")
