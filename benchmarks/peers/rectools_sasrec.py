"""SASRec of RecTools on a split that benchmarks/sequence.py wrote, for a set time.

    python benchmarks/peers/rectools_sasrec.py SPLIT.parquet FOLDER MINUTES

Needs `pip install "rectools[torch]==0.19.*" "pyarrow<20"` in an environment of its own (PyTorch for
the CPU will do). The settings are its defaults (batch 128, learning rate 0.001, dropout 0.2) but
for a width of 64 in place of 256, two heads in place of four, and the window of 200 that published
figures on MovieLens-1M have. The rows of the split stand in order and their times are made from
that, so no sort can put them differently. Training learns from `train` alone. Twelve times, evenly
over the minutes, the weights are put aside; afterwards each becomes FOLDER/LOOK.npz: seconds and
epochs of training, vectors of the titles, and of the members for the validation item (after
`train`) and for the test item (after that and the validation item). A score is their inner product.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

LOOKS = 12
SETTINGS = {
    "n_factors": 64,
    "n_heads": 2,
    "n_blocks": 2,
    "session_max_len": 200,
    "loss": "softmax",
    "dropout_rate": 0.2,
    "lr": 1e-3,
    "batch_size": 128,
}


class Looks(Callback):
    """Puts the weights aside now and then, and ends the training when its time is up."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.kept = seconds, []

    def on_train_start(self, trainer, module):
        self.begun = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        spent = time.perf_counter() - self.begun
        if spent < (len(self.kept) + 1) * self.seconds / LOOKS:
            return
        epochs = trainer.current_epoch + (number + 1) / trainer.num_training_batches
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        self.kept.append((spent, epochs, weights))
        print(f"{spent:.0f} s, epoch {epochs:.1f}, loss {outputs['loss']:.4f}", file=sys.stderr)
        trainer.should_stop = spent >= self.seconds


def vectors(model: SASRecModel, context: pd.DataFrame) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Members in the order of their rows, their vectors, and those of the titles, in one order."""
    members = context[Columns.User].unique()
    preparator = model.data_preparator
    known = preparator.transform_dataset_u2i(Dataset.construct(context), members)
    loader = preparator.get_dataloader_recommend(known, 256)
    wanted, titles = model.lightning_model._get_user_item_embeddings(loader, "cpu")
    kept = known.user_id_map.external_ids
    return list(kept), wanted.numpy(), titles.numpy()[preparator.n_item_extra_tokens :]


def main() -> None:
    path, folder, minutes = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    seed_everything(0)
    split = pd.read_parquet(path).rename(
        columns={"member_id": Columns.User, "title_id": Columns.Item}
    )
    split[Columns.Weight] = 1.0
    split[Columns.Datetime] = pd.Timestamp("2000-01-01") + pd.to_timedelta(split.index, unit="s")
    train = split[split["part"] == "train"].drop(columns="part")
    seen = split[split["part"] != "test"].drop(columns="part")

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=-1,
            accelerator="cpu",
            callbacks=[Looks(60 * minutes)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    model = SASRecModel(**SETTINGS, get_trainer_func=trainer)
    model.fit(Dataset.construct(train))
    (looks,) = (one for one in model.fit_trainer.callbacks if isinstance(one, Looks))
    known = np.array(model.data_preparator.get_known_item_ids(), str)
    for number, (seconds, epochs, weights) in enumerate(looks.kept):
        model.lightning_model.load_state_dict(weights)
        with torch.no_grad():
            members, validation, titles = vectors(model, train)
            again, test, _ = vectors(model, seen)
        assert members == again
        np.savez(
            folder / f"{number:02}.npz",
            seconds=seconds,
            epochs=epochs,
            members=np.array(members, str),
            known=known,
            titles=titles,
            validation=validation,
            test=test,
        )


if __name__ == "__main__":
    main()
