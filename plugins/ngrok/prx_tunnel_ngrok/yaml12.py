"""YAML 1.2, as ngrok reads it; PyYAML reads YAML 1.1.

The difference is what a plain word means: in 1.1 `no` and `on` are booleans, `22:30` is a number
and `2026-01-02` a date; ngrok takes all of them for text, and so must we when a file of the user
goes through our hands.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    pass


# What a plain word may be besides text, and the characters that it then begins with.
_WORDS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "null": (r"~|null|Null|NULL|", "~nN"),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    "float": (r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    "merge": (r"<<", "<"),
}
_Loader.yaml_implicit_resolvers = {}
for _kind, (_pattern, _first) in _WORDS.items():
    _firsts = [*_first, ""] if _kind == "null" else list(_first)
    _tag = f"tag:yaml.org,2002:{_kind}"
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _firsts)


def load(text: str) -> Any:
    """The document as dictionaries, lists and plain values.

    Raises ValueError, with the line but without its content, for what is no YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with other words
    except yaml.MarkedYAMLError as error:
        # The error's own text quotes the line, which may hold a token.
        where = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{where}{error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"not YAML ({type(error).__name__})") from None
