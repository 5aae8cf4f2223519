"""A stand-in for ngrok's agent: run as a real program called `ngrok`, it does what a plan says.

Standard library only, so that it starts fast. Beside the program lie `plan.json` and `runs/`, where
each run leaves what it was given. The plan:

    version       what `ngrok version` tells; `says`: another answer
    dialect       3 for the lines that ngrok documents, 2 for those of the recordings
    check         [exit code, lines] of `ngrok config check`
    runs          the steps of each run of `ngrok http`; the last list serves all further runs
    port          where to try the local page when no file names an address
    refused_name  the name of a tunnel that, asked for by the local API, is refused

A step is a name or [name, argument…], a method of `agent.Agent`; after the last one the agent runs
until a signal ends it.
"""
