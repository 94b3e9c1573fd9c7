"""Years that are closed for good: signed, proven, corrected later and never twice, whatever interrupts."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from metering.ledger.compact import compact
from reports import closing
from reports.manifest import sha256
from tests.integration.closable import YEARS, done, late_sms, make_fleet, moment, rows, run, tree
from tests.integration.keys import Home, home

ROOT = Path(__file__).parents[2]
FIRST, SECOND, THIRD = YEARS


@dataclass(frozen=True)
class Made:
    """A fleet of which the first year is closed, its keyring, and two keys in it: the one that signs, and another."""

    fleet: Path
    keyring: Home
    signer: str
    other: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with home() as keyring:
        signer, other = keyring.make("Cooperative <c@example.org>"), keyring.make("Somebody <s@example.org>")
        fleet = make_fleet(tmp_path_factory.mktemp("closable") / "fleet", keyring, signer)
        done("close", fleet, FIRST)
        yield Made(fleet, keyring, signer, other)


@pytest.fixture
def fleet(made: Made, tmp_path: Path) -> Path:
    """A copy of the fleet, to be changed."""
    return shutil.copytree(made.fleet, tmp_path / "fleet")


@pytest.fixture
def open_fleet(fleet: Path) -> Path:
    """The fleet before anything was closed."""
    shutil.rmtree(fleet / "closed")
    return fleet


def replace_in(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    path.chmod(0o644)
    path.write_text(text, encoding="utf-8")


def faults(fleet: Path, year: int = FIRST) -> list[str]:
    """The places an audit complains about, by which it must fail."""
    result = run("audit", fleet, year, "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == (1 if found["faults"] else 3 if found["late"] else 0), result.output
    assert found["proven"] == (not found["faults"])
    return [fault["place"] for fault in found["faults"]]


# Closing


def test_a_closed_year_holds_the_papers_of_that_day_and_cannot_be_written(open_fleet: Path, tmp_path: Path) -> None:
    done("annual", open_fleet, FIRST, "--out", tmp_path / "papers")
    result = done("close", open_fleet, FIRST)
    closed = open_fleet / "closed" / str(FIRST)
    papers = tree(tmp_path / "papers")
    assert papers == {name: digest for name, digest in tree(closed).items() if name in papers}
    assert {path.name for path in closed.iterdir()} - set(papers) == {
        *("manifest.json", "manifest.json.asc", "statements.json", "tariffs", "sources")
    }
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o222 == 0 for path in closed.rglob("*") if path.is_file())
    assert f"git add closed/{FIRST}" in result.stderr
    assert [path.name for path in (open_fleet / "closed").iterdir()] == [str(FIRST)]


def test_the_signature_is_one_that_gpg_itself_takes(made: Made) -> None:
    closed = made.fleet / "closed" / str(FIRST)
    arguments = ("--status-fd", "1", "--verify", str(closed / "manifest.json.asc"), str(closed / "manifest.json"))
    assert f"VALIDSIG {made.signer}" in made.keyring.gpg(*arguments).stdout.decode()


def test_the_papers_stay_the_same_whatever_changes_later(fleet: Path, tmp_path: Path) -> None:
    before = {name: digest for name, digest in tree(fleet / "closed" / str(FIRST)).items() if f"-{FIRST}." in name}
    late_sms(fleet, f"{FIRST}-03-05", 700, moment(1))
    replace_in(fleet / "tariffs" / "standard.toml", ('"600.00"', '"900.00"'), ('"21"', '"6"'))
    replace_in(fleet / "inventory" / "instances" / "acme.yml", ("ASBL Acme", "Fondation Acme"), ("null", "2023-06-30"))
    replace_in(fleet / "chill.toml", ('domain = "chill.pro"', 'domain = "chill.pro"\nlanguage = "nl"'))
    replace_in(fleet / "logo.svg", ("#176", "#a15"))
    (fleet / "inventory" / "instances" / "beta.yml").unlink()
    shutil.rmtree(fleet / "ledger" / str(SECOND))
    result = done("annual", fleet, FIRST, "--out", tmp_path / "papers", "--lang", "en")
    assert tree(tmp_path / "papers") == before
    assert "--lang en has no effect: the papers were closed in fr" in result.stderr


def test_the_papers_can_be_printed_again_from_the_closed_year_alone(fleet: Path) -> None:
    """Letterhead, logo, and the year before, with which the fleet's paper compares, are those of then."""
    done("close", fleet, SECOND)
    closed = fleet / "closed" / str(SECOND)
    assert (closed / "sources" / "logo.svg").read_bytes() == (fleet / "logo.svg").read_bytes()
    assert "logo.svg" in json.loads((closed / "manifest.json").read_bytes())["inputs"]
    replace_in(fleet / "chill.toml", ("Les Petits Chênes", "Les Grands Chênes"), ("logo.svg", "gone.svg"))
    (fleet / "logo.svg").unlink()
    replace_in(fleet / "tariffs" / "standard.toml", ('"600.00"', '"900.00"'))
    replace_in(fleet / "inventory" / "instances" / "beta.yml", ("Beta", "Gamma"))
    result = done("audit", fleet, SECOND, "--reprint")
    assert "logo.svg: is no longer there; the closed year has its own copy" in result.stdout


def test_a_paper_that_its_statements_do_not_give_is_named(open_fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A year closed with papers that say something else than its statements, under a signature that holds."""
    whole = closing.papers

    def forged(*arguments: object) -> Iterator[tuple[str, str | bytes]]:
        for name, content in whole(*arguments):
            yield name, content.replace("600.00", "500.00") if name == f"usage-{FIRST}.csv" else content

    with monkeypatch.context() as patched:
        patched.setattr(closing, "papers", forged)
        done("close", open_fleet, FIRST)
    assert run("audit", open_fleet, FIRST).exit_code == 0
    result = run("audit", open_fleet, FIRST, "--reprint")
    assert result.exit_code == 1
    assert f"closed/{FIRST}/usage-{FIRST}.csv: is printed otherwise from the closed statements\n" in result.stdout


def test_closing_again_verifies_and_changes_nothing(fleet: Path) -> None:
    before = tree(fleet)
    result = done("close", fleet, FIRST)
    assert "was closed already; nothing was changed" in result.stderr
    assert f"{FIRST} is what was closed" in result.stdout
    assert tree(fleet) == before
    replace_in(fleet / "closed" / str(FIRST) / f"usage-{FIRST}.csv", ("600.00", "600.01"))
    result = run("close", fleet, FIRST)
    assert result.exit_code == 1
    assert f"wrong: closed/{FIRST}/usage-{FIRST}.csv: has changed" in result.stdout


def assert_refused(fleet: Path, *expected: str, year: int = FIRST, options: tuple[str, ...] = ()) -> None:
    before = tree(fleet)
    result = run("close", fleet, year, *options)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    for text in expected:
        assert text in result.stderr
    after = tree(fleet)
    after.pop("ledger/.lock", None)
    before.pop("ledger/.lock", None)
    assert after == before


def test_a_year_without_a_key_to_sign_it(open_fleet: Path, made: Made) -> None:
    replace_in(open_fleet / "chill.toml", (f'signing_key = "{made.signer}"', ""))
    assert_refused(open_fleet, "chill.toml: openpgp.signing_key: is missing", "gpg --list-secret-keys")


def test_a_key_that_cannot_sign(open_fleet: Path, made: Made) -> None:
    replace_in(open_fleet / "chill.toml", (made.signer, "0" * 40))
    assert_refused(open_fleet, "chill.toml: openpgp.signing_key: no key 0000")


def test_a_year_that_is_not_over(open_fleet: Path) -> None:
    assert_refused(open_fleet, "YEAR: 2999 is not over", year=2999)


def test_what_is_missing_is_named_and_can_be_accepted_with_a_reason(open_fleet: Path) -> None:
    for day in ("2023-05-03", "2023-05-04"):
        for path in (open_fleet / "ledger" / "2023").glob(f"{day}.*"):
            path.unlink()
    assert_refused(open_fleet, "acme: active_users: 2 days without a sample", "beta: ", '--accept-gaps acme="')
    acme, beta = "--accept-gaps=acme=srv1  was down", "--accept-gaps=beta=the same"
    assert_refused(open_fleet, "beta: active_users: 2 days without a sample", options=(acme,))
    assert_refused(open_fleet, "--accept-gaps other: has no statement", options=(acme, beta, "--accept-gaps=other=no"))
    assert_refused(open_fleet, "is not SLUG=", options=("--accept-gaps", "acme"))
    result = done("close", open_fleet, FIRST, acme, beta)
    assert "gaps accepted: acme: srv1 was down" in result.stdout
    manifest = json.loads((open_fleet / "closed" / "2023" / "manifest.json").read_text())
    assert manifest["accepted_gaps"] == {"acme": "srv1 was down", "beta": "the same"}
    assert faults(open_fleet) == []
    assert_refused(open_fleet, "--accept-gaps acme: nothing is missing of it", year=SECOND, options=(acme,))


def test_a_ledger_with_a_fault_is_not_closed(open_fleet: Path) -> None:
    sample = next((open_fleet / "ledger" / "2023").glob("2023-02-03.*.samples.csv"))
    replace_in(sample, ("acme,sms_sent,", "acme,sms_sent,-"))
    assert_refused(open_fleet, sample.name)


def test_nothing_is_closed_on_top_of_a_year_that_was_changed(fleet: Path) -> None:
    replace_in(fleet / "closed" / str(FIRST) / "statements.json", ("ASBL Acme", "ASBL Ecma"))
    result = run("close", fleet, SECOND)
    assert result.exit_code == 2
    assert f"closed/{FIRST}/statements.json: has changed" in result.stderr
    assert not (fleet / "closed" / str(SECOND)).exists()


def test_closing_may_be_killed_at_every_step(open_fleet: Path, tmp_path: Path) -> None:
    """The year is closed or it is not, and the next run closes it."""
    for path in (open_fleet / "ledger" / "2023").glob("*.csv"):
        if not path.name.startswith("2023-03-0"):
            path.unlink()
    for year in (SECOND, THIRD):
        shutil.rmtree(open_fleet / "ledger" / str(year))
    (open_fleet / "inventory" / "instances" / "beta.yml").unlink()
    for path in (open_fleet / "ledger" / "2023").glob("*.csv"):
        kept = [line for line in path.read_text().splitlines(keepends=True) if "beta" not in line]
        path.write_text("".join(kept))
    command = [sys.executable, "-m", "tests.integration.killed_closing", open_fleet, tmp_path / "copies", FIRST]
    subprocess.run([str(word) for word in command], cwd=ROOT, check=True)
    steps = sorted((tmp_path / "copies").iterdir(), key=lambda path: int(path.name))
    assert len(steps) > 15
    closed = [step for step in steps if (step / "fleet" / "closed" / "2023").exists()]
    assert closed == steps[-len(closed) :]
    assert 1 < len(closed) < 10
    for step in closed:
        assert faults(step / "fleet") == []
    for step in steps[:: len(steps) // 6]:
        fleet = step / "fleet"
        done("close", fleet, FIRST, *([] if step in closed else ["--accept-gaps=acme=few days"]))
        assert [path.name for path in (fleet / "closed").iterdir()] == ["2023"]
        assert faults(fleet) == []


# Audit


def test_an_audit_proves_a_closed_year(fleet: Path, made: Made) -> None:
    found = json.loads(done("audit", fleet, FIRST, "--json").stdout)
    assert found["proven"]
    assert found["signature"]["fingerprint"] == made.signer
    assert found["statements"] == 2
    assert found["ledger_files"] == len(list((fleet / "ledger" / str(FIRST)).iterdir()))


def test_a_change_in_any_file_of_a_closed_year_is_named(fleet: Path) -> None:
    closed = fleet / "closed" / str(FIRST)
    for name in tree(closed):
        path, place = closed / name, f"closed/{FIRST}/{name}"
        content = path.read_bytes()
        path.chmod(0o644)
        # The first byte of text that is neither markup nor part of a number; of an empty list, a space behind it.
        path.write_bytes(content.replace(b"a", b"b", 1) if b"a" in content else content + b" ")
        if name == "manifest.json":
            assert run("audit", fleet, FIRST).exit_code == 1
        else:
            assert place in faults(fleet), place
        path.unlink()
        result = run("audit", fleet, FIRST)
        assert result.exit_code == 1
        assert place in result.output, place
        path.write_bytes(content)
    (closed / "more.pdf").write_bytes(b"%PDF")
    assert faults(fleet) == [f"closed/{FIRST}/more.pdf"]


def test_a_changed_manifest_is_not_what_was_signed(fleet: Path) -> None:
    replace_in(fleet / "closed" / str(FIRST) / "manifest.json", ('"language": "fr"', '"language": "nl"'))
    result = run("audit", fleet, FIRST)
    assert result.exit_code == 1
    assert f"wrong: closed/{FIRST}/manifest.json.asc: does not belong to what is there" in result.stdout


def sign_anew(fleet: Path, keyring: Home, by: str) -> None:
    """What a forger does: another amount, a manifest that fits it, a signature of their own."""
    closed = fleet / "closed" / str(FIRST)
    replace_in(closed / f"usage-{FIRST}.csv", ("600.00", "500.00"))
    manifest = json.loads((closed / "manifest.json").read_text())
    manifest["files"][f"usage-{FIRST}.csv"] = tree(closed)[f"usage-{FIRST}.csv"]
    manifest["signer"] = by
    (closed / "manifest.json").chmod(0o644)
    (closed / "manifest.json").write_text(json.dumps(manifest))
    (closed / "manifest.json.asc").unlink()
    output = ("--output", str(closed / "manifest.json.asc"))
    keyring.gpg("--armor", "--local-user", by, *output, "--detach-sign", str(closed / "manifest.json"))


def test_a_signature_by_another_key_is_named_with_that_key(fleet: Path, made: Made) -> None:
    sign_anew(fleet, made.keyring, made.other)
    result = run("audit", fleet, FIRST)
    assert result.exit_code == 1
    assert f"manifest.json.asc: was signed by {made.other}, which chill.toml names neither" in result.stdout


def test_a_signature_by_a_key_that_is_not_known_here(fleet: Path) -> None:
    with home() as stranger:
        sign_anew(fleet, stranger, stranger.make("Stranger <x@example.org>"))
    result = run("audit", fleet, FIRST)
    assert result.exit_code == 1
    assert "manifest.json.asc: the public key" in result.stdout


def test_a_key_that_signed_before_is_still_taken_when_it_is_named(fleet: Path, made: Made) -> None:
    replace_in(fleet / "chill.toml", (f'signing_key = "{made.signer}"', f'signing_key = "{made.other}"'))
    assert faults(fleet) == [f"closed/{FIRST}/manifest.json.asc"]
    replace_in(fleet / "chill.toml", (made.other, f'{made.other}"\nformer_signing_keys = ["{made.signer}"]\n#"'))
    assert faults(fleet) == []


def test_files_of_the_ledger_that_changed_or_went_are_named(fleet: Path) -> None:
    ledger = fleet / "ledger" / str(FIRST)
    changed, gone = sorted(ledger.glob("*.samples.csv"))[7:9]
    replace_in(changed, (",ok,srv1.example.net,", ",ok,srv1.example.net,"), ("acme,emails_sent,", "acme,emails_sent,1"))
    gone.unlink()
    assert faults(fleet) == [f"ledger/{FIRST}/{changed.name}", f"ledger/{FIRST}/{gone.name}"]


def test_files_that_live_on_are_only_noted(fleet: Path) -> None:
    replace_in(fleet / "tariffs" / "standard.toml", ('"600.00"', '"900.00"'))
    found = json.loads(done("audit", fleet, FIRST, "--json").stdout)
    assert [note["place"] for note in found["notes"]] == ["tariffs/standard.toml"]


def test_compaction_changes_no_proof_but_a_change_in_it_does(fleet: Path) -> None:
    compact(fleet / "ledger", f"{FIRST}-12", False, lambda line: None)
    assert list((fleet / "ledger" / str(FIRST)).glob("*.csv")) == []
    result = done("audit", fleet, FIRST)
    assert "of the ledger compacted since, same rows" in result.stdout
    parquet = fleet / "ledger" / str(FIRST) / f"{FIRST}-03.1" / "samples.parquet"
    parquet.write_bytes(parquet.read_bytes().replace(b"acme", b"emca"))
    assert faults(fleet) == [f"ledger/{FIRST}/{FIRST}-03.1/samples.parquet"]


def test_rows_of_a_compacted_month_are_proven_by_what_was_closed(fleet: Path) -> None:
    """Whoever writes other rows and makes their own lists fit is found by the digest of the rows."""
    sample = next((fleet / "ledger" / str(FIRST)).glob(f"{FIRST}-03-05.*.samples.csv"))
    original = sample.read_bytes()
    replace_in(sample, ("acme,emails_sent,", "acme,emails_sent,9"))
    changed = sample.read_bytes()
    compact(fleet / "ledger", f"{FIRST}-12", False, lambda line: None)
    month = fleet / "ledger" / str(FIRST) / f"{FIRST}-03.1"
    replace_in(month / "folded.sha256", (sha256(changed), sha256(original)))
    lists = (month / "folded.sha256", month / "SHA256SUMS")
    sums = [line.split("  ") for line in lists[1].read_text().splitlines()]
    fitting = {name: sha256(lists[0].read_bytes()) if name == lists[0].name else digest for digest, name in sums}
    lists[1].write_text("".join(f"{digest}  {name}\n" for name, digest in fitting.items()))
    assert faults(fleet) == [f"ledger/{FIRST}: {FIRST}-03"]


def test_an_audit_of_a_year_that_is_not_closed(fleet: Path) -> None:
    result = run("audit", fleet, SECOND)
    assert result.exit_code == 2
    assert f"chill-report close {SECOND}" in result.stderr


# Corrections


def corrections(fleet: Path, year: int, papers: Path, slug: str = "acme") -> list[Decimal]:
    done("annual", fleet, year, "--out", papers)
    return [Decimal(row["amount"]) for row in rows(papers, year, slug) if row["line"] == "correction"]


def test_late_samples_are_corrected_in_the_next_statement_and_never_again(fleet: Path, tmp_path: Path) -> None:
    assert corrections(fleet, SECOND, tmp_path / "before") == []
    late = late_sms(fleet, f"{FIRST}-03-05", 200, moment(1))
    result = run("audit", fleet, FIRST)
    assert result.exit_code == 3
    assert f"late: ledger/{FIRST}/{late.name}" in result.stdout
    assert f"acme {FIRST} sms: " in done("corrections", fleet).stdout
    # 200 messages at 0.075
    assert corrections(fleet, SECOND, tmp_path / "second") == [Decimal("15.00")]
    assert corrections(fleet, THIRD, tmp_path / "third") == []
    done("close", fleet, SECOND)
    assert faults(fleet) == faults(fleet, SECOND) == []
    assert corrections(fleet, THIRD, tmp_path / "after") == []
    assert done("corrections", fleet).stdout == ""
    # What comes later still is corrected by itself alone: here the sample is taken back.
    late_sms(fleet, f"{FIRST}-03-05", 0, moment(2))
    assert corrections(fleet, THIRD, tmp_path / "back") == [Decimal("-15.00")]
    done("close", fleet, THIRD)
    assert json.loads(done("corrections", fleet, "--json").stdout) == []
    assert faults(fleet) == []


def test_a_correction_is_in_the_total_and_on_the_paper(fleet: Path, tmp_path: Path) -> None:
    late_sms(fleet, f"{FIRST}-03-05", 200, moment(1))
    papers = tmp_path / "papers"
    done("annual", fleet, SECOND, "--out", papers)
    mine = rows(papers, SECOND, "acme")
    amounts = {row["line"]: Decimal(row["amount"]) for row in mine}
    lines = [name for name in amounts if name not in ("total", "vat", "total_with_vat")]
    assert amounts["total"] == sum(amounts[name] for name in lines)
    (row,) = (row for row in mine if row["line"] == "correction")
    assert str(FIRST) in row["note"]
    text = subprocess.run(["pdftotext", str(papers / f"acme-{SECOND}.pdf"), "-"], capture_output=True, text=True).stdout
    assert f"Correction {FIRST}" in " ".join(text.split())
    assert "15,00" in text


def test_prices_that_changed_since_correct_nothing(fleet: Path, tmp_path: Path) -> None:
    late_sms(fleet, f"{FIRST}-03-05", 200, moment(1))
    replace_in(fleet / "tariffs" / "standard.toml", ('"0.075"', '"7.5"'), ('"600.00"', '"900.00"'))
    assert corrections(fleet, SECOND, tmp_path / "papers") == [Decimal("15.00")]


def test_a_contract_that_ended_earlier_than_was_closed_is_credited(fleet: Path, tmp_path: Path) -> None:
    """Half a year of 600.00; there is no statement of the next year but for this."""
    replace_in(fleet / "inventory" / "instances" / "acme.yml", ("ends: null", f"ends: {FIRST}-06-30"))
    found = corrections(fleet, SECOND, tmp_path / "papers")
    assert Decimal("-300.00") in found
    mine = {row["line"]: row for row in rows(tmp_path / "papers", SECOND, "acme")}
    assert set(mine) == {"correction", "total", "vat", "total_with_vat"}
    assert Decimal(mine["total"]["amount"]) == sum(found)
    assert (tmp_path / "papers" / f"acme-{SECOND}.pdf").stat().st_size > 10_000
    assert corrections(fleet, SECOND, tmp_path / "beta", "beta") == []
    done("close", fleet, SECOND)
    assert corrections(fleet, THIRD, tmp_path / "third") == []


def test_an_input_that_is_gone_is_no_late_fact(fleet: Path, tmp_path: Path) -> None:
    next((fleet / "ledger" / str(FIRST)).glob("*.samples.csv")).unlink()
    result = run("annual", fleet, SECOND, "--out", tmp_path / "papers")
    assert result.exit_code == 2
    assert "is missing" in result.stderr
    assert f"chill-report audit {FIRST}" in result.stderr


def test_a_year_that_was_forgotten_is_final(fleet: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "metering.cli", "forget", str(FIRST), "--fleet", str(fleet)], cwd=ROOT, check=True
    )
    assert not (fleet / "ledger" / str(FIRST)).exists()
    assert "left the ledger on purpose" in done("audit", fleet, FIRST).stdout
    replace_in(fleet / "inventory" / "instances" / "acme.yml", ("ends: null", f"ends: {SECOND}-06-30"))
    assert corrections(fleet, SECOND, tmp_path / "papers") == []
    done("annual", fleet, FIRST, "--out", tmp_path / "first")
    assert "removed on purpose" in done("trace", fleet, "acme", FIRST, "sms").stdout


# Trace


def test_the_samples_behind_an_amount_add_up_to_it(fleet: Path) -> None:
    late_sms(fleet, f"{FIRST}-03-05", 200, moment(1))
    found = json.loads(done("trace", fleet, "acme", FIRST, "sms", "--json").stdout)
    (line,) = found["lines"]
    samples = [sample for month in line["months"] for sample in month["samples"]]
    assert len(samples) == 365
    assert sum(sample["value"] for sample in samples) == int(line["quantity"])
    # Of a closed year, what was closed: not what came later.
    assert {sample["source"] for sample in samples} == {"srv1.example.net"}
    for sample in samples[:3]:
        assert f"{sample['day']},acme,sms_sent,{sample['value']}," in (fleet / sample["file"]).read_text()
    assert f"price: {line['quantity']} × 0.075" in line["steps"]


def test_a_draft_is_traced_as_the_ledger_is_now(fleet: Path) -> None:
    late_sms(fleet, f"{SECOND}-03-05", 200, moment(1))
    found = json.loads(done("trace", fleet, "acme", SECOND, "sms", "--json").stdout)
    samples = [sample for month in found["lines"][0]["months"] for sample in month["samples"]]
    assert {sample["source"] for sample in samples} == {"srv1.example.net", "manual"}
    assert sum(sample["value"] for sample in samples) == int(found["lines"][0]["quantity"])


def test_people_are_counted_and_never_listed(fleet: Path) -> None:
    users = next((fleet / "ledger" / str(FIRST)).glob(f"{FIRST}-03-15.*.users.csv")).read_text().splitlines()[1:]
    for options in ((), ("--json",)):
        shown = done("trace", fleet, "acme", FIRST, "active_users", *options).stdout
        assert users
        assert not any(line.split(",")[2] in shown for line in users)
    months = json.loads(shown)["lines"][0]["months"]
    assert all(int(month["figure"]) <= 6 for month in months)


def test_a_correction_leads_to_what_came_late(fleet: Path) -> None:
    late = late_sms(fleet, f"{FIRST}-03-05", 200, moment(1))
    (line,) = json.loads(done("trace", fleet, "acme", SECOND, "correction", "--json").stdout)["lines"]
    assert line["corrects"] == {"year": FIRST, "line": "sms"}
    assert line["late_files"] == [f"ledger/{FIRST}/{late.name}"]


def test_compacted_samples_are_traced_to_their_month(fleet: Path) -> None:
    compact(fleet / "ledger", f"{FIRST}-12", False, lambda line: None)
    shown = done("trace", fleet, "acme", FIRST, "sms").stdout
    assert f"ledger/{FIRST}/{FIRST}-03.1/samples.parquet ({FIRST}-03-05.srv1.example.net." in shown


@pytest.mark.parametrize(
    "slug, year, line, expected",
    [
        ("nobody", FIRST, "sms", "there is no statement of nobody"),
        ("nobody", SECOND, "sms", "there is no instance 'nobody'"),
        ("acme", FIRST, "credit", "has no line credit"),
    ],
)
def test_what_cannot_be_traced(fleet: Path, slug: str, year: int, line: str, expected: str) -> None:
    result = run("trace", fleet, slug, year, line)
    assert result.exit_code == 2
    assert expected in result.stderr
