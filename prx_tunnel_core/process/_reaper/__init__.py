"""Ends processes that would otherwise outlive their tunnel or their host."""
