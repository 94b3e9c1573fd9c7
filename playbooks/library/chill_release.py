#!/usr/bin/python3
"""Ansible module: unpack a release archive into a directory of its own, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_release
short_description: Unpack a release whose checksum is known
description:
  - Compares the SHA-256 of the archive, unpacks it beside, then renames. An interrupted run leaves no half
    release.
  - An archive with links that lead outside is refused.
  - The release belongs to root and is never changed afterwards; C(var/) is emptied, the role fills it.
  - docs/release-contract.md, points 1 and 6, says what an archive looks like.
options:
  archive: {type: path, required: true, description: on the server}
  sha256: {type: str, required: true}
  destination:
    description: directory of this version; when it exists already nothing is done
    type: path
    required: true
"""

MARK = ".release"


def digest(path: str) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def links_outside(root: Path) -> list[str]:
    """Links that lead out of a directory: the web server would follow them."""
    found = []
    for directory, directories, files in os.walk(root):
        for path in (Path(directory, name) for name in (*directories, *files)):
            if path.is_symlink():
                end = Path(os.path.normpath(path.parent / path.readlink()))
                if not end.is_relative_to(root):
                    found.append(str(path.relative_to(root)))
    return sorted(found)


def unpack(module: AnsibleModule, archive: str, destination: Path) -> None:
    """Unpack beside `destination`, then rename. GNU tar itself refuses members that lead outside."""
    partial = destination.with_name(f".{destination.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    # The home is closed from its first moment; the role gives it its owner and access list.
    destination.parent.parent.mkdir(mode=0o710, exist_ok=True)
    destination.parent.mkdir(exist_ok=True)
    partial.mkdir(mode=0o755)
    arguments = ["tar", "--extract", "--gzip", "--file", archive, "--directory", str(partial)]
    arguments += ["--strip-components=1", "--no-same-owner", "--no-same-permissions"]
    module.run_command(arguments, check_rc=True)
    for needed in ("bin/console", "public/index.php"):
        if not (partial / needed).is_file():
            module.fail_json(msg=f"{archive} holds no {needed}: it does not keep docs/release-contract.md")
    astray = links_outside(partial)
    if astray:
        shutil.rmtree(partial)
        module.fail_json(msg=f"{archive} holds links that lead out of it: {', '.join(astray[:5])}")
    if (partial / "var").exists():
        shutil.rmtree(partial / "var")
    (partial / "var").mkdir(mode=0o755)
    (partial / MARK).write_text(module.params["sha256"] + "\n", encoding="ascii")
    # A release that is there must be whole even after the power failed.
    os.sync()
    partial.rename(destination)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "sha256": {"type": "str", "required": True},
            "destination": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    destination = Path(module.params["destination"])
    if destination.exists():
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    archive, expected = module.params["archive"], module.params["sha256"]
    found = digest(archive)
    if found != expected:
        module.fail_json(msg=f"{archive} has the SHA-256 {found}, expected {expected}: nothing was unpacked")
    unpack(module, archive, destination)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
