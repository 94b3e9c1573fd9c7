"""python -m tests.demo up | down: the story at a terminal, and the removal of what it made."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.demo.keyring import Keyring
from tests.demo.story import DOMAINS, SERVER, Story
from tests.lab import Lab, LabError

SCOPE = "demo"
DIRECTORY = Path("demo").resolve()


def say(text: str) -> None:
    print(text, flush=True)


def up() -> int:
    reason = Lab.unavailable()
    if reason:
        print(
            f"The lab cannot run here: {reason}\nThe metering and reporting part runs anywhere: make demo-reports",
            file=sys.stderr,
        )
        return 1
    lab = Lab(SCOPE, keep=True)
    down()
    with Story(DIRECTORY, lab, say=say) as story:
        story.set_the_stage()
        story.prepare_server()
        story.first_create()
        story.read_letter()
        story.log_in()
        story.play_the_past()
        story.work_today()
        story.collect()
        story.pull()
        amounts = story.report().split("\n\n")[0]
        story.chapter("Done: the papers and the amounts")
        for path in sorted(story.papers.iterdir()):
            say(f"{path}")
        say(f"\n{amounts}")
        say(
            f"\n{SERVER} stays up at {story.machine.address}: https://{DOMAINS[0]}/ and https://{DOMAINS[1]}/"
            f"\n  curl --cacert {story.ca} --resolve {DOMAINS[0]}:443:{story.machine.address} https://{DOMAINS[0]}/login"
            f"\n  the fleet: {story.fleet}\n  remove it all: make demo-down"
        )
    return 0


def down() -> int:
    """Remove the machine, with the last one the network, and the files."""
    for machine in Lab(SCOPE, keep=True).machines():
        machine.remove()
    if DIRECTORY.exists():
        # Also the agent that a demo left which was killed.
        Keyring(DIRECTORY).close()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    return 0


def take_down() -> int:
    """`down`, and a word on what is kept."""
    down()
    say(
        "The demo is gone: machine, network and files. The downloaded images and the release stay in the cache\n"
        "for the next time; to be rid of them, too: python3 -m tests.lab clean --images; rm -r ~/.cache/petits-chills"
    )
    return 0


def main() -> int:
    verbs = {"up": up, "down": take_down}
    if len(sys.argv) != 2 or sys.argv[1] not in verbs:
        print("usage: python -m tests.demo up | down", file=sys.stderr)
        return 2
    try:
        return verbs[sys.argv[1]]()
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
