"""The checks of the lessons' exercises, a module for each lesson.

A lesson calls them as `checks.intensity(mine)`. Every check goes from basic to subtle, tests one
mechanism per assertion, gives a hint about the mistake, and computes the right answer in another
way than the library does.
"""
# ruff: noqa: F401

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

__all__ = ["CHECKS", "CheckFailed", *CHECKS]
