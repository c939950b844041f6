"""`unweave request run --dry-run`."""

from unweave.jobs.planning import Plan
from unweave.ledger.config import RunConfig
from unweave.ledger.job import Job
from unweave.ledger.ledger import Ledger
from unweave.ledger.price import recorded_price, sharded_recipe
from unweave.train.shards import plan_stages, stages_again


def plan_request(config: RunConfig) -> Plan:
    """Carrying out a request: its price by the ledger's records.

    Args:
        config: The request.

    Returns:
        Its plan.
    """
    ledger = Ledger(config.ledger, key=config.key)
    asked = ledger.request(config.request)
    job = Job(ledger, asked, config, ledger.request_folder(asked.id), ledger.model())
    price = recorded_price(job)
    rows = {"to forget": len(asked.rows), "to keep": config.retain_rows, "to test on": config.test_rows}
    notes = [f"it is {asked.state}", f"method {config.method}"]
    if price is not None:
        notes.append(price.in_words(config.max_minutes))
    if (recipe := sharded_recipe(job)) is not None:
        ids = [ledger.own_id(row.id) for row in job.rows]
        again = stages_again(ids, map(ledger.own_id, asked.rows), recipe)
        notes.append(
            f"of {len(plan_stages(ids, recipe))} stages of the training {len(again)} saw the rows: `method` exact trains these again"
        )
    return Plan(rows, seconds=60 * price.attempt if price is not None else None, notes=tuple(notes))
