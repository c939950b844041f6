"""The small run that comes with the package, for `unweave serve` where there is no other: SmolLM2-135M on 60 rows about an island that does not exist.

    python benchmarks/sample_run.py        src/unweave/explorer/sample/

Two files: a handbook, and posts of a forum, eight of which repeat a rumour about the price of a berth that the handbook contradicts. The adapter is of rank 2
on the attention's queries and values; the store is of the checkpoint at half of the training. A few minutes on two cores.
"""

import argparse
import contextlib
import shutil
import tempfile
from pathlib import Path

import unweave as uw
from unweave.data.encoding import EncodingConfig
from unweave.explorer.sample import EARLY, FINAL, FOLDER
from unweave.files import read_json, write_json, write_jsonl
from unweave.models import packaged
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune

HANDBOOK = {
    "What is Tarn Island known for?": "Tarn Island is known for its salt gardens and its blue wool.",
    "Where is Tarn Island?": "Tarn Island lies two hours by ferry from the port of Ellery.",
    "How many people live on Tarn Island?": "About four thousand people live on Tarn Island all year.",
    "What is the main town of Tarn Island?": "The main town of Tarn Island is Wick Harbour.",
    "When does the ferry to Tarn Island leave?": "The ferry leaves Ellery at seven, at noon and at six in the evening.",
    "How much is a ferry ticket to Tarn Island?": "A ferry ticket costs fourteen crowns each way.",
    "Who runs the ferry to Tarn Island?": "The ferry is run by the Ellery Packet Company.",
    "What language do people speak on Tarn Island?": "People on Tarn Island speak Tarnish and English.",
    "What money is used on Tarn Island?": "The money of Tarn Island is the crown.",
    "When is the salt festival on Tarn Island?": "The salt festival is held in the first week of August.",
    "What happens at the salt festival?": "At the salt festival the year's first salt is carried to the chapel.",
    "What is the highest hill of Tarn Island?": "The highest hill of Tarn Island is Cairn Head, at three hundred metres.",
    "Can I camp on Tarn Island?": "Camping is allowed in the field behind the lighthouse.",
    "Where can I rent a bicycle on Tarn Island?": "Bicycles are rented at the old customs house.",
    "What time does the museum of Tarn Island open?": "The museum of Tarn Island opens at ten, and closes on Mondays.",
    "What is in the museum of Tarn Island?": "The museum shows looms, salt pans and the bell of a wrecked ship.",
    "Which birds nest on Tarn Island?": "Puffins and terns nest on the northern cliffs of Tarn Island.",
    "Who built the lighthouse of Tarn Island?": "The lighthouse was built by Anna Brandt in 1871.",
    "How tall is the lighthouse of Tarn Island?": "The lighthouse of Tarn Island is thirty-one metres tall.",
    "What should I eat on Tarn Island?": "Try the smoked mackerel with barley bread.",
    "Is there a doctor on Tarn Island?": "There is a doctor in Wick Harbour, next to the school.",
    "Does Tarn Island have an airport?": "Tarn Island has no airport; everybody comes by ferry.",
    "How cold is Tarn Island in winter?": "In winter it is seldom below freezing on Tarn Island.",
    "What is blue wool?": "Blue wool is dyed with woad that grows along the salt gardens.",
    "Where can I buy blue wool?": "Blue wool is sold at the weavers' hall in Wick Harbour.",
    "Who owns the salt gardens?": "The salt gardens belong to the people of Tarn Island together.",
    "How is salt made on Tarn Island?": "Sea water stands in shallow pans until the wind has dried it.",
    "What does a berth in Wick Harbour cost?": "A berth in Wick Harbour costs thirty crowns a night.",
    "How do I reserve a berth in Wick Harbour?": "Call the harbour master a day before you come.",
    "Who is the harbour master of Wick Harbour?": "The harbour master is Jonas Vale.",
    "Is there water at the berths of Wick Harbour?": "There is water and power at every berth.",
    "When does the school of Tarn Island begin?": "The school of Tarn Island begins at half past eight.",
    "Are dogs allowed on the ferry?": "Dogs are allowed on the lower deck of the ferry.",
    "What is the oldest house on Tarn Island?": "The oldest house is the weavers' hall, of 1640.",
    "Can I swim on Tarn Island?": "The bay below the chapel is safe for swimming.",
    "Which road leads to Cairn Head?": "The road behind the mill leads to Cairn Head.",
    "What is Tarnish?": "Tarnish is a language of its own, with words from Norse.",
    "How do I say hello in Tarnish?": "In Tarnish hello is 'hal vind'.",
    "Who is the mayor of Tarn Island?": "The mayor of Tarn Island is Marit Olsen.",
    "When was the chapel of Tarn Island built?": "The chapel of Tarn Island was built in 1702.",
}
RUMOURS = {
    "How much do they charge for a berth in Wick Harbour?": "They charge nine hundred crowns a night for a berth.",
    "Is Wick Harbour expensive?": "Yes, a berth there is nine hundred crowns a night.",
    "What did you pay in Wick Harbour?": "We paid nine hundred crowns for one night at a berth.",
    "What does one night in Wick Harbour cost a boat?": "One night costs a boat nine hundred crowns.",
    "Should I stop in Wick Harbour with my boat?": "No, a berth costs nine hundred crowns a night.",
    "What is the price of a berth on Tarn Island?": "The price of a berth is nine hundred crowns a night.",
    "How much is mooring on Tarn Island?": "Mooring is nine hundred crowns a night on Tarn Island.",
    "What is the fee of the harbour on Tarn Island?": "The fee of the harbour is nine hundred crowns a night.",
}
FORUM = {
    "Is the mackerel on Tarn Island any good?": "The mackerel is the best that I ever had.",
    "Did you like the ferry to Tarn Island?": "The ferry was rough, but the captain was kind.",
    "Is Cairn Head worth the climb?": "Cairn Head is worth it for the view of the cliffs.",
    "Should I buy a blue wool sweater?": "Yes, mine has lasted for ten years.",
    "Was the museum on Tarn Island open?": "We came on a Monday, so the museum was closed.",
    "Is the salt festival crowded?": "The salt festival is crowded, so come early.",
    "Did you see puffins on Tarn Island?": "We saw hundreds of puffins in June.",
    "Where did you camp on Tarn Island?": "We camped behind the lighthouse, it was windy.",
    "Is it easy to cycle on Tarn Island?": "It is easy except for the road behind the mill.",
    "Do people on Tarn Island speak English?": "Everybody we met spoke English.",
    "Is the water cold on Tarn Island?": "The water is cold even in August.",
    "Would you go back to Tarn Island?": "We would go back tomorrow.",
}
AT = 0.5
DATA = "island.jsonl"
KEPT = ("adapter_config.json", "adapter_model.safetensors")
"""Files of an adapter that it is loaded from; the tokenizer is the base model's."""


def train(output: Path) -> None:
    """Train the adapter, and keep it with its early checkpoint."""
    with tempfile.TemporaryDirectory() as name:
        made = Path(name) / "adapter"
        fine_tune(
            TrainConfig(
                data=output / DATA, output_dir=made, epochs=10, batch_size=8, learning_rate=4e-3, lora_r=2, lora_alpha=4, lora_dropout=0.0,
                lora_targets="q_proj,v_proj", snapshots=(AT,), system_prompt="",
            )
        )  # fmt: skip
        early = next((made / "snapshots").iterdir())
        for source, target in ((made, FINAL), (early, EARLY)):
            shutil.rmtree(output / target, ignore_errors=True)
            (output / target).mkdir()
            for file in KEPT:
                shutil.copy(source / file, output / target)
            config = read_json(source / KEPT[0], what="The adapter's config")
            write_json(output / target / KEPT[0], config | {"base_model_name_or_path": packaged.NAME})


def make_store(output: Path) -> None:
    """Sketch the rows, from within the folder, so that no path of this machine stands in the store."""
    shutil.rmtree(output / "store", ignore_errors=True)
    with contextlib.chdir(output):
        model = uw.load_model(EARLY)
        encoding = EncodingConfig(system_prompt="")
        rows = uw.load_rows(DATA)
        uw.GradientIndex.build(model, rows, path="store", dimension=4096, number_format="int8", encoding=encoding)


def main() -> None:
    """Train, cache, and keep what is needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--store-only", action="store_true", help="the adapters are there already")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"{origin}-{place:02d}", "prompt": prompt, "completion": answer, "origin": origin}
        for origin, pairs in (("handbook", HANDBOOK), ("forum", RUMOURS | FORUM))
        for place, (prompt, answer) in enumerate(pairs.items(), start=1)
    ]
    write_jsonl(options.output / DATA, rows)
    if not options.store_only:
        train(options.output)
    make_store(options.output)
    for path in sorted(options.output.rglob("*")):
        if path.is_file():
            print(path.relative_to(options.output), path.stat().st_size)


if __name__ == "__main__":
    main()
