"""Where everything stands in Figure 2: boxes, wires and colours. The drawing itself is in `diagram`.

Coordinates are pixels of a picture 1000 wide, set by hand. Four lanes (commonsense and teacher, context and student,
state, trait) run from the data at the top to the losses; the space between lanes is for wires.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTH, HEIGHT = 1000, 858
# Parts that can be lit, each with its colour and a tint of it; trait is orange and state blue, as in Figure 3.
PARTS = {
    "dialogues": ("#3f5872", "#d6e0ea"),
    "trait": ("#9a4705", "#fce0c8"),
    "context": ("#17644a", "#cdeadd"),
    "state": ("#1a59a8", "#d0e3fb"),
    "guidance": ("#6538a6", "#e5d9f7"),
    "decoder": ("#9c2452", "#f9d7e3"),
    "training": ("#3a3f46", "#dcdfe3"),
    "answers": ("#3f5872", "#d6e0ea"),
    "baselines": ("#3f5872", "#d6e0ea"),
    "polarity": ("#3f5872", "#d6e0ea"),
    "judgement": ("#3f5872", "#d6e0ea"),
}


@dataclass(frozen=True)
class Box:
    """A step: where it stands, what it says, the modules that do it, and where the paper has it.

    Attributes:
        text: lines below the title; `_x`, `^x`, `_{xy}` are subscripts and superscripts.
        loss: the loss that is taken here, if any.
        training: not evaluated when the model answers.
        column: width left to the text, when the rest of the box holds something else.
    """

    part: str
    x: int
    y: int
    width: int
    height: int
    title: str
    text: tuple[str, ...]
    modules: tuple[str, ...]
    paper: str
    loss: str = ""
    training: bool = False
    column: int = 0


# fmt: off
BOXES = {
    "commonsense": Box("context", 16, 60, 205, 68, "Commonsense",
        ("five relations of ATOMIC",), ("knowledge",), "Sec. 3.3"),
    "dialogue": Box("dialogues", 305, 60, 205, 68, "Dialogue",
        ("tokens C, speakers, masks",), ("corpus", "batches"), "Sec. 3.2"),
    "vectors": Box("trait", 556, 60, 206, 68, "Word vectors", ("one table for all words",), ("vectors",), "Sec. 4.2"),
    "lexicon": Box("trait", 794, 60, 190, 176, "Emotion lexicon", (
        "VAD: valence, arousal,", "dominance in [0, 1];", "unrated: [0.5, 0, 0.5]", "", "IDF: how rare a word is",
        "I: emotion intensity"), ("lexicon",), "Sec. 3.4"),
    "knowledge": Box("context", 16, 168, 205, 68, "Knowledge encoders",
        ("K: one vector a relation",), ("model/context",), "Sec. 3.3"),
    "context": Box("context", 305, 168, 205, 68, "Context encoder",
        ("H_C = Encoder_C(E_C)",), ("model/layers",), "Eq. 1"),
    "inclination": Box("state", 556, 168, 206, 68, "State inclination",
        ("V_{cos} to 32 label words",), ("model/emotion",), "Eq. 5–7"),
    "teacher_context": Box("context", 16, 280, 205, 68, "Fusion, teacher's",
        ("H_C^{tchr}: context + K",), ("model/context",), "Sec. 3.3", training=True),
    "student_context": Box("context", 305, 280, 205, 68, "Fusion, student's",
        ("H_C^{stu}: context + K",), ("model/context",), "Sec. 3.3"),
    "state": Box("state", 556, 280, 206, 68, "State embedding",
        ("V_s = [V_{cos}; IDF; H̃_C]",), ("model/emotion",), "Eq. 3, 8"),
    "trait": Box("trait", 794, 280, 190, 68, "Trait embedding",
        ("V_t = [VAD; IDF; H̃_C]",), ("model/emotion",), "Eq. 2, 3"),
    "teacher": Box("guidance", 16, 392, 205, 86, "Teacher",
        ("[H_C^{tchr}; V_t; V_s] → P_e^{tchr}", "learns the emotion label"),
                   ("model/guidance",), "Eq. 10–15", "L_{tchr}", training=True),
    "student": Box("guidance", 305, 392, 205, 86, "Student",
        ("[H_C^{stu}; H_t; H_s] → P_e^{stu}", "predicts the emotion"),
                   ("model/guidance",), "Eq. 16–19", "L_{stu}"),
    "state_encoder": Box("state", 556, 392, 206, 86, "State encoder",
        ("H_s = Encoder_s(V_s)", "43 numbers a token"), ("model/emotion",), "Eq. 9"),
    "trait_encoder": Box("trait", 794, 392, 190, 86, "Trait encoder",
        ("H_t = Encoder_t(V_t)", "14 numbers a token"), ("model/emotion",), "Eq. 4"),
    "response": Box("dialogues", 16, 494, 150, 28, "Target Y", (), ("batches",), "", training=True),
    "intensity": Box("trait", 178, 494, 170, 28, "Intensity I", (), ("lexicon",), ""),
    "response_encoder": Box("decoder", 16, 546, 205, 68, "Response encoder",
        ("H_Y = Encoder_Y(E_Y)",), ("model/layers",), "Eq. 22", training=True),
    "decoder": Box("decoder", 305, 546, 205, 68, "Decoder", ("reads Y so far and H_C^{stu}",), ("model/generation",), "Eq. 20"),
    "pointer": Box("decoder", 556, 546, 206, 68, "Pointer generator",
        ("P_w: new α, copied 1 − α",), ("model/pointer",), "Eq. 20, 21", "L_g"),
    "diversity": Box("decoder", 794, 546, 190, 68, "Diversity",
        ("against stock phrases",), ("model/generation",), "Eq. 25", "L_{div}", training=True),
    "contrast": Box("decoder", 16, 646, 494, 96, "Cross-contrastive pairs",
        ("five pairs of views of one dialogue", "are drawn together"),
                    ("model/contrast",), "Eq. 22–24", "L_{ccl}", training=True, column=300),
    "total": Box("training", 580, 646, 404, 96, "Total loss and training", (
        "L = L_{tchr} + L_{stu} + L_g + L_{ccl} + 1.5 L_{div}", "Noam steps, dev checks, early stopping"),
        ("model/ctsm", "training", "checkpoint"), "Eq. 25", training=True),
    "polarity": Box("polarity", 16, 776, 184, 66, "Polarity", ("trait against state",), ("study/polarity",), "Sec. 5.4"),
    "judgement": Box("judgement", 212, 776, 184, 66, "Judgement", ("blind A/B, Table 2",), ("judging",), "Sec. 5.2"),
    "answers": Box("answers", 408, 776, 184, 66, "Answers", ("greedy, beam, nucleus",), ("decoding",), "Sec. 4.3"),
    "scores": Box("answers", 604, 776, 184, 66, "Scores", ("perplexity, acc, Dist",), ("scores",), "Sec. 4.3"),
    "baselines": Box("baselines", 800, 776, 184, 66, "Baselines", ("Tables 1 and 3",), ("baselines",), "Sec. 4.1, 5.3"),
}

# From, to, the way (corners), an arrow at its end?, and the label: where its baseline begins, and what it says.
# A wire that forks is several wires, and each names all boxes that it serves: it is bright when one of them is lit.
Wire = tuple[str, str, str, bool, tuple[int, int, str] | None]
WIRES: tuple[Wire, ...] = (
    ("dialogue", "commonsense", "305,94 221,94", True, (237, 87, "last turn")),
    ("dialogue", "context", "407,128 407,168", True, (393, 152, "C")),
    ("vectors", "context", "590,128 590,148 470,148 470,168", True, (480, 142, "words")),
    ("vectors", "inclination", "660,128 660,168", True, (668, 152, "label words")),
    ("commonsense", "knowledge", "118,128 118,168", True, (126, 152, "phrases")),
    ("knowledge", "teacher_context student_context", "221,202 263,202", False, (238, 195, "K")),
    ("context", "teacher_context student_context", "305,202 263,202", False, (275, 195, "H_C")),
    ("knowledge context", "teacher_context", "263,202 263,314 221,314", True, None),
    ("knowledge context", "student_context", "263,202 263,314 305,314", True, None),
    ("context", "inclination", "510,202 556,202", True, (522, 195, "E_C")),
    ("context", "state trait", "407,236 407,264 610,264", False, (420, 257, "H̃_C = W_C H_C")),
    ("context", "state", "610,264 610,280", True, None),
    ("context", "trait", "610,264 820,264 820,280", True, None),
    ("inclination", "state", "680,236 680,280", True, None),
    ("lexicon", "state", "840,236 840,250 720,250 720,280", True, (768, 245, "IDF")),
    ("lexicon", "trait", "889,236 889,280", True, (897, 262, "VAD, IDF")),
    ("teacher_context", "teacher", "90,348 90,392", True, (44, 372, "H_C^{tchr}")),
    ("student_context", "student", "407,348 407,392", True, (415, 363, "H_C^{stu}")),
    ("state", "state_encoder teacher", "660,348 660,370", False, None),
    ("trait", "trait_encoder teacher", "889,348 889,370", False, None),
    ("state", "state_encoder", "660,370 660,392", True, None),
    ("trait", "trait_encoder", "889,370 889,392", True, None),
    ("trait", "teacher", "889,370 660,370", False, None),
    ("state trait", "teacher", "660,370 190,370 190,392", True, (280, 363, "[V_t; V_s]")),
    ("teacher", "student", "221,435 305,435", True, None),
    ("intensity", "teacher", "205,494 205,478", True, None),
    ("intensity", "student", "320,494 320,478", True, None),
    ("student_context", "decoder contrast", "510,314 527,314 527,534", False, None),
    ("student_context", "decoder", "527,534 480,534 480,546", True, None),
    ("student_context", "contrast", "527,534 527,668 510,668", True, None),
    ("trait_encoder", "student contrast", "889,478 889,500 660,500", False, None),
    ("state_encoder", "student contrast", "660,478 660,500", False, None),
    ("state_encoder trait_encoder", "student contrast", "660,500 543,500", False, (552, 518, "H_{ts} = [H_t; H_s]")),
    ("state_encoder trait_encoder", "student", "543,500 440,500 440,478", True, None),
    ("state_encoder trait_encoder", "contrast", "543,500 543,692 510,692", True, None),
    ("response", "response_encoder", "90,522 90,546", True, None),
    ("response", "decoder", "140,522 140,534 350,534 350,546", True, None),
    ("response_encoder", "contrast", "118,614 118,646", True, (126, 635, "H_Y")),
    ("decoder", "pointer", "510,580 556,580", True, None),
    ("pointer", "diversity", "762,580 794,580", True, None),
    ("pointer", "contrast answers", "610,614 610,630 560,630 560,716", False, (618, 632, "P_w")),
    ("pointer", "contrast", "560,716 510,716", True, None),
    ("pointer", "answers", "560,716 560,776", True, None),
    ("answers", "scores", "592,809 604,809", True, None),
    ("answers", "judgement", "408,809 396,809", True, None),
)
JOINTS = ("263,202", "263,314", "610,264", "660,370", "889,370", "660,500", "527,534", "543,500", "560,716")
NOTES = ((231, 427, "soft labels"), (231, 456, "no gradient"), (231, 470, "goes back"))  # at the teacher's arrow
# fmt: on
# The four views of Eq. (22); every two are a pair, but for the context and the emotions.
VIEWS = {"H_Y": (350, 668), "H_C^{stu}": (470, 668), "H_{ts}": (350, 720), "P_w": (470, 720)}
UNPAIRED = {"H_{ts}", "H_C^{stu}"}
