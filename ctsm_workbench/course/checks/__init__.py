"""What the exercises of the lessons call: `from ctsm_lib import checks; checks.intensity(mine)`.

A module for each lesson. Every check goes from basic to subtle, isolates one mechanism per assertion, says in its message
what to think about, and computes the truth by another route than the library does.
"""

from ctsm_workbench.course.checks.answers import dist, nucleus, two_perplexities
from ctsm_workbench.course.checks.baselines import joint_loss, paired_bootstrap, widths
from ctsm_workbench.course.checks.context import gated_fusion, masked_softmax, position_signal
from ctsm_workbench.course.checks.decoder import (
    contrastive_pair,
    diversity_weights,
    pointer_mixture,
)
from ctsm_workbench.course.checks.dialogues import dialogue_pairs, length_buckets, padded_batch
from ctsm_workbench.course.checks.frame import CHECKS, CheckFailed
from ctsm_workbench.course.checks.guidance import (
    attention_pooling,
    intensity_weights,
    soft_label_loss,
)
from ctsm_workbench.course.checks.judgement import fleiss_kappa, majority
from ctsm_workbench.course.checks.sides import leave_one_out_cosine, shuffled_shares, state_polarity
from ctsm_workbench.course.checks.state import bend, state_embedding, state_inclination
from ctsm_workbench.course.checks.training import early_stopping, noam
from ctsm_workbench.course.checks.trait import (
    intensity,
    inverse_document_frequency,
    trait_embedding,
)

__all__ = [
    "CHECKS",
    "CheckFailed",
    "attention_pooling",
    "bend",
    "contrastive_pair",
    "dialogue_pairs",
    "dist",
    "diversity_weights",
    "early_stopping",
    "fleiss_kappa",
    "gated_fusion",
    "intensity",
    "intensity_weights",
    "inverse_document_frequency",
    "joint_loss",
    "leave_one_out_cosine",
    "length_buckets",
    "majority",
    "masked_softmax",
    "noam",
    "nucleus",
    "padded_batch",
    "paired_bootstrap",
    "pointer_mixture",
    "position_signal",
    "shuffled_shares",
    "soft_label_loss",
    "state_embedding",
    "state_inclination",
    "state_polarity",
    "trait_embedding",
    "two_perplexities",
    "widths",
]
