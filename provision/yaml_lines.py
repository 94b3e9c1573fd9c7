"""Where the keys of a YAML file stand, for messages: read only when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import yaml


def key_lines(text: str) -> dict[str, int]:
    """The line, from 1, of every key and list element, by dotted path: `a.b.0.c`. Nothing when `text` is not YAML."""
    try:
        root = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return {}
    return dict(_lines(root, ""))


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                path = f"{prefix}{key.value}"
                yield path, key.start_mark.line + 1
                yield from _lines(value, f"{path}.")
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            path = f"{prefix}{number}"
            yield path, value.start_mark.line + 1
            yield from _lines(value, f"{path}.")
