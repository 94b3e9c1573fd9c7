"""What the pages of a mailbox say, in the languages of fleets."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "title": "Courriels de {}",
        "explained": "Rien de ce que l’environnement de test envoie ne quitte le serveur : les courriels "
        "arrivent ici. "
        "Ils sont effacés après {days} jours, et au-delà de {messages} courriels les plus anciens le sont aussi. "
        "La page se recharge d’elle-même.",
        "none": "Aucun courriel pour l’instant.",
        "Received": "Reçu", "Recipients": "Destinataires", "Subject": "Objet", "From": "De", "To": "À",
        "Cc": "Copie à",
        "Reply-To": "Répondre à", "Date": "Date", "sender": "Expéditeur (enveloppe)",
        "no subject": "(sans objet)", "attachments": "Pièces jointes", "text": "Texte", "html": "Mise en page (HTML)",
        "headers": "Tous les en-têtes", "original": "Le courriel tel quel (.eml)", "back": "Tous les courriels",
        "date": "%d/%m/%Y %H:%M:%S",
    },
    "en": {
        "title": "E-mails of {}",
        "explained": "Nothing that the test environment sends leaves the server: e-mails arrive here. They "
        "are removed "
        "after {days} days, and beyond {messages} e-mails the oldest go, too. The page reloads by itself.",
        "none": "No e-mail yet.",
        "Received": "Received", "Recipients": "Recipients", "Subject": "Subject", "From": "From", "To": "To",
        "Cc": "Cc",
        "Reply-To": "Reply to", "Date": "Date", "sender": "Sender (envelope)",
        "no subject": "(no subject)", "attachments": "Attachments", "text": "Text", "html": "Layout (HTML)",
        "headers": "All headers", "original": "The e-mail as it is (.eml)", "back": "All e-mails",
        "date": "%Y-%m-%d %H:%M:%S",
    },
    "nl": {
        "title": "E-mails van {}",
        "explained": "Niets van wat de testomgeving verstuurt, verlaat de server: e-mails komen hier terecht. "
        "Ze worden na "
        "{days} dagen verwijderd, en boven {messages} e-mails verdwijnen ook de oudste. De pagina ververst zichzelf.",
        "none": "Nog geen e-mails.",
        "Received": "Ontvangen", "Recipients": "Ontvangers", "Subject": "Onderwerp", "From": "Van", "To": "Aan",
        "Cc": "Cc",
        "Reply-To": "Antwoorden aan", "Date": "Datum", "sender": "Afzender (envelop)",
        "no subject": "(geen onderwerp)", "attachments": "Bijlagen", "text": "Tekst", "html": "Opmaak (HTML)",
        "headers": "Alle headers", "original": "De e-mail zoals hij is (.eml)", "back": "Alle e-mails",
        "date": "%d/%m/%Y %H:%M:%S",
    },
}  # fmt: skip
