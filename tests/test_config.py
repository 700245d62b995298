"""Settings: presets of the specification, overrides, refusals."""

import dataclasses
import json

import pytest

from ctsm_lib import settings
from ctsm_lib.config import PRESETS, Config, preset
from ctsm_lib.errors import ConfigError


def test_preset_paper_is_section_4_of_the_specification():
    paper = preset("paper")
    assert (
        paper.encoder_layers,
        paper.decoder_layers,
        paper.heads,
        paper.key_depth,
        paper.ffn_dim,
    ) == (1, 1, 2, 40, 50)
    assert (paper.beta1, paper.beta2, paper.epsilon) == (0.9, 0.98, 1e-9)
    assert (paper.schedule, paper.learning_rate, paper.warmup, paper.dim) == (
        "noam",
        1.0,
        8000,
        300,
    )
    assert (paper.batch_size, paper.clip, paper.dropout, paper.max_iterations) == (
        16,
        0.0,
        0.0,
        24_000,
    )
    assert (paper.check_every, paper.check_from, paper.patience) == (500, 8000, 4)
    assert (paper.temperature, paper.contrast_negatives, paper.student_label_weight) == (
        0.07,
        "both",
        0.0,
    )
    weights = (
        paper.weight_emotion,
        paper.weight_generation,
        paper.weight_contrast,
        paper.weight_diversity,
    )
    assert weights == (1, 1, 1, 1.5)
    assert paper.embedding_scale == pytest.approx(300**0.5)
    assert (paper.tie_output, paper.neutral_vad, paper.vocab, paper.max_context) == (
        False,
        "standard",
        "protocol",
        256,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    config = preset(name)
    assert Config.from_dict(json.loads(json.dumps(config.asdict()))) == config


def test_overrides_are_typed():
    config = preset(
        "paper", ["dropout=0.25", "trait=false", "ffn=conv", "max_iterations=7", "learning_rate=2"]
    )
    assert (config.dropout, config.trait, config.ffn, config.max_iterations) == (
        0.25,
        False,
        "conv",
        7,
    )
    assert isinstance(config.learning_rate, float)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("droput=0.1", "Did you mean 'dropout'"),
        ("dropout", "key=value"),
        ("dropout=much", "a finite number"),
        ("dropout=nan", "a finite number"),
        ("dropout=1.0", "below 1"),
        ("ffn=convv", "Did you mean 'conv'"),
        ("trait=maybe", "true or false"),
        ("heads=2.5", "a whole number"),
        ("heads=3", "a multiple of heads"),
        ("batch_size=0", "from 1"),
        ("temperature=0", "above 0"),
        ("=3", "no setting ''"),
    ],
)
def test_what_does_not_exist_is_refused(setting, reason):
    with pytest.raises(ConfigError, match=reason):
        preset("paper", [setting])


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'improved'"):
        preset("improve")


@pytest.mark.parametrize(
    "values", [{"preset": 3}, {"dim": "300"}, {"trait": 1}, {"nonsense": 1}, {"dim": True}]
)
def test_json_of_the_wrong_type_is_refused(values):
    with pytest.raises(ConfigError):
        Config.from_dict(values)


def test_preset_faithful_has_the_paper_s_model_and_losses() -> None:
    """Only optimisation, dropout and the scale of the word vectors differ from preset `paper`."""
    paper = preset("paper").asdict()
    differs = {name for name, value in preset("faithful").asdict().items() if value != paper[name]}
    training = {field.name for field in dataclasses.fields(settings.TrainingSettings)}
    assert differs - training == {"preset", "dropout", "embedding_scale"}
    assert not preset("faithful").goes_beyond_paper()


@pytest.mark.parametrize("part", ["wo-egm", "wo-egm-ccl"])
def test_without_guidance_the_emotion_of_faithful_weighs_as_much(part: str) -> None:
    """Teacher and student have a loss each; alone, the student's has the weight of both."""
    whole = preset("faithful")
    alone = preset(f"faithful-{part}")
    assert whole.guidance and not alone.guidance
    assert alone.weight_emotion == 2 * whole.weight_emotion
    assert preset(f"paper-{part}").weight_emotion == 1
