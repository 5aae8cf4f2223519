"""The words of the agent: log lines, and what ngrok's service says when it refuses."""

from __future__ import annotations

import json
import os
import time

REFUSALS = {
    "105": "The authtoken you specified does not look like a proper ngrok authtoken.\n"
    "Your authtoken: {token}\nInstructions to install your authtoken are on your ngrok dashboard:\n"
    "https://dashboard.ngrok.com/get-started/your-authtoken",
    "107": "The authtoken you specified is properly formed, but it is invalid.\n"
    "Your authtoken: {token}\n",
    "108": "Your account is limited to 1 simultaneous ngrok agent sessions.\n",
    "121": 'Your ngrok-agent version "{version}" is too old. The minimum supported agent version '
    'for your account is "3.2.0". Please update to a newer version with `ngrok update`, by '
    "downloading from https://ngrok.com/download, or by updating your SDK version. Paid accounts "
    "are currently excluded from minimum agent version requirements. To begin handling traffic "
    "immediately without updating your agent, upgrade to a paid plan: "
    "https://dashboard.ngrok.com/billing/subscription.",
    "128": "Something went wrong. Please try your request again later.",
    "319": "You must reserve a custom hostname for your account before it can be used to create "
    "endpoints.",
    "334": "The endpoint 'https://foo.ngrok-free.app' is already online. Either\n"
    "1. stop your existing endpoint first, or\n"
    "2. start both endpoints with `--pooling-enabled` to load balance between them.",
    "4018": "Usage of ngrok requires a verified account and authtoken.\n\n"
    "Sign up for an account: https://dashboard.ngrok.com/signup\n"
    "Install your authtoken: https://dashboard.ngrok.com/get-started/your-authtoken",
}


def say(text: str, stream: int = 1) -> None:
    os.write(stream, text.encode() + b"\n")


def log(lvl: str, msg: str, **fields: object) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z"
    entry = {"lvl": lvl, "msg": msg, "t": now, **fields}
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":  # as Go's encoder writes them
        text = text.replace(character, f"\\u{ord(character):04x}")
    say(text)


def some_id(length: int = 12) -> str:
    return os.urandom(length // 2).hex()
