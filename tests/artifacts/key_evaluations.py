"""Ways to call the stages that evaluate, show, import and ingest, and what of their settings is not in their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from key_cases import TOGETHER
from key_settings import (
    Case,
    Cell,
    Draw,
    Nothing,
    Page,
    Real,
    Set,
    Whitening,
)
from key_world import DISTILL, ENCODER, EVALUATE, NARROW, SIDE, World, go_through

from bilp.config import (
    EvaluateConfig,
    IngestConfig,
    PipelineConfig,
    ReselectConfig,
)
from bilp.config.encoder import EncoderConfig
from bilp.config.import_options import ImportOptions
from bilp.config.label_noise import LabelNoiseConfig
from bilp.config.resize import ResizeConfig
from bilp.distill import start_run

OTHERWISE = {"config.encoder.name": "resnet18", "config.encoder.weights": "other.safetensors", "config.encoder.checksum": "1" * 64}
SEVERAL_IMAGES = tuple(DISTILL.model_copy(update={"ipc": 3, "seed": seed}) for seed in (0, 1))
TOLD = "stands for settings that are recorded themselves"
OTHERS = "decides what else is evaluated, not how"
NOT_BATCH_NORM = "of the ConvNet with batch norm alone, which is none of the networks"
EVERY = {"config.protocol": TOLD, "config.pool": TOLD, "config.baselines": OTHERS, "config.robustness": OTHERS}
TAUGHT = {"config.temperature": "of soft labels alone", "config.teacher.*": "of soft labels, herding and k-center alone"}
TAUGHT["config.temperature_squared"] = "of soft labels alone"
RATE = {"config.learned_rate": "chooses the step size, which is recorded itself"}
ENCODERS = {"config.encoder.*": "of linear probes of one's own encoder alone"}
SYNTHETIC = EVERY | RATE | ENCODERS | {"config.full_epochs": "of baseline full alone"}
REAL = EVERY | RATE | ENCODERS | {"config.full_epochs": "of baseline full alone"}
OTHER_NORM = {"config.batch_norm_augment_each": NOT_BATCH_NORM, "config.batch_norm_epochs": NOT_BATCH_NORM}


ALONE = {"config.networks_at_once": "linear probes are trained one at a time"}
PROBED = EVALUATE.model_copy(update={"linear_probe": True})


def of_ones_own(world: World) -> EvaluateConfig:
    """Linear probes of an encoder that is supplied."""
    encoder = EncoderConfig(name=ENCODER, weights=str(world.folder / "weights"), checksum="0" * 64, side=SIDE)
    return PROBED.model_copy(update={"encoder": encoder})


def without_encoders(left_out: Mapping[str, str]) -> dict[str, str]:
    content = {"config.encoder.weights": "the file's content counts, not where it lies"}
    return {name: why for name, why in left_out.items() if name not in ENCODERS} | content


def evaluations(world: World) -> dict[str, Case]:
    data = {
        "inputs": {"dataset": world.dataset, "synthetic": world.synthetic},
        "others": {"dataset": world.other_dataset, "synthetic": world.other_synthetic},
        "read_anyway": frozenset({"config.learned_rate"}),
    }
    soft = EVALUATE.model_copy(update={"labels": "soft"})
    batch_norm = EVALUATE.model_copy(update={"networks": (NARROW.model_copy(update={"norm": "batch"}),)})
    learning = {"inputs": {"dataset": world.dataset, "synthetic": world.learned}}
    return {
        "hard labels": Case(Set(config=EVALUATE), **data, left_out=SYNTHETIC | TAUGHT | OTHER_NORM),
        "soft labels": Case(Set(config=soft), **data, left_out=SYNTHETIC | OTHER_NORM),
        "linear probe": Case(
            Set(config=PROBED),
            **{**data, "read_anyway": frozenset({"config.learned_rate", "config.encoder.name"})},
            left_out=SYNTHETIC | OTHER_NORM | ALONE | {name: why for name, why in TAUGHT.items() if "teacher" not in name},
        ),
        "linear probe of one's own encoder": Case(
            Set(config=of_ones_own(world)),
            **data,
            left_out=without_encoders(SYNTHETIC | TAUGHT | OTHER_NORM) | ALONE,
            given=OTHERWISE,
            computed=False,
        ),
        "batch norm": Case(Set(config=batch_norm), **data, left_out=SYNTHETIC | TAUGHT, given={"config.batch_norm_epochs": 7}),
        "learned step size": Case(
            Set(config=EVALUATE),
            **learning,
            left_out={name: why for name, why in SYNTHETIC.items() if name not in RATE}
            | TAUGHT
            | OTHER_NORM
            | {"config.learning_rate": "the step size that was learned takes its place"},
            read_anyway=frozenset({"config.learning_rate"}),
        ),
    }


def baselines(world: World) -> dict[str, Case]:
    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}
    full = {name: why for name, why in REAL.items() if name != "config.full_epochs"}
    whole = {"ipc": "all images are taken, whatever it says", "config.epochs": "full_epochs takes its place"}
    covering = {name: why for name, why in TAUGHT.items() if name != "config.teacher.*"}
    return {
        "full": Case(
            Real(config=EVALUATE, baseline="full"),
            **data,
            left_out=full | TAUGHT | OTHER_NORM | whole,
            read_anyway=frozenset({"config.epochs"}),
        ),
        "random": Case(Real(config=EVALUATE, baseline="random"), **data, left_out=REAL | TAUGHT | OTHER_NORM),
        "linear probe of one's own encoder": Case(
            Real(config=of_ones_own(world), baseline="random"),
            **data,
            left_out=without_encoders(REAL | TAUGHT | OTHER_NORM) | ALONE,
            given=OTHERWISE,
            computed=False,
        ),
        "herding": Case(Real(config=EVALUATE, baseline="herding"), **data, left_out=REAL | covering | OTHER_NORM),
        "selected": Case(
            Real(config=EVALUATE, baseline="random_kept"),
            {"dataset": world.dataset, "selection": world.selection},
            {"selection": world.other_selection, "dataset": world.other_dataset},
            left_out=REAL | TAUGHT | OTHER_NORM,
        ),
        "direct": Case(
            Real(config=EVALUATE, baseline="direct"),
            {"dataset": world.dataset, "selection": world.selection},
            {"selection": world.other_selection, "dataset": world.other_dataset},
            left_out=full | TAUGHT | OTHER_NORM | whole,
            read_anyway=frozenset({"config.epochs"}),
        ),
    }


def draws(world: World) -> dict[str, Case]:
    return {"as many": Case(Draw(), {"dataset": world.dataset}, {"dataset": world.other_dataset})}


def trainings(world: World) -> dict[str, Case]:
    data = {
        "inputs": {"dataset": world.dataset, "synthetic": world.synthetic},
        "others": {"dataset": world.other_dataset, "synthetic": world.other_synthetic},
    }
    many = {
        "arm": "whose set it is belongs to the table",
        "experiment": "as arm",
        "config.seeds": "how many trainings there are changes none of them; the place has the number",
    }
    left = SYNTHETIC | TAUGHT | OTHER_NORM | many
    read = frozenset({"config.seeds", "config.learned_rate"})
    own = of_ones_own(world)
    return {
        "hard labels": Case(Set(config=EVALUATE.model_copy(update={"networks_at_once": 1})), **data, left_out=left, read_anyway=read),
        "linear probe of one's own encoder": Case(
            Set(config=own), **data, left_out=without_encoders(left) | ALONE, given=OTHERWISE, computed=False
        ),
    }


def scores_of_robustness(world: World) -> dict[str, Case]:
    both = {"inputs": {"evaluations": world.evaluations}, "others": {"evaluations": world.other_evaluations}}
    return {"evaluations": Case(Nothing(), **both)}


SMALL = PipelineConfig.model_validate({"dataset": "digits", "arms": ["unpruned"], "report": {"samples_per_class": 2}})
LISTED = PipelineConfig.model_validate(
    {
        "method": "idc",
        "arms": ["unpruned"],
        "prune": {"criterion": "external", "score_list": "list.json"},
        "distill": {"idc": {"pretrained": {"networks": 1}}, "decode": {"factor": 2}},
    }
)
OWN: dict[str, Any] = {
    "config.prune.score_list": "other.json",
    "config.ingest.uri": "pictures",
    "config.ingest.pre_crop": "200x150",
    "config.ingest.label_noise.file": "other.csv",
    "config.distill.linear.encoder": "resnet34",
    "config.distill.linear.weights": "other.safetensors",
    "config.distill.linear.features": "other.parquet",
    **{f"config.experts.{name.removeprefix('config.')}": value for name, value in TOGETHER.items()},
    "config.evaluate.encoder.name": "resnet34",
    "config.evaluate.encoder.weights": "other.safetensors",
}
FOLDER = PipelineConfig.model_validate(
    {"dataset": "folder", "method": "ncfm", "ingest": {"uri": "others"}, "arms": ["unpruned"], "prune": {"per_class": False}},
)
TABLES = PipelineConfig.model_validate(
    {"dataset": "parquet", "ingest": {"uri": "others"}, "arms": ["unpruned"], "prune": {"rule": "strata"}},
)
MIDDLES = PipelineConfig.model_validate({"dataset": "kinetics400", "ingest": {"uri": "others"}, "arms": ["unpruned"]})
WINDOWS = PipelineConfig.model_validate(
    {"dataset": "hmdb51", "ingest": {"uri": "others", "sampling": "window", "pre_crop": "160x120"}, "arms": ["unpruned"]}
)


def pages(world: World) -> dict[str, Case]:
    nothing = {"dataset": world.dataset, "scores": None, "selection": None, "runs": {}, "evaluations": (), "origins": None, "record": None}
    shown = nothing | {"runs": {"unpruned": [world.run]}, "evaluations": world.evaluations}
    others = {"dataset": world.other_dataset, "scores": world.scores, "selection": world.selection, "origins": {"ipc": "given"}}
    others["record"] = world.record
    cases = {name: Case(Page(config=config), nothing, given=OWN, computed=False) for name, config in PIPELINES.items()}
    inputs = Case(Page(config=SMALL), shown, others | {"evaluations": world.other_evaluations, "runs": {"bilp": [world.run]}})
    return cases | {"inputs": inputs}


def reproductions(world: World) -> dict[str, Case]:
    inputs, others = {"evaluations": world.evaluations}, {"evaluations": world.other_evaluations}
    given = OWN | {"recipe": "published/dc/mnist-ipc10", "device": "cuda:0"}
    return {name: Case(Cell(config=config), inputs, others, given=given) for name, config in PIPELINES.items()}


ENCODED = PipelineConfig.model_validate(
    {
        "dataset": "digits",
        "method": "lgm",
        "arms": ["unpruned"],
        "distill": {
            "idc": {"pretrained": {"networks": 0}},
            "linear": {"encoder": "resnet18", "weights": "own.safetensors", "features": "own.parquet"},
        },
        "evaluate": {"protocol": "linear_probe"},
    }
)


def _noisy(**noise: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({"dataset": "digits", "arms": ["unpruned"], "ingest": {"label_noise": noise}})


PIPELINES = {
    "dm": SMALL,
    "idc": LISTED,
    "own images": FOLDER,
    "own tables": TABLES,
    "clips around the middle": MIDDLES,
    "windows of clips": WINDOWS,
    "a graph": PipelineConfig.model_validate({"dataset": "digits", "arms": ["unpruned"], "prune": {"rule": "graph"}}),
    "an encoder of one's own": ENCODED,
    "drawn labels": _noisy(kind="symmetric", share=0.2),
    "labels of a file": _noisy(kind="file", file="labels.csv"),
    "a real part": PipelineConfig.model_validate(
        {
            "dataset": "digits",
            "method": "selmatch",
            "ipc": 4,
            "arms": ["unpruned"],
            "distill": {"real_part": {"share": 0.25, "window": 0.5}},
        }
    ),
}


def imports(world: World) -> dict[str, Case]:
    def options(name: str, **more: Any) -> ImportOptions:
        return ImportOptions(file=str(world.folder / f"{name}.pt"), **more)

    copied = {"file": "the tensors count, not where they lie", "labels": "of the layout of MTT alone, where the tensors count"}
    data = {"inputs": {"dataset": world.dataset}, "others": {"dataset": world.other_dataset}}
    return {
        "a copy": Case(
            options("list"),
            **data,
            left_out=copied,
            read_anyway=frozenset({"file", "labels"}),
            given={"file": options("copy").file, "pixels": "unit"},
        ),
        "another file": Case(
            options("list"),
            **data,
            left_out={"labels": copied["labels"]},
            read_anyway=frozenset({"labels"}),
            given={"file": options("other").file, "pixels": "unit"},
        ),
    }


def larger_sets(world: World) -> dict[str, Case]:
    larger, other = (
        go_through(start_run(world.dataset, None, several, ReselectConfig(beta=0.0), world.root), 2) for several in SEVERAL_IMAGES
    )
    given = {"inputs": {"synthetic": larger}, "others": {"synthetic": other}}
    trained = ResizeConfig(ipc=1, epochs=3, best_epochs=2, network=NARROW)
    ignored = [name for name in ResizeConfig.model_fields if name not in ("ipc", "rule", "seed")]
    left_out = {"network.*" if name == "network" else name: "of rule yoco alone" for name in ignored}
    return {
        "yoco": Case(trained, **given),
        "random": Case(ResizeConfig(ipc=1, rule="random"), **given, left_out=left_out),
    }


def sources(world: World) -> dict[str, Case]:
    folder = IngestConfig(source="folder", uri=str(world.folder / "pictures"))
    left = {
        "whitening": "a whitened data set has a key of its own",
        "whitening_epsilon": "as whitening",
    }
    tables = IngestConfig(source="parquet", uri=str(world.folder / "tables"))
    read = frozenset({"whitening"})
    content = "the file's content counts, not where it lies"
    labels, labels_copy = (str(world.folder / f"labels {name}.json") for name in ("list", "copy"))
    corrections, corrections_copy = (str(world.folder / f"corrections {name}.csv") for name in ("list", "copy"))
    given = folder.model_copy(
        update={
            "label_noise": LabelNoiseConfig(kind="file", file=labels),
            "corrections": corrections,
        }
    )
    drawn = {"label_noise": {"kind": "symmetric", "share": 0.2}, "long_tail": {"imbalance": 2.0}, "duplicates_added": {"share": 0.25}}
    return {
        "changed on purpose": Case(IngestConfig.model_validate(drawn), left_out=left, read_anyway=read),
        "files of labels": Case(
            given,
            left_out=left | {"label_noise.file": content, "corrections": content},
            read_anyway=read | {"label_noise.file", "corrections"},
            given={
                "label_noise.file": labels_copy,
                "corrections": corrections_copy,
                "uri": str(world.folder / "others"),
            },
        ),
        "folder": Case(folder, left_out=left, read_anyway=read, given={"uri": str(world.folder / "others"), "source": "parquet"}),
        "windows of clips": Case(
            IngestConfig(source="hmdb51", uri=str(world.folder / "pictures"), sampling="window", resolution=8, pre_crop="16x12"),
            left_out={"whitening_epsilon": left["whitening_epsilon"]},
            given={"uri": str(world.folder / "others"), "pre_crop": "20x10"},
            computed=False,
        ),
        "clips around the middle": Case(
            IngestConfig(source="video_folder", uri=str(world.folder / "pictures"), sampling="middle"),
            left_out={"whitening_epsilon": left["whitening_epsilon"]},
            given={"uri": str(world.folder / "others"), "source": "kinetics400"},
            computed=False,
        ),
        "parquet": Case(tables, left_out=left, read_anyway=read, given={"uri": str(world.folder / "other tables"), "source": "folder"}),
    }


def truths(world: World) -> dict[str, Case]:
    return {"wrong labels": Case(Nothing(), {"record": world.noisy}, {"record": world.other_noisy})}


def fits(world: World) -> dict[str, Case]:
    return {"zca": Case(Whitening(), {"dataset": world.dataset}, {"dataset": world.other_dataset})}
