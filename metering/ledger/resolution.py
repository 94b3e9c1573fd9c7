"""What counts, as expressions over a ledger's two tables, on any engine Ibis knows.

Which rows count was decided month by month (`settle.py`); here they become one value a day, and people.
"""

from __future__ import annotations

from ibis.expr import types as ir

# Wide enough for any sum of values of 18 digits over a fleet's years.
EXACT = "decimal(38, 0)"


def resolved_samples(rows: ir.Table) -> ir.Table:
    """One row per day, instance and metric: day, instance, metric, value (exact decimal, in the metric's
    unit).

    `rows`: SAMPLES of `settle.py` with `addends`.
    """
    columns = ["day", "instance", "metric", "value"]
    exact = rows.mutate(value=rows.value.cast(EXACT))
    # Nearly every value comes from one source: only the others need to be brought together.
    alone = exact.filter(exact.addends == 1).select(columns)
    several = exact.filter(exact.addends > 1)
    added = several.group_by(["day", "instance", "metric"]).agg(value=several.value.sum())
    return alone.union(added.mutate(value=added.value.cast(EXACT)).select(columns))


def counting_users(users: ir.Table) -> ir.Table:
    """One row per day, instance, source and user who was active: day, instance, user (a pseudonym).

    Who counts people takes distinct ones, which is what uniting the sources means. `users`: USERS of `settle.py` with
    `counts`.
    """
    return users.filter(users.counts).select("instance", "user", "day")
