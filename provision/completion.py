"""What a shell offers after a tab: slugs, servers, tariffs. Quick, and silent when a file is wrong."""

from __future__ import annotations

from collections.abc import Callable

import click
import yaml
from click.shell_completion import CompletionItem

from provision.fleet_directory import fleet_directory


def _complete(subdirectory: str, pattern: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Complete by the names of files, without parsing any."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        directory = fleet_directory(ctx.params.get("fleet"))
        names = sorted(path.stem for path in (directory / subdirectory).glob(pattern))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete


def complete_server(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of the inventory's file alone, without checking the fleet."""
    try:
        text = (fleet_directory(ctx.params.get("fleet")) / "inventory/servers.yml").read_text(encoding="utf-8")
        names = list(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["servers"]["hosts"])  # noqa: S506
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        return []
    return [CompletionItem(str(name)) for name in names if str(name).startswith(incomplete)]


complete_slug = _complete("inventory/instances", "*.yml")
complete_tariff = _complete("tariffs", "*.toml")


def complete_slug_or_server(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return complete_slug(ctx, parameter, incomplete) + complete_server(ctx, parameter, incomplete)


def complete_server_or_auto(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    auto = [CompletionItem("auto")] if "auto".startswith(incomplete) else []
    return complete_server(ctx, parameter, incomplete) + auto
