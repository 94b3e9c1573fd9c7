"""LibreOffice without a screen, with the settings of a user in France."""

from __future__ import annotations

import subprocess
from pathlib import Path

from openpyxl import load_workbook

# French for numbers and dates; formulas are computed when a workbook is opened, whatever values stand beside them.
PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Setup/L10N">
<prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>fr-FR</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item>
</oor:items>
"""
Table = list[tuple[object, ...]]


class Office:
    """LibreOffice with a profile of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        user = directory / "profile" / "user"
        user.mkdir(parents=True)
        (user / "registrymodifications.xcu").write_text(PROFILE, encoding="utf-8")

    def opened(self, path: Path, import_options: str = "") -> dict[str, Table]:
        """What LibreOffice has in its cells when it opens a file: rows of values, by sheet.

        `import_options` are what is chosen in the dialogue of a CSV file, as LibreOffice's documentation of its CSV
        filter numbers them: separator, quotes, character set, first row, columns, language.
        """
        out = self._directory / f"out-{len(list(self._directory.iterdir()))}"
        profile = f"-env:UserInstallation={(self._directory / 'profile').as_uri()}"
        options = [f"--infilter=CSV:{import_options}"] if import_options else []
        command = ["soffice", profile, "--headless", *options, "--convert-to", "xlsx", "--outdir", str(out), str(path)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        book = load_workbook(out / f"{path.stem}.xlsx", data_only=True)
        return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book}
