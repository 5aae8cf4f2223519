"""One file for each figure: `measure` is called by the harness, the rest is what it measures."""
