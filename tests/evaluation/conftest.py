import pytest

from limner.data import load
from limner.evaluation import train_features


@pytest.fixture(scope="session")
def digits():
    return load("digits")


@pytest.fixture(scope="session")
def network(digits):
    """The feature network of the digits."""
    return train_features(digits)
