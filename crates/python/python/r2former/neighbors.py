"""Places as the nearest neighbours of scikit-learn, without needing it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ._arguments import whole
from .errors import RequestError
from .model import Features, Floats, Model, model_or_default


class PlaceNeighbors:
    """Nearest places of images, with the methods of scikit-learn's ``NearestNeighbors`` and ``KNeighborsRegressor``: ``clone``,
    ``Pipeline`` and ``GridSearchCV`` take it.

    Args:
        n_neighbors: Neighbours of a query.
        rerank: ``none`` (by descriptor alone), ``model``, ``ransac`` or ``mutual``.
        candidates: Neighbours by descriptor that are reranked.
        model: The built-in one by default.
        batch: Images that are computed at a time.

    Attributes:
        features_: :class:`Features` of the images that were fitted.
        y_: What was known of them: positions, for example.
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        rerank: str = "none",
        candidates: int = 100,
        model: Model | None = None,
        batch: int = 32,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.rerank = rerank
        self.candidates = candidates
        self.model = model
        self.batch = batch

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name."""
        del deep
        return {name: getattr(self, name) for name in ("n_neighbors", "rerank", "candidates", "model", "batch")}

    def set_params(self, **parameters: Any) -> PlaceNeighbors:
        """Changes parameters by name."""
        known = self.get_params()
        for name, value in parameters.items():
            if name not in known:
                raise RequestError(f"{name} is no parameter: {', '.join(known)}")
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: Any = None) -> PlaceNeighbors:
        """Extracts the references.

        Args:
            X: Images, as of :meth:`Model.extract`, or their :class:`Features`.
            y: What is known of them, (n,) or (n, m): positions (lat, lon), for :meth:`predict`.
        """
        self.features_ = self._features(X)
        self.n_samples_fit_ = len(self.features_)
        self.y_ = None if y is None else np.asarray(y)
        if self.y_ is not None and len(self.y_) != self.n_samples_fit_:
            raise RequestError(f"there are {self.n_samples_fit_} images and {len(self.y_)} values of y")
        return self

    def kneighbors(
        self, X: Any, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[Floats, npt.NDArray[np.intp]] | npt.NDArray[np.intp]:
        """The nearest references of each image, best first.

        Returns:
            Distances (q, k), 1 minus the cosine of the descriptors (in the order of the scores, where it is reranked), and
            numbers of references (q, k).
        """
        features = self._fitted()
        count = whole("n_neighbors", self.n_neighbors if n_neighbors is None else n_neighbors)
        if not 1 <= count <= len(features):
            raise RequestError(f"n_neighbors={count}: must be 1 to {len(features)}, the number of references")
        queries = self._features(X)
        similarity = queries.similarity(features)
        wanted = max(count, self.candidates) if self.rerank != "none" else count
        wanted = min(wanted, len(features))
        part = np.argpartition(-similarity, wanted - 1, axis=1)[:, :wanted] if wanted < len(features) else None
        order = np.empty((len(queries), count), dtype=np.intp)
        for i in range(len(queries)):
            own = np.arange(len(features)) if part is None else np.sort(part[i])
            own = own[np.argsort(-similarity[i, own], kind="stable")]
            if self.rerank != "none":
                model = model_or_default(self.model)
                own = own[model.rerank(queries[i], features[own], method=self.rerank).order]
            order[i] = own[:count]
        if not return_distance:
            return order
        return 1.0 - np.take_along_axis(similarity, order, axis=1), order

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The value of y of each image's nearest reference, (q,) or (q, m)."""
        self._fitted()
        if self.y_ is None:
            raise RequestError("predict needs what is known of the references: fit(X, y)")
        nearest = self.kneighbors(X, 1, return_distance=False)
        assert isinstance(nearest, np.ndarray)
        return np.asarray(self.y_[nearest[:, 0]])

    def score(self, X: Any, y: Any) -> float:
        """The share of images whose nearest reference has the same y, or, of positions (lat, lon), one within 25 m."""
        found, truth = self.predict(X), np.asarray(y)
        if truth.ndim == 2 and truth.shape[1] == 2 and np.issubdtype(truth.dtype, np.floating):
            metres = np.radians(found - truth) * 6_371_008.8
            metres[:, 1] *= np.cos(np.radians(truth[:, 0]))
            return float((np.hypot(metres[:, 0], metres[:, 1]) <= 25.0).mean())
        return float((found == truth).reshape(len(truth), -1).all(axis=1).mean())

    def _features(self, X: Any) -> Features:
        return X if isinstance(X, Features) else model_or_default(self.model).extract(X, self.batch)

    def _fitted(self) -> Features:
        features = getattr(self, "features_", None)
        if features is None:
            raise RequestError("call fit(X) first")
        assert isinstance(features, Features)
        return features

    def __repr__(self) -> str:
        return f"PlaceNeighbors({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"

    # What scikit-learn asks of estimators; its own base class is not needed for it.
    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "features_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))
