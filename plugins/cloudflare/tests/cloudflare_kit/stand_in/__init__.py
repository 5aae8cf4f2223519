"""A stand-in for cloudflared: plays a recording as a real process, and obeys a test's plan.

It takes the same arguments and variables, serves the same endpoints and obeys the same signals.
What it prints is the recording; only times, identifiers and its own port are its own. Runs under
`python -IS`, so nothing but the standard library.
"""
