"""The command line as a whole: every command, in the order in which one meets them."""

from __future__ import annotations

from deedbook.cli.app import new_app
from deedbook.cli.commands import (
    copy,
    demo,
    deployments,
    judgement,
    log_training,
    metrics,
    project,
    serve,
    sql,
    timeline,
    token,
    training,
    trainings,
    upkeep,
    validate,
)

app = new_app()
app.command("init")(upkeep.init)
app.command("demo")(demo.demo)
app.command("log-training")(log_training.log_training)
app.command("trainings")(trainings.trainings)
app.command("training")(training.training)
app.command("metrics")(metrics.metrics)
app.command("compare")(training.compare)
app.command("failures")(judgement.failures)
app.add_typer(judgement.policy, name="policy")
app.command("serve")(serve.serve)
app.command("project")(project.project)
app.command("validate")(validate.validate)
app.command("revalidate")(judgement.revalidate)
app.command("override")(judgement.override)
app.command("deploy")(deployments.deploy)
app.command("rollback")(deployments.rollback)
app.command("deployments")(deployments.deployments)
app.command("live")(deployments.live)
app.command("explain")(timeline.explain)
app.command("events")(timeline.events)
app.add_typer(token.commands, name="token")
app.command("sql")(sql.sql)
app.command("snapshot")(upkeep.snapshot)
app.command("rebuild")(upkeep.rebuild)
app.command("state-hash")(upkeep.state_hash)
app.command("check")(upkeep.check)
app.command("copy")(copy.copy)
