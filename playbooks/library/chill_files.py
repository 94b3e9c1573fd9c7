#!/usr/bin/python3
"""Ansible module: bring directories, files and links into the state described, all in one round trip."""

from __future__ import annotations

import fcntl
import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_files
short_description: Directories, files and links of one role, in one call
description:
  - Every task costs a round trip, and an environment has some thirty files. This module takes them all,
    in the order given.
  - A file's content appears whole or not at all. Nothing secret may be given here, because it would show
    in the diff.
  - A follow-up (reload, restart) is written down in the directory O(pending) B(before) the change it
    belongs to, and M(chill_services) removes it once it is done. A run that was interrupted between the
    two is therefore completed by the next one, which a handler would not survive.
options:
  files:
    description: what there must be
    type: list
    elements: dict
    required: true
    suboptions:
      path: {type: path, required: true}
      state:
        description: >-
          assembled is a file made of the files of the directory O(files[].target), in the order of their
          names
        type: str
        choices: [file, directory, link, assembled, absent]
        default: file
      content:
        description: of a file; without it an empty one is made when there is none, and its text is left alone
        type: str
      target: {type: str, description: of a link; or the directory of fragments}
      owner: {type: str, default: root}
      group: {type: str, default: root}
      mode: {type: str, description: 'four octal digits; default 0755 for a directory, else 0644'}
      acl: {type: list, elements: str, description: 'named entries such as user:www-data:--x'}
      then: {type: list, elements: str, description: names of follow-ups of a change}
      shown_by:
        description: >-
          a command, without a shell, that prints what is in force of a file; unless that is the end of
          O(files[].content), the file counts as changed, so that its follow-ups put it in force again
        type: str
  pending: {type: path, description: directory of follow-ups that wait}
"""

RETURN = """
paths: {description: paths that were not as described, type: list, returned: always}
pending: {description: names of the follow-ups that wait, type: list, returned: always}
"""

STATES = ["file", "directory", "link", "assembled", "absent"]
ENTRY: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": STATES, "default": "file"},
    "content": {"type": "str"},
    "target": {"type": "str"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "mode": {"type": "str"},
    "acl": {"type": "list", "elements": "str"},
    "then": {"type": "list", "elements": "str", "default": []},
    "shown_by": {"type": "str"},
}

DEFAULT_MODE = {"directory": "0755", "file": "0644", "assembled": "0644"}


def kind_of(path: Path) -> str:
    """What is there now: absent, link, directory, or file (of any sort)."""
    if path.is_symlink():
        return "link"
    if not path.exists():
        return "absent"
    return "directory" if path.is_dir() else "file"


def text_of(path: Path) -> str:
    """The text of a file for comparison; what is not UTF-8 differs from whatever is wanted."""
    return path.read_bytes().decode("utf-8", errors="surrogateescape")


@contextmanager
def fragments(entry: dict[str, Any]) -> Iterator[None]:
    """While an assembled file is looked at and made, no other environment of the server does the same.

    Otherwise the one that read the fragments first could write last, and leave out the other's.
    """
    if entry["state"] != "assembled":
        yield
        return
    directory = os.open(entry["target"], os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        parts = sorted(Path(entry["target"]).glob("[!.]*"))
        entry["content"] = "\n".join(text_of(part) for part in parts)
        yield
    finally:
        os.close(directory)


def content_differs(entry: dict[str, Any], kind: str) -> tuple[bool, str, str]:
    """Whether the thing itself (not its owner or mode) must be made anew; before and after, for the diff."""
    state, path = entry["state"], Path(entry["path"])
    if state == "absent":
        return kind != "absent", kind, "absent"
    if state == "directory":
        return kind != "directory", kind, "directory"
    if state == "link":
        now = str(path.readlink()) if kind == "link" else kind
        return now != entry["target"], now, str(entry["target"])
    before = text_of(path) if kind == "file" else ""
    if entry["content"] is None:
        return kind != "file", before, before
    return kind != "file" or before != entry["content"], before, entry["content"]


def make(module: AnsibleModule, entry: dict[str, Any], kind: str) -> None:
    """Make the thing. A directory is never replaced by something else, nor removed with what is in it."""
    state, path = entry["state"], Path(entry["path"])
    if kind == "directory" and state not in ("directory", "absent"):
        module.fail_json(msg=f"{path} is a directory, expected a {state}: see what is in it and move it away")
    if state == "directory":
        if kind != "absent":
            module.fail_json(msg=f"{path} is a {kind}, expected a directory: move it away")
        path.mkdir(mode=0o700, parents=True)
    elif state == "link":
        replace_by_link(path, entry["target"])
    elif state != "absent":
        write(module, entry)
    elif kind == "directory":
        path.rmdir()
    else:
        path.unlink()


def replace_by_link(path: Path, target: str) -> None:
    """Make a link in one step, so that there is no moment without it."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(path)


def write(module: AnsibleModule, entry: dict[str, Any]) -> None:
    """Write beside, with owner and mode already right, then rename."""
    path = Path(entry["path"])
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write((entry["content"] or "").encode())
            stream.flush()
            os.fsync(stream.fileno())
        module.set_fs_attributes_if_different(module.load_file_common_arguments(entry, name), False)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def acl_lines(entry: dict[str, Any]) -> list[str]:
    """The whole access list of an entry as getfacl prints it: that of its mode, and the named entries."""
    user, group, other = (triple(digit) for digit in entry["mode"][-3:])
    return sorted([f"user::{user}", f"group::{group}", f"other::{other}", f"mask::{group}", *entry["acl"]])


def triple(digit: str) -> str:
    bits = int(digit, 8)
    return "".join(letter if bits & bit else "-" for letter, bit in zip("rwx", (4, 2, 1), strict=True))


def acl_differs(module: AnsibleModule, entry: dict[str, Any]) -> bool:
    _, text, _ = module.run_command(["getfacl", "-cpE", entry["path"]], check_rc=True)
    return sorted(line for line in text.splitlines() if line) != acl_lines(entry)


def not_in_force(module: AnsibleModule, entry: dict[str, Any]) -> str | None:
    """What is in force instead of a file's content, as its command prints it; None when it is the content."""
    if not entry["shown_by"]:
        return None
    code, output, _ = module.run_command(shlex.split(entry["shown_by"]))
    return None if code == 0 and output and entry["content"].endswith(output) else output or "nothing is in force\n"


def leave_pending(pending: str | None, names: list[str]) -> None:
    """Write down what must follow the change that is about to be made."""
    if pending and names:
        Path(pending).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in names:
            Path(pending, name).touch()


def attributes_differ(module: AnsibleModule, entry: dict[str, Any]) -> bool:
    """Whether owner, group, mode or access list is not as described; asked without changing anything."""
    if entry["state"] not in DEFAULT_MODE:
        return False
    really, module.check_mode = module.check_mode, True
    try:
        wanted = module.load_file_common_arguments(entry, entry["path"])
        return bool(module.set_fs_attributes_if_different(wanted, False)) or bool(
            entry["acl"] and acl_differs(module, entry)
        )
    finally:
        module.check_mode = really


def bring(module: AnsibleModule, entry: dict[str, Any]) -> dict[str, Any] | None:
    """Bring one entry into its state; the difference when it was not there, else None."""
    path = entry["path"]
    kind = kind_of(Path(path))
    entry["mode"] = entry["mode"] or DEFAULT_MODE.get(entry["state"])
    differs, before, after = content_differs(entry, kind)
    shown = None if differs else not_in_force(module, entry)
    if shown is None and not differs and not attributes_differ(module, entry):
        return None
    if not module.check_mode:
        leave_pending(module.params["pending"], entry["then"])
        if differs:
            make(module, entry, kind)
        if entry["state"] in DEFAULT_MODE:
            module.set_fs_attributes_if_different(module.load_file_common_arguments(entry, path), False)
            if entry["acl"] and acl_differs(module, entry):
                module.run_command(["setfacl", "--set", ",".join(acl_lines(entry)), path], check_rc=True)
    if shown is not None:
        before, after = shown, entry["content"]
    elif not differs:
        before = "owner, mode or access list differs\n"
        after = f"{entry['owner']}:{entry['group']} {entry['mode']}\n"
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def waiting(pending: str | None) -> set[str]:
    """The follow-ups that wait."""
    return {path.name for path in Path(pending).glob("*")} if pending else set()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
            "pending": {"type": "path"},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    differences: list[dict[str, Any]] = []
    pending: set[str] = set()
    for entry in module.params["files"]:
        try:
            with fragments(entry):
                difference = bring(module, entry)
        except OSError as error:
            module.fail_json(msg=f"{entry['path']}: {error.strerror}")
        if difference:
            differences.append(difference)
            pending.update(entry["then"])
    pending |= waiting(module.params["pending"])
    module.exit_json(
        changed=bool(differences),
        paths=[difference["before_header"] for difference in differences],
        pending=sorted(pending),
        diff=differences,
    )


if __name__ == "__main__":
    main()
