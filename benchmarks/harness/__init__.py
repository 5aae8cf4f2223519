"""How a figure is measured, judged and shown.

model.py         rows, marks, figures: what a run yields, and what its JSON holds
sampling.py      medians with spread, subjects interleaved
environments.py  a virtual environment for each peer and one for us, pinned
sealed.py        a network namespace with nothing but a loopback, in which everything is measured
programs.py      the programs that stand in for cloudflared and ngrok
bench.py         what a figure is given: programs, processes, the quick or the full measure
table.py         the table for a terminal
pages.py         the section of docs/performance.md, from the JSON
plot.py          bars as SVG
cli.py           the command
"""
