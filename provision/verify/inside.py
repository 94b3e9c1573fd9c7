"""Asks the site of a test environment from its own server, with the password that only that server knows.

The password does not leave the server: what is sent there is a question, what comes back the answer.
"""

from __future__ import annotations

import json
from typing import Any

from provision.verify.target import Target
from provision.verify.web import Answer

# Debian's own Python, which Ansible needs, too. Whether the certificate is good is asked from outside.
_SCRIPT = """
import base64, http.client, json, socket, ssl, sys
domain, path, file, port = sys.argv[1:]
context = ssl._create_unverified_context()
connection = http.client.HTTPConnection(domain, timeout=20)
connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 20), server_hostname=domain)
token = base64.b64encode(b"verify:" + open(file, "rb").read().strip()).decode()
connection.request("GET", path, headers={"Authorization": "Basic " + token, "Connection": "close"})
answer = connection.getresponse()
headers = {name.lower(): value for name, value in answer.getheaders()}
print(json.dumps([answer.status, headers, answer.read(1000000).decode("utf-8", "replace")]))
"""


def get(host: Any, target: Target, path: str) -> Answer:
    """GET a page as someone who has the password of the site; an AssertionError says in words why none came."""
    done = host.run(
        "/usr/bin/python3 -I -c %s %s %s %s %s",
        *(_SCRIPT, target.domain, path, target.own_password, str(target.https_port)),
    )
    if done.rc != 0:
        said = " ".join(done.stderr.split()[-20:])
        raise AssertionError(f"{target.server} cannot ask its own site {target.domain}: {said}")
    status, headers, body = json.loads(done.stdout)
    return Answer(status, headers, body)
