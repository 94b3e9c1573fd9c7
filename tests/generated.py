"""A fleet and a year of its ledger, generated: the same input gives the same files, byte for byte.

The instances differ as customers do: one is quiet, one heavy, one starts in spring, one ends in autumn, one crosses its
quotas, one has gaps. What they used is drawn from a random generator that is seeded with the slug.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

from metering.samples import MANUAL, ActiveUser, FileName, Sample, write_samples, write_users

SERVERS = ("srv1.example.net", "srv2.example.net")

SETTINGS = """\
domain = "chill.pro"
support_domain = "support.example.org"

[release]
version = "1.0.0"
archive = "releases/chill-1.0.0.tar.gz"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[mail]
sender = "adminsys@example.org"

[tls]
ca_certificate = "ca/ca.crt"
ca_key = "ca/ca.key"
"""

TARIFF = """\
currency = "EUR"
vat_percent = "21"

[[version]]
valid_from = {year}-01-01

  [version.base]
  price = "600.00"

  [version.active_users]
  measure = "mean_monthly"
  included = 5
  tiers = [{{up_to = 20, price = "40.00"}}, {{price = "30.00"}}]

  [version.sms]
  price = "0.075"

  [version.emails]
  included = 10000
  per = 1000
  price = "0.50"

  [version.documents]
  measure = "mean_daily"
  included_gb = 20
  price = "2.00"

  [version.collabora_users]
  included = 0
  price = "25.00"
"""

INSTANCE = """\
{group}:
  hosts: {{{slug}.chill.pro: {{}}, {slug}-test.chill.pro: {{}}}}
  vars:
    client: {client}
    responsible: {{name: "Dominique Responsable", email: "dominique@example.org", fingerprint: "{fingerprint}"}}
    contract: {{starts: {starts}, ends: {ends}, tariff: standard}}
production:
  hosts:
    {slug}.chill.pro: {{instance: {slug}, server: {server}}}
test:
  hosts:
    {slug}-test.chill.pro: {{instance: {slug}, server: {server}}}
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """A customer and its habits. `starts` and `ends` are month and day within the year, None: before it, or running.

    `people` have an account; `sms` and `emails` are means of a working day; `gigabytes` are the volume of documents on
    the first and the last day. `silent` days have no sample of a metric, or of all (`*`), as (metric, from, until).
    """

    slug: str
    client: str
    people: int
    sms: int
    emails: int
    gigabytes: tuple[float, float]
    collabora: int
    server: str = SERVERS[0]
    starts: tuple[int, int] | None = None
    ends: tuple[int, int] | None = None
    silent: Sequence[tuple[str, tuple[int, int], tuple[int, int]]] = ()


PROFILES = (
    Profile("acme", "ASBL Acme – Accompagnement & médiation", 26, 6, 30, (8.2, 13.7), 3),
    Profile("calme", "Permanence sociale « Le Calme »", 2, 0, 1, (0.1, 0.2), 0),
    Profile("horizon", "Maison médicale Horizon", 14, 12, 55, (17.5, 24.4), 4, SERVERS[1]),
    Profile("passerelle", "La Passerelle", 9, 3, 12, (5.0, 6.1), 1, SERVERS[1], ends=(9, 30)),
    Profile(
        "relais",
        "Le Relais du Nord",
        17,
        8,
        22,
        (11.0, 12.4),
        2,
        silent=[("sms_sent", (5, 1), (5, 31)), ("document_bytes", (8, 4), (8, 6)), ("*", (11, 10), (11, 14))],
    ),
    Profile("tilleuls", "Maison de quartier Les Tilleuls", 8, 2, 9, (0.0, 2.3), 0, SERVERS[1], starts=(3, 12)),
    Profile("ville", "Ville de Montreval – Département de l’action sociale", 96, 70, 240, (44.0, 71.5), 25),
)


def generate(directory: Path, year: int, profiles: Sequence[Profile] = PROFILES) -> None:
    """Write a fleet directory with the ledger of `year` into `directory`, which is made and must not hold one yet."""
    instances = directory / "inventory" / "instances"
    instances.mkdir(parents=True)
    (directory / "tariffs").mkdir()
    (directory / "chill.toml").write_text(SETTINGS, encoding="utf-8")
    (directory / "tariffs" / "standard.toml").write_text(TARIFF.format(year=year), encoding="utf-8")
    hosts = "".join(f"    {server}: {{}}\n" for server in SERVERS)
    (directory / "inventory" / "servers.yml").write_text(f"servers:\n  hosts:\n{hosts}", encoding="utf-8")
    for profile in profiles:
        (instances / f"{profile.slug}.yml").write_text(_instance(profile, year), encoding="utf-8")
    _write_ledger(directory / "ledger" / str(year), year, profiles)


def _instance(profile: Profile, year: int) -> str:
    client = '"' + profile.client.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return INSTANCE.format(
        group=f"chill_{profile.slug.replace('-', '_')}",
        slug=profile.slug,
        client=client,
        fingerprint="0123456789ABCDEF" * 2 + "01234567",
        starts=date(year, *profile.starts) if profile.starts else date(year - 1, 2, 1),
        ends=date(year, *profile.ends) if profile.ends else "null",
        server=profile.server,
    )


def _write_ledger(directory: Path, year: int, profiles: Sequence[Profile]) -> None:
    directory.mkdir(parents=True)
    lives = {profile.slug: _Life(profile, year) for profile in profiles}
    day = date(year, 1, 1)
    while day.year == year:
        for server in SERVERS:
            collected_at = datetime(day.year, day.month, day.day, 0, 15, tzinfo=UTC) + timedelta(days=1)
            here = [lives[profile.slug] for profile in profiles if profile.server == server]
            if not here:
                continue
            drawn = [life.day(day, collected_at) for life in here]
            samples = [sample for found, _ in drawn for sample in found]
            users = [user for _, found in drawn for user in found]
            _write(directory, FileName(day, server, collected_at, "samples"), samples, users)
        day += timedelta(days=1)
    last, recorded_at = date(year, 12, 31), datetime(year + 1, 1, 5, 9, 30, tzinfo=UTC)
    by_hand = [
        Sample(last, profile.slug, "collabora_users", profile.collabora, "ok", MANUAL, recorded_at)
        for profile in profiles
    ]
    _write(directory, FileName(last, MANUAL, recorded_at, "samples"), by_hand, None)


def _write(directory: Path, name: FileName, samples: Iterable[Sample], users: Iterable[ActiveUser] | None) -> None:
    with (directory / str(name)).open("w", encoding="utf-8", newline="") as file:
        write_samples(file, samples)
    if users is not None:
        beside = FileName(name.day, name.server, name.collected_at, "users")
        with (directory / str(beside)).open("w", encoding="utf-8", newline="") as file:
            write_users(file, users)


class _Life:
    """What one instance uses, day after day."""

    def __init__(self, profile: Profile, year: int) -> None:
        self.profile = profile
        self.random = Random(profile.slug)
        self.first = date(year, *profile.starts) if profile.starts else date(year, 1, 1)
        self.last = date(year, *profile.ends) if profile.ends else date(year, 12, 31)
        people = (hashlib.sha256(f"{profile.slug} {n}".encode()).hexdigest()[:16] for n in range(profile.people))
        # Some come every day, some once in a while.
        self.people = [(person, self.random.choice((0.01, 0.04, 0.3, 0.5, 0.7))) for person in sorted(people)]
        self.frozen = {metric: (date(year, *since), date(year, *until)) for metric, since, until in profile.silent}

    def day(self, day: date, collected_at: datetime) -> tuple[list[Sample], list[ActiveUser]]:
        """The samples and the active users of one day; none outside the contract or while the collector was silent."""
        # Drawn even when nothing is written, so that a gap changes no other day.
        busy = 0.12 if day.weekday() >= 5 else 0.55 if day.month in (7, 8) else 1.0
        active = [person for person, habit in self.people if self.random.random() < habit * busy]
        values = {
            "active_users": len(active),
            "document_bytes": self._bytes(day),
            "sms_sent": self._around(self.profile.sms * busy),
            "emails_sent": self._around(self.profile.emails * busy),
        }
        if not self.first <= day <= self.last or self._silent("*", day):
            return [], []
        samples = [self._sample(day, metric, value, collected_at) for metric, value in values.items()]
        return samples, [ActiveUser(day, self.profile.slug, person) for person in active]

    def _sample(self, day: date, metric: str, value: int, collected_at: datetime) -> Sample:
        slug, server = self.profile.slug, self.profile.server
        if self._silent(metric, day):
            return Sample(day, slug, metric, None, "failed", server, collected_at, "the source could not be read")
        return Sample(day, slug, metric, value, "ok", server, collected_at)

    def _silent(self, metric: str, day: date) -> bool:
        since, until = self.frozen.get(metric, (date.max, date.min))
        return since <= day <= until

    def _around(self, mean: float) -> int:
        return round(mean * self.random.uniform(0.5, 1.5))

    def _bytes(self, day: date) -> int:
        first, last = self.profile.gigabytes
        share = (day - self.first).days / max(1, (self.last - self.first).days)
        return max(0, round((first + (last - first) * share) * 10**9) + self.random.randrange(10**6))
