"""Which of the ledger's rows count: its resolution rule as expressions over two tables, on any engine
Ibis knows.

Within (day, instance, metric, source) the `ok` row with the latest `collected_at` counts; over sources
values add up. Of the users, those count that stand in the users file of the run whose `active_users` row
counts; over sources they are united.
"""

from __future__ import annotations

import ibis
from ibis.expr import types as ir

# Wide enough for any sum of values of 18 digits over a fleet's years.
EXACT = "decimal(38, 0)"


def counting_rows(rows: ir.Table) -> ir.Table:
    """One row per day, instance, metric and source: the one that counts.

    `rows`: run, date, instance, metric, value (text), status, source, collected_at (text), note; one row
    per row of the samples files. The result has day, instance, metric, source, run, value (exact
    decimal).
    """
    ok = rows.filter(rows.status == "ok")
    # `collected_at` has one fixed width, so the order of its text is the order of time.
    latest = ibis.window(
        group_by=[ok.date, ok.instance, ok.metric, ok.source],
        order_by=[ok.collected_at.desc(), ok.run.desc()],
    )
    ranked = ok.mutate(rank=ibis.row_number().over(latest))
    counting = ranked.filter(ranked["rank"] == 0)
    return counting.select("instance", "metric", "source", "run", day=counting.date, value=counting.value.cast(EXACT))


def resolved_samples(rows: ir.Table) -> ir.Table:
    """One row per day, instance and metric: day, instance, metric, value (exact decimal, in the metric's
    unit).
    """
    counting = counting_rows(rows)
    added = counting.group_by(["day", "instance", "metric"]).agg(value=counting.value.sum())
    return added.mutate(value=added.value.cast(EXACT))


def counting_users(rows: ir.Table, users: ir.Table) -> ir.Table:
    """One row per day, instance, source and user who was active: day, instance, user (a pseudonym).

    Who counts people takes distinct ones, which is what uniting the sources means.

    `rows` as in `counting_rows`; `users`: run, date, instance, user, one row per row of the users files.
    """
    counting = counting_rows(rows.filter(rows.metric == "active_users")).select("run", "instance")
    kept = users.semi_join(counting, ["run", "instance"])
    return kept.select("instance", "user", day=kept.date)
