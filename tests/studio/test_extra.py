"""Says loudly where the studio is not tested."""

import pytest

from tests.studio.extra import MISSING


@pytest.mark.skipif(
    bool(MISSING), reason=f'the studio is NOT tested, {MISSING} missing: pip install "limner[studio]" httpx'
)
def test_the_studio_is_tested():
    from limner.studio.app import make_app

    assert callable(make_app)
