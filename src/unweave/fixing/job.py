"""`unweave fix`: answer, trace, find the rest, ask, predict the collateral, choose, forget, audit, and one page; each step kept in the run folder.

A step is kept with the identity of what it is of: the model and the data by content, the options that it depends on, and the steps before it. So a rerun
goes on after the last step that is done, and what has changed is done anew.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from unweave import progress, terminal
from unweave.attribution.collateral import predict_collateral
from unweave.attribution.index import GradientIndex
from unweave.attribution.overlap import has_both
from unweave.attribution.queries import query_row
from unweave.attribution.scale import said
from unweave.config import part_of, to_plain
from unweave.data.dates import dated, recorded
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.data.training_rows import read_training_rows
from unweave.errors import ConfigError, DataError
from unweave.evaluation.figures import gives_away
from unweave.files import read_json, remembered, write_json
from unweave.finding.rest import find_rest
from unweave.fixing import decisions
from unweave.fixing.carrying_out import audit, forget, model_of
from unweave.fixing.choosing import choose, rows_to_keep
from unweave.fixing.config import FixConfig
from unweave.fixing.index import of_store_made, open_index, tracing_model
from unweave.models.generation import greedy_answers
from unweave.models.loading import Loaded, ModelConfig, load, tokenizer_of
from unweave.run.folder import RunFolder, result_on_this_machine
from unweave.run.identity import identity_digest, versions
from unweave.run.inputs import Input, of_path, of_rows, of_value
from unweave.run.model_inputs import of_named_model
from unweave.train.recipe import read_recipe

NOTHING, WAITING, DONE = "nothing stands out", "decisions are to be made", "carried out"
FEW_SHOWN = 20


def fix(config: FixConfig) -> dict[str, Any]:
    """Go from a bad answer to an unlearned model.

    Args:
        config: Model, data, prompt, and what may be done without asking.

    Returns:
        What each step found, as `fix.json` has it; `state` says how it ended.

    Raises:
        ConfigError: When options do not go together, or more rows are proposed than may be forgotten.
        DataError: When the model answers nothing, or the decisions can't be used.
    """
    decisions.require_few(0, yes=config.yes, max_rows=config.max_rows)
    if config.yes and config.decisions is not None:
        raise ConfigError("Rows are decided on twice.", where="`yes`, `decisions`", remedy="leave one of them out")
    config = recorded(config, config.output_dir)
    config = dated(config, tokenizer_of(ModelConfig(model=config.model)), config.model)
    run = RunFolder(config.output_dir, "fix", config, inputs=fix_inputs(config))
    with run.held():
        found = _Fix(config, run)
        done = run.finished(files=("fix.html",))
        if done is not None and done["decided"] == found.given():
            return read_json(config.output_dir / "fix.json", what="The result")
        run.start()
        return found.go()


def fix_inputs(config: FixConfig) -> dict[str, Input]:
    """What the command reads. Decisions and how they are made are apart: they make no other run, and are kept with the steps that follow them.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    return {
        "data": of_rows(config.data, config),
        "retain": of_rows(config.retain, config),
        **{name: of_named_model(getattr(config, name)) for name in ("model", "trace_model", "retrained")},
        "store": of_store_made(config.store),
        **{name: of_value(None) for name in ("decisions", "yes", "max_rows")},
    }


class _Fix:
    """One run."""

    def __init__(self, config: FixConfig, run: RunFolder):
        self.config, self.run, self.folder = config, run, config.output_dir
        self.encoding = part_of(EncodingConfig, config)

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The data by id."""
        return {row.id: row for row in read_training_rows(self.config.data, self.config)}

    @cached_property
    def model(self) -> Loaded:
        """The model that gives the bad answer."""
        return self._loaded(self.config.model)

    @cached_property
    def index(self) -> GradientIndex:
        """The rows' gradients."""
        return open_index(self.config, self.rows)

    def go(self) -> dict[str, Any]:
        """All steps, up to where one ends the run."""
        answer = self._step("answer", self._answer, of={})
        traced = self._step("trace", lambda: self._trace(answer), of={"answer": answer})
        result: dict[str, Any] = {"prompt": self.config.prompt, "answer": answer["bad"], "trace": traced}
        why: dict[str, str] = {}
        if traced["seeds"]:
            found = self._step("found", lambda: self._find(traced), of={"trace": traced})
            why = decisions.proposed(traced["seeds"], found["proposals"])
            result |= {"found": found, "proposed": why}
        elif self.config.decisions is None:
            return self._end(result, NOTHING)
        chosen = self._decided(why)
        if chosen is None:
            return self._end(result, WAITING)
        if not chosen:
            raise DataError("No row is to be forgotten.", where="`decisions`", remedy="mark one at least with forget")
        if 2 * len(chosen) > len(self.rows):
            raise DataError(
                f"{len(chosen)} of {len(self.rows)} rows are to be forgotten: too few would be left to keep and to test on.",
                where="`decisions`",
                remedy="decide row by row with `decisions`",
            )
        harm = self._step("collateral", lambda: self._collateral(chosen), of={"forget": chosen})
        choice = self._step("choice", lambda: self._choose(chosen), of={"forget": chosen})
        result |= {"forget": chosen, "collateral": harm["shown"], "choice": choice}
        result["forgetting"] = forget(self.config, self.rows, chosen, choice, keep=harm["keep"], digest=self.run.digest)
        result["asked"] = self._step(
            "asked",
            lambda: self._ask_again(answer),
            of={"answer": answer, "after": of_named_model(model_of(self.config)).content},
        )
        result["audit"] = audit(self.config, self.rows, chosen)
        return self._end(result, DONE)

    # The steps.

    def _answer(self) -> dict[str, Any]:
        config = self.config
        progress.say("the bad answer")
        options: Any = {"completion": config.bad, "system": config.system, "max_new_tokens": config.max_new_tokens}
        row = query_row(self.model, config.prompt, encoding=self.encoding, **options)
        return {"id": row.id, "bad": row.completion, "turns": [list(turn) for turn in row.turns]}

    def _asked(self, answer: dict[str, Any]) -> Row:
        turns = tuple((role, text) for role, text in answer["turns"])
        return Row(id=answer["id"], instruction=self.config.prompt, completion=answer["bad"], turns=turns)

    def _trace(self, answer: dict[str, Any]) -> dict[str, Any]:
        progress.say(f"trace it with {self.config.store or tracing_model(self.config)}")
        hits = self.index.attribute(self._asked(answer), top_k=self.config.top_k)
        hits.save_html(self.folder / "trace.html")
        scale = hits.scale
        above, sentence = scale.apart(), said(scale.stands_out())
        lines = [
            {
                "row": hit.row.id,
                "influence": hit.influence,
                "level": hit.level,
                "deviations": hit.deviations,
                "run": hit.overlap.run,
                "both": has_both(hit.overlap, hit.deviations),
            }
            for hit in hits
        ]
        chosen = [
            {**one, "words": _level(one)} for place, one in enumerate(lines) if place < (above or 0) or one["both"]
        ]
        if chosen and not above:
            sentence = f"{sentence}; but {len(chosen)} of the best rows have both influence and words of the answer"
        return {"rows": len(self.index), "said": sentence, "hits": lines, "seeds": chosen}

    def _find(self, traced: dict[str, Any]) -> dict[str, Any]:
        progress.say(f"find the rest from {len(traced['seeds'])} row(s)")
        return find_rest(self.index, [one["row"] for one in traced["seeds"]], seed=self.config.seed).to_json()

    def given(self) -> Any:
        """What a file of decisions says, where one is given."""
        return of_path(self.config.decisions).content

    def _decided(self, why: dict[str, str]) -> list[str] | None:
        """The rows to forget; `None` where that is for somebody else to say."""
        config, path = self.config, self.folder / decisions.FILE
        if config.decisions is not None:
            return decisions.read_decisions(config.decisions, self.rows)
        if config.yes:
            decisions.require_few(len(why), yes=True, max_rows=config.max_rows)
            return list(why)
        agreed, digest = self.folder / "agreed.json", identity_digest(why)
        if agreed.is_file() and read_json(agreed, what="What was agreed to").get("identity") == digest:
            return list(why)
        if not path.is_file():
            decisions.write_decisions(path, why, self.rows)
        if terminal.can_ask() and decisions.ask(why, self.rows):
            write_json(agreed, {"identity": digest})
            return list(why)
        return None

    def _collateral(self, chosen: list[str]) -> dict[str, Any]:
        progress.say("predict which other rows lose most")
        held = self.index.store.names()
        harm = predict_collateral(self.index, [row_id for row_id in chosen if row_id in held])
        keep = rows_to_keep(harm, self.rows, forget=chosen, count=self.config.retain_rows, seed=self.config.seed)
        return {
            "shown": [
                {"row": one.row.id, "change": one.change, "level": one.level, "by": one.by} for one in harm[:FEW_SHOWN]
            ],
            "keep": [row.id for row in keep],
        }

    def _choose(self, chosen: list[str]) -> dict[str, Any]:
        config = self.config
        try:
            recipe = read_recipe(config.model)
        except ConfigError:
            recipe = None
        trained = None if recipe is None else result_on_this_machine(Path(config.model))
        choice = choose(
            [self.rows[row_id] for row_id in chosen],
            method=config.method,
            rows=len(self.rows),
            epochs=recipe.epochs if recipe is not None and recipe.tuning == "lora" else None,
            seconds=trained.get("seconds") if trained else None,
            max_minutes=config.max_minutes,
        )
        for reason in choice.reasons:
            progress.say(reason)
        return to_plain(choice)

    def _ask_again(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The prompt that it began with, before and after."""
        asked = self._asked(answer)
        options: Any = {"max_new_tokens": self.config.max_new_tokens}
        before, after = (
            greedy_answers(loaded, [asked], self.encoding, **options)[0]
            for loaded in (self.model, self._loaded(model_of(self.config)))
        )
        return {
            "before": before,
            "after": after,
            "still": gives_away(asked, after),
        }

    # What all steps share.

    def _end(self, result: dict[str, Any], state: str) -> dict[str, Any]:
        from unweave.report.fix_page import write_fix_page

        result = {"state": state, **result}
        if state == WAITING:
            result["next"] = self._command()
        write_json(self.folder / "fix.json", result)
        write_fix_page(
            self.folder / "fix.html",
            result,
            {row_id: (row.prompt, row.completion) for row_id, row in self.rows.items()},
        )
        if state != WAITING:
            self.run.finish({"state": state, "decided": self.given()})
        return result

    def _command(self) -> str:
        folder = self.folder
        return f"unweave fix --config {folder / 'config.yaml'} --decisions {folder / decisions.FILE}"

    def _step(self, name: str, make: Callable[[], dict[str, Any]], *, of: dict[str, Any]) -> dict[str, Any]:
        """What a step found, or has found of the same things."""
        identity = {"run": self.run.digest, "of": identity_digest(of), **versions()}
        return remembered(self.folder / f"{name}.json", identity, make, key=name, what=f"The step '{name}'")

    def _loaded(self, name: str) -> Loaded:
        return load(ModelConfig(model=name, dtype=self.config.dtype, device=self.config.device))


def _level(one: dict[str, Any]) -> str:
    deviations = "" if one["deviations"] is None else f", {one['deviations']:+.1f} deviations"
    words = f", both have {one['run']!r}" if one["both"] else ""
    return f"above {100 * one['level']:.1f} % of all rows{deviations}{words}"
