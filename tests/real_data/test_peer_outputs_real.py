"""Check of the metric on the released KEMP answers.

The references score 5.95 / 36.8, the answers 0.60 / 2.64.
"""

import pytest

from ctsm_workbench.study.evaluation import response_scores
from ctsm_workbench.study.responses import read_responses

pytestmark = pytest.mark.real


def test_dist_of_the_kemp_outputs(real_data):
    path = real_data / "peer_outputs" / "kemp_test.jsonl"
    if not path.is_file():
        pytest.skip("the peers' released answers are not part of the public data")
    responses, references = read_responses(path)
    scores = response_scores(responses)
    assert (scores["dist1"], scores["dist2"]) == (
        pytest.approx(0.60, abs=0.05),
        pytest.approx(2.64, abs=0.05),
    )
    assert references is not None
    truth = response_scores(references)
    assert (truth["dist1"], truth["dist2"]) == (
        pytest.approx(5.95, abs=0.1),
        pytest.approx(36.8, abs=0.4),
    )
