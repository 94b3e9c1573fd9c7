"""Where the playbooks are, and how many tasks one of them lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from provision.errors import ChillError

# Of a play, the lists of tasks; of a block, its parts. Handlers and `rescue` run only sometimes: they are not
# foreseen.
TASK_LISTS = ("pre_tasks", "tasks", "post_tasks", "block", "always")
IMPORTS = ("import_tasks", "include_tasks")
ROLE_IMPORTS = ("import_role", "include_role")


def playbooks_directory() -> Path:
    """Where the playbooks are: inside the installed package, else beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "playbooks", here.parent / "playbooks"):
        if candidate.is_dir():
            return candidate
    raise ChillError(f"the playbooks are missing: neither in {here} nor beside it", "install the toolkit again")


def count_tasks(playbook: Path) -> int:
    """How many tasks a playbook and the roles and files it names by a constant list: the n of "step i of n".

    An estimate that costs milliseconds, where asking ansible-playbook would cost a second: tasks may be
    skipped, and what an expression names is not followed.
    """
    return sum(_count(play, playbook.parent, playbook.parent / "roles") for play in _load(playbook))


def _load(path: Path) -> list[dict[str, Any]]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        # ansible-playbook reports what is wrong with the file, and better.
        return []
    return [entry for entry in document if isinstance(entry, dict)] if isinstance(document, list) else []


def _count(entry: dict[str, Any], directory: Path, roles: Path) -> int:
    """The tasks of a play, of a block, or of a task that brings others in; 1 for any other task."""
    lists = [entry[key] for key in TASK_LISTS if isinstance(entry.get(key), list)]
    count = sum(_count(task, directory, roles) for tasks in lists for task in tasks if isinstance(task, dict))
    if isinstance(entry.get("roles"), list):
        names = (role.get("role", role.get("name")) if isinstance(role, dict) else role for role in entry["roles"])
        return count + sum(_count_role(str(name), "main", roles) for name in names)
    if lists or "hosts" in entry:
        return count
    return _count_task(entry, directory, roles)


def _count_task(task: dict[str, Any], directory: Path, roles: Path) -> int:
    """1, or for a task that brings others in: those, and itself when that happens while the play runs."""
    for key, value in task.items():
        module = key.rpartition(".")[2]
        itself = int(module.startswith("include"))
        if module in IMPORTS:
            file = value.get("file") if isinstance(value, dict) else value
            return itself + sum(_count(entry, directory, roles) for entry in _load(directory / str(file)))
        if module in ROLE_IMPORTS and isinstance(value, dict):
            name = str(value.get("tasks_from", "main")).removesuffix(".yml")
            return itself + _count_role(str(value.get("name")), name, roles)
    return 1


def _count_role(name: str, file: str, roles: Path) -> int:
    tasks = roles / name / "tasks"
    # Ansible checks the arguments that a role specifies in a task of its own.
    checked = file == "main" and (roles / name / "meta" / "argument_specs.yml").is_file()
    return checked + sum(_count(entry, tasks, roles) for entry in _load(tasks / f"{file}.yml"))
