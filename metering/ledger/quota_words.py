"""What the letters about quotas say, in each language of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from babel.numbers import format_decimal

from provision.settings import Language

_GB = 10**9


@dataclass(frozen=True, slots=True)
class Words:
    """A language: `{…}` are filled in by the letter; `metrics` names what is counted, `near` and `exceeded` say what
    follows.
    """

    subject: str
    body: str
    metrics: Mapping[str, str]
    near: str
    exceeded: str


WORDS: Mapping[Language, Words] = {
    "fr": Words(
        subject="{slug} : {mark} % du quota {what} de {year} atteints",
        body="""\
L’instance {slug} ({client}) a atteint {mark} % de son quota {what}
pour {year}.

    Utilisé    {used}  ({percent} %)
    Inclus     {included}

{next}

Ce message est envoyé une seule fois par seuil. L’état actuel :

    chill-meter quota {slug}
""",
        metrics={"emails_sent": "d’e-mails", "document_bytes": "de documents"},
        near="Rien n’est facturé en plus tant que le quota n’est pas dépassé.",
        exceeded="Ce qui dépasse le quota sera facturé selon le tarif du contrat.",
    ),
    "en": Words(
        subject="{slug}: {mark}% of the {what} quota of {year} reached",
        body="""\
The instance {slug} ({client}) has reached {mark}% of its {what} quota
of {year}.

    Used       {used}  ({percent}%)
    Included   {included}

{next}

This message is sent once per mark. How things stand now:

    chill-meter quota {slug}
""",
        metrics={"emails_sent": "e-mail", "document_bytes": "document"},
        near="Nothing is billed on top as long as the quota is not exceeded.",
        exceeded="What exceeds the quota will be billed by the tariff of the contract.",
    ),
    "nl": Words(
        subject="{slug}: {mark}% van het {what}quotum van {year} bereikt",
        body="""\
De instantie {slug} ({client}) heeft {mark}% van haar {what}quotum
van {year} bereikt.

    Gebruikt     {used}  ({percent}%)
    Inbegrepen   {included}

{next}

Dit bericht wordt één keer per drempel verstuurd. De huidige stand:

    chill-meter quota {slug}
""",
        metrics={"emails_sent": "e-mail", "document_bytes": "documenten"},
        near="Er wordt niets extra gefactureerd zolang het quotum niet overschreden is.",
        exceeded="Wat het quotum overschrijdt, wordt gefactureerd volgens het tarief van het contract.",
    ),
}


def amount(value: int, metric: str, language: Language) -> str:
    """A number as the language writes it; documents in GB (10^9 bytes)."""
    if metric == "document_bytes":
        return f"{format_decimal(value / _GB, '#,##0.0', locale=language)} GB"
    return str(format_decimal(value, locale=language))
