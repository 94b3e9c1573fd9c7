"""The papers of a year: chill-report beside Jinja2 and WeasyPrint, which print the same annexes, in one run.

    make bench        or: python benchmarks/bench_papers.py [INSTANCES]...

The whole command is a process of its own, from its start to the last file in its place, with the peak of memory of
that process and all it started: fleet and ledger are read, two years are billed, all CSV and PDF files are written,
the fleet's paper of hundreds of pages included. WeasyPrint prints a sample of the same pages (texts, lines, charts,
days; from the same values, with the same font, tagged), in as many processes as there are processors, warm already; so
does what chill-report prints with. Page for page they are compared, in turns; and the whole command, all told, beside
WeasyPrint's page alone, which is given neither the start, nor the billing, nor the files. By the time that passes and
by the time of all processors, which other work on the machine disturbs less. A fleet of one customer is timed from a
cold start.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from jinja2 import Environment, Template
from weasyprint import HTML
from weasyprint.text.fonts import FontConfiguration

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIZES = (100, 1_000, 10_000)
# For 10,000 instances, of whatever number are asked for.
TARGET_SECONDS, TARGET_MB, TARGET_RATIO, TARGET_ONE = 180.0, 1_000, 15.0, 2.0
LARGEST = 10_000
SAMPLE = 40
FIGURES = ("seconds", "cpu_seconds", "megabytes")

PAGE = """\
<html lang="{{ page.lang }}"><head><title>{{ page.title }}</title><style>
@font-face { font-family: "Source Sans 3"; src: url("{{ fonts }}/SourceSans3-Regular.ttf"); font-weight: 400 }
@font-face { font-family: "Source Sans 3"; src: url("{{ fonts }}/SourceSans3-SemiBold.ttf"); font-weight: 600 }
b, h1, h2, th { font-weight: 600 }
@page { size: A4; margin: 13mm 17mm 14mm; @bottom-left { content: "{{ page.foot[0] }}"; font-size: 7.5pt }
  @bottom-right { content: counter(page) " / " counter(pages); font-size: 7.5pt } }
header { display: flex; justify-content: space-between; border-bottom: 0.6pt solid #176; font-size: 7.5pt }
.meter { width: 30mm; height: 1.5mm; background: #bdd } .meter i { display: block; height: 1.5mm; background: #940 }
body { font: 9.5pt "Source Sans 3"; color: #1c2733 }
h1 { font-size: 19pt; color: #176 } h2 { font-size: 11pt; color: #176 }
table { width: 100%; border-collapse: collapse } td, th { text-align: right; padding: 1.3mm 1mm; vertical-align: top }
td:first-child, th:first-child { text-align: left } tr { border-bottom: 0.4pt solid #d3dbde }
small, th { font-size: 8pt; color: #586673; display: block } th { display: table-cell }
.due { float: right; width: 62mm; background: #e8f1f0; padding: 4mm; text-align: right } .due b { font-size: 23pt }
.charts { columns: 2 } figure { margin: 0; break-inside: avoid } svg text { font-size: 6pt; text-anchor: middle }
</style></head><body>
<header><b>Coopérative d’hébergement</b><span>Rue du Moulin 12 · 4000 Liège<br>bonjour@example.org</span></header>
<div class="due">{{ page.due.label }}<br><b>{{ page.due.amount }}</b><br>{{ page.due.before_vat }}</div>
<small>{{ page.subject }}</small><h1>{{ page.title }}</h1><p><b>{{ page.client.text }}</b></p>
{% for label, value in page.facts %}<div>{{ label }} {{ value }}</div>{% endfor %}
<table><thead><tr>{% for title in page.head %}<th>{{ title }}</th>{% endfor %}</tr></thead><tbody>
{% for group in page.groups %}{% for line in group.lines %}<tr>
<td><b>{{ line.label }}</b>{% for detail in line.details %}<small>{{ detail }}</small>{% endfor %}</td>
<td>{{ line.quantity }}</td><td>{{ line.included }}</td><td>{{ line.billable }}</td><td>{{ line.unit_price }}</td>
<td><b>{{ line.amount }}</b></td></tr>{% endfor %}{% endfor %}
{% for label, amount in page.totals %}<tr><td colspan="5">{{ label }}</td><td><b>{{ amount }}</b></td></tr>{% endfor %}
</tbody></table>
<h2>{{ page.charts.title }}</h2><div class="charts">
{% for chart in page.charts.charts %}<figure><b>{{ chart.title }}</b><br><small>{{ chart.unit }}</small>
{% if chart.left %}<small><b>{{ chart.left.text }}</b></small>
<div class="meter"><i style="width: {{ chart.left.share * 100 }}%"></i></div>{% endif %}
<svg width="300" height="78" viewBox="0 0 300 78" role="img" aria-label="{{ chart.alt }}">
{% for column in chart.columns %}{% set x = loop.index0 * 25 %}
{% set top = 66 - 53 * (column.base + column.height) %}
{% if column.base %}<rect x="{{ x + 4 }}" width="17" y="{{ top + 53 * column.height }}" height="{{ 53 * column.base }}"
fill="#bdd" />{% endif %}
<rect x="{{ x + 4 }}" width="17" y="{{ top }}" height="{{ 53 * column.height }}" fill="#6ba" />
{% set line = 66 - 53 * column.quota %}
{% if column.quota %}<line x1="{{ x }}" x2="{{ x + 25 }}" y1="{{ line }}" y2="{{ line }}" stroke="#940"
stroke-dasharray="1" />{% endif %}
<text x="{{ x + 12 }}" y="{{ top - 2 }}">{{ column.text }}</text>
<text x="{{ x + 12 }}" y="75">{{ page.charts.months[loop.index0] }}</text>{% endfor %}
<line x1="0" x2="300" y1="66" y2="66" stroke="#586673" /></svg></figure>{% endfor %}</div>
<small>{{ page.charts.legend | join(" ") }}</small>
<h2>{{ page.coverage.title }}</h2><table>
{% for row in page.coverage.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</table>
<small>{{ page.coverage.text }}</small></body></html>
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds that passed, seconds of all processors together, and the peak of memory in MB."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def write_fleet(directory: Path, instances: int) -> None:
    from benchmarks.ledger_data import INSTANCES_PER_SERVER, YEAR, Year, write_compacted
    from tests.generated import INSTANCE, SETTINGS, TARIFF

    year = Year(instances)
    (directory / "inventory" / "instances").mkdir(parents=True)
    (directory / "tariffs").mkdir()
    (directory / "chill.toml").write_text(SETTINGS, encoding="utf-8")
    (directory / "tariffs" / "standard.toml").write_text(TARIFF.format(year=YEAR), encoding="utf-8")
    hosts = "".join(f"    srv{number}.example.net: {{}}\n" for number in range(year.servers))
    (directory / "inventory" / "servers.yml").write_text(f"servers:\n  hosts:\n{hosts}", encoding="utf-8")
    for number, slug in enumerate(year.slugs):
        text = INSTANCE.format(
            group=f"chill_{slug.replace('-', '_')}",
            slug=slug,
            client=f'"Association n° {number} – Accueil & médiation"',
            fingerprint="0123456789ABCDEF" * 2 + "01234567",
            starts=f"{YEAR - 1}-02-01",
            ends="null",
            server=f"srv{number // INSTANCES_PER_SERVER}.example.net",
        )
        (directory / "inventory" / "instances" / f"{slug}.yml").write_text(text, encoding="utf-8")
    write_compacted(year, directory / "ledger")


def chill_report(fleet: Path, out: Path) -> Run:
    """The whole command, as a process of its own."""
    from benchmarks.ledger_data import YEAR

    code = "import sys; from reports.cli import main; sys.argv[0] = 'chill-report'; main()"
    command = [sys.executable, "-c", code, "annual", str(YEAR), "--fleet", str(fleet), "--out", str(out)]
    before = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        peak = Peak(process.pid)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        megabytes = max(peak.ended(), usage.ru_maxrss * 1024 / 10**6)
    # Collabora users are recorded by hand, and of these customers they were not: done in part.
    if process.returncode not in (0, 3):
        sys.exit(f"chill-report failed: {said}")
    # Of the processes that it started, too: it waited for them.
    return Run(time.perf_counter() - before, usage.ru_utime + usage.ru_stime, megabytes)


class Peak(threading.Thread):
    """The most memory that a process and all that it started had at a time.

    It is looked at twice a second, because looking holds the processes up. What several of them share (libraries) is
    divided among them: the proportional set size of proc(5).
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._kilobytes, self._over = pid, 0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.5):
            self._kilobytes = max(self._kilobytes, sum(map(proportional_set_size, tree(self._pid))))

    def ended(self) -> float:
        """Stop looking: the peak, in MB."""
        self._over.set()
        self.join()
        return self._kilobytes * 1024 / 10**6


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # Those that other threads started.
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in dict.fromkeys(children) for found in tree(int(child)))]


def proportional_set_size(pid: int) -> int:
    """Kilobytes of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def sample_pages(fleet: Path) -> list[dict[str, Any]]:
    """The pages of some customers, as chill-report prints them."""
    from benchmarks.ledger_data import YEAR
    from provision.fleet_reader import load_fleet
    from reports.annex import annex_page
    from reports.annual import annual_statements
    from reports.table import words

    statements = annual_statements(load_fleet(fleet), YEAR)
    return [annex_page(statement, words("fr")) for statement in statements[:SAMPLE]]


def each_page(print_page: Callable[[dict[str, Any]], float], pages: list[dict[str, Any]], times: int) -> Run:
    """All pages so many times, on all processors: seconds that passed, and of all processors, for each page."""
    processes = os.cpu_count() or 1
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        # Each process takes one; the first page of a process, with all that is loaded for it, is not counted.
        list(pool.map(print_page, [pages[0]] * 2 * processes))
        before = time.perf_counter()
        seconds = list(pool.map(print_page, pages * times))
        return Run((time.perf_counter() - before) / len(seconds), sum(seconds) / len(seconds), 0)


def typst(pages: list[dict[str, Any]]) -> Run:
    """The pages in processes like those of the print shop."""
    from reports.print_shop import own_environment

    with patch.dict(os.environ, own_environment()):
        return each_page(typst_page, pages, 5)


def typst_page(page: dict[str, Any]) -> float:
    """Seconds of the processor for one page, as chill-report prints it; in a process that prints several."""
    from reports.to_pdf import printed_content

    before = time.process_time()
    pdf = compositor().print("annex.typ", printed_content(page))
    assert pdf.startswith(b"%PDF")
    return time.process_time() - before


@cache
def compositor() -> Any:
    """What chill-report keeps from page to page."""
    from benchmarks.ledger_data import YEAR
    from provision.settings import Cooperative
    from reports.compositor import Compositor
    from reports.letterhead import letterhead
    from reports.table import words

    sender = Cooperative(
        name="Coopérative d’hébergement", address=("Rue du Moulin 12", "4000 Liège"), email="bonjour@example.org"
    )
    return Compositor(YEAR, json.dumps({**letterhead(sender, words("fr")), "logo": ""}))


def weasyprint_page(page: dict[str, Any]) -> float:
    """Seconds of the processor for one page; in a process that prints several."""
    before = time.process_time()
    template, fonts = weasyprint_tools()
    html = template.render(page=page, fonts=(ROOT / "reports" / "fonts").as_uri())
    pdf = HTML(string=html).write_pdf(font_config=fonts, pdf_variant="pdf/ua-1")
    assert pdf.startswith(b"%PDF")
    return time.process_time() - before


@cache
def weasyprint_tools() -> tuple[Template, FontConfiguration]:
    """What WeasyPrint keeps from page to page."""
    return Environment(autoescape=True).from_string(PAGE), FontConfiguration()


def compare(directory: Path, instances: int) -> bool:
    """Print one size; whether the targets are reached."""
    fleet, out = directory / f"fleet-{instances}", directory / f"papers-{instances}"
    # In a process of its own: what this one once held would count as the peak of those that it starts.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(write_fleet, fleet, instances).result()
    run = chill_report(fleet, out)
    made = len(list(out.glob("*")))
    assert made == instances + 3, f"{made} papers"
    size = sum(path.stat().st_size for path in out.glob("*")) / 10**6
    pages = sample_pages(fleet)
    rounds = [(typst(pages), each_page(weasyprint_page, pages, 1)) for _ in range(3)]
    own, peer = (Run(*(median(getattr(one[side], of) for one in rounds) for of in FIGURES)) for side in (0, 1))
    # Of fewer customers, the start is a part that counts.
    allowed = TARGET_SECONDS * instances / LARGEST + (TARGET_ONE if instances < LARGEST else 0)
    print(f"{instances} instances: {made} files, {size:.0f} MB; on {os.cpu_count()} processors:")
    print(f"  chill-report  {run.seconds:7.1f} s  {run.cpu_seconds:7.1f} s of processors  {run.megabytes:5.0f} MB")
    print(f"  {'for each customer':<28}{'passed':>9}{'of processors':>15}")
    told = Run(run.seconds / instances, run.cpu_seconds / instances, 0)
    for name, one in (("all told", told), ("its page alone", own), ("WeasyPrint, that page", peer)):
        print(f"  {name:<28}{one.seconds * 1000:6.1f} ms{one.cpu_seconds * 1000:12.1f} ms")
    for name, one in (("WeasyPrint / page alone", own), ("WeasyPrint / all told", told)):
        print(f"  {name:<28}{peer.seconds / one.seconds:6.1f} × {peer.cpu_seconds / one.cpu_seconds:12.1f} ×")
    print(f"  targets: {allowed:.0f} s, {TARGET_MB} MB, {TARGET_RATIO:.0f} × page for page", flush=True)
    enough = peer.seconds / own.seconds >= TARGET_RATIO or instances < LARGEST
    return run.seconds <= allowed and run.megabytes <= TARGET_MB and enough


def one_customer(directory: Path) -> bool:
    fleet = directory / "fleet-one"
    write_fleet(fleet, 1)
    seconds = median(chill_report(fleet, directory / f"papers-one-{number}").seconds for number in range(3))
    print(f"1 customer, from a cold start: {seconds:.2f} s; target: {TARGET_ONE:.0f} s")
    return seconds <= TARGET_ONE


def main(sizes: list[int]) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        reached = [one_customer(Path(scratch)), *(compare(Path(scratch), size) for size in sizes)]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main([int(size) for size in sys.argv[1:]] or list(SIZES)))
