"""The work of `unweave audit influence`."""

from typing import Any

from unweave.attribution.config import RetrievalConfig
from unweave.attribution.model import store_model
from unweave.data.case import open_case
from unweave.data.remembered import read_remembering, remembered_columns
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.evidence import Clock
from unweave.experiments.influence.agreement import curvature_agreement, sketch_agreement
from unweave.experiments.influence.config import InfluenceAuditConfig
from unweave.experiments.influence.controls import unlearning_config, weight_controls
from unweave.experiments.influence.retraining import retraining_agreement
from unweave.files import write_json
from unweave.jobs.forget import forget_inputs
from unweave.models.loading import load
from unweave.run.folder import RunFolder
from unweave.run.inputs import Input, of_case, of_config, of_rows, of_store, of_value, together
from unweave.run.model_inputs import of_model
from unweave.store.store import GradientStore
from unweave.train.config import DataConfig
from unweave.train.recipe import read_recipe
from unweave.train.sft import train_inputs


def audit_influence(config: InfluenceAuditConfig) -> dict[str, Any]:
    """Check influence scores in as many ways as are asked for.

    Args:
        config: Store, queries, parts.

    Returns:
        One entry a part, with intervals; also in `influence.json`.

    Raises:
        ConfigError: When there are no queries, or `controls` lack a case.
    """
    run = RunFolder(config.output_dir, "audit influence", config, key="influence", inputs=influence_inputs(config))
    with run.held():
        run.start()
        return _audit(config)


def influence_inputs(config: InfluenceAuditConfig) -> dict[str, Input]:
    """What an audit of influence reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    spec = GradientStore.open(config.store).spec
    recipe, unlearning = of_value(None), of_value(None)
    if "retraining" in config.parts:
        found = read_recipe(config.recipe or spec.adapter)
        recipe = of_config(found, train_inputs(found))
    if "controls" in config.parts:
        other = unlearning_config(config)
        unlearning = of_config(other, forget_inputs(other))
    return {
        "store": of_store(config.store),
        "model": together(of_model(store_model(spec, config))),
        "queries": of_rows(config.queries, DataConfig()),
        "case": of_case(config.case),
        "recipe": recipe,
        "forget_config": unlearning,
    }


def _audit(config: InfluenceAuditConfig) -> dict[str, Any]:
    store = GradientStore.open(config.store)
    clock, result = Clock(), dict[str, Any]()
    if set(config.parts) - {"controls"}:
        queries = _queries(config)
        loaded = load(store_model(store.spec, config))
        clock.lap("load")
        if "sketch" in config.parts:
            result["sketch"] = sketch_agreement(store, loaded, queries, max_rows=config.max_rows, seed=config.seed)
            clock.lap("sketch")
        if "gauss-newton" in config.parts:
            fitted: Any = {"preconditioner": config.curvature, "fit_rows": config.fit_rows, "damping": config.damping}
            options = RetrievalConfig(**fitted, seed=config.seed)
            result["gauss_newton"] = curvature_agreement(store, loaded, queries, options, max_rows=config.max_rows)
            clock.lap("gauss_newton")
        if "retraining" in config.parts:
            result["retraining"] = retraining_agreement(store, loaded, queries, config)
            clock.lap("retraining")
    if "controls" in config.parts:
        if config.case is None:
            raise ConfigError("Controls need a case.", where="`case`", remedy="give a case folder")
        result["controls"] = weight_controls(open_case(config.case), config)
        clock.lap("controls")
    result["seconds"] = clock.seconds
    write_json(config.output_dir / "influence.json", result)
    return result


def _queries(config: InfluenceAuditConfig) -> list[Row]:
    if config.queries is not None:
        return read_remembering(config.queries, config, remembered_columns(config.store)).rows[: config.max_queries]
    if config.case is None:
        raise ConfigError(
            "Influence is asked for on queries.", where="`queries`", remedy="give a file of rows, or `case`"
        )
    return open_case(config.case).rows("unwanted")[: config.max_queries]
