#!/usr/bin/python3
"""Ansible module: the secrets of an environment, made on its server, and what is made of them there."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import secrets
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_secrets
short_description: Env file, Redis user and signing keys of an environment
description:
  - A secret is made once, on the server, and kept in the env file alone. It is never returned, and there
    is no diff.
  - Credentials that come from elsewhere are given once, in O(provided); later runs keep them.
  - Writes the env file in the form of docs/release-contract.md, point 3.
  - Gives the Redis ACL user the password of the env file, and stores the access list.
  - Makes the key pair that signs access tokens, when there is none.
options:
  path: {type: path, required: true, description: 'the env file; mode 0400, of O(user)'}
  user: {type: str, required: true, description: 'Unix user, and Redis ACL user'}
  secrets:
    description: names of variables that are made when absent, of 64 hexadecimal digits each
    type: list
    elements: str
    required: true
  variables:
    description: the other variables; %NAME% in a value stands for the secret NAME
    type: dict
    required: true
  provided:
    description: variables with credentials from elsewhere, written as they are
    type: dict
    default: {}
  kept:
    description: names of variables that keep the value of the env file, when they are given none
    type: list
    elements: str
    default: []
  redis_socket: {type: path, default: /run/redis/redis-server.sock}
  redis_prefix: {type: str, required: true, description: every key that the user may touch begins with it}
  redis_admin:
    description: file with the password of the ACL user chill-admin
    type: path
    default: /etc/chill/redis-admin
  redis_acl: {type: path, default: /etc/redis/users.acl}
  jwt_directory: {type: path, required: true, description: for private.pem and public.pem}
  then: {type: list, elements: str, default: [], description: follow-ups of a changed env file}
  pending: {type: path, required: true}
"""

RETURN = """
made: {description: 'what was not as described: env file, Redis user, signing keys', type: list}
"""

LINE = re.compile(r"^([A-Z][A-Z0-9_]*)='([^']*)'$", re.MULTILINE)
# All but what administers the server, empties it, or shows and changes what is not bound to a key: also the scripts of
# others, and the names of keys that others change (CLIENT TRACKING, which the access list does not look at).
REDIS_COMMANDS = (
    "+@all -@dangerous -@scripting +eval +evalsha +eval_ro +evalsha_ro"
    " -scan -randomkey -dbsize -pubsub -client|tracking"
)


def known_secrets(text: str, names: list[str]) -> dict[str, str]:
    """The secrets of an env file, and new ones for those it lacks."""
    present = dict(LINE.findall(text))
    return {name: present.get(name) or secrets.token_hex(32) for name in names}


def kept_values(module: AnsibleModule, text: str) -> dict[str, str]:
    """What was provided, and of the variables to keep that were not, the values in the env file's `text`."""
    present = dict(LINE.findall(text))
    given = {**module.params["variables"], **module.params["provided"]}
    kept = {name: present[name] for name in module.params["kept"] if name in present and name not in given}
    return {**kept, **module.params["provided"]}


def compose(module: AnsibleModule, known: dict[str, str], kept: dict[str, str]) -> str:
    """The text of the env file: the variables, what was kept or provided (in one order), the known secrets."""
    lines = ["# Written by the toolkit; its next run replaces changes. Secrets that stand here are kept."]
    filled = {
        name: re.sub(r"%([A-Z_]+)%", lambda match: known.get(match[1], match[0]), str(value))
        for name, value in module.params["variables"].items()
    }
    for name, value in {**filled, **dict(sorted(kept.items())), **known}.items():
        text = str(value)
        if "'" in text or "\n" in text or not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            module.fail_json(msg=f"the variable {name} cannot be written: it holds a quote or a line break")
        lines.append(f"{name}='{text}'")
    return "\n".join(lines) + "\n"


def write_private(path: Path, data: bytes, owner: pwd.struct_passwd) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, 0o400)
            os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise


def is_private(path: Path, owner: pwd.struct_passwd) -> bool:
    state = path.stat()
    return (state.st_mode & 0o7777, state.st_uid, state.st_gid) == (0o400, owner.pw_uid, owner.pw_gid)


class Redis:
    """As much of the Redis protocol (RESP2) as the access list needs."""

    def __init__(self, path: str, password: str) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(10)
        self.connection.connect(path)
        self.stream = self.connection.makefile("rb")
        self("AUTH", "chill-admin", password)

    def __call__(self, *words: str) -> Any:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self.connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return self.answer()

    def answer(self) -> Any:
        line = self.stream.readline().decode().strip()
        kind, rest = line[:1], line[1:]
        if kind == "-" or not kind:
            raise OSError(0, f"Redis refuses: {rest or 'it closed the connection'}")
        if kind == "$":
            return self.stream.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        if kind == "*":
            return [self.answer() for _ in range(int(rest))]
        return rest


def redis_rule(user: str, prefix: str, password: str) -> str:
    """The user's line as Redis 7.0 prints it, but for the order of the commands, which it chooses."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user {user} on sanitize-payload #{digest} ~{prefix}* resetchannels &{prefix}* {REDIS_COMMANDS}"


def holds(lines: list[str], rule: str) -> bool:
    """Whether one of the lines of an access list is the rule. No word is there twice: their order is free."""
    return any(sorted(line.split()) == sorted(rule.split()) for line in lines)


def bring_redis_user(module: AnsibleModule, password: str) -> bool:
    """Give the user its password and its keys, in the running server and in its file; whether it had not."""
    user, prefix = module.params["user"], module.params["redis_prefix"]
    rule = redis_rule(user, prefix, password)
    admin = Path(module.params["redis_admin"]).read_text(encoding="ascii").strip()
    redis = Redis(module.params["redis_socket"], admin)
    stored = Path(module.params["redis_acl"]).read_text(encoding="utf-8").splitlines()
    if holds(stored, rule) and holds(redis("ACL", "LIST"), rule):
        return False
    if not module.check_mode:
        redis("ACL", "SETUSER", user, "reset", *rule.split()[2:])
        if not holds(redis("ACL", "LIST"), rule):
            # Otherwise every later run would say "changed" without saying why.
            module.fail_json(msg=f"Redis writes the rights of {user} otherwise than expected")
        redis("ACL", "SAVE")
    return True


def bring_jwt_keys(module: AnsibleModule, passphrase: str, owner: pwd.struct_passwd | None) -> bool:
    """Make the key pair when there is none; whether it was made."""
    private, public = (Path(module.params["jwt_directory"], name) for name in ("private.pem", "public.pem"))
    if private.exists() and public.exists():
        return False
    if owner and not module.check_mode:
        key = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", data=b"")
        shown = openssl("pkey", "-pubout", data=key)
        # The passphrase goes by standard input, so that it is in no list of processes.
        seal = ["pkey", "-aes-256-cbc", "-passout", "stdin", "-in", "/dev/fd/3"]
        sealed = openssl(*seal, data=passphrase.encode(), extra=key)
        write_private(public, shown, owner)
        write_private(private, sealed, owner)
    return True


def openssl(*arguments: str, data: bytes, extra: bytes = b"") -> bytes:
    """Run openssl; `extra` can be read from its descriptor 3."""
    read_end, write_end = os.pipe()
    # A pipe holds 64 KiB, a key a few: writing it beforehand cannot block.
    os.write(write_end, extra)
    os.close(write_end)
    try:
        os.set_inheritable(read_end, True)
        command = ["sh", "-c", f'exec openssl "$@" 3<&{read_end}', "sh", *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=True, pass_fds=[read_end])
    finally:
        os.close(read_end)
    return done.stdout


def leave_pending(pending: str, names: list[str]) -> None:
    """Write down what must follow the change that is about to be made."""
    Path(pending).mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in names:
        Path(pending, name).touch()


def bring(module: AnsibleModule) -> list[str]:
    """Bring env file, Redis user and keys into their state; what was not."""
    made = []
    path = Path(module.params["path"])
    try:
        owner = pwd.getpwnam(module.params["user"])
    except KeyError:
        owner = None
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    known = known_secrets(before, module.params["secrets"])
    text = compose(module, known, kept_values(module, before))
    if text != before or owner is None or not is_private(path, owner):
        made.append("env file")
        if owner and not module.check_mode:
            leave_pending(module.params["pending"], module.params["then"])
            write_private(path, text.encode(), owner)
    if bring_redis_user(module, known["REDIS_PASSWORD"]):
        made.append("Redis user")
    if bring_jwt_keys(module, known["JWT_PASSPHRASE"], owner):
        made.append("signing keys")
    return made


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "secrets": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "variables": {"type": "dict", "required": True, "no_log": True},
            "provided": {"type": "dict", "default": {}, "no_log": True},
            "kept": {"type": "list", "elements": "str", "default": []},
            "redis_socket": {"type": "path", "default": "/run/redis/redis-server.sock"},
            "redis_prefix": {"type": "str", "required": True},
            "redis_admin": {"type": "path", "default": "/etc/chill/redis-admin"},
            "redis_acl": {"type": "path", "default": "/etc/redis/users.acl"},
            "jwt_directory": {"type": "path", "required": True},
            "then": {"type": "list", "elements": "str", "default": []},
            "pending": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    try:
        made = bring(module)
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"openssl failed: {error.stderr.decode(errors='replace').strip()}")
    except OSError as error:
        module.fail_json(msg=f"{error.filename or module.params['redis_socket']}: {error.strerror}")
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
