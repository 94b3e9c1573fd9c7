"""What is wrong in the rows of a ledger: questions to its tables, each answered for all files at once."""

from __future__ import annotations

from ibis.expr import types as ir

from metering.ledger.rows import PSEUDONYM
from metering.samples import METRICS

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
# "." and a compact time: what a run's name has after its day and server.
_AFTER_SERVER = len(".20261123T001500Z")


def wrong_sample_runs(rows: ir.Table) -> ir.Table:
    """The runs whose samples file has a row that breaks the format: column run. `rows` as in `resolution`."""
    named = rows.day.concat(".", rows.source) == rows.run.substr(0, rows.run.length() - _AFTER_SERVER)
    number = (rows.status == "ok") & rows.value.re_search(r"^[0-9]{1,18}$")
    nothing = (rows.status == "failed") & (rows.value == "")
    moment = rows.collected_at.re_search(_TIME) & rows.collected_at.try_cast("timestamp").notnull()
    sound = named & rows.metric.isin(list(METRICS)) & (number | nothing) & moment & (rows.instance != "")
    return rows.filter(~sound).select("run").distinct()


def wrong_user_runs(users: ir.Table) -> ir.Table:
    """The runs whose users file has a row that breaks the format: column run. `users` as in `resolution`."""
    sound = (users.day == users.run.substr(0, 10)) & (users.instance != "") & users.user.re_search(PSEUDONYM)
    return users.filter(~sound).select("run").distinct()


def repeated_samples(rows: ir.Table) -> ir.Table:
    """Rows that leave open which one counts: instance, metric, and the runs `one` and `other` (the same
    within one file).
    """
    keys = ["date", "instance", "metric", "source", "collected_at"]
    grouped = rows.group_by(keys).agg(times=rows.count(), one=rows.run.min(), other=rows.run.max())
    return grouped.filter(grouped.times > 1).select("instance", "metric", "collected_at", "one", "other")


def contradicted_counts(rows: ir.Table, users: ir.Table) -> ir.Table:
    """Where a users file does not hold what its samples file counts: run, instance, value (text or null),
    people (or null).
    """
    ok = rows.filter((rows.metric == "active_users") & (rows.status == "ok"))
    counted = ok.group_by(["run", "instance"]).agg(value=ok.value.argmax(ok.collected_at))
    listed = users.group_by(["run", "instance"]).agg(people=users.count())
    both = counted.outer_join(listed, ["run", "instance"])
    joined = both.select(
        run=both.run.coalesce(both.run_right),
        instance=both.instance.coalesce(both.instance_right),
        value=both.value,
        people=both.people,
    )
    agree = joined.value.try_cast("int64") == joined.people.coalesce(0)
    return joined.filter(~agree.coalesce(False))


def instances(table: ir.Table) -> ir.Table:
    """Every instance named, with its first run in name order and the number of its runs: instance, run,
    runs.
    """
    return table.group_by("instance").agg(run=table.run.min(), runs=table.run.nunique())
