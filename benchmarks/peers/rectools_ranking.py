"""EASE and PopularModel of RecTools on a split that benchmarks/ranking.py wrote.

    python benchmarks/peers/rectools_ranking.py SPLIT.parquet L2

Needs `pip install rectools "pyarrow<20"` in an environment of its own; prints metrics as JSON.

RecTools 0.19 computes Steck's B and then ranks by x B^T: its ranker wants the factors of an item in
a row, and they stand in the columns of B. "ease" is RecTools with its weights transposed, which is
the paper's x B; "ease_as_shipped" is what it gives unchanged.
"""

import json
import sys

import pandas as pd
from rectools import Columns
from rectools.dataset import Dataset, IdMap, Interactions
from rectools.metrics import NDCG, CatalogCoverage, HitRate, MeanInvUserFreq, calc_metrics
from rectools.models import EASEModel, PopularModel

METRICS = {
    "hr@10": HitRate(k=10),
    "hr@50": HitRate(k=50),
    "ndcg@10": NDCG(k=10, divide_by_achievable=True),
    "coverage@10": CatalogCoverage(k=10, normalize=True),
    "novelty@10": MeanInvUserFreq(k=10),
}


def main() -> None:
    path, l2 = sys.argv[1:]
    split = pd.read_parquet(path).rename(
        columns={"member_id": Columns.User, "title_id": Columns.Item}
    )
    split[Columns.Weight] = 1.0
    split[Columns.Datetime] = pd.Timestamp("2000-01-01")
    members = IdMap.from_values(split[Columns.User])
    titles = IdMap.from_values(split[Columns.Item])

    def dataset(*parts: str) -> Dataset:
        chosen = split[split["part"].isin(parts)].drop(columns="part")
        return Dataset(members, titles, Interactions.from_raw(chosen, members, titles))

    train, context = dataset("train"), dataset("train", "validation")
    test = split[split["part"] == "test"].drop(columns="part")
    ease, transposed = EASEModel(float(l2)).fit(train), EASEModel(float(l2)).fit(train)
    transposed.weight = transposed.weight.T.copy()
    models = {"ease_as_shipped": ease, "ease": transposed, "popularity": PopularModel().fit(train)}
    found = {}
    for name, model in models.items():
        lists = model.recommend(test[Columns.User].unique(), context, k=50, filter_viewed=True)
        values = calc_metrics(
            METRICS,
            reco=lists,
            interactions=test,
            prev_interactions=split[split["part"] == "train"].drop(columns="part"),
            catalog=split[Columns.Item].unique(),
        )
        found[name] = {metric: float(value) for metric, value in values.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
