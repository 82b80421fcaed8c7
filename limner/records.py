"""Evaluations of samples: which of them compare, and what they say in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limner.version import FEATURES

__all__ = ["compared_with_blur", "features_of", "is_current", "same_features"]


def compared_with_blur(record: Mapping[str, Any]) -> str | None:
    """Whether samples are ``better`` or ``worse`` than blurred images; None where that was not measured."""
    if record.get("blurred_ratio") is None:
        return None
    return "worse" if record["frechet_ratio"] > record["blurred_ratio"] else "better"


def features_of(record: Mapping[str, Any]) -> str:
    """What the samples of an evaluation were looked at with, in words."""
    version = record.get("feature_version", 1)
    name = record.get("inception") or (
        f"a network that tells {record.get('feature_task')}" if version == 1 else "small filters"
    )
    accuracy = record.get("feature_accuracy" if version == 1 else "classifier_accuracy")
    known = "" if accuracy is None else f"; a classifier with accuracy {accuracy:.3f}"
    return f"Features of {name} (version {version}){known}"


def same_features(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the evaluations of samples that have the features of the last: others do not compare with it."""

    def features(record: Mapping[str, Any]) -> tuple[Any, Any]:
        return record.get("feature_version", 1), record.get("inception")

    return [record for record in records if features(record) == features(records[-1])]


def is_current(record: Mapping[str, Any]) -> bool:
    """Whether an evaluation is of the features that limner has now."""
    return bool(record.get("feature_version", 1) == FEATURES)
