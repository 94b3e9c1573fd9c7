"""docs/add-a-metric.md, followed to the letter in a copy of the package."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "add-a-metric.md"
NEW_FILE = re.compile(r"^`([\w/]+\.py)`[^\n]*\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEW_LINE = re.compile(r"^```diff\n {1}([^\n]*)\n\+([^\n]*)\n```$", re.MULTILINE)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources as they are, with what the page says to add."""
    place = tmp_path / "copy"
    skip = shutil.ignore_patterns("__pycache__")
    for package in ("metering", "provision"):
        shutil.copytree(ROOT / package, place / package, ignore=skip)
    (place / "tests" / "unit" / "metering").mkdir(parents=True)
    for file in ("tests/__init__.py", "tests/unit/metering/server_side.py", "pyproject.toml"):
        shutil.copy2(ROOT / file, place / file)
    page = PAGE.read_text(encoding="utf-8")
    ((before, line),) = NEW_LINE.findall(page)
    table = place / "metering" / "samples.py"
    text = table.read_text(encoding="utf-8")
    assert text.count(f"{before}\n") == 1, "the table does not look as the page says"
    table.write_text(text.replace(f"{before}\n", f"{before}\n{line}\n"), encoding="utf-8")
    files = NEW_FILE.findall(page)
    assert [path.rsplit("/", 1)[1] for path, _ in files] == ["document_count.py", "test_document_count.py"]
    for path, content in files:
        assert not (place / path).exists()
        (place / path).write_text(content, encoding="utf-8")
    return place


def test_the_page_adds_a_metric(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    for name in ("a", "b"):
        (tmp_path / "documents" / name).write_bytes(b"x" * 10)
    config = tmp_path / "meter.toml"
    config.write_text(
        'server = "srv1"\nspool = "spool"\nstate = "state"\n[instances.acme]\ndocuments = ["documents"]\n'
    )
    # As on a server: a zipapp, under Debian's Python.
    bundle = tmp_path / "chill-meter"
    build = [sys.executable, "-m", "provision.meter_bundle", "--out", str(bundle)]
    subprocess.run(build, cwd=copy, check=True)
    assert "metering/server/collectors/document_count.py" in zipfile.ZipFile(bundle).namelist()
    command = ["/usr/bin/python3", "-I", str(bundle), "collect", "--config", str(config), "--json"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["failed"] == []
    (samples,) = (tmp_path / "spool").glob("*.samples.csv")
    with samples.open(newline="") as stream:
        rows = {row["metric"]: row["value"] for row in csv.DictReader(stream)}
    assert rows == {"document_bytes": "20", "document_count": "2"}


def test_the_test_of_the_page_passes_and_its_code_keeps_the_rules(copy: Path) -> None:
    test = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/unit/metering/test_document_count.py",
    ]
    subprocess.run(test, cwd=copy, check=True, capture_output=True)
    new = ["metering/server/collectors/document_count.py", "tests/unit/metering/test_document_count.py"]
    for rule in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy", "--strict", "--follow-imports=silent"]):
        done = subprocess.run([sys.executable, "-m", *rule, *new], cwd=copy, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "metric, words",
    [
        ('"documents"', "METRIC: 'documents' is no metric of metering/samples.py"),
        ('"sms_sent"', "has another collector"),
    ],
)
def test_a_file_that_does_not_keep_to_the_page_is_named(copy: Path, metric: str, words: str) -> None:
    module = copy / "metering" / "server" / "collectors" / "document_count.py"
    module.write_text(module.read_text().replace('"document_count"', metric))
    done = subprocess.run(
        [sys.executable, "-c", "import metering.server.collectors"], cwd=copy, capture_output=True, text=True
    )
    assert words in done.stderr
