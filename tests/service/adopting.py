"""A model for tests that makes use of what titles are about."""

import numpy as np

from matinee.models import Popularity, Vocabulary


class Adopting(Popularity):
    """Popularity, which likes a title that came later better than all others."""

    name = "adopting_of_a_test"

    def adopt(self, content):
        later = [title for title in content.titles.ids if title not in set(self.titles.ids)]
        other = type(self)(**self.settings())
        other.__dict__ |= self.__dict__
        other.told, other.learned = content, len(self.titles)
        other.titles = Vocabulary([*self.titles.ids, *later])
        return other

    def _scores(self, context, candidates):
        learned = getattr(self, "learned", len(self.titles))
        candidates = np.arange(len(self.titles)) if candidates is None else candidates
        old = np.where(candidates < learned, candidates, -1).astype(np.int32)
        return np.where(candidates >= learned, 1e6, super()._scores(context, old))
