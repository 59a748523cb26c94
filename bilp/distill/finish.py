"""The product of a run: a synthetic set that stands on its own."""

from __future__ import annotations

from torch import Tensor

from bilp.artifacts.artifact import content_key, open_artifact, there_already
from bilp.artifacts.publication import Content, publish
from bilp.artifacts.run_layout import GRID, IMAGES, SYNTHETIC, synthetic_uri
from bilp.artifacts.tensors import write_tensors
from bilp.config import METHODS
from bilp.data.store import FIT
from bilp.data.whitening import encode
from bilp.distill import real_part
from bilp.distill.checkpoint import state_of
from bilp.distill.inputs import lineage, open_pool
from bilp.distill.kept import clear, open_state
from bilp.distill.loops.mtt import STEP_SIZE
from bilp.distill.part import Part, parts_of
from bilp.distill.pictures import grid_png
from bilp.distill.round_files import open_round
from bilp.distill.run import VERSION, open_run, settings
from bilp.distill.synthetic_set import read_set
from bilp.registry import resolve
from bilp.storage.objects import Uri, as_uri
from bilp.storage.scratch import require_room, scratch_folder


def finish_run(run_uri: Uri) -> str:
    """Publish the images after the last round as synthetic/ and return its URI.

    The manifest's facts tell what a user of the images must know: class_names (in order of their labels), shape, mean
    and std of the normalization, ipc, method, in decode how a stored image becomes those to train on
    (bilp.images.multiformation.decode_set), learning_rate if the method learned one, soft_labels if a teacher was asked for some,
    learned_labels if labels were learned with the images, real if some images are real ones, and whitening if the images are whitened;
    labels, the numbers of the real images and the fit of the whitening are then files of the artifact.
    Raises MissingArtifact if the last round is not there.
    """
    run_uri = as_uri(run_uri)
    run = open_run(run_uri)
    uri, key = synthetic_uri(run_uri), content_key(SYNTHETIC, VERSION, run=run.key)
    if there_already(uri, SYNTHETIC, key, shown=True) is not None:
        return uri
    whole, pool = Part(run_uri, run, None), open_pool(run_uri, run)
    open_round(whole, run.distill.rounds)
    state = state_of(open_state(whole, run.distill.rounds), whole, pool)
    dataset = pool.dataset
    files: dict[str, Content] = {
        GRID: grid_png(state.images, run.distill.ipc, dataset.mean, dataset.std, dataset.whitening),
    }
    facts = {
        "dataset": dataset.fingerprint,
        "class_names": list(dataset.class_names),
        "shape": list(dataset.shape),
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        "ipc": run.distill.ipc,
        "method": run.distill.method,
        "decode": run.distill.decode.model_dump(mode="json"),
        "iterations": state.iteration,
    }
    if METHODS[run.distill.method].product:
        more_files, more_facts = resolve(METHODS[run.distill.method].product)(state, run.distill, pool)
        files, facts = files | more_files, facts | more_facts
    if state.real is not None:
        files[real_part.FILE] = real_part.file_of(state.real, state.labels)
        facts["real"] = real_part.count_of(state.real)
    if STEP_SIZE in state.method:
        facts["learning_rate"] = float(state.method[STEP_SIZE])
    if dataset.whitening is not None:
        facts["whitening"] = dataset.whitening_facts
        files[FIT] = encode(dataset.whitening)
    with scratch_folder("bilp-set-") as folder:
        files[IMAGES] = folder / IMAGES
        require_room(folder, state.images.nbytes, f"the synthetic set of {run_uri}")
        write_tensors(folder / IMAGES, {"images": state.images, "labels": state.labels})
        published = publish(uri, SYNTHETIC, key, files, config=settings(run), parents=lineage(run_uri, run), facts=facts).uri
    for part in [whole, *(parts_of(run_uri, run) if run.distill.shards > 1 else ())]:
        clear(part, range(1, run.distill.rounds + 1))
    return published


def load_synthetic(uri: Uri) -> tuple[Tensor, Tensor]:
    """The stored images `[classes * ipc, C, H, W]` (float32, normalized) and labels `[classes * ipc]` (int64), verified.

    Raises MissingArtifact and DamagedArtifact.
    """
    return read_set(open_artifact(as_uri(uri), SYNTHETIC))
