#!/usr/bin/python3
"""Ansible module: the passwords that a web server asks for before it shows a site."""

from __future__ import annotations

import crypt
import grp
import os
import secrets
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_site_passwords
short_description: The file of nginx's auth_basic_user_file, with a person's account and the server's own
description:
  - The password of people is given in O(password) when it is to be set, and is only kept as a hash. Without
    it, what the file holds stays; a file that holds none lets no person in.
  - A second account is the server's own, so that it can be seen whether the site works. Its password is
    made here, is readable to root alone, and never returned.
options:
  path: {type: path, required: true, description: 'of the file; 0640, of root and O(group)'}
  group: {type: str, default: www-data, description: whose processes check passwords}
  account: {type: str, required: true, description: of people}
  password: {type: str, description: a new one for O(account)}
  own_account: {type: str, default: verify}
  own_password: {type: path, required: true, description: 'file with the password of O(own_account); 0600, of root'}
"""

RETURN = """
made: {description: 'what was not as described: accounts', type: list}
"""

# Passwords that are made, of 99 bits and more, need no slow hash; and nginx computes it at each request.
ROUNDS = 1000


def hashed(password: str) -> str:
    """SHA-512 crypt, which Debian's libcrypt and so nginx know."""
    return crypt.crypt(password, crypt.mksalt(crypt.METHOD_SHA512, rounds=ROUNDS))


def fits(password: str, known: str | None) -> bool:
    return bool(known) and crypt.crypt(password, known) == known


def entries(path: Path) -> dict[str, str]:
    """Hashes by account."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def write(path: Path, text: str, mode: int, group: int) -> None:
    """Write a file of root, whole or not at all."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            os.fchown(descriptor, 0, group)
            os.fchmod(descriptor, mode)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise


def is_as_described(path: Path, mode: int, group: int) -> bool:
    if not path.exists():
        return False
    state = path.stat()
    return (state.st_mode & 0o7777, state.st_uid, state.st_gid) == (mode, 0, group)


def bring(module: AnsibleModule) -> list[str]:
    """Bring both files into their state; the accounts that were not."""
    path, own = Path(module.params["path"]), Path(module.params["own_password"])
    group = grp.getgrnam(module.params["group"]).gr_gid
    account, password, own_account = (module.params[name] for name in ("account", "password", "own_account"))
    before = entries(path)
    known = {name: value for name, value in before.items() if name in (account, own_account)}
    made = []
    if password and not fits(password, known.get(account)):
        known[account] = hashed(password)
        made.append(account)
    word = own.read_text(encoding="ascii").strip() if own.exists() else ""
    if not word or not fits(word, known.get(own_account)) or not is_as_described(own, 0o600, 0):
        word = word or secrets.token_hex(32)
        known[own_account] = hashed(word)
        made.append(own_account)
        if not module.check_mode:
            write(own, f"{word}\n", 0o600, 0)
    if known != before or not is_as_described(path, 0o640, group):
        made = made or ["file"]
        if not module.check_mode:
            write(path, "".join(f"{name}:{known[name]}\n" for name in sorted(known)), 0o640, group)
    return made


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "group": {"type": "str", "default": "www-data"},
            "account": {"type": "str", "required": True},
            "password": {"type": "str", "no_log": True},
            "own_account": {"type": "str", "default": "verify"},
            "own_password": {"type": "path", "required": True, "no_log": False},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    try:
        made = bring(module)
    except KeyError:
        module.fail_json(msg=f"there is no group {module.params['group']}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['path']}: {error.strerror}")
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
