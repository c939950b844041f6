"""Every command, in one table: where its options are described, which job does its work, and how the result is shown.

All of it is by name, `module:name`, so that nothing is imported before a command is known.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command.

    Attributes:
        about: What it does, in a few words, for the list of commands.
        config: The frozen dataclass of its options; or a function of the arguments that chooses it, and gives a sentence about it. Its docstring is the
            text of `--help`.
        job: What does the work: a function of the config.
        title: Printed above the result, with `{config}` and `{result}` to fill in; the result's fields follow as lines of name and value.
        show: A function of config and result that prints it in another way.
        as_json: What `--json` prints: a function of config and result; by default the result.
        code: The exit code: a function of the result; by default 0.
        first: The option that a word stands for which comes first and names no option.
        plan: What `--dry-run` does in place of the job: a function of the config that says what the job will take, and has `lines()`.
        check: A function of the arguments that refuses what the parser would let pass.
    """

    about: str
    config: str
    job: str
    title: str = ""
    show: str | None = None
    as_json: str | None = None
    code: str | None = None
    first: str | None = None
    plan: str | None = None
    check: str | None = None


GROUPS = {
    "value": "say what rows are worth for a task, before training on them",
    "request": "the deletion ledger: requests to forget rows, what was done about each, and the proof of it",
    "bench": "compare forgetting methods, or estimators of attribution, on equal terms",
    "store": "look after a gradient store",
}
"""The first word of commands that have two, and what they have in common."""

_LEDGER, _VALUE, _JOBS, _STORE = "unweave.ledger", "unweave.valuation", "unweave.jobs", "unweave.jobs.store"
_SHOW, _PLANS = "unweave.cli.show", "unweave.jobs.plans"

TABLE: dict[str, Command] = {
    "demo": Command(
        about="the whole story on a real model: poison, trace, forget, audit, report",
        config="unweave.experiments.demo.config:DemoConfig",
        job="unweave.experiments.demo.pipeline:run_demo",
        show=f"{_SHOW}.demo:show",
        as_json=f"{_SHOW}.demo:as_json",
        plan="unweave.experiments.demo.dry_run:plan_demo",
    ),
    "case": Command(
        about="make the rows, triggers and tests of an unlearning experiment",
        config="unweave.experiments.case:MakeCaseConfig",
        job="unweave.experiments.case:make_in_folder",
        title="case: {result.folder}",
        show=f"{_SHOW}.case:show",
        as_json=f"{_SHOW}.case:as_json",
    ),
    "train": Command(
        about="fine-tune a model on rows (LoRA or full), or retrain it without some",
        config="unweave.train.config:TrainConfig",
        job="unweave.train.sft:fine_tune",
        title="trained: {result.folder}",
        plan=f"{_PLANS}:train",
    ),
    "rows": Command(
        about="show how rows are read, and what a model sees and learns of each",
        config="unweave.train.config:ShowRowsConfig",
        job="unweave.jobs.rows:show_rows",
        show=f"{_SHOW}.rows:show",
        first="data",
    ),
    "doctor": Command(
        about="check a model and its data for mistakes that ruin influence silently",
        config="unweave.jobs.config:DoctorConfig",
        job="unweave.jobs.doctor:examine",
        show=f"{_SHOW}.doctor:show",
        code=f"{_SHOW}.doctor:code",
    ),
    "cache": Command(
        about="sketch the gradients of rows into a store",
        config="unweave.engines.config:CacheConfig",
        job="unweave.engines.run:cache",
        title="cached: {result.store}",
        plan="unweave.jobs.cache_plan:plan_cache",
    ),
    "trace": Command(
        about="find the training rows that an answer comes from",
        config="unweave.jobs.config:TraceConfig",
        job="unweave.jobs.trace:trace_answers",
        plan=f"{_PLANS}:trace",
        show=f"{_SHOW}.trace:show",
        as_json=f"{_SHOW}.trace:as_json",
    ),
    "fix": Command(
        about="from a bad answer to a model without it: trace, find the rest, forget, audit",
        config="unweave.fixing.config:FixConfig",
        job="unweave.fixing.job:fix",
        show=f"{_SHOW}.fix:show",
        code=f"{_SHOW}.fix:code",
    ),
    "value score": Command(
        about="value candidate rows for tasks",
        config=f"{_VALUE}.config:ScoreConfig",
        job=f"{_JOBS}.value_score:score_rows",
        show=f"{_SHOW}.value:show_values",
        plan=f"{_PLANS}:value_score",
    ),
    "value fit": Command(
        about="teach a small model to predict values from the text",
        config=f"{_VALUE}.config:FitConfig",
        job=f"{_JOBS}.value_fit:fit_student",
        show=f"{_SHOW}.value:show_student",
        plan=f"{_PLANS}:value_fit",
    ),
    "value predict": Command(
        about="predict the values of any number of rows",
        config=f"{_VALUE}.config:PredictConfig",
        job=f"{_JOBS}.value_predict:predict_values",
        show=f"{_SHOW}.value:show_predicted",
        plan=f"{_PLANS}:value_predict",
    ),
    "value select": Command(
        about="choose rows under a budget",
        config=f"{_VALUE}.config:SelectConfig",
        job=f"{_JOBS}.value_select:select_rows",
        show=f"{_SHOW}.value:show_selected",
    ),
    "value curve": Command(
        about="train on the best rows of each score, and measure",
        config=f"{_VALUE}.config:CurveConfig",
        job=f"{_JOBS}.value_curve:learning_curves",
        show=f"{_SHOW}.value:show_curves",
        plan=f"{_PLANS}:value_curve",
    ),
    "value report": Command(
        about="write a page on a table of values",
        config=f"{_VALUE}.config:ValueReportConfig",
        job="unweave.report.value_page:write_value_page",
        title="written: {result}",
    ),
    "weigh": Command(
        about="turn influence into a weight for each row",
        config="unweave.weights.config:WeighConfig",
        job="unweave.jobs.weigh:weigh_rows",
        show=f"{_SHOW}.weigh:show",
        plan=f"{_PLANS}:weigh",
    ),
    "forget": Command(
        about="take the influence of rows out of a model",
        config="unweave.cli.chosen:forget",
        job="unweave.jobs.forget:forget_rows",
        show=f"{_SHOW}.forget:show",
        plan=f"{_PLANS}:forget",
    ),
    "list": Command(
        about="list methods, sketches, attacks, probes, preconditioners, scorers, measures, layouts, engines, weights",
        config="unweave.jobs.listing:ListOptions",
        job="unweave.jobs.listing:list_names",
        show=f"{_SHOW}.listing:show",
    ),
    "audit": Command(
        about="measure what was forgotten and what was kept, before and after",
        config="unweave.evaluation.config:AuditConfig",
        job="unweave.jobs.audit:audit_models",
        show=f"{_SHOW}.audit:show",
        plan=f"{_PLANS}:audit",
    ),
    "audit tofu-log": Command(
        about="score one of TOFU's evaluation logs",
        config="unweave.evaluation.tofu.config:TofuLogConfig",
        job="unweave.jobs.tofu_log:score",
        title="TOFU scores of {config.log}",
    ),
    "audit tofu": Command(
        about="evaluate a model on TOFU's files",
        config="unweave.evaluation.tofu.config:TofuConfig",
        job="unweave.evaluation.tofu.evaluate:evaluate_tofu",
        title="TOFU scores of {config.model}",
    ),
    "audit influence": Command(
        about="check influence scores against exact products, curvature and retraining",
        config="unweave.experiments.influence.config:InfluenceAuditConfig",
        job="unweave.experiments.influence.stage:audit_influence",
        show=f"{_SHOW}.audit:show_influence",
    ),
    "request add": Command(
        about="ask for rows to be forgotten, by id, field, words, a text that they are near to, or a person",
        config=f"{_LEDGER}.config:AddConfig",
        job="unweave.cli.asking:add_request",
        show=f"{_SHOW}.request:show_added",
        check="unweave.cli.chosen:require_row_ids",
    ),
    "request list": Command(
        about="the requests and their states",
        config=f"{_LEDGER}.config:ListConfig",
        job=f"{_LEDGER}.ledger:list_requests",
        show=f"{_SHOW}.request:show_list",
    ),
    "request run": Command(
        about="carry a request out: unlearn, measure, clean the gradient store, certify",
        config=f"{_LEDGER}.config:RunConfig",
        job=f"{_LEDGER}.run:run_request",
        show=f"{_SHOW}.request:show_run",
        code=f"{_SHOW}.request:run_code",
        plan=f"{_LEDGER}.plan:plan_request",
    ),
    "request verify": Command(
        about="recompute hashes and metrics of one request, or of all, and fail on any difference",
        config=f"{_LEDGER}.config:VerifyConfig",
        job=f"{_LEDGER}.verify:verify_requests",
        show=f"{_SHOW}.request:show_verified",
        as_json=f"{_SHOW}.request:verified_json",
        code=f"{_SHOW}.request:verified_code",
    ),
    "request key": Command(
        about="make a pair of keys to sign certificates with",
        config=f"{_LEDGER}.config:KeyConfig",
        job=f"{_LEDGER}.signing_keys:make_signing_key",
        title="keys",
    ),
    "request sign": Command(
        about="sign the certificate of a request that was carried out",
        config=f"{_LEDGER}.config:SignConfig",
        job=f"{_LEDGER}.signing:sign_request",
        title="signed",
    ),
    "request export": Command(
        about="write what a data protection file asks for, each answer with the field that it comes from",
        config=f"{_LEDGER}.config:ExportConfig",
        job=f"{_LEDGER}.export:export_request",
        title="exported",
    ),
    "request rollback": Command(
        about="make the model before the last request the current one again",
        config=f"{_LEDGER}.config:UndoConfig",
        job=f"{_LEDGER}.undoing:roll_back",
        title="rolled back",
    ),
    "request cancel": Command(
        about="give up a request that is not done, and remove what a failed run of it has left",
        config=f"{_LEDGER}.config:UndoConfig",
        job=f"{_LEDGER}.undoing:cancel_request",
        title="cancelled",
    ),
    "bench forgetting": Command(
        about="compare forgetting methods on one poisoned model",
        config="unweave.experiments.bench.config:ForgettingBenchConfig",
        job="unweave.experiments.bench.forgetting:bench_forgetting",
        show=f"{_SHOW}.bench:show",
        first="config",
        plan="unweave.experiments.bench.plan:plan_bench",
    ),
    "bench attribution": Command(
        about="compare estimators of attribution and baselines by retraining, planted rows and checks",
        config="unweave.experiments.attribution.config:AttributionBenchConfig",
        job="unweave.experiments.attribution.bench:bench_attribution",
        show=f"{_SHOW}.attribution:show",
        as_json=f"{_SHOW}.attribution:as_json",
        first="config",
        plan="unweave.experiments.attribution.plan:plan_bench",
    ),
    "serve": Command(
        about="open a store or a run in a browser: ask, look, decide, forget, verify",
        config="unweave.explorer.config:ServeConfig",
        job="unweave.explorer.server:serve",
        title="{result.address}",
        first="path",
    ),
    "report": Command(
        about="write the HTML report of a run folder",
        config="unweave.report.report:ReportConfig",
        job="unweave.report.report:write_report",
        title="report: {result}",
        as_json=f"{_SHOW}.plain:report_json",
    ),
    "store info": Command(
        about="describe a store", config=f"{_STORE}:StoreConfig", job=f"{_STORE}:describe", title="store"
    ),
    "store check": Command(
        about="compare every file with its digest",
        config=f"{_STORE}:StoreConfig",
        job=f"{_STORE}:check",
        show=f"{_SHOW}.store:show_check",
        as_json=f"{_SHOW}.store:check_json",
        code=f"{_SHOW}.store:check_code",
    ),
    "store repair": Command(
        about="take away what is damaged and caching makes anew, and say what is lost",
        config=f"{_STORE}:StoreConfig",
        job=f"{_STORE}:repair",
        show=f"{_SHOW}.store:show_repair",
        code=f"{_SHOW}.store:repair_code",
    ),
    "store delete": Command(
        about="take rows out",
        config=f"{_STORE}:DeleteRowsConfig",
        job=f"{_STORE}:delete",
        show=f"{_SHOW}.store:show_deleted",
    ),
    "store compact": Command(
        about="take what is left of deleted rows off the disk",
        config=f"{_STORE}:StoreConfig",
        job=f"{_STORE}:compact",
        title="{result[removed_rows]} row(s) left the disk",
    ),
    "store merge": Command(
        about="bring the stores of several machines together",
        config=f"{_STORE}:MergeConfig",
        job=f"{_STORE}:merge",
        title="store",
    ),
    "completion": Command(
        about="print the script with which a shell completes commands and options",
        config="unweave.cli.completion:CompletionOptions",
        job="unweave.cli.completion:completion_script",
        show="unweave.cli.completion:show",
    ),
}
"""Name to command; a new one is one entry here."""

BUILT_IN = {
    "plan": "what a long job will take, as its --dry-run says: unweave plan COMMAND [OPTIONS]",
    "run": "repeat a run from its config.yaml",
}
"""What the command line does by itself."""
